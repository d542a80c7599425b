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
    preload()
    gc.collect()
    # What is loaded now stays: looking at it again at every collection would only copy its pages.
    gc.freeze()
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ, None)
    server.send(b'{"loaded": true}')
    while True:
        for key, _ in selector.select():
            if key.data is None:
                data = server.recv(MAX_MESSAGE)
                if not data:
                    return
                fork(server, selector, json.loads(data))
            else:
                selector.unregister(key.fileobj)
                os.close(key.fd)
                _, status = os.waitpid(key.data, 0)
                code = os.waitstatus_to_exitcode(status)
                server.send(json.dumps({"ended": key.data, "code": code}).encode())


def fork(server, selector, order):
    try:
        pid = os.fork()
    except OSError as error:
        reason = os.strerror(error.errno or errno.EAGAIN)
        server.send(json.dumps({"kernel": order["kernel"], "error": reason}).encode())
        return
    if pid == 0:
        code = 1
        try:
            for key in list(selector.get_map().values()):
                if key.data is not None:
                    os.close(key.fd)
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
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
    server.send(json.dumps({"kernel": order["kernel"], "pid": pid}).encode())


if __name__ == "__main__":
    # A terminal's or a group's interrupt is meant for kernels.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(int(sys.argv[1]))
