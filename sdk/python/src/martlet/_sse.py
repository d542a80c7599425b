"""Reading of ``text/event-stream``, however its pieces are cut."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ._call import Answer, error_of_answer
from ._fields import Fields
from .errors import InternalError, MartletError

#: Most bytes of one event, and of one line.
LIMIT = 8 << 20


@dataclass
class ServerSentEvent:
    """One event; ``message`` unless the stream says otherwise."""

    name: str
    data: bytes
    id: str | None = None

    def fields(self) -> Fields:
        """The data as a JSON object."""
        try:
            return Fields(json.loads(self.data))
        except ValueError:
            raise InternalError(f"event stream: the data of '{self.name}' is not JSON") from None

    def error(self) -> MartletError | None:
        """What the server ended the stream with, if this is that."""
        if self.name != "error":
            return None
        data = self.data
        try:
            value = json.loads(data)
            if isinstance(value, dict) and "error" not in value:
                data = json.dumps({"error": value}).encode()
        except ValueError:
            pass
        return error_of_answer(Answer(500, {}, data), "event stream")


class EventParser:
    """Takes the pieces of a stream and gives the events they complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0
        self._id: str | None = None
        self._is_first = True
        self._skips_line_feed = False

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """The events that are whole with this piece."""
        if self._skips_line_feed and piece:
            self._skips_line_feed = False
            piece = piece.removeprefix(b"\n")
        text = self._rest + piece
        # A carriage return at the end may be half of a line's end; the line ends all the same.
        self._skips_line_feed = text.endswith(b"\r")
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = text.split(b"\n")
        if len(self._rest) > LIMIT:
            raise _too_long()
        events = []
        for line in lines:
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    def _take(self, line: bytes) -> ServerSentEvent | None:
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            event = ServerSentEvent(self._name or "message", b"\n".join(self._data), self._id) if self._data else None
            self._name, self._data, self._size = "", [], 0
            return event
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"event":
            self._name = value.decode(errors="replace")
        elif name == b"data":
            self._size += len(value)
            if self._size > LIMIT:
                raise _too_long()
            self._data.append(value)
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode(errors="replace")
        return None


def _too_long() -> MartletError:
    return InternalError(f"event stream: the server sent an event of more than {LIMIT} bytes")
