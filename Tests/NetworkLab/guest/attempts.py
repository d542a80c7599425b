#!/usr/bin/env python3
"""Ways around a sandbox's network policy, tried from inside as root.

Reads one JSON object a line: `attempt`, the name of a function below, and its arguments. Answers each with a line:
`refused`, whether the attempt came to nothing as far as can be seen from here, and `detail`. What an attempt needs and
does not get, such as a name that should resolve, is never taken for a refusal.
"""

import inspect
import json
import socket
import ssl
import struct
import subprocess
import sys
import traceback

import wire
from wire import GATEWAY, PATIENCE


def outcome(refused, detail=""):
    return {"refused": bool(refused), "detail": str(detail)[:300]}


def exchange(address, port, *pieces, served, patience=10.0):
    """Connects, sends pieces one after the other, and returns what came back until it suffices or nothing more does."""
    with socket.create_connection((address, port), patience) as channel:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            channel.sendall(piece)
        channel.settimeout(PATIENCE)
        data = b""
        try:
            while not served(data) and (piece := channel.recv(65_536)):
                data += piece
        except (TimeoutError, ConnectionError):
            pass
        return data


def without_answer(address, port, *pieces, served=lambda data: bool(data)):
    try:
        data = exchange(address, port, *pieces, served=served)
    except OSError as error:
        return outcome(True, error)
    return outcome(not served(data), data)


def is_page(data):
    return b'"method"' in data


def is_served(data):
    """Anything but what the proxy itself says."""
    return bool(data) and b"Martlet: refused by rule" not in data


def target_of(name, address):
    """The address an attempt goes to: that of a name it looks up first, or one it is told."""
    return wire.resolve(name) if name else address


# Names

def lookup(name, server=GATEWAY, kind="A", transport="udp", port=53):
    answer = wire.ask(name, server, kind, transport, port)
    return outcome(answer["answers"] == 0, answer)


def tunnel(token, zone, count=8):
    """Data in look-ups of a zone that is not allowed."""
    answers = [wire.ask(f"{token}{number:040d}.{number:060d}.{zone}") for number in range(count)]
    return outcome(all(answer["answers"] == 0 for answer in answers), answers[0])


