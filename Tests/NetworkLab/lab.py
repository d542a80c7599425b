#!/usr/bin/env python3
"""A small world for network tests: a host with an internet, a private network and a metadata server behind it.

Started in namespaces of its own (network, processes, mounts), of which it is the first process:

    unshare --net --pid --fork --kill-child --mount-proc python3 lab.py DIRECTORY

It answers commands, one JSON object a line, and ends at the end of its input. All that it started, and all that was
started by that, ends with it; nothing has a name outside, and there is no way to any other network.

    host      81.2.69.2 (uplink), 10.77.0.254 (private side); services on all its addresses and on loopback
    internet  93.184.0.0/16, 8.8.8.0/24 and others: every address is there
    lan       10.77.0.1, and the metadata server 169.254.169.254
"""

import asyncio
import fcntl
import json
import os
import pathlib
import ssl
import subprocess
import sys
import threading

import content
import search
from journal import Journal, packet_socket
from names import Datagrams, Zone
from spaces import Space, link
from streams import Streams

PUBLIC = ["93.184.0.0/16", "8.8.4.0/24", "8.8.8.0/24", "1.0.0.0/24", "1.1.1.0/24", "9.9.9.0/24", "104.16.0.0/16"]
PUBLIC6 = "2606:2800:220::/48"
SERVER = "93.184.216.10"

RECORDS = {
    "ok.example": {"a": [SERVER]},
    "wild.example": {"a": [SERVER]},
    "*.wild.example": {"a": [SERVER]},
    "*.deep.wild.example": {"a": [SERVER]},
    "two.example": {"a": ["93.184.216.15", "93.184.216.16"]},
    "shared-ok.example": {"a": ["93.184.216.11"]},
    "shared-bad.example": {"a": ["93.184.216.11"]},
    "tcp.example": {"a": ["93.184.216.12"]},
    "api.example": {"a": ["93.184.216.17"]},
    "other.example": {"a": ["93.184.216.18"]},
    "stray.example": {"a": ["93.184.216.19"]},
    "h2.example": {"a": [content.HTTPD_ADDRESS]},
    "files.example": {"a": [content.HTTPD_ADDRESS]},
    "git.example": {"a": [content.HTTPD_ADDRESS]},
    "pypi.example": {"a": [content.HTTPD_ADDRESS]},
    "cname-ok.example": {"cname": "edge.cdn.example"},
    "edge.cdn.example": {"a": ["93.184.216.13"]},
    "cname-out.example": {"cname": "inner.corp.example"},
    "inner.corp.example": {"a": ["10.77.0.1"]},
    "rebind.example": {"ttl": 0, "sequence": [["93.184.216.14"], ["10.77.0.1"]]},
    "mixed.example": {"a": ["93.184.216.21", "10.77.0.1"]},
    "zero-ttl.example": {"ttl": 0, "a": [SERVER]},
    "huge-ttl.example": {"ttl": 2**31 - 1, "a": [SERVER]},
    "private.example": {"a": ["10.77.0.1"]},
    "meta.example": {"a": ["169.254.169.254"]},
    "host.example": {"a": ["81.2.69.2"]},
    "loop.example": {"a": ["127.0.0.1"]},
    "gateway.example": {"a": ["192.0.0.1"]},
    "dns.resolver.example": {"a": ["1.1.1.1"]},
    "denied.example": {"a": ["93.184.219.10"]},
    "*.denied.example": {"a": ["93.184.219.10"]},
    "open.example": {"a": ["93.184.216.22"]},
    "evil-wild.example": {"a": ["93.184.216.23"]},
    "evil-ok.example": {"a": ["93.184.216.23"]},
    "bad.example": {"a": ["93.184.216.24"]},
    "*.bad.example": {"a": ["93.184.216.24"]},
}


