"""The requests about programs in the background, and the following of their output over broken connections."""

from __future__ import annotations

import base64
import codecs
import time
from collections.abc import Iterator, Mapping

from ._call import Call, body_of, broken, call, items, nothing, one, path_of, query_of
from ._calls import Command, Data, command_of
from ._json import JSON
from ._sse import EventParser, ServerSentEvent
from .errors import (
    ConflictError,
    FailedPreconditionError,
    InvalidArgumentError,
    MartletError,
    NotFoundError,
    UnavailableError,
)
from .events import Exit, Lost, Output, ProcessEvent, ProcessInfo
from .models import output_bytes

#: A bound on one request's body is 1 MiB, and base64 takes a third more.
INPUT_PIECE = 512 << 10
#: What writing to a program says that has ended or does not read any more: its exit tells the rest.
ENDED = (FailedPreconditionError, NotFoundError, ConflictError, InvalidArgumentError)
#: For how long a broken stream is taken up again before it is an error.
RECONNECT_SECONDS = 30.0
#: Longer than any program may run.
FOREVER = 604_800.0


def start(
    sandbox: str,
    cmd: Command,
    *,
    cwd: str | None,
    env: Mapping[str, str] | None,
    user: str | None,
    stdin: bool,
    pty: tuple[int, int] | None,
    timeout: float | None,
    replay_bytes: int | None,
) -> Call[ProcessInfo]:
    size: dict[str, JSON] | None = None if pty is None else {"rows": pty[0], "cols": pty[1]}
    body = body_of(
        cmd=command_of(cmd),
        cwd=cwd,
        env=dict(env) if env is not None else None,
        user=user,
        stdin=stdin,
        pty=size,
        timeout_seconds=timeout,
        replay_bytes=replay_bytes,
    )
    return call("POST", path_of("sandboxes", sandbox, "processes"), one(ProcessInfo.parse), body=body)


def get(sandbox: str, pid: int) -> Call[ProcessInfo]:
    return call("GET", _path(sandbox, pid), one(ProcessInfo.parse), idempotent=True)


def list_all(sandbox: str) -> Call[list[ProcessInfo]]:
    return call("GET", path_of("sandboxes", sandbox, "processes"), items(ProcessInfo.parse), idempotent=True)


def write(sandbox: str, pid: int, data: bytes, close: bool) -> Call[None]:
    body = body_of(base64=base64.b64encode(data).decode() if data else None, close=close or None)
    # Answered when the program has room for all of it, whenever that is.
    return call("POST", _path(sandbox, pid, "stdin"), nothing, body=body, patience=FOREVER)


def signal(sandbox: str, pid: int, name: str) -> Call[None]:
    return call("POST", _path(sandbox, pid, "signal"), nothing, body={"signal": name})


def resize(sandbox: str, pid: int, rows: int, cols: int) -> Call[None]:
    return call("POST", _path(sandbox, pid, "resize"), nothing, body={"rows": rows, "cols": cols}, idempotent=True)


def kill(sandbox: str, pid: int) -> Call[None]:
    return call("DELETE", _path(sandbox, pid), nothing)


def pieces(data: Data) -> Iterator[bytes]:
    """Input in pieces that fit a request."""
    raw = data.encode() if isinstance(data, str) else data
    for begin in range(0, len(raw), INPUT_PIECE):
        yield raw[begin : begin + INPUT_PIECE]


def _path(sandbox: str, pid: int, *rest: str) -> str:
    return path_of("sandboxes", sandbox, "processes", pid, *rest)


class Follower:
    """A program's output from a byte on, and its end: what to ask for, what it means, what to do after a break.

    A connection that breaks off is taken up again at the byte where it broke, for ``RECONNECT_SECONDS``, so that a
    restart of the daemon is not noticed.
    """

    def __init__(self, sandbox: str, pid: int, offset: int = 0) -> None:
        self._sandbox = sandbox
        self._pid = pid
        #: Where the next byte will be.
        self.offset = offset
        #: Whether the end has been told.
        self.is_finished = False
        self._parser = EventParser()
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        self._has_connected = False
        self._broke_at: float | None = None
        self._delay = 0.05
        # What the server last ended the stream with. The daemon's ending and the sandbox's look alike, and only the
        # next attempt tells them apart; if it fails for good, this is what the caller wants to know.
        self._streamed: MartletError | None = None

    def call(self) -> Call[None]:
        """The next request to make."""
        self._parser = EventParser()
        query = query_of(**{"from": self.offset, "lossless": True})
        return call("GET", _path(self._sandbox, self._pid, "stream"), nothing, query=query)

    def connected(self) -> None:
        """The request was answered."""
        self._has_connected = True

    def feed(self, piece: bytes) -> Iterator[ProcessEvent]:
        """The events in the next piece of the answer."""
        for event in self._parser.feed(piece):
            if (error := event.error()) is not None:
                if isinstance(error, UnavailableError):
                    self._streamed = error
                raise error
            self._broke_at, self._delay, self._streamed = None, 0.05, None
            yield from self._understand(event)
            if self.is_finished:
                return

    def ended(self) -> MartletError:
        """What it means that the answer is over before the program is."""
        return broken(f"process {self._pid}", "the stream ended before the process")

    def broke(self, error: MartletError) -> float:
        """Seconds to wait before the next attempt; raises when the error is for good or has lasted too long."""
        now = time.monotonic()
        self._broke_at = now if self._broke_at is None else self._broke_at
        passes = self._has_connected and isinstance(error, UnavailableError)
        if not passes or now - self._broke_at >= RECONNECT_SECONDS:
            raise self._streamed or error
        delay, self._delay = self._delay, min(self._delay * 2, 1.0)
        return delay

    def _understand(self, event: ServerSentEvent) -> Iterator[ProcessEvent]:
        if event.name in self._decoders:
            fields = event.fields()
            data, begin = output_bytes(fields, "text", "base64"), fields.integer("offset")
            if begin > self.offset:
                yield Lost(begin - self.offset)
                self.offset = begin
            # Bytes that were seen before the break.
            data = data[self.offset - begin :]
            if data:
                self.offset += len(data)
                yield Output(event.name, data, self._decoders[event.name].decode(data))
        elif event.name == "exit":
            self.is_finished = True
            yield Exit.parse(event.fields())
