"""The TCP services: HTTP/1.1 with WebSocket, plain and over TLS, echo, one that speaks first, and DNS."""

import asyncio
import base64
import hashlib
import json
import struct

WEBSOCKET_KEY = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
CHUNK = bytes(range(256)) * 256


class Streams:
    """Runs on one event loop; every connection is told to the journal, with what was asked."""

    def __init__(self, journal, zone, tls):
        self._journal = journal
        self._zone = zone
        self._tls = tls
        tls.sni_callback = self._remember_name

    @staticmethod
    def _remember_name(ssl_object, name, _context):
        ssl_object.asked_name = name

    async def add(self, space, address, port, service, secure=False):
        listener = space.listener(address, port)
        handler = {"http": self._http, "echo": self._echo, "greeting": self._greeting, "dns": self._dns}[service]

        async def serve(reader, writer):
            facts = {"port": port, "src": writer.get_extra_info("peername")[0],
                     "dst": writer.get_extra_info("sockname")[0]}
            if secure:
                facts["sni"] = getattr(writer.get_extra_info("ssl_object"), "asked_name", None) or ""
            self._journal.add(space.name, "tls" if secure else "tcp", **facts)
            try:
                await handler(reader, writer, space.name, facts)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                pass
            finally:
                writer.close()

        await asyncio.start_server(
            serve, sock=listener, ssl=self._tls if secure else None, limit=1 << 20,
            ssl_handshake_timeout=20 if secure else None)

    async def _echo(self, reader, writer, where, facts):
        while data := await reader.read(65_536):
            self._journal.add(where, "echo", data=data[:200].decode("latin-1"), **facts)
            writer.write(b"echo:" + data)
            await writer.drain()

    async def _greeting(self, reader, writer, where, facts):
        writer.write(b"220 lab ready\r\n")
        await self._echo(reader, writer, where, facts)

    async def _dns(self, reader, writer, where, facts):
        while True:
            size = struct.unpack("!H", await reader.readexactly(2))[0]
            reply, name, kind = self._zone.answer(await reader.readexactly(size))
            self._journal.add(where, "dns", name=name, type=kind, transport="tcp", **facts)
            writer.write(struct.pack("!H", len(reply)) + reply)

    async def _http(self, reader, writer, where, facts):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ", 2)
            headers = [line.split(": ", 1) for line in lines[1:] if ": " in line]
            fields = {name.lower(): value for name, value in headers}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            self._journal.add(where, "http", method=method, target=target, headers=headers, **facts)
            if fields.get("upgrade", "").lower() == "websocket":
                return await self._websocket(reader, writer, fields["sec-websocket-key"])
            if target.startswith("/bytes/"):
                await self._bytes(writer, int(target.rsplit("/", 1)[1]))
                continue
            if target.startswith("/quiet"):
                # Nothing of what was asked is said back.
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nheard\n")
                await writer.drain()
                continue
            if target == "/drip":
                return await self._drip(writer)
            said = {"method": method, "target": target, "headers": headers, "body": body.decode("latin-1"), **facts}
            text = json.dumps(said).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text)
                         + text)
            await writer.drain()

    @staticmethod
    async def _bytes(writer, count):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count)
        while count > 0:
            writer.write(CHUNK[:count])
            count -= len(CHUNK[:count])
            await writer.drain()

    @staticmethod
    async def _drip(writer):
        """An answer without an end, a line at a time."""
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for number in range(100_000):
            writer.write(b"line %d\n" % number)
            await writer.drain()
            await asyncio.sleep(0.05)

    @staticmethod
    async def _websocket(reader, writer, key):
        accept = base64.b64encode(hashlib.sha1((key + WEBSOCKET_KEY).encode()).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while True:
            first, size = await reader.readexactly(2)
            size &= 127
            if size == 126:
                size = struct.unpack("!H", await reader.readexactly(2))[0]
            mask = await reader.readexactly(4)
            data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(await reader.readexactly(size)))
            if first & 15 == 8:
                return
            length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size)
            writer.write(bytes([first]) + length + data)
