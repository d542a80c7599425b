"""Python kernels, from the server's side: forked from the zygote, spoken to by Jupyter's protocol over unix sockets."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys

import zmq
import zmq.asyncio

from . import machine
from .kernels import KERNEL_SCORE, RUN, KernelDied, ending, prepare_directory

DELIMITER = b"<IDS|MSG>"
START_SECONDS = 60
LOAD_SECONDS = 180
ZYGOTE_SCORE = -900


class Zygote:
    """The process that kernels are forked from; started again if it ends."""

    def __init__(self):
        self.process = None
        self.socket = None
        self.kernels = {}
        self.loading = None

    async def ensure(self):
        """Returns when there is a zygote that has loaded everything."""
        if self.loading is None or (self.loading.done() and self.process is None):
            self.loading = asyncio.ensure_future(self.start())
        await asyncio.shield(self.loading)

    async def start(self):
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setblocking(False)
        directory = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
        code = f"import sys; sys.path.insert(0, {directory!r}); from martlet_code import zygote; " \
               "zygote.signal.signal(zygote.signal.SIGINT, zygote.signal.SIG_IGN); zygote.main(int(sys.argv[1]))"
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", code, str(theirs.fileno()), pass_fds=[theirs.fileno()],
            stdin=asyncio.subprocess.DEVNULL, start_new_session=True)
        theirs.close()
        machine.set_oom_score(self.process.pid, ZYGOTE_SCORE)
        self.socket = mine
        loop = asyncio.get_running_loop()
        loaded = loop.create_future()
        loop.add_reader(mine, self.receive, mine, loaded)
        await asyncio.wait_for(loaded, LOAD_SECONDS)

    def receive(self, sock, loaded):
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self.ended(sock, loaded)
        message = json.loads(data)
        if "loaded" in message and not loaded.done():
            loaded.set_result(None)
        elif "ended" in message:
            for kernel in list(self.kernels.values()):
                if kernel.pid == message["ended"]:
                    kernel.died(ending(message["code"]))
        elif message.get("kernel") in self.kernels:
            self.kernels[message["kernel"]].told(message)

    def ended(self, sock, loaded):
        asyncio.get_running_loop().remove_reader(sock)
        sock.close()
        process, self.process, self.socket = self.process, None, None
        if process is not None and process.returncode is None:
            process.kill()
        if not loaded.done():
            loaded.set_exception(RuntimeError("the process that kernels are forked from has ended"))
        # Nobody could tell any more when one of its kernels ends.
        for kernel in list(self.kernels.values()):
            kernel.kill()
            kernel.died("the process it was forked from has ended")

    async def fork(self, kernel, order):
        await self.ensure()
        self.kernels[order["kernel"]] = kernel
        await asyncio.get_running_loop().sock_sendall(self.socket, json.dumps(order).encode())


class PythonKernel:
    """One kernel and what runs in it."""

    language = "python"
    is_stubborn = False
    _context = None

    def __init__(self, zygote, name, cwd):
        self.zygote = zygote
        self.name = name
        self.cwd = cwd
        self.directory = f"{RUN}/{name}"
        self.pid = None
        self.why = None
        self.listens = None
        self.shell = None
        self.reader = None
        self.number = 0
        self.current = None

    @property
    def is_alive(self):
        return self.pid is not None and self.why is None

    async def start(self):
        """Starts the kernel; returns when it takes code."""
        account = machine.Account()
        prepare_directory(self.directory, account)
        self.listens = asyncio.get_running_loop().create_future()
        order = {
            "kernel": self.name, "directory": self.directory, "cwd": self.cwd, "user": account.name,
            "environment": account.environment(), "oom_score_adj": KERNEL_SCORE,
        }
        await self.zygote.fork(self, order)
        await asyncio.wait_for(self.listens, START_SECONDS)
        await self.connect()

    def told(self, message):
        if "pid" in message:
            self.pid = message["pid"]
        elif "error" in message:
            self.died(f"it could not be forked: {message['error']}")
        elif not self.listens.done():
            self.listens.set_result(None)

    def died(self, why):
        if self.why is not None:
            return
        self.why = why
        self.zygote.kernels.pop(self.name, None)
        for waiting in (self.listens, self.current and self.current.done):
            if waiting is not None and not waiting.done():
                waiting.set_exception(KernelDied(why))

    async def connect(self):
        if PythonKernel._context is None:
            PythonKernel._context = zmq.asyncio.Context(io_threads=1)
        context = PythonKernel._context
        self.iopub = context.socket(zmq.SUB)
        self.iopub.setsockopt(zmq.SUBSCRIBE, b"")
        self.iopub.setsockopt(zmq.RCVHWM, 0)
        self.iopub.connect(f"ipc://{self.directory}/socket-2")
        # What is answered here is told by the other socket as well: it is only emptied.
        self.shell = zmq.Context.shadow(context.underlying).socket(zmq.DEALER)
        self.shell.connect(f"ipc://{self.directory}/socket-1")
        self.reader = asyncio.ensure_future(self.read())
        # A subscription takes its time: until then what a request brings forth is lost, so it is made again.
        while True:
            probe = _Execution(None)
            self.current = probe
            self.send("kernel_info_request", {}, probe)
            try:
                await asyncio.wait_for(asyncio.shield(probe.done), 0.5)
                return
            except asyncio.TimeoutError:
                if self.why is not None:
                    raise KernelDied(self.why) from None
            finally:
                self.current = None

    async def run(self, code, output, environment=None, base=None, rehearses=False):
        """Runs code until the kernel is idle again.

        :raises KernelDied: when it ended instead.
        """
        if self.why is not None:
            raise KernelDied(self.why)
        while True:
            try:
                self.shell.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
        execution = _Execution(output)
        self.current = execution
        content = {
            "code": code, "silent": False, "store_history": not rehearses, "user_expressions": {},
            "allow_stdin": False, "stop_on_error": False,
        }
        extension = {"environment": environment or {}, "base": base or {}, "rehearsal": rehearses}
        try:
            self.send("execute_request", content, execution, {"martlet": extension})
            await execution.done
        finally:
            self.current = None

    def send(self, kind, content, execution, metadata=None):
        self.number += 1
        execution.request = f"{self.name}-{self.number}"
        header = {
            "msg_id": execution.request, "session": self.name, "username": "martlet", "date": "", "msg_type": kind,
            "version": "5.3",
        }
        parts = [json.dumps(part).encode() for part in (header, {}, metadata or {}, content)]
        self.shell.send_multipart([DELIMITER, b"", *parts], zmq.NOBLOCK)

    async def read(self):
        while True:
            frames = await self.iopub.recv_multipart()
            execution = self.current
            if execution is None:
                continue
            try:
                start = frames.index(DELIMITER) + 2
                header, parent, _, content = (json.loads(frame) for frame in frames[start : start + 4])
            except (ValueError, RecursionError):
                continue
            if parent.get("msg_id") == execution.request:
                try:
                    execution.take(header.get("msg_type"), content)
                except (KeyError, TypeError, AttributeError):
                    # Anybody in the machine may send what is no message.
                    continue

    def interrupt(self):
        """Raises KeyboardInterrupt in what runs."""
        self.signal(signal.SIGINT)

    def kill(self):
        self.signal(signal.SIGKILL)

    def signal(self, number):
        if self.pid is not None and self.why is None:
            try:
                # Its whole session: what it has started is interrupted with it, as by a terminal.
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass

    async def stop(self):
        """Ends the kernel with all it has started."""
        self.kill()
        self.died("it was ended")
        await self.release()

    async def release(self):
        """Lets go of what the server holds for it."""
        if self.reader is not None:
            self.reader.cancel()
            self.iopub.close(0)
            self.shell.close(0)
            self.reader = None
        shutil.rmtree(self.directory, ignore_errors=True)


class _Execution:
    """One request, until the kernel is idle."""

    def __init__(self, output):
        self.output = output
        self.request = None
        self.done = asyncio.get_running_loop().create_future()

    def take(self, kind, content):
        if kind == "status":
            if content["execution_state"] == "idle" and not self.done.done():
                self.done.set_result(None)
        elif self.output is None:
            return
        elif kind == "stream":
            self.output.text("stderr" if content["name"] == "stderr" else "stdout", str(content["text"]))
        elif kind in ("display_data", "update_display_data"):
            self.output.result(dict(content["data"]), False)
        elif kind == "execute_result":
            self.output.result(dict(content["data"]), True)
        elif kind == "error":
            traceback = "\n".join(str(line) for line in content["traceback"])
            self.output.error(str(content["ename"]), str(content["evalue"]), traceback)
        elif kind == "execute_input":
            self.output.count(content["execution_count"])
