"""Kernels that are one process with a channel to the server: JavaScript and bash.

What their code prints comes by pipes, so that programs they start print the same way.
"""

import asyncio
import codecs
import json
import os
import shlex
import shutil
import signal
import socket

from . import machine
from .kernels import KERNEL_SCORE, RUN, KernelDied, ending, prepare_directory

START_SECONDS = 60
PIECE = 65536
HERE = os.path.dirname(os.path.realpath(__file__))


class Pipe:
    """Output of a kernel as text, read as it comes."""

    def __init__(self, take):
        self.take = take
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.ours, self.theirs = os.pipe()
        os.set_blocking(self.ours, False)

    def watch(self):
        os.close(self.theirs)
        asyncio.get_running_loop().add_reader(self.ours, self.drain)

    def drain(self):
        """Takes all that is there."""
        while self.ours is not None:
            try:
                data = os.read(self.ours, PIECE)
            except BlockingIOError:
                return
            if not data:
                self.close()
                return
            self.take(self.decoder.decode(data))

    def close(self):
        if self.ours is not None:
            asyncio.get_running_loop().remove_reader(self.ours)
            os.close(self.ours)
            self.ours = None


class ProcessKernel:
    """A kernel that is one process; subclasses say which, and how it is told to run something."""

    language = ""
    # Whether code that goes on after all interrupts costs the kernel.
    is_stubborn = False
    input = asyncio.subprocess.DEVNULL

    def __init__(self, name, cwd):
        self.name = name
        self.cwd = cwd
        self.directory = f"{RUN}/{name}"
        self.process = None
        self.why = None
        self.output = None
        self.waiting = None
        self.pipes = []
        self.executions = 0
        self.watcher = None

    @property
    def is_alive(self):
        return self.process is not None and self.why is None

    async def start(self):
        """Starts the kernel; returns when it takes code."""
        account = machine.Account()
        prepare_directory(self.directory, account)
        environment = account.environment()
        out = Pipe(lambda text: self.printed("stdout", text))
        err = Pipe(lambda text: self.printed("stderr", text))
        self.pipes = [out, err]
        ready = self.expect()
        arguments, descriptors = self.prepare(environment)
        self.process = await asyncio.create_subprocess_exec(
            *arguments, stdin=self.input, stdout=out.theirs, stderr=err.theirs, pass_fds=descriptors, cwd=self.cwd,
            env=environment, start_new_session=True, user=account.uid, group=account.gid,
            extra_groups=account.groups)
        for pipe in self.pipes:
            pipe.watch()
        machine.set_oom_score(self.process.pid, KERNEL_SCORE)
        self.watcher = asyncio.ensure_future(self.watch())
        await self.began()
        await asyncio.wait_for(ready, START_SECONDS)

    async def watch(self):
        code = await self.process.wait()
        self.drain()
        self.died(ending(code))

    def printed(self, channel, text):
        if self.output is not None:
            self.output.text(channel, text)

    def drain(self):
        for pipe in self.pipes:
            pipe.drain()

    def expect(self):
        """A future for what the kernel says next."""
        self.waiting = asyncio.get_running_loop().create_future()
        return self.waiting

    def said(self, what):
        # What was printed before it was said is heard before it.
        self.drain()
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(what)

    def died(self, why):
        if self.why is None:
            self.why = why
            if self.waiting is not None and not self.waiting.done():
                self.waiting.set_exception(KernelDied(why))

    async def run(self, code, output, environment=None, base=None, rehearses=False):
        """Runs code until the kernel is idle again.

        :raises KernelDied: when it ended instead.
        """
        if self.why is not None:
            raise KernelDied(self.why)
        if not rehearses:
            self.executions += 1
        output.count(self.executions)
        self.output = output
        try:
            await self.run_code(code, environment or {}, base or {})
        finally:
            self.output = None

    def interrupt(self):
        self.signal(signal.SIGINT)

    def signal(self, number):
        if self.is_alive:
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                pass

    async def stop(self):
        """Ends the kernel with all it has started."""
        self.signal(signal.SIGKILL)
        self.died("it was ended")
        if self.watcher is not None:
            await self.watcher
        for pipe in self.pipes:
            pipe.close()
        self.closed()
        shutil.rmtree(self.directory, ignore_errors=True)

    # What is different from one to the other.

    def prepare(self, environment):
        """The command line, and the descriptors beside the usual ones."""
        raise NotImplementedError

    async def began(self):
        """Called when the process has been started."""

    async def run_code(self, code, environment, base):
        raise NotImplementedError

    def closed(self):
        """Lets go of what `prepare` made."""