class Lab:
    def __init__(self, directory):
        self.directory = directory
        self.journal = Journal()
        self.zone = Zone()
        self.zone.set(RECORDS)
        self.host = Space.current("host")
        self.internet = Space.fresh("internet")
        self.lan = Space.fresh("lan")
        self.loop = asyncio.new_event_loop()
        self.datagrams = Datagrams(self.journal, self.zone)
        self.streams = None
        self.open_guest = None

    def set_up(self):
        self._connect()
        names = [name for name in RECORDS]
        content.make_certificates(self.directory, names)
        digest = content.make_site(self.directory)
        log = open(f"{self.directory}/nginx.log", "ab")
        self.internet.start("nginx", "-p", self.directory, "-c", f"{self.directory}/nginx.conf", log=log)
        datagrams = self.datagrams
        for space in (self.host, self.internet, self.lan):
            for port in (443, 7002):
                datagrams.add(space, "0.0.0.0", port, "echo")
        for port in (53, 5353):
            datagrams.add(self.internet, "0.0.0.0", port, "dns")
        threading.Thread(target=datagrams.run, daemon=True).start()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._serve(), self.loop).result()
        for space, name in ((self.internet, "core"), (self.lan, "lan0")):
            self.journal.sniff(space.name, packet_socket(space, name))
        return {"download": digest, "authority": f"{self.directory}/ca.pem"}

    def _connect(self):
        host, internet, lan = self.host, self.internet, self.lan
        host.run("ip", "link", "set", "lo", "up")
        link(host, "uplink", internet, "core")
        link(host, "private", lan, "lan0")
        for space, name, address in (
                (host, "uplink", "81.2.69.2/24"), (internet, "core", "81.2.69.1/24"),
                (host, "private", "10.77.0.254/24"), (lan, "lan0", "10.77.0.1/24"),
                (lan, "lan0", "169.254.169.254/32")):
            space.run("ip", "address", "add", address, "dev", name)
        for space, name, address in ((host, "uplink", "2606:2800:221::2/64"),
                                     (internet, "core", "2606:2800:221::1/64")):
            space.run("ip", "-6", "address", "add", address, "dev", name, "nodad")
        host.run("ip", "route", "add", "default", "via", "81.2.69.1")
        host.run("ip", "-6", "route", "add", "default", "via", "2606:2800:221::1")
        host.run("ip", "route", "add", "169.254.169.254/32", "via", "10.77.0.1")
        for prefix in PUBLIC:
            internet.run("ip", "route", "add", "local", prefix, "dev", "lo")
        internet.run("ip", "-6", "route", "add", "local", PUBLIC6, "dev", "lo")
        # Answers find their way whatever address was used, so that a spoofed one would be noticed.
        internet.run("ip", "route", "add", "default", "via", "81.2.69.2")
        internet.run("ip", "-6", "route", "add", "default", "via", "2606:2800:221::2")
        lan.run("ip", "route", "add", "default", "via", "10.77.0.254")

    async def _serve(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{self.directory}/leaf.pem", f"{self.directory}/leaf.key")
        context.set_alpn_protocols(["http/1.1"])
        stray = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        stray.load_cert_chain(f"{self.directory}/stray.pem", f"{self.directory}/stray.key")
        self.streams = streams = Streams(self.journal, self.zone, context)
        everywhere = (self.host, self.internet, self.lan)
        for space in everywhere:
            for port, service, secure in ((80, "http", False), (8080, "http", False), (443, "http", True),
                                          (7000, "greeting", False), (7001, "echo", False)):
                await streams.add(space, "0.0.0.0", port, service, secure)
        await streams.add(self.internet, "::", 80, "echo")
        for port, service, secure in ((853, "http", True), (8443, "http", True), (22, "greeting", False),
                                      (53, "dns", False)):
            await streams.add(self.internet, "0.0.0.0", port, service, secure)
        await streams.add(self.host, "127.0.0.1", 6379, "echo")
        await Streams(self.journal, self.zone, stray).add(self.internet, "93.184.216.19", 443, "http", True)

    # Commands

    def daemon(self, arguments, environment, log):
        """Starts the daemon and waits for its word; `said` is empty when it ended without one."""
        end, child_end = os.pipe()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64) for descriptor in (output, child_end)]
        # 3 is where it says that it is ready, 4 a lock it inherits; see how verbs start it.
        actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, high[index], number) for number, index in ((1, 0), (2, 0), (3, 1), (4, 0))]
        pid = os.posix_spawn(arguments[0], arguments, environment, file_actions=actions, setsid=True)
        for descriptor in (child_end, output, *high):
            os.close(descriptor)
        threading.Thread(target=os.waitpid, args=(pid, 0), daemon=True).start()
        with os.fdopen(end, "rb") as reader:
            said = reader.readline().decode()
        return {"said": said, "pid": pid}

    def unguarded(self, program):
        """Puts a guest in a namespace where nothing stands between it and the world, and starts a program there: what
        does not get through here is no attempt."""
        guest = Space.fresh("guest")
        link(self.host, "open0", guest, "eth0")
        for space, name, mac, address in ((self.host, "open0", "02:6d:74:00:00:01", "192.0.0.1/30"),
                                          (guest, "eth0", "02:6d:74:00:00:02", "192.0.0.2/30")):
            space.run("ip", "link", "set", name, "down")
            space.run("ip", "link", "set", name, "address", mac)
            space.run("ip", "link", "set", name, "up")
            space.run("ip", "address", "add", address, "dev", name)
        guest.run("ip", "route", "add", "default", "via", "192.0.0.1")
        for key in ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/accept_source_route",
                    "ipv4/conf/open0/accept_source_route"):
            pathlib.Path(f"/proc/sys/net/{key}").write_text("1")
        self.host.run("ip", "-6", "address", "add", "2606:2800:222:1::1/64", "dev", "open0", "nodad")
        self.datagrams.add(self.host, "192.0.0.1", 53, "dns")
        asyncio.run_coroutine_threadsafe(
            self.streams.add(self.host, "192.0.0.1", 53, "dns"), self.loop).result()
        self.open_guest = subprocess.Popen(
            ["nsenter", f"--net={guest.path}", "python3", "-u", program], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)

    def attempt(self, line):
        """Has the unguarded guest try something."""
        self.open_guest.stdin.write(line + "\n")
        self.open_guest.stdin.flush()
        return {"line": self.open_guest.stdout.readline()}

    def pip(self):
        return {"output": content.make_pip(self.directory)}

    def search_files(self, directory, texts):
        return {"found": search.in_files(directory, texts)}

    def search_memory(self, word, texts):
        found, count = search.in_processes(word, texts)
        return {"found": found, "count": count}

    def names(self, records):
        self.zone.set(records)

    def mark(self):
        return {"count": self.journal.count()}

    def listen(self, on):
        """Whether packets are kept; servers' entries always are."""
        (self.journal.listening.set if on else self.journal.listening.clear)()

    def seen(self, token=None, addresses=(), sources=()):
        found = self.journal.seen(token, addresses, sources)
        if token:
            found += [f"internet: {entry}" for entry in content.access_entries(self.directory)
                      if token.lower() in str(entry).lower()]
        return {"found": found}

    def frames(self, mark):
        return {"found": self.journal.sent_by(bytes.fromhex(mark))}

    def log(self, start=0):
        entries = self.journal.entries(start) + content.access_entries(self.directory)
        return {"entries": [{key: value if isinstance(value, str) else json.dumps(value)
                             for key, value in entry.items()} for entry in entries]}

    def run(self, words, where="host"):
        return {"output": {"host": self.host, "internet": self.internet, "lan": self.lan}[where].run(*words)}

    def holdings(self):
        """What there is on the host that a network could leave behind."""
        processes, spaces = [], set()
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = pathlib.Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                spaces.add(os.readlink(f"/proc/{name}/ns/net"))
                if words:
                    processes.append(words[:300])
            except OSError:
                continue
        links = json.loads(self.host.run("ip", "-json", "link", "show"))
        return {
            "links": sorted(entry["ifname"] for entry in links),
            "routes": sorted(self.host.run("ip", "-4", "route", "show", "table", "all").splitlines()),
            "rules": self.host.run("nft", "list", "ruleset"),
            "processes": sorted(processes), "namespaces": sorted(spaces),
            "mounts": sorted(pathlib.Path("/proc/self/mounts").read_text().splitlines()),
        }


def serve(directory):
    lab = Lab(directory)
    # Replies alone go out; whatever a library prints is for the log.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def reply(value):
        replies.write(json.dumps(value) + "\n")
        replies.flush()

    try:
        reply(lab.set_up())
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return reply({"error": f"{error}"})
    for line in sys.stdin:
        command = json.loads(line)
        try:
            reply(getattr(lab, command.pop("op"))(**command) or {})
        except (OSError, RuntimeError) as error:
            reply({"error": f"{error}"})


def main():
    """The first process of the namespace only waits for the others; when the second one ends, all do."""
    child = os.fork()
    if child == 0:
        serve(sys.argv[1])
        sys.stdout.flush()
        os._exit(0)
    while True:
        pid, _ = os.wait()
        if pid == child:
            os._exit(0)


main()
