"""The routes of the code interpreter."""

import asyncio
import re
import signal

from . import machine
from .contexts import Contexts
from .kernels import KernelDied
from .web import Answer, Refusal, Server, Stream

PORT = 49999
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}")
MAX_CODE = 16 * 1024 * 1024
# Kernels go before their server does when memory runs out.
OWN_SCORE = -950

PLOT = """
import io as _io, numpy as _np, pandas as _pd, matplotlib.pyplot as _plt
_plt.plot([1, 2, 3], label="line"); _plt.title("Title"); _plt.legend(); _plt.show()
print("text")
display(_pd.DataFrame({"a": [1, 2]}))
1 + 1
"""
WARMUPS = {
    "python": (PLOT, "del _io, _np, _pd, _plt"),
    "javascript": ("console.log('text'); await null; 1 + 1",),
    "bash": ("echo text | cat",),
}
REHEARSAL = "print('text')\n1 + 1"


def text_field(fields, name, limit=1024):
    value = fields.get(name)
    if value is not None and (not isinstance(value, str) or len(value) > limit or "\0" in value):
        raise Refusal(400, f"{name} must be a text of at most {limit} characters")
    return value


def environment_field(fields):
    value = fields.get("env_vars")
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > 1024:
        raise Refusal(400, "env_vars must be an object of at most 1024 names and texts")
    for name, content in value.items():
        if not isinstance(content, str) or "\0" in content or not VARIABLE.fullmatch(name):
            raise Refusal(400, f"env_vars: '{name[:64]}' cannot be a variable of the environment")
    return value


class Interpreter:
    """Answers requests."""

    def __init__(self):
        self.contexts = Contexts()

    async def handle(self, request):
        parts = request.path.strip("/").split("/")
        match (request.method, parts):
            case ("GET" | "HEAD", ["health"]):
                return Answer("OK")
            case ("POST", ["execute"]):
                return await self.execute(request.json())
            case ("POST", ["contexts"]):
                return await self.create(request.json())
            case ("GET", ["contexts"]):
                return Answer([context.describe() for context in self.contexts.all.values()])
            case ("DELETE", ["contexts", identifier]):
                await self.contexts.remove(self.contexts.find(identifier))
                return Answer(status=204)
            case ("POST", ["contexts", identifier, "restart"]):
                await self.contexts.find(identifier).restart()
                return Answer(status=204)
            case ("POST", ["rehearse"]):
                return await self.rehearse()
            case (_, ["health"] | ["execute"] | ["contexts"] | ["contexts", _] | ["contexts", _, "restart"]):
                raise Refusal(405, f"{request.method} is not known here")
        raise Refusal(404, f"there is nothing at {request.path[:200]}")

    async def execute(self, fields):
        code = fields.get("code")
        if not isinstance(code, str) or len(code) > MAX_CODE:
            raise Refusal(400, f"code must be a text of at most {MAX_CODE} characters")
        identifier, language = text_field(fields, "context_id"), text_field(fields, "language")
        environment = environment_field(fields)
        if identifier and language:
            raise Refusal(400, "Only one of context_id or language can be provided")
        if identifier:
            context = self.contexts.find(identifier)
        else:
            context = await self.contexts.default(self.contexts.language(language))
        return Stream(context.execute(code, environment))

    async def create(self, fields):
        language = self.contexts.language(text_field(fields, "language"))
        cwd = text_field(fields, "cwd", 4096)
        if cwd and not cwd.startswith("/"):
            cwd = "/home/user/" + cwd
        try:
            context = await self.contexts.create(language, cwd)
        except KernelDied as death:
            raise Refusal(500, f"the kernel could not be started: {death.why}") from None
        return Answer(context.describe())

    async def rehearse(self):
        context = await self.contexts.default("python")
        return Answer({"events": len(await context.rehearse(REHEARSAL))})

    async def warm_up(self):
        """Does once what users will do, so that it is in memory when the machine is captured."""
        for language, codes in WARMUPS.items():
            context = await self.contexts.default(language)
            for code in codes:
                for event in await context.rehearse(code):
                    if event["type"] == "error":
                        raise RuntimeError(f"warm-up failed: {event['value']}\n{event['traceback']}")


async def serve():
    machine.set_oom_score("self", OWN_SCORE)
    interpreter = Interpreter()
    server = Server(interpreter.handle)
    await interpreter.warm_up()
    # Who connects finds everything ready.
    await server.listen(PORT)
    await asyncio.Event().wait()


def main():
    # Started by whoever: what it starts must be open to interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asyncio.run(serve())
