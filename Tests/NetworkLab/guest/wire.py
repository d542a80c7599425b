"""Packets and messages made by hand, for attempts that no library would make."""

import os
import socket
import struct
import time

GATEWAY, OWN = "192.0.0.1", "192.0.0.2"
GATEWAY_MAC, OWN_MAC = bytes.fromhex("026d74000001"), bytes.fromhex("026d74000002")
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "NULL": 10, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "SVCB": 64, "HTTPS": 65,
         "ANY": 255}
PATIENCE = 1.0


def link_name():
    return next(name for _, name in socket.if_nameindex() if name != "lo")


# DNS

def dns_query(name, kind="A"):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split("."))
    return os.urandom(2) + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", TYPES[kind], 1)


def dns_read(message):
    """The code and the addresses of an answer."""
    code, questions, answers = message[3] & 15, *struct.unpack("!HH", message[4:8])

    def skip(at):
        while message[at]:
            if message[at] >= 192:
                return at + 2
            at += 1 + message[at]
        return at + 1

    at, addresses, ttls = 12, [], []
    for _ in range(questions):
        at = skip(at) + 4
    for _ in range(answers):
        at = skip(at)
        kind, _, ttl, size = struct.unpack("!HHIH", message[at:at + 10])
        if kind == 1:
            addresses.append(socket.inet_ntoa(message[at + 10:at + 14]))
        ttls.append(ttl)
        at += 10 + size
    return {"code": code, "answers": answers, "addresses": addresses, "ttls": ttls}


def ask(name, server=GATEWAY, kind="A", transport="udp", port=53, patience=10.0):
    """What a name server says; nil when it says nothing."""
    query = dns_query(name, kind)
    try:
        if transport == "udp":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
                channel.settimeout(patience)
                channel.connect((server, port))
                channel.send(query)
                return dns_read(channel.recv(65_535))
        with socket.create_connection((server, port), patience) as channel:
            channel.sendall(struct.pack("!H", len(query)) + query)
            size = struct.unpack("!H", exactly(channel, 2))[0]
            return dns_read(exactly(channel, size))
    except (OSError, EOFError) as error:
        return {"code": -1, "answers": 0, "addresses": [], "ttls": [], "error": str(error)}


def resolve(name):
    found = ask(name)["addresses"]
    if not found:
        raise AssertionError(f"{name} does not resolve, which this attempt needs")
    return found[0]


def exactly(channel, count):
    data = b""
    while len(data) < count:
        piece = channel.recv(count - len(data))
        if not piece:
            raise EOFError("closed")
        data += piece
    return data


# TLS

def client_hello(name=None, extra=b"", names=None):
    """A ClientHello as RFC 8446 has it, with these names in it and these extensions added."""
    def extension(kind, data):
        return struct.pack("!HH", kind, len(data)) + data

    extensions = b""
    names = names if names is not None else ([name] if name is not None else [])
    if names:
        listed = b"".join(b"\0" + struct.pack("!H", len(item)) + item.encode() for item in names)
        extensions += extension(0, struct.pack("!H", len(listed)) + listed)
    extensions += extension(10, struct.pack("!HHH", 4, 29, 23))
    extensions += extension(11, b"\x01\x00")
    extensions += extension(13, struct.pack("!HHHHH", 8, 0x0403, 0x0804, 0x0401, 0x0503))
    extensions += extension(43, b"\x04\x03\x04\x03\x03")
    extensions += extension(51, struct.pack("!HHH", 36, 29, 32) + os.urandom(32))
    extensions += extra
    body = b"\x03\x03" + os.urandom(32) + b"\x20" + os.urandom(32)
    body += struct.pack("!HHHH", 6, 0x1301, 0xC02B, 0xC02F) + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    return b"\x01" + len(body).to_bytes(3, "big") + body


def record(data, version=0x0301):
    return b"\x16" + struct.pack("!HH", version, len(data)) + data


# Packets

def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip(target, protocol, payload, source=OWN, options=b"", flags=0, identity=None):
    identity = identity if identity is not None else struct.unpack("!H", os.urandom(2))[0]
    size = 20 + len(options)
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | size // 4, 0, size + len(payload), identity, flags, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(target)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def transport_sum(source, target, protocol, segment):
    return checksum(socket.inet_aton(source) + socket.inet_aton(target)
                    + struct.pack("!BBH", 0, protocol, len(segment)) + segment)


def udp(target, port, data, source=OWN, source_port=40_000):
    segment = struct.pack("!HHHH", source_port, port, 8 + len(data), 0) + data
    return segment[:6] + struct.pack("!H", transport_sum(source, target, 17, segment) or 0xFFFF) + segment[8:]


def tcp(target, port, data=b"", flags=0x02, source=OWN, source_port=40_001):
    segment = struct.pack("!HHIIBBHHH", source_port, port, 1000, 0, 0x50, flags, 64_000, 0, 0) + data
    return segment[:16] + struct.pack("!H", transport_sum(source, target, 6, segment)) + segment[18:]


def icmp(data, kind=8):
    packet = struct.pack("!BBHHH", kind, 0, 0, 7, 1) + data
    return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]


def frame(payload, kind=0x0800, source=OWN_MAC, target=GATEWAY_MAC):
    return target + source + struct.pack("!H", kind) + payload


def send(*frames):
    """Puts frames on the wire as they are, and returns what came back soon that was meant for us."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as channel:
        channel.bind((link_name(), 0))
        for data in frames:
            channel.send(data)
        return [data for data, address in received(channel) if address[2] != 4]


def received(channel, patience=PATIENCE / 2):
    end = time.monotonic() + patience
    while (left := end - time.monotonic()) > 0:
        channel.settimeout(left)
        try:
            yield channel.recvfrom(65_535)
        except TimeoutError:
            return