def lookup_then_connect(name, address, port=80, token=""):
    """A name that is allowed and leads where nothing is: neither may the answer be given nor the place be reached."""
    answer = wire.ask(name)
    there = without_answer(address, port, f"GET /{token} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    return outcome(address not in answer["addresses"] and there["refused"], [answer, there])


def rebind(name, address, token=""):
    """The first answer is public, the next private: the connection goes to the private one."""
    first = wire.ask(name)
    second = wire.ask(name)
    there = without_answer(address, 80, f"GET /{token} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    assert first["addresses"], "the first answer is missing"
    return outcome(address not in second["addresses"] and there["refused"], [first, second, there])


# TCP

def connect(address, port, token=""):
    """Whether anything accepts a connection and answers."""
    return without_answer(address, port, f"GET /{token} HTTP/1.1\r\nHost: ok.example\r\n\r\n".encode())


def connect_many(address, ports, token=""):
    open_ports = []
    for port in ports:
        with socket.socket() as channel:
            channel.settimeout(PATIENCE)
            try:
                channel.connect((address, port))
                channel.sendall(token.encode() + b"\r\n\r\n")
                if channel.recv(100):
                    open_ports.append(port)
            except OSError:
                continue
    return outcome(not open_ports, open_ports)


def http(host=None, resolve=None, address=None, port=80, token="", lines=(), target=None, method="GET", body=""):
    """One request, with this Host and whatever other lines."""
    where = target_of(resolve, address)
    head = [f"{method} {target or '/' + token} HTTP/1.1"] + ([f"Host: {host}"] if host else []) + list(lines)
    return without_answer(where, port, ("\r\n".join(head) + "\r\n\r\n" + body).encode(), served=is_page)


def http_second(first, second, resolve, token="", pipelined=False, lines=()):
    """A second request on a connection whose first one was fine."""
    requests = [f"GET /fine HTTP/1.1\r\nHost: {first}\r\n\r\n",
                "\r\n".join([f"GET /{token} HTTP/1.1", f"Host: {second}", *lines]) + "\r\n\r\n"]
    with socket.create_connection((wire.resolve(resolve), 80), 10) as channel:
        channel.settimeout(10)
        if pipelined:
            channel.sendall("".join(requests).encode())
        else:
            channel.sendall(requests[0].encode())
            data = channel.recv(65_536)
            assert is_page(data), f"the first request was refused: {data}"
            channel.sendall(requests[1].encode())
        data = b""
        try:
            while f'"/{token}"'.encode() not in data and (piece := channel.recv(65_536)):
                data += piece
        except OSError:
            pass
    return outcome(f'"/{token}"'.encode() not in data, data)


def raw_stream(data, resolve=None, address=None, port=80, token=""):
    """Bytes as they are."""
    sent = data.replace("TOKEN", token).encode("latin-1").decode("unicode_escape").encode("latin-1")
    return without_answer(target_of(resolve, address), port, sent, served=is_served)


def tls(sni=None, resolve=None, address=None, port=443, names=None, ech=False, pieces=1, records=1, prefix=""):
    """A ClientHello made by hand; a ServerHello in return is what must not come."""
    extra = b""
    if ech:
        # encrypted_client_hello, outer (RFC 9849), with a key and payload nobody can read.
        inner = b"\0" + struct.pack("!HHBH", 1, 1, 7, 32) + bytes(32) + struct.pack("!H", 64) + bytes(64)
        extra = struct.pack("!HH", 0xFE0D, len(inner)) + inner
    hello = wire.client_hello(sni, extra, names)
    size = -(-len(hello) // records)
    data = prefix.encode() + b"".join(
        wire.record(hello[at:at + size]) for at in range(0, len(hello), size))
    step = -(-len(data) // pieces)
    return without_answer(
        target_of(resolve, address), port, *(data[at:at + step] for at in range(0, len(data), step)),
        served=lambda got: got[:1] == b"\x16")


def tls_request(sni, host, resolve=None, address=None, port=443, token="", lines=(), method="GET", target=None,
                verified=False):
    """A request over TLS, with one name in the handshake and maybe another in the request."""
    context = ssl.create_default_context()
    if not verified:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((target_of(resolve, address), port), 20) as plain:
            with context.wrap_socket(plain, server_hostname=sni) as channel:
                head = [f"{method} {target or '/' + token} HTTP/1.1", f"Host: {host}", *lines]
                channel.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
                channel.settimeout(PATIENCE)
                data = channel.recv(65_536)
    except OSError as error:
        return outcome(True, error)
    return outcome(not is_page(data), data)


# Other transports

def udp(address, port, token="", resolve=None):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.settimeout(PATIENCE)
        try:
            channel.connect((target_of(resolve, address), port))
            channel.send(token.encode() or b"hello")
            return outcome(False, channel.recv(2000))
        except OSError as error:
            return outcome(True, error)


def broadcast(address, port, token=""):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        channel.settimeout(PATIENCE)
        try:
            channel.sendto(token.encode(), (address, port))
            return outcome(False, channel.recv(2000))
        except OSError as error:
            return outcome(True, error)


def quic(resolve=None, address=None, token=""):
    """An Initial as QUIC sends it (RFC 9000, 17.2.2), whose content nobody needs to understand."""
    return udp(address, 443, "\xc3\0\0\0\1\x08" + token, resolve)


def ping(address=None, resolve=None, token=""):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as channel:
        channel.settimeout(PATIENCE)
        where = target_of(resolve, address)
        try:
            channel.sendto(wire.icmp(token.encode() * 20), (where, 0))
            while True:
                data, source = channel.recvfrom(2000)
                if source[0] == where and data[20] == 0:
                    return outcome(False, data)
                if data[20] == 3:
                    return outcome(True, "unreachable")
        except OSError as error:
            return outcome(True, error)


def raw_protocol(address, protocol, token=""):
    """A whole protocol of its own beside TCP and UDP."""
    payload = token.encode()
    if protocol == 47:
        payload = struct.pack("!HH", 0, 0x0800) + wire.ip(address, 17, wire.udp(address, 7002, payload))
    if protocol == 132:
        payload = struct.pack("!HHII", 40_002, 7001, 0, 0) + b"\x01\0\0\x14" + payload
    if protocol == 41:
        payload = ipv6_packet(payload)
    return no_reply(wire.send(wire.frame(wire.ip(address, protocol, payload))), address)


def no_reply(frames, address=None):
    """Whether none of what came in is an answer from there: a refusal by the gateway is none."""
    answers = [data for data in frames if data[12:14] == b"\x08\x00" and (
        address is None or data[26:30] == socket.inet_aton(address)) and not is_refusal(data)]
    return outcome(not answers, answers[:2])


def is_refusal(data):
    protocol, body = data[23], data[14 + (data[14] & 15) * 4:]
    return (protocol == 1 and body[:1] == b"\x03") or (protocol == 6 and body[13] & 4 != 0)


# Frames nobody may send

def spoofed_address(source, address, token=""):
    packets = [wire.ip(address, 17, wire.udp(address, 7002, token.encode(), source), source),
               wire.ip(address, 6, wire.tcp(address, 7001, token.encode(), source=source), source)]
    return no_reply(wire.send(*map(wire.frame, packets)), address)


def spoofed_mac(mac, address, token=""):
    packet = wire.ip(address, 17, wire.udp(address, 7002, token.encode()))
    return no_reply(wire.send(wire.frame(packet, source=bytes.fromhex(mac))), address)


def arp(operation, sender, target, mac="026d74000002", to="ffffffffffff"):
    """Says that an address is ours, or asks for others'."""
    packet = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + bytes.fromhex(mac) + socket.inet_aton(sender)
    packet += bytes(6) + socket.inet_aton(target)
    frames = wire.send(wire.frame(packet, 0x0806, target=bytes.fromhex(to)))
    answers = [data for data in frames if data[12:14] == b"\x08\x06" and data[28:32] != socket.inet_aton(GATEWAY)]
    return outcome(not answers, answers)


def vlan(number, address, token="", kind=0x8100):
    packet = wire.ip(address, 17, wire.udp(address, 7002, token.encode()))
    return no_reply(wire.send(wire.frame(struct.pack("!HH", number, 0x0800) + packet, kind)), address)


def ethertype(kind, token=""):
    frames = wire.send(wire.frame(token.encode() * 4, kind), wire.frame(token.encode() * 4, kind, target=b"\xff" * 6))
    return outcome(not [data for data in frames if data[12:14] == struct.pack("!H", kind)])


def ipv6_packet(data, source="2606:2800:222:1::99", target="2606:2800:220:1::10"):
    pack = lambda address: socket.inet_pton(socket.AF_INET6, address)
    segment = struct.pack("!HHHH", 40_000, 7002, 8 + len(data), 0) + data
    pseudo = pack(source) + pack(target) + struct.pack("!II", len(segment), 17)
    segment = segment[:6] + struct.pack("!H", wire.checksum(pseudo + segment) or 0xFFFF) + segment[8:]
    return struct.pack("!IHBB", 6 << 28, len(segment), 17, 64) + pack(source) + pack(target) + segment


def ipv6_frames(token=""):
    """IPv6 to the gateway, and to everybody, asking for a router."""
    solicitation = struct.pack("!IHBB", 6 << 28, 8, 58, 255) + socket.inet_pton(socket.AF_INET6, "fe80::2")
    solicitation += socket.inet_pton(socket.AF_INET6, "ff02::2") + struct.pack("!BBHI", 133, 0, 0, 0)
    frames = wire.send(
        wire.frame(ipv6_packet(token.encode()), 0x86DD),
        wire.frame(solicitation, 0x86DD, target=bytes.fromhex("333300000002")))
    return outcome(not [data for data in frames if data[12:14] == b"\x86\xdd"], frames)


def ipv6_enabled(token=""):
    """The guest switches IPv6 on, gives itself an address and a route, and connects."""
    name = wire.link_name()
    for key in ("all", "default", name):
        with open(f"/proc/sys/net/ipv6/conf/{key}/disable_ipv6", "w") as switch:
            switch.write("0")
    try:
        run("ip", "-6", "address", "add", "2606:2800:222:1::99/64", "dev", name, "nodad")
        run("ip", "-6", "neighbour", "replace", "2606:2800:222:1::1", "lladdr", "02:6d:74:00:00:01", "dev", name)
        run("ip", "-6", "route", "add", "default", "via", "2606:2800:222:1::1")
        with socket.socket(socket.AF_INET6) as channel:
            # A link-local address that is new takes its time.
            channel.settimeout(3 * PATIENCE)
            try:
                channel.connect(("2606:2800:220:5::10", 80))
                channel.sendall(token.encode())
                return outcome(False, channel.recv(100))
            except OSError as error:
                return outcome(True, error)
    finally:
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w") as switch:
            switch.write("1")


def fragments(address, port, token="", overlapping=False):
    """A UDP packet in fragments; the first holds next to nothing, or the second writes over it."""
    segment = wire.udp(address, port, token.encode() * 4)
    cut = 16 if overlapping else 8
    first, offset = segment[:cut], (8 if overlapping else cut) // 8
    pieces = [wire.ip(address, 17, first, flags=0x2000, identity=77),
              wire.ip(address, 17, segment[offset * 8:], flags=offset, identity=77)]
    return no_reply(wire.send(*map(wire.frame, pieces)), address)


def tcp_fragments(address, port, token=""):
    """A SYN whose flags are in the second fragment (RFC 1858)."""
    segment = wire.tcp(address, port, token.encode())
    pieces = [wire.ip(address, 6, segment[:8], flags=0x2000, identity=78),
              wire.ip(address, 6, segment[8:], flags=1, identity=78)]
    return no_reply(wire.send(*map(wire.frame, pieces)), address)


def source_route(address, through, port, token=""):
    """A loose source route (RFC 791, 3.1) through somewhere allowed."""
    option = b"\x83\x07\x04" + socket.inet_aton(address) + b"\0"
    packet = wire.ip(through, 17, wire.udp(address, port, token.encode()), options=option)
    return no_reply(wire.send(wire.frame(packet)), address)


def half_tcp(address, port, token="", flags=0x10):
    """A segment of a connection that never began."""
    return no_reply(wire.send(wire.frame(wire.ip(address, 6, wire.tcp(address, port, token.encode(), flags)))), address)


def to_loopback(port, token=""):
    """A frame to the gateway whose packet is for its loopback."""
    packets = [wire.ip("127.0.0.1", 6, wire.tcp("127.0.0.1", port)),
               wire.ip("127.0.0.1", 17, wire.udp("127.0.0.1", port, token.encode()))]
    return no_reply(wire.send(*map(wire.frame, packets)), "127.0.0.1")


# A root user who changes the machine's own network, and puts it back

def run(*words):
    subprocess.run(words, check=True, capture_output=True)


def as_before():
    name = wire.link_name()
    run("ip", "link", "set", name, "down")
    run("ip", "link", "set", name, "address", ":".join(f"{byte:02x}" for byte in wire.OWN_MAC))
    run("ip", "address", "flush", "dev", name)
    run("ip", "address", "add", f"{wire.OWN}/30", "dev", name)
    run("ip", "link", "set", name, "up")
    run("ip", "route", "replace", "default", "via", GATEWAY)


def changed_address(own, address, port=80, token=""):
    name = wire.link_name()
    run("ip", "address", "flush", "dev", name)
    run("ip", "address", "add", f"{own}/32", "dev", name)
    run("ip", "route", "replace", GATEWAY, "dev", name)
    run("ip", "route", "replace", "default", "via", GATEWAY, "src", own)
    try:
        both = [connect(address, port, token), udp(address, 7002, token)]
        return outcome(all(one["refused"] for one in both), both)
    finally:
        as_before()


def changed_mac(mac, address, port=80, token=""):
    name = wire.link_name()
    run("ip", "link", "set", name, "down")
    run("ip", "link", "set", name, "address", mac)
    run("ip", "link", "set", name, "up")
    run("ip", "route", "replace", "default", "via", GATEWAY)
    try:
        sent, answer = udp(address, 7002, token), wire.ask("ok.example", patience=2)
        return outcome(sent["refused"] and answer["answers"] == 0, [sent, answer])
    finally:
        as_before()


def changed_route(address, port=80, token=""):
    """The place is said to be on the link itself, at the gateway's MAC."""
    name = wire.link_name()
    run("ip", "route", "replace", address, "dev", name)
    run("ip", "neighbour", "replace", address, "lladdr", "02:6d:74:00:00:01", "dev", name)
    try:
        both = [connect(address, port, token), udp(address, 7002, token)]
        return outcome(all(one["refused"] for one in both), both)
    finally:
        as_before()


# What is allowed: the same language for what must work

def page(name, port=80, token="", sni=None, authority=None):
    """A page by its name, as a library gets it; over TLS, verified, when there is an authority."""
    address = wire.resolve(name.lower().rstrip("."))
    with socket.create_connection((address, port), 5) as channel:
        if authority:
            context = ssl.create_default_context(cafile=authority)
            context.check_hostname = name == name.lower().rstrip(".")
            channel = context.wrap_socket(channel, server_hostname=sni or name)
        channel.sendall(f"GET /{token} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        channel.settimeout(5)
        data = channel.recv(65_536)
    return outcome(not is_page(data), data)


def main():
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            attempt = globals()[arguments.pop("attempt")]
            if "token" not in inspect.signature(attempt).parameters:
                arguments.pop("token", None)
            result = attempt(**arguments)
        except Exception:
            result = {"refused": False, "detail": "could not try: " + traceback.format_exc()[-600:]}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
