"""A Python kernel: ipykernel, with what a code interpreter's client is told beyond what a notebook is."""

import os
import random
import signal
import sys

from IPython.core.formatters import BaseFormatter
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from traitlets import ObjectName, Type, Unicode

from . import machine

DATA_TYPE = "application/vnd.martlet.data+json"
CHART_TYPE = "application/vnd.martlet.chart+json"
# Of a request's metadata.
EXTENSION = "martlet"

_generation = b""


def reseed():
    """Gives the random generators of this process new seeds: a copy of the machine has the same state."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()


def reseed_if_restored():
    """Reseeds when the machine is not the one it was."""
    global _generation
    current = machine.generation()
    if current != _generation:
        _generation = current
        reseed()


class MartletKernel(IPythonKernel):
    """A kernel whose requests may carry variables of the environment, and that notices restores of its machine."""

    async def execute_request(self, stream, ident, parent):
        extension = (parent.get("metadata") or {}).get(EXTENSION) or {}
        os.environ.update(extension.get("base") or {})
        reseed_if_restored()
        own = extension.get("environment") or {}
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            await super().execute_request(stream, ident, parent)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
        if extension.get("rehearsal"):
            self.forget_results()

    def forget_results(self):
        """Leaves no trace of a rehearsal in what the user's code can see."""
        shell = self.shell
        shell.user_ns["_oh"].clear()
        for name in [name for name in shell.user_ns if name[:1] == "_" and name[1:].isdigit()]:
            del shell.user_ns[name]
        for name in ("_", "__", "___"):
            shell.user_ns[name] = ""
            setattr(shell.displayhook, name, "")


class MartletKernelApp(IPKernelApp):
    kernel_class = Type(MartletKernel, klass="ipykernel.kernelbase.Kernel").tag(config=True)

    def log_connection_info(self):
        """Nobody else is to connect."""


class DataFormatter(BaseFormatter):
    """Tables as columns of plain values."""

    format_type = Unicode(DATA_TYPE)
    print_method = ObjectName("_repr_martlet_data_")
    _return_type = (dict,)


class ChartFormatter(BaseFormatter):
    """Figures as the data they show."""

    format_type = Unicode(CHART_TYPE)
    print_method = ObjectName("_repr_martlet_chart_")
    _return_type = (dict,)

    def pop(self, typ, default=None):
        """Whatever sets up pictures of figures takes figures away from all formatters first: not from this one."""
        return default


def add_formatters(shell):
    from . import charts

    display = shell.display_formatter
    data = DataFormatter(parent=display)
    data.for_type_by_name("pandas.core.frame", "DataFrame", charts.data_of)
    chart = ChartFormatter(parent=display)
    chart.for_type_by_name("matplotlib.figure", "Figure", charts.chart_of)
    display.formatters[DATA_TYPE] = data
    display.formatters[CHART_TYPE] = chart


def run(server, order):
    """Becomes the kernel that is ordered; returns when it is asked to end.

    `server` is told when the kernel listens.
    """
    global _generation
    import ctypes
    import gc
    import json

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    machine.set_oom_score("self", order["oom_score_adj"])
    account = machine.Account(order["user"])
    account.become()
    # Changing identity has made the process's own files in /proc root's.
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE
    os.umask(0o022)
    os.environ.clear()
    os.environ.update(order["environment"])
    try:
        os.chdir(order["cwd"])
    except OSError:
        os.chdir("/")
    _generation = machine.generation()
    reseed()
    sys.path[:] = ["", *(path for path in sys.path if not path.endswith("/code-interpreter"))]
    sys.argv[:] = ["ipykernel"]
    import site

    local = site.getusersitepackages()
    site.ENABLE_USER_SITE = True
    if local not in sys.path:
        sys.path.insert(1, local)
    gc.enable()

    app = MartletKernelApp.instance()
    directory = order["directory"]
    app.transport = "ipc"
    app.ip = f"{directory}/socket"
    app.shell_port, app.iopub_port, app.stdin_port, app.control_port, app.hb_port = 1, 2, 3, 4, 5
    app.connection_file = f"{directory}/connection.json"
    # Sockets are in a directory of their owner's alone. A key that all copies of the machine share keeps nobody out.
    app.session.key = b""
    app.config.HistoryManager.enabled = False
    app.log_level = 40
    app.initialize([])
    add_formatters(app.shell)
    app.shell.enable_matplotlib("inline")
    server.send(json.dumps({"kernel": order["kernel"], "listens": True}).encode())
    server.close()
    app.start()
