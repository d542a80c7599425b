"""Programs in the background, and streams of what they write, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType

from . import _process as calls
from ._calls import Data
from .async_client import AsyncClient
from .errors import MartletError
from .events import Exit, ProcessEvent, ProcessInfo


class AsyncProcess:
    """A program that was started in a sandbox and goes on whether or not anybody follows it."""

    def __init__(self, client: AsyncClient, sandbox: str, pid: int) -> None:
        self._client = client
        self._sandbox = sandbox
        #: Its number in the sandbox.
        self.pid = pid

    def __repr__(self) -> str:
        return f"<AsyncProcess {self.pid} of {self._sandbox}>"

    async def info(self) -> ProcessInfo:
        """What the server knows of it."""
        return await self._client._run(calls.get(self._sandbox, self.pid))

    async def events(self, offset: int = 0) -> AsyncGenerator[ProcessEvent, None]:
        """What it wrote, from a byte on, then what it writes, then its end; as :meth:`Process.events`."""
        follower = calls.Follower(self._sandbox, self.pid, offset)
        while not follower.is_finished:
            try:
                request = follower.call()
                async with self._client._open(request) as response:
                    follower.connected()
                    async with contextlib.aclosing(self._client._pieces(request, response)) as pieces:
                        async for piece in pieces:
                            for event in follower.feed(piece):
                                yield event
                            if follower.is_finished:
                                return
                raise follower.ended()
            except MartletError as error:
                delay = follower.broke(error)
            await asyncio.sleep(delay)

    async def wait(self) -> Exit:
        """Waits for its end. What it writes meanwhile is read and dropped."""
        async with contextlib.aclosing(self.events((await self.info()).output_bytes)) as events:
            async for event in events:
                if isinstance(event, Exit):
                    return event
        raise AssertionError("events end with an exit or an error")

    async def write(self, data: Data) -> None:
        """Writes to its standard input; waits while it does not read."""
        for piece in calls.pieces(data):
            await self._client._run(calls.write(self._sandbox, self.pid, piece, False))

    async def close_stdin(self) -> None:
        """Ends its standard input."""
        await self._client._run(calls.write(self._sandbox, self.pid, b"", True))

    async def signal(self, name: str) -> None:
        """Sends a signal, such as ``SIGTERM``, to its whole group."""
        await self._client._run(calls.signal(self._sandbox, self.pid, name))

    async def resize(self, rows: int, cols: int) -> None:
        """Tells it the size of its terminal."""
        await self._client._run(calls.resize(self._sandbox, self.pid, rows, cols))

    async def kill(self) -> None:
        """Kills its whole group and forgets it, output included."""
        await self._client._run(calls.kill(self._sandbox, self.pid))


class AsyncExecStream:
    """A program and what it writes: an asynchronous iterator of :class:`Output` and, at last, one :class:`Exit`.

    Its life is the stream's: ``close``, leaving the ``async with`` block early or being cancelled in it kills the
    program with its process group.
    """

    def __init__(self, process: AsyncProcess, stdin: Data | None) -> None:
        self._process = process
        self._events = process.events()
        self._is_over = False
        #: How it ended; None while it has not.
        self.exit: Exit | None = None
        self._input_error: MartletError | None = None
        self._feeding = asyncio.create_task(self._feed(stdin)) if stdin is not None else None

    @property
    def pid(self) -> int:
        """The program's number in the sandbox."""
        return self._process.pid

    def __aiter__(self) -> AsyncIterator[ProcessEvent]:
        return self

    async def __anext__(self) -> ProcessEvent:
        event = await self._events.__anext__()
        if isinstance(event, Exit):
            self._is_over = True
            self.exit = event
            if self._input_error is not None:
                raise self._input_error
        return event

    async def write(self, data: Data) -> None:
        """Writes to its standard input; waits while it does not read. Needs ``stdin=True``."""
        await self._process.write(data)

    async def close_stdin(self) -> None:
        """Ends its standard input."""
        await self._process.close_stdin()

    async def signal(self, name: str) -> None:
        """Sends a signal, such as ``SIGINT``, to its whole group."""
        await self._process.signal(name)

    async def close(self) -> None:
        """Ends the stream, and the program if it runs."""
        if self._feeding is not None:
            self._feeding.cancel()
        await self._events.aclose()
        if not self._is_over:
            self._is_over = True
            with contextlib.suppress(MartletError):
                await asyncio.shield(self._process.kill())

    async def __aenter__(self) -> AsyncExecStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _feed(self, data: Data) -> None:
        try:
            await self._process.write(data)
            await self._process.close_stdin()
        except calls.ENDED:
            # A program that has ended or does not read any more: its exit tells the rest.
            pass
        except MartletError as error:
            # It would wait for the rest for ever.
            self._input_error = error
            with contextlib.suppress(MartletError):
                await self._process.signal("SIGKILL")
