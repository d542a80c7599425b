"""What stands before a self-hosted server in the world, for clients that know no other way than names and TLS.

Every name below a domain resolves to one loopback address, where TLS ends and connections go on to the daemon.

usage: front.py DOMAIN ADDRESS CERTIFICATE KEY DAEMON-HOST DAEMON-PORT
Prints "ready" when both listen.
"""

import asyncio
import ipaddress
import ssl
import sys


class Names(asyncio.DatagramProtocol):
    """Answers A questions about the domain (RFC 1035); all else has no answer."""

    def __init__(self, domain, address):
        self.domain = domain
        self.address = ipaddress.IPv4Address(address).packed

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, sender):
        labels, position = [], 12
        while data[position]:
            labels.append(data[position + 1 : position + 1 + data[position]].decode("ascii", "replace").lower())
            position += 1 + data[position]
        question = data[12 : position + 5]
        is_ours = ".".join(labels) == self.domain or ".".join(labels).endswith("." + self.domain)
        is_address = data[position + 1 : position + 3] == b"\x00\x01"
        answers = is_ours and is_address
        # 0 is "no error", 3 is "no such name".
        flags = b"\x85\x80" if is_ours else b"\x85\x83"
        head = data[:2] + flags + b"\x00\x01" + (b"\x00\x01" if answers else b"\x00\x00") + b"\x00\x00\x00\x00"
        answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04" + self.address if answers else b""
        self.transport.sendto(head + question + answer, sender)


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main(domain, address, certificate, key, host, port):
    async def serve(reader, writer):
        try:
            inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: Names(domain, address), (address, 53))
    server = await asyncio.start_server(serve, address, 443, ssl=context, backlog=256)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main(*sys.argv[1:]))
