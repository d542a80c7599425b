"""Programs in the background, and streams of what they write."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Generator, Iterator
from types import TracebackType

from . import _process as calls
from ._calls import Data
from .client import Client
from .errors import MartletError
from .events import Exit, ProcessEvent, ProcessInfo


class Process:
    """A program that was started in a sandbox and goes on whether or not anybody follows it."""

    def __init__(self, client: Client, sandbox: str, pid: int) -> None:
        self._client = client
        self._sandbox = sandbox
        #: Its number in the sandbox.
        self.pid = pid

    def __repr__(self) -> str:
        return f"<Process {self.pid} of {self._sandbox}>"

    def info(self) -> ProcessInfo:
        """What the server knows of it."""
        return self._client._run(calls.get(self._sandbox, self.pid))

    def events(self, offset: int = 0) -> Generator[ProcessEvent, None, None]:
        """What it wrote, from a byte on, then what it writes, then its end.

        The program waits for a reader that is slow. A connection that breaks is taken up again where it broke, for half
        a minute. Leaving early leaves the program as it is.
        """
        follower = calls.Follower(self._sandbox, self.pid, offset)
        while not follower.is_finished:
            try:
                request = follower.call()
                with self._client._open(request) as response:
                    follower.connected()
                    for piece in self._client._pieces(request, response):
                        yield from follower.feed(piece)
                        if follower.is_finished:
                            return
                raise follower.ended()
            except MartletError as error:
                delay = follower.broke(error)
            time.sleep(delay)

    def wait(self) -> Exit:
        """Waits for its end. What it writes meanwhile is read and dropped."""
        return _exit_of(self.events(self.info().output_bytes))

    def write(self, data: Data) -> None:
        """Writes to its standard input; waits while it does not read."""
        for piece in calls.pieces(data):
            self._client._run(calls.write(self._sandbox, self.pid, piece, False))

    def close_stdin(self) -> None:
        """Ends its standard input."""
        self._client._run(calls.write(self._sandbox, self.pid, b"", True))

    def signal(self, name: str) -> None:
        """Sends a signal, such as ``SIGTERM``, to its whole group."""
        self._client._run(calls.signal(self._sandbox, self.pid, name))

    def resize(self, rows: int, cols: int) -> None:
        """Tells it the size of its terminal."""
        self._client._run(calls.resize(self._sandbox, self.pid, rows, cols))

    def kill(self) -> None:
        """Kills its whole group and forgets it, output included."""
        self._client._run(calls.kill(self._sandbox, self.pid))


class ExecStream:
    """A program and what it writes: an iterator of :class:`Output` and, at last, one :class:`Exit`.

    Its life is the stream's: ``close``, or leaving the ``with`` block early, kills the program with its process group.
    A client that dies leaves the program to its time-out.
    """

    def __init__(self, process: Process, stdin: Data | None) -> None:
        self._process = process
        self._events = process.events()
        self._is_over = False
        #: How it ended; None while it has not.
        self.exit: Exit | None = None
        self._input_error: MartletError | None = None
        if stdin is not None:
            # Beside the reading: a program that answers while it is written to would wait for us, and we for it.
            threading.Thread(target=self._feed, args=(stdin,), name="martlet-stdin", daemon=True).start()

    @property
    def pid(self) -> int:
        """The program's number in the sandbox."""
        return self._process.pid

    def __iter__(self) -> Iterator[ProcessEvent]:
        return self

    def __next__(self) -> ProcessEvent:
        event = next(self._events)
        if isinstance(event, Exit):
            self._is_over = True
            self.exit = event
            if self._input_error is not None:
                raise self._input_error
        return event

    def write(self, data: Data) -> None:
        """Writes to its standard input; waits while it does not read. Needs ``stdin=True``."""
        self._process.write(data)

    def close_stdin(self) -> None:
        """Ends its standard input."""
        self._process.close_stdin()

    def signal(self, name: str) -> None:
        """Sends a signal, such as ``SIGINT``, to its whole group."""
        self._process.signal(name)

    def close(self) -> None:
        """Ends the stream, and the program if it runs."""
        # What is being read in another thread cannot be closed from here; the kill ends it, too.
        with contextlib.suppress(ValueError):
            self._events.close()
        if not self._is_over:
            self._is_over = True
            with contextlib.suppress(MartletError):
                self._process.kill()

    def __enter__(self) -> ExecStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _feed(self, data: Data) -> None:
        try:
            self._process.write(data)
            self._process.close_stdin()
        except calls.ENDED:
            # A program that has ended or does not read any more: its exit tells the rest.
            pass
        except MartletError as error:
            # It would wait for the rest for ever.
            self._input_error = error
            with contextlib.suppress(MartletError):
                self._process.signal("SIGKILL")


def _exit_of(events: Iterator[ProcessEvent]) -> Exit:
    for event in events:
        if isinstance(event, Exit):
            return event
    raise AssertionError("events end with an exit or an error")
