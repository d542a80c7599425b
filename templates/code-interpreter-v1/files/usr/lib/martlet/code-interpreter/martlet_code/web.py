"""A small HTTP/1.1 server (RFC 9112) for asyncio: streams answers, and notices clients that leave."""

import asyncio
import json
import sys
import traceback
from urllib.parse import unquote

MAX_HEAD = 32 * 1024
MAX_BODY = 32 * 1024 * 1024
MAX_CONNECTIONS = 256
IDLE_SECONDS = 120
# Bytes not yet taken by a client before whoever writes to it has to wait.
WRITE_AHEAD = 1024 * 1024

REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
    409: "Conflict", 413: "Content Too Large", 429: "Too Many Requests", 500: "Internal Server Error",
    501: "Not Implemented", 503: "Service Unavailable",
}


class Refusal(Exception):
    """An answer that says why a request cannot be met."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status
        self.message = message


class Request:
    """What a client asks for."""

    __slots__ = ("method", "path", "headers", "body")

    def __init__(self, method, path, headers, body):
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body

    def json(self):
        """The body as a JSON object; an empty body is an empty object."""
        if not self.body.strip():
            return {}
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Refusal(400, f"the body is not JSON: {error}") from None
        if not isinstance(value, dict):
            raise Refusal(400, "the body must be a JSON object")
        return value


class Answer:
    """A whole answer: JSON, or text when the content is a string."""

    __slots__ = ("status", "content")

    def __init__(self, content=None, status=200):
        self.status = status
        self.content = content

    def encode(self):
        if self.content is None:
            return b"", "application/json"
        if isinstance(self.content, str):
            return self.content.encode("utf-8", "replace"), "text/plain; charset=utf-8"
        return json.dumps(self.content).encode(), "application/json"


class Stream:
    """An answer of JSON lines that come as they are made."""

    __slots__ = ("lines",)

    def __init__(self, lines):
        """`lines` is an asynchronous generator of objects; it is closed when the client leaves."""
        self.lines = lines


class Connection(asyncio.Protocol):
    """One client: reads requests one after the other and answers each before the next."""

    def __init__(self, server):
        self.server = server
        self.buffer = bytearray()
        self.transport = None
        self.task = None
        self.arrived = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.is_closed = False

    # What the transport tells.

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_AHEAD)
        if len(self.server.connections) >= MAX_CONNECTIONS:
            transport.abort()
            return
        self.server.connections.add(self)
        self.task = asyncio.get_running_loop().create_task(self.run())

    def data_received(self, data):
        self.buffer += data
        # A client that sends on and on while it is being answered is held by its own connection.
        if len(self.buffer) > MAX_HEAD + MAX_BODY:
            self.transport.pause_reading()
        self.arrived.set()

    def connection_lost(self, error):
        self.is_closed = True
        self.server.connections.discard(self)
        self.arrived.set()
        self.writable.set()
        if self.task is not None:
            self.task.cancel()

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    # Reading.

    async def run(self):
        try:
            while not self.is_closed and await self.serve_one():
                pass
        except asyncio.CancelledError:
            pass
        except Exception:
            traceback.print_exc(file=sys.stderr)
        finally:
            if not self.is_closed:
                self.transport.close()

    async def serve_one(self):
        try:
            request = await asyncio.wait_for(self.read_request(), IDLE_SECONDS)
        except asyncio.TimeoutError:
            return False
        except Refusal as refusal:
            self.send_whole(Answer(refusal.message, refusal.status), keeps=False)
            return False
        if request is None:
            return False
        keeps = request.headers.get("connection", "").lower() != "close"
        try:
            answer = await self.server.handler(request)
        except Refusal as refusal:
            answer = Answer(refusal.message, refusal.status)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            answer = Answer(f"internal error: {error}", 500)
        if isinstance(answer, Stream):
            await self.send_stream(answer, keeps)
        else:
            self.send_whole(answer, keeps)
        self.transport.resume_reading()
        return keeps

    async def fill(self):
        """Waits for more bytes; false at the end."""
        self.arrived.clear()
        if self.is_closed:
            return False
        await self.arrived.wait()
        return not self.is_closed

    async def take_until(self, mark, limit, status=400):
        start = 0
        while True:
            end = self.buffer.find(mark, start)
            if end >= 0 and end <= limit:
                taken = bytes(self.buffer[:end])
                del self.buffer[: end + len(mark)]
                return taken
            if end >= 0 or len(self.buffer) > limit:
                raise Refusal(status, f"more than {limit} bytes")
            start = max(0, len(self.buffer) - len(mark) + 1)
            if not await self.fill():
                return None

    async def take(self, count):
        while len(self.buffer) < count:
            if not await self.fill():
                return None
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    async def read_request(self):
        head = await self.take_until(b"\r\n\r\n", MAX_HEAD)
        if head is None:
            return None
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0") or not parts[1].startswith("/"):
            raise Refusal(400, "not a request of HTTP/1.1")
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise Refusal(400, "a header cannot be read")
            headers[name.lower()] = value.strip()
        if parts[2] == "HTTP/1.0":
            headers["connection"] = "close"
        body = await self.read_body(headers)
        if body is None:
            return None
        return Request(parts[0], unquote(parts[1].split("?", 1)[0]), headers, body)

    async def read_body(self, headers):
        coding = headers.get("transfer-encoding", "").lower()
        if coding:
            if coding != "chunked" or "content-length" in headers:
                raise Refusal(400, "the transfer coding is not known")
            return await self.read_chunks()
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise Refusal(400, "the length is not a number")
        if len(length) > 12 or int(length) > MAX_BODY:
            raise Refusal(413, f"the body is larger than {MAX_BODY} bytes")
        if headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self.take(int(length))

    async def read_chunks(self):
        body = bytearray()
        while True:
            line = await self.take_until(b"\r\n", 1024)
            if line is None:
                return None
            try:
                size = int(line.split(b";", 1)[0].strip(), 16)
            except ValueError:
                raise Refusal(400, "a chunk's size cannot be read") from None
            if size < 0 or len(body) + size > MAX_BODY:
                raise Refusal(413, f"the body is larger than {MAX_BODY} bytes")
            if size == 0:
                while True:
                    trailer = await self.take_until(b"\r\n", 4096)
                    if trailer is None:
                        return None
                    if not trailer:
                        return bytes(body)
            piece = await self.take(size + 2)
            if piece is None:
                return None
            body += piece[:size]

    # Writing.

    def head(self, status, headers, keeps):
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines.append("Connection: " + ("keep-alive" if keeps else "close"))
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send_whole(self, answer, keeps):
        body, kind = answer.encode()
        headers = [] if answer.status == 204 else [("Content-Type", kind), ("Content-Length", len(body))]
        self.transport.write(self.head(answer.status, headers, keeps) + (b"" if answer.status == 204 else body))

    async def send_stream(self, stream, keeps):
        headers = [("Content-Type", "application/x-ndjson"), ("Transfer-Encoding", "chunked")]
        self.transport.write(self.head(200, headers, keeps))
        try:
            async for line in stream.lines:
                data = json.dumps(line).encode() + b"\n"
                self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))
                if not self.writable.is_set():
                    await self.writable.wait()
        finally:
            await stream.lines.aclose()
        self.transport.write(b"0\r\n\r\n")


class Server:
    """Listens, and gives every request to one handler."""

    def __init__(self, handler):
        self.handler = handler
        self.connections = set()

    async def listen(self, port):
        """Listens on every address of the machine."""
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: Connection(self), "0.0.0.0", port, backlog=128)
        try:
            await loop.create_server(lambda: Connection(self), "::", port, backlog=128)
        except OSError:
            # A kernel without IPv6.
            pass
