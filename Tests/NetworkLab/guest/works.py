#!/usr/bin/env python3
"""What a policy allows, tried from inside. Each function prints what it found; a failure is an exception."""

import base64
import os
import socket
import ssl
import sys
import time

import wire


def websocket(name, authority=""):
    """A WebSocket, over TLS when there is an authority: what is said comes back (RFC 6455)."""
    channel = socket.create_connection((name, 443 if authority else 80), 10)
    if authority:
        channel = ssl.create_default_context(cafile=authority).wrap_socket(channel, server_hostname=name)
    key = base64.b64encode(os.urandom(16)).decode()
    channel.sendall((f"GET /ws HTTP/1.1\r\nHost: {name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += wire.exactly(channel, 1)
    assert b" 101 " in head, head
    for number in range(20):
        text, mask = f"message {number}".encode(), os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text))
        channel.sendall(bytes([0x81, 0x80 | len(text)]) + mask + masked)
        assert wire.exactly(channel, 2 + len(text))[2:] == text
    print("20 messages")


def parallel(name, count):
    """Connections that are all open at once, each with a request of its own."""
    address = (wire.resolve(name), 80)
    channels = [socket.create_connection(address, 30) for _ in range(int(count))]
    for number, channel in enumerate(channels):
        channel.sendall(f"GET /number/{number} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    answered = 0
    for number, channel in enumerate(channels):
        channel.settimeout(30)
        data = b""
        while b"}" not in data:
            piece = channel.recv(65_536)
            assert piece, f"connection {number} was closed after {data}"
            data += piece
        answered += f'"/number/{number}"'.encode() in data
    print(answered)


def open_connections(address, port, count):
    """How many of this many connections can be open at once."""
    channels = []
    for _ in range(int(count)):
        channel = socket.socket()
        channel.settimeout(5)
        try:
            channel.connect((address, int(port)))
            channel.sendall(b"\0")
            if channel.recv(100):
                channels.append(channel)
        except OSError:
            continue
    print(len(channels))


def greeting(name, port):
    """A server that speaks first, and then answers."""
    channel = socket.create_connection((name, int(port)), 10)
    first = channel.recv(100)
    channel.sendall(b"hello\r\n")
    print((first + channel.recv(100)).decode().split())


def udp(address, port):
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.settimeout(5)
    channel.sendto(b"hello", (address, int(port)))
    print(channel.recv(100).decode())


def certificate(name):
    print(ssl.get_server_certificate((name, 443)).strip())


def by_address(address, port):
    """TLS without a name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    channel = context.wrap_socket(socket.create_connection((address, int(port)), 10))
    channel.sendall(b"GET /by-address HTTP/1.1\r\nHost: x\r\n\r\n")
    print("/by-address" in channel.recv(65_536).decode())


def lookup(name, server=wire.GATEWAY, kind="A", transport="udp"):
    answer = wire.ask(name, server, kind, transport)
    print(answer["code"], *sorted(answer["addresses"]))


def ttl(name):
    print(max(wire.ask(name)["ttls"]))


def stay(name, port, scheme, seconds):
    """A connection that is used all the time, until it breaks; says when it is in use and when it is over."""
    channel = socket.create_connection((name, int(port)), 20)
    if scheme == "http":
        channel.sendall(f"GET /drip HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    channel.settimeout(30)
    end = time.monotonic() + float(seconds)
    said = False
    try:
        while time.monotonic() < end:
            if scheme == "echo":
                # What could become a request by HTTP would wait for the rest of it.
                channel.sendall(b"\0")
            if not channel.recv(65_536):
                break
            if not said:
                print("in use", flush=True)
                said = True
            time.sleep(0.02)
        else:
            print("still in use", flush=True)
            return
    except OSError:
        pass
    print("over", flush=True)


def watch_udp(address, port, seconds):
    """Datagrams and their echoes, until there is no more echo."""
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.settimeout(30)
    channel.connect((address, int(port)))
    end = time.monotonic() + float(seconds)
    said = False
    try:
        while time.monotonic() < end:
            channel.send(b"x")
            channel.recv(100)
            if not said:
                print("in use", flush=True)
                said = True
            time.sleep(0.05)
        print("still in use", flush=True)
    except OSError:
        print("over", flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
