"""A real HTTP server that answers as it was told, one answer after the other, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        return json.loads(self.body)


def answer(status: int, body: object = None, **headers: str) -> bytes:
    """A whole answer; JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def error(status: int, code: str, message: str = "it is so", **headers: str) -> bytes:
    """An error answer of the API."""
    detail = {"code": code, "message": message, "details": {"k": "v"}, "request_id": "r1"}
    return answer(status, {"error": detail}, **headers)


def events(*lines: str) -> bytes:
    """An answer whose body lasts until the connection ends."""
    head = b"HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    return head + "".join(line + "\n" for line in lines).encode()


#: Hears a request and closes without an answer.
HANG_UP = b""
#: Hears a request and says nothing.
SILENCE = None


class ScriptedServer:
    """Answers with what is in ``script``, in order; one connection per answer that asks to close, else kept."""

    def __init__(self, path: str | None = None) -> None:
        self.script: list[bytes | Callable[[Asked], bytes] | None] = []
        self.asked: list[Asked] = []
        if path is None:
            self._socket = socket.create_server(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(path)
            self._socket.listen()
            self.url = f"unix://{path}"
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as reader:
                while self._one(connection, reader):
                    pass
        except OSError:
            pass

    def _one(self, connection: socket.socket, reader: Any) -> bool:
        line = reader.readline().decode().split()
        if len(line) != 3:
            return False
        headers: dict[str, str] = {}
        while (text := reader.readline().decode().strip()) != "":
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while (size := int(reader.readline(), 16)) > 0:
                body += reader.read(size)
                reader.readline()
            reader.readline()
        else:
            body = reader.read(int(headers.get("content-length", "0")))
        asked = Asked(line[0], line[1], headers, body)
        self.asked.append(asked)
        said = self.script.pop(0) if self.script else error(500, "internal", "the script is over")
        if said is SILENCE:
            return bool(reader.readline())
        content = said(asked) if callable(said) else said
        connection.sendall(content)
        return content != HANG_UP and b"Connection: close" not in content