class Lines:
    """Lines of JSON out of pieces of text."""

    def __init__(self, take):
        self.take = take
        self.rest = ""

    def add(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                # Code that has found the channel may write anything.
                continue
            if isinstance(message, dict):
                self.take(message)


class JavaScriptKernel(ProcessKernel):
    """Node.js: `javascript.js` runs what is sent on one socket, and tells of it on a pipe."""

    language = "javascript"
    # Code that computes after it has waited for something sees no signal.
    is_stubborn = True

    def prepare(self, environment):
        self.orders, self.theirs = socket.socketpair()
        self.orders.setblocking(False)
        answers = Pipe(Lines(self.answered).add)
        displays = Pipe(Lines(self.displayed).add)
        self.pipes += [displays, answers]
        descriptors = [self.theirs.fileno(), answers.theirs, displays.theirs]
        return ["/usr/bin/node", f"{HERE}/javascript.js", *map(str, descriptors)], descriptors

    async def began(self):
        self.theirs.close()

    def displayed(self, message):
        if self.output is not None and isinstance(message.get("bundle"), dict):
            self.output.result(message["bundle"], False)

    def answered(self, message):
        self.said(message)

    async def run_code(self, code, environment, base):
        answer = self.expect()
        order = {"code": code, "environment": environment, "base": base}
        await asyncio.get_running_loop().sock_sendall(self.orders, json.dumps(order).encode() + b"\n")
        message = await answer
        error, bundle = message.get("error"), message.get("bundle")
        if isinstance(error, dict):
            self.output.error(*(str(error.get(key) or "") for key in ("name", "value", "traceback")))
        elif isinstance(bundle, dict):
            self.output.result(bundle, True)

    def interrupt(self):
        """Stops what runs, and interrupts the programs it has started."""
        super().interrupt()
        try:
            self.orders.send(b'{"interrupt": true}\n')
        except OSError:
            # Gone, or so far behind that it will not listen anyway.
            pass

    def closed(self):
        self.orders.close()


class BashKernel(ProcessKernel):
    """An interactive bash: it lives on when code is interrupted, and says by its prompt that it is ready."""

    language = "bash"
    input = asyncio.subprocess.PIPE

    def prepare(self, environment):
        prompts = Pipe(self.prompted)
        self.pipes.append(prompts)
        environment.update(PS1="", PS2="", MARTLET_PROMPT=str(prompts.theirs))
        return ["/bin/bash", "--noprofile", "--norc", "--noediting", "-i"], [prompts.theirs]

    async def began(self):
        # From now on each line is answered by the status of what it ran.
        self.process.stdin.write(
            b"set +o history +H; readonly PROMPT_COMMAND='printf \"%s\\n\" \"$?\" >&'\"$MARTLET_PROMPT\"; "
            b"unset MARTLET_PROMPT\n")

    def prompted(self, text):
        for line in text.split("\n"):
            if line:
                self.said(line)

    async def line(self, text):
        answer = self.expect()
        self.process.stdin.write(text.encode("utf-8", "surrogateescape") + b"\n")
        return await answer

    async def run_code(self, code, environment, base):
        for name, value in base.items():
            if name.isidentifier():
                await self.line(f"export {name}={shlex.quote(value)}")
        for number, (name, value) in enumerate(environment.items()):
            await self.line(
                f"__martlet_{number}_is=${{{name}+x}} __martlet_{number}=${{{name}-}}; "
                f"export {name}={shlex.quote(value)}")
        cell = f"{self.directory}/cell"
        with open(cell, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(code if code.endswith("\n") else code + "\n")
        os.chmod(cell, 0o644)
        status = await self.line(f". {cell} </dev/null")
        for number, name in enumerate(environment):
            await self.line(
                f"if [ -n \"$__martlet_{number}_is\" ]; then {name}=$__martlet_{number}; else unset {name}; fi; "
                f"unset __martlet_{number}_is __martlet_{number}")
        if status not in ("0", ""):
            self.output.error("ExitStatus", status, "")

    def closed(self):
        self.process.stdin.close()
