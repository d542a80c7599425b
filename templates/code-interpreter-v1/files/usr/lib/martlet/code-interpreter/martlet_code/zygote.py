"""The zygote: a process that has loaded all that Python kernels need, and becomes a new kernel by forking.

Starting a Python kernel with numpy, pandas and matplotlib takes seconds; forking one that has them takes a moment, and
its pages are shared. The zygote has one thread and opens nothing that its children could disturb each other with.
"""

import errno
import json
import os
import selectors
import signal
import socket
import sys

MAX_MESSAGE = 1024 * 1024


def preload():
    """Loads, and does once, what kernels will do."""
    import io

    # The debugger's parts would take memory and answer to nobody.
    sys.modules["debugpy"] = None
    import ipykernel.debugger  # noqa: F401

    del sys.modules["debugpy"]
    import matplotlib

    matplotlib.use("agg")
    import IPython.core.completerlib  # noqa: F401
    import ipykernel.kernelapp  # noqa: F401
    import matplotlib.pyplot as plt
    import matplotlib_inline.backend_inline  # noqa: F401
    import numpy
    import pandas

    from . import charts, kernel  # noqa: F401

    figure, axes = plt.subplots()
    axes.plot([1, 2, 3], [2, 1, 3], label="line")
    axes.set_title("Title")
    axes.legend()
    figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")
    charts.chart_of(figure)
    plt.close(figure)
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    frame._repr_html_(), repr(frame), frame.describe()
    numpy.random.default_rng(1).normal(size=4) @ numpy.ones(4)


def main(descriptor):
    """Serves requests to fork, one datagram each, until the socket closes."""
    import gc

    server = socket.socket(fileno=descriptor)
    children = Children()
    preload()
    gc.collect()
    # What is loaded now stays: looking at it again at every collection would only copy its pages.
    gc.freeze()
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ, None)
    children.listen(selector)
    server.send(b'{"loaded": true}')
    while True:
        for key, _ in selector.select():
            if key.data is None:
                data = server.recv(MAX_MESSAGE)
                if not data:
                    return
                fork(server, selector, children, json.loads(data))
            else:
                for pid, code in key.data(selector, key):
                    server.send(json.dumps({"ended": pid, "code": code}).encode())


class Children:
    """Tells which kernels have ended: by a descriptor of each, or, where the kernel has none (gVisor), by SIGCHLD."""

    def __init__(self):
        self.pids = set()
        self.wakeup = None
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError:
            self.wakeup = socket.socketpair()
            for end in self.wakeup:
                end.setblocking(False)

    def listen(self, selector):
        if self.wakeup:
            signal.signal(signal.SIGCHLD, lambda *_: None)
            signal.set_wakeup_fd(self.wakeup[1].fileno(), warn_on_full_buffer=False)
            selector.register(self.wakeup[0], selectors.EVENT_READ, self.collect_any)

    def add(self, selector, pid):
        if not self.wakeup:
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, lambda *words: self.collect(pid, *words))
            return
        self.pids.add(pid)
        # It may have ended before it was known.
        self.wakeup[1].send(b"\0")

    def collect(self, pid, selector, key):
        selector.unregister(key.fileobj)
        os.close(key.fd)
        return [(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))]

    def collect_any(self, selector, key):
        try:
            self.wakeup[0].recv(4096)
        except BlockingIOError:
            pass
        ended = []
        for pid in list(self.pids):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self.pids.discard(pid)
                ended.append((pid, os.waitstatus_to_exitcode(status)))
        return ended

    def forget(self, selector):
        """In a new kernel, which has no children yet."""
        for key in list(selector.get_map().values()):
            if key.data is not None and not self.wakeup:
                os.close(key.fd)
        if self.wakeup:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in self.wakeup:
                end.close()


def fork(server, selector, children, order):
    try:
        pid = os.fork()
    except OSError as error:
        reason = os.strerror(error.errno or errno.EAGAIN)
        server.send(json.dumps({"kernel": order["kernel"], "error": reason}).encode())
        return
    if pid == 0:
        code = 1
        try:
            children.forget(selector)
            selector.close()
            from . import kernel

            kernel.run(server, order)
            code = 0
        except SystemExit as request:
            code = request.code if isinstance(request.code, int) else 0 if request.code is None else 1
        except BaseException:
            import traceback

            traceback.print_exc(file=sys.__stderr__)
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            except Exception:
                pass
            os._exit(code & 0xFF)
    # First, so that its end is never told before it.
    server.send(json.dumps({"kernel": order["kernel"], "pid": pid}).encode())
    children.add(selector, pid)


if __name__ == "__main__":
    # A terminal's or a group's interrupt is meant for kernels.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(int(sys.argv[1]))
