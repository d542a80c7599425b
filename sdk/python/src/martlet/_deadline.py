"""An end to waiting for an answer that trickles."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

import httpx


class Deadline:
    """Cuts a connection off when its time is over; whoever reads from it sees it break, and ``is_over`` tells why.

    Time-outs of the HTTP client count silence only, and the interpreter is never silent for long.
    """

    def __init__(self, seconds: float | None) -> None:
        self.is_over = False
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end) if seconds is not None else None
        if self._timer is not None:
            self._timer.daemon = True

    def watch(self, response: httpx.Response) -> None:
        """Says which connection it is about."""
        stream = response.extensions["network_stream"]
        with self._lock:
            self._connection = stream.get_extra_info("socket")
            if self.is_over:
                self._cut()

    def _end(self) -> None:
        with self._lock:
            self.is_over = True
            self._cut()

    def _cut(self) -> None:
        if self._connection is not None:
            # Closed already: nothing is waited for any more.
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Deadline:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            # The connection may be another request's by now.
            self._connection = None
