"""Network namespaces without names: they are gone when the last of their sockets and processes is."""

import ctypes
import os
import socket
import subprocess
import threading

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _own():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


class Space:
    """A network namespace, held by a descriptor."""

    def __init__(self, name, descriptor):
        self.name = name
        self.descriptor = descriptor

    @classmethod
    def current(cls, name):
        return cls(name, _own())

    @classmethod
    def fresh(cls, name):
        made = []

        def work():
            if _libc.unshare(CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            made.append(_own())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        space = cls(name, made[0])
        space.run("ip", "link", "set", "lo", "up")
        return space

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def run(self, *words):
        """Runs a program inside; a failure is an error with what it printed."""
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def start(self, *words, log):
        return subprocess.Popen(
            ["nsenter", f"--net={self.path}", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def socket(self, *arguments):
        """A socket that belongs to this namespace, whichever the thread is in."""
        before = _own()
        try:
            _enter(self.descriptor)
            return socket.socket(*arguments)
        finally:
            _enter(before)
            os.close(before)

    def listener(self, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = self.socket(family, socket.SOCK_STREAM)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # nginx has the same ports on addresses of its own.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((address, port))
        listener.listen(512)
        listener.setblocking(False)
        return listener


def link(left, left_name, right, right_name):
    """Joins two namespaces by a pair of links."""
    left.run("ip", "link", "add", left_name, "type", "veth", "peer", "name", right_name, "netns", right.path)
    for space, name in ((left, left_name), (right, right_name)):
        space.run("ip", "link", "set", name, "up")
