"""What reached the servers, and every packet that reached the networks behind the host."""

import socket
import struct
import threading

ETH_P_ALL = 3
PACKET_OUTGOING = 4
KEPT_BYTES = 2048
MOST_PACKETS = 200_000


class Journal:
    """Entries of servers and of sniffers; read while others write."""

    def __init__(self):
        self._lock = threading.Lock()
        self._entries = []
        self._packets = []
        self.listening = threading.Event()
        self.listening.set()

    def add(self, where, server, **facts):
        entry = {"where": where, "server": server}
        entry.update({key: value for key, value in facts.items() if value is not None})
        with self._lock:
            self._entries.append(entry)

    def entries(self, start=0):
        with self._lock:
            return self._entries[start:]

    def count(self):
        with self._lock:
            return len(self._entries)

    def sniff(self, where, packet_socket):
        """Keeps what comes in on a packet socket, from a thread of its own."""

        def work():
            while True:
                try:
                    frame, address = packet_socket.recvfrom(65_536)
                except OSError:
                    return
                if address[2] != PACKET_OUTGOING and self.listening.is_set():
                    with self._lock:
                        if len(self._packets) < MOST_PACKETS:
                            self._packets.append((where, frame[:KEPT_BYTES]))

        threading.Thread(target=work, daemon=True).start()

    def seen(self, token=None, addresses=(), sources=()):
        """Packets and entries that carry a token, go to one of these addresses or come from one of those."""
        wanted = token.lower().encode() if token else None
        to = {socket.inet_aton(address) for address in addresses}
        since = {socket.inet_aton(address) for address in sources}
        with self._lock:
            packets, entries = list(self._packets), list(self._entries)
        found = []
        for where, frame in packets:
            inner = frame[14:] if frame[12:14] == b"\x08\x00" else b""
            if (wanted and wanted in frame.lower()) or inner[16:20] in to or inner[12:16] in since:
                found.append(f"{where}: {describe(frame)}")
        for entry in entries:
            if (wanted and token.lower() in str(entry).lower()) or entry.get("dst") in addresses:
                found.append(f"{entry['where']}: {entry}")
        return found[:20]

    def sent_by(self, mac_or_type):
        """Frames with this source MAC, or of this Ethernet type."""
        with self._lock:
            packets = list(self._packets)
        return [f"{where}: {describe(frame)}" for where, frame in packets
                if frame[6:12] == mac_or_type or frame[12:14] == mac_or_type][:20]


def describe(frame):
    kind = struct.unpack("!H", frame[12:14])[0] if len(frame) >= 14 else 0
    if kind != 0x0800 or len(frame) < 34:
        return f"ethertype {kind:#06x} from {frame[6:12].hex(':')}"
    packet = frame[14:]
    source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    size = (packet[0] & 15) * 4
    ports = ""
    if packet[9] in (6, 17) and len(packet) >= size + 4:
        ports = " ports %d to %d" % struct.unpack("!HH", packet[size:size + 4])
    return f"{source} to {target} protocol {packet[9]}{ports}"


def packet_socket(space, link_name):
    sniffer = space.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sniffer.bind((link_name, 0))
    sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    return sniffer
