"""A name server that answers what it is told to, and the UDP services, each answering from the address it was asked at."""

import selectors
import socket
import struct
import threading

IP_PKTINFO = 8
A, CNAME, TXT, AAAA = 1, 5, 16, 28
TYPES = {1: "A", 2: "NS", 5: "CNAME", 10: "NULL", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 64: "SVCB", 65: "HTTPS",
         255: "ANY"}


def encoded(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".") if part) + b"\0"


def question(message):
    """The name, type and end of a query's question."""
    labels, at = [], 12
    while message[at]:
        size = message[at]
        labels.append(message[at + 1:at + 1 + size].decode("latin-1"))
        at += 1 + size
    kind = struct.unpack("!H", message[at + 1:at + 3])[0]
    return ".".join(labels), kind, at + 5


class Zone:
    """Names and what they resolve to: `a` addresses, `cname` another name, `ttl`, and `sequence`, which is a list of
    lists of addresses, one taken for each query, the last one again and again."""

    def __init__(self):
        self._lock = threading.Lock()
        self._records = {}

    def set(self, records):
        with self._lock:
            self._records.update(records)

    def _find(self, name):
        record = self._records.get(name)
        if record is None and "." in name:
            record = self._records.get("*." + name.split(".", 1)[1])
        return record

    def answer(self, message):
        """The answer to a query, its name and its type."""
        name, kind, end = question(message)
        answers, code, asked = [], 0, name.lower()
        with self._lock:
            for _ in range(8):
                record = self._find(asked)
                if record is None:
                    code = 0 if answers else 3
                    break
                ttl = record.get("ttl", 60)
                if "cname" in record:
                    answers.append((asked, CNAME, ttl, encoded(record["cname"])))
                    asked = record["cname"]
                    continue
                addresses = record.get("a", [])
                if "sequence" in record:
                    addresses = record["sequence"][0]
                    if kind == A and len(record["sequence"]) > 1:
                        record["sequence"].pop(0)
                if kind == A:
                    answers += [(asked, A, ttl, socket.inet_aton(address)) for address in addresses]
                elif kind == AAAA:
                    answers.append((asked, AAAA, ttl, socket.inet_pton(socket.AF_INET6, "2606:2800:220:1::10")))
                elif kind == TXT:
                    answers.append((asked, TXT, ttl, b"\x05hello"))
                break
        head = message[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(answers), 0, 0)
        body = b"".join(
            encoded(owner) + struct.pack("!HHIH", of, 1, ttl, len(data)) + data for owner, of, ttl, data in answers)
        return head + message[12:end] + body, name, TYPES.get(kind, str(kind))


class Datagrams:
    """UDP services of all namespaces, on one thread."""

    def __init__(self, journal, zone):
        self._journal = journal
        self._zone = zone
        self._selector = selectors.DefaultSelector()

    def add(self, space, address, port, service):
        listener = space.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        listener.bind((address, port))
        self._selector.register(listener, selectors.EVENT_READ, (space.name, port, service))

    def run(self):
        while True:
            for key, _ in self._selector.select():
                try:
                    self._serve(key.fileobj, *key.data)
                except (OSError, IndexError, struct.error) as error:
                    self._journal.add(key.data[0], "udp", problem=str(error))

    def _serve(self, listener, where, port, service):
        data, ancillary, _, source = listener.recvmsg(65_536, 256)
        info = next(value for level, kind, value in ancillary if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO))
        target = socket.inet_ntoa(info[8:12])
        facts = {"src": source[0], "dst": target, "port": port}
        if service == "dns":
            reply, name, kind = self._zone.answer(data)
            self._journal.add(where, "dns", name=name, type=kind, transport="udp", **facts)
        else:
            reply = b"echo:" + data
            self._journal.add(where, "udp", data=data[:200].decode("latin-1"), **facts)
        answer_from = struct.pack("=I4s4s", 0, info[8:12], info[8:12])
        listener.sendmsg([reply], [(socket.IPPROTO_IP, IP_PKTINFO, answer_from)], 0, source)
