"""Contexts: kernels by name, each used by one execution at a time."""

import asyncio
import os
import uuid

from . import machine
from .jupyter import PythonKernel, Zygote
from .kernels import KernelDied, Output
from .web import Refusal
from .workers import BashKernel, JavaScriptKernel

MAX_CONTEXTS = 64
KEEPALIVE_SECONDS = 5
# When a client has left, what it ran is interrupted, and again if that did not help: seconds between.
INTERRUPTS = (1, 2, 4, 8, 15)
DEFAULT_CWD = "/home/user"
LANGUAGES = {
    "python": "python", "python3": "python", "py": "python", "javascript": "javascript", "js": "javascript",
    "node": "javascript", "bash": "bash", "sh": "bash", "shell": "bash",
}


class Context:
    """A kernel, its name and its place; the kernel is replaced when it dies."""

    def __init__(self, contexts, identifier, language, cwd):
        self.contexts = contexts
        self.id = identifier
        self.language = language
        self.cwd = cwd
        self.kernel = None
        self.lock = asyncio.Lock()
        self.generation = None
        self.starts = 0
        self.is_removed = False
        # Why the kernel was lost that nobody was using at that time.
        self.loss = None

    def describe(self):
        return {"id": self.id, "language": self.language, "cwd": self.cwd}

    async def start(self):
        """Starts its kernel, if it does not run."""
        if self.kernel is not None and self.kernel.is_alive:
            return
        if self.kernel is not None:
            self.loss = self.kernel.why
            await self.kernel.stop()
        self.starts += 1
        self.generation = machine.generation()
        self.kernel = self.contexts.make_kernel(self.language, f"{self.id}.{self.starts}", self.cwd)
        await self.kernel.start()

    async def stop(self):
        self.is_removed = True
        if self.kernel is not None:
            await self.kernel.stop()

    async def restart(self):
        """Begins anew with an empty kernel; what runs in the old one ends."""
        if self.kernel is not None:
            await self.kernel.stop()
        async with self.lock:
            await self.start()
            self.loss = None

    async def rehearse(self, code):
        """Runs code that leaves no trace, so that the next is quick."""
        events = []
        async with self.lock:
            await self.start()
            await self.kernel.run(code, Output(events.append), base=self.changed_environment(), rehearses=True)
        return events

    def changed_environment(self):
        """The sandbox's variables, when the kernel may not have them: its machine was restored since it was started."""
        current = machine.generation()
        if current == self.generation:
            return None
        self.generation = current
        return machine.sandbox_environment()

    async def execute(self, code, environment):
        """Runs code; the events of it as they happen. Interrupts the code when the generator is closed early."""
        queue = asyncio.Queue()
        run = asyncio.ensure_future(self.run(code, environment, queue.put_nowait))
        try:
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), KEEPALIVE_SECONDS)
                except asyncio.TimeoutError:
                    event = {"type": "keepalive"}
                if event is None:
                    return
                yield event
        finally:
            if not run.done():
                self.contexts.keep(self.abandon(run))

    async def run(self, code, environment, emit):
        output = Output(emit)
        try:
            async with self.lock:
                if self.is_removed:
                    raise KernelDied("its context was removed")
                await self.start()
                if self.loss is not None:
                    output.text("stderr", f"[the {self.language} kernel was started again, without its variables: "
                                f"{self.loss}]\n")
                    self.loss = None
                try:
                    await self.kernel.run(code, output, environment, base=self.changed_environment())
                except KernelDied:
                    if not self.is_removed:
                        # The next execution should not be the one to wait.
                        self.contexts.keep(self.revive())
                    raise
        except KernelDied as death:
            output.error(
                "KernelDied", f"the {self.language} kernel is gone: {death.why}; a new one takes its place, without "
                "the variables of the old one", "")
        except asyncio.CancelledError:
            raise
        except Exception as error:
            output.error("KernelError", f"the {self.language} kernel cannot be used: {error}", "")
        finally:
            emit({"type": "end_of_execution"})
            emit(None)

    async def revive(self):
        async with self.lock:
            if not self.is_removed:
                await self.start()
                # Who ran code in the old one has been told already.
                self.loss = None

    async def abandon(self, run):
        """Sees to it that code nobody waits for ends."""
        if not self.lock.locked() or self.kernel is None:
            run.cancel()
            return
        for seconds in INTERRUPTS:
            self.kernel.interrupt()
            done, _ = await asyncio.wait([run], timeout=seconds)
            if done:
                return
        if self.kernel.is_stubborn:
            await self.kernel.stop()


class Contexts:
    """All contexts of the machine."""

    def __init__(self):
        self.zygote = Zygote()
        self.all = {}
        self.defaults = {}
        self.making = {}
        self.tasks = set()

    def keep(self, coroutine):
        """Runs something to its end beside everything else."""
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.forget)

    def forget(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            print(f"code interpreter: {task.exception()!r}", flush=True)

    def make_kernel(self, language, name, cwd):
        if language == "javascript":
            return JavaScriptKernel(name, cwd)
        if language == "bash":
            return BashKernel(name, cwd)
        return PythonKernel(self.zygote, name, cwd)

    @staticmethod
    def language(name):
        """The language a client means.

        :raises Refusal: for one there is no kernel for.
        """
        if name is None or name == "":
            return "python"
        found = LANGUAGES.get(name.strip().lower())
        if found is None:
            known = ", ".join(sorted(set(LANGUAGES.values())))
            raise Refusal(400, f"there is no kernel for language '{name[:64]}'; there are: {known}")
        return found

    async def default(self, language):
        """The context of a language for who names none; made at its first use."""
        found = self.defaults.get(language)
        if found is not None:
            return found
        if language not in self.making:
            self.making[language] = asyncio.ensure_future(self.create(language, None))
        try:
            context = await asyncio.shield(self.making[language])
        finally:
            if language in self.making and self.making[language].done():
                del self.making[language]
        return self.defaults.setdefault(language, context)

    async def create(self, language, cwd):
        """Makes a context with a kernel that runs."""
        if len(self.all) >= MAX_CONTEXTS:
            raise Refusal(429, f"there are {MAX_CONTEXTS} contexts already: remove one first")
        cwd = cwd or DEFAULT_CWD
        if not os.path.isdir(cwd):
            raise Refusal(400, f"the directory '{cwd[:256]}' is not there")
        context = Context(self, str(uuid.uuid4()), language, cwd)
        self.all[context.id] = context
        try:
            await context.start()
        except BaseException:
            self.all.pop(context.id, None)
            self.keep(context.stop())
            raise
        return context

    def find(self, identifier):
        context = self.all.get(identifier)
        if context is None and identifier in self.defaults:
            context = self.defaults[identifier]
        if context is None:
            raise Refusal(404, f"Context {identifier[:64]} not found")
        return context

    async def remove(self, context):
        self.all.pop(context.id, None)
        for language in [name for name, kept in self.defaults.items() if kept is context]:
            del self.defaults[language]
        await context.stop()
