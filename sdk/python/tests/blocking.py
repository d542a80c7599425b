"""A blocking face for the asynchronous classes, so that one test goes for both."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine
from typing import Any

from martlet import AsyncClient, AsyncExecStream, AsyncFiles, AsyncProcess, AsyncSandbox, Exploration

WRAPPED = (AsyncClient, AsyncSandbox, AsyncFiles, AsyncProcess, AsyncExecStream)


class Loop:
    """An event loop that turns in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def blocking(self, target: Any) -> Any:
        return Blocking(target, self)


class Blocking:
    """Whatever the target's attributes give, with the waiting done."""

    def __init__(self, target: Any, loop: Loop) -> None:
        self.__dict__.update(target=target, loop=loop)

    def __repr__(self) -> str:
        return repr(self.target)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.target, name, value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.__getattr__("__call__")(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.target, name)
        if isinstance(value, Blocking):
            return value
        if not callable(value) or isinstance(value, type):
            return self._wrap(value)

        def called(*arguments: Any, **named: Any) -> Any:
            given = {key: _bare(one) for key, one in named.items()}

            async def inside() -> Any:
                result = value(*(_bare(one) for one in arguments), **given)
                return await result if inspect.isawaitable(result) else result

            return self._wrap(self.loop.run(inside()))

        return called

    def __enter__(self) -> Blocking:
        self.loop.run(self.target.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self.loop.run(self.target.__aexit__(*error))

    def __iter__(self) -> Any:
        while True:
            try:
                yield self.loop.run(_next(self.target))
            except StopIterationAsyncError:
                return

    def _wrap(self, value: Any) -> Any:
        if isinstance(value, WRAPPED) or inspect.isasyncgen(value):
            return Blocking(value, self.loop)
        if isinstance(value, list):
            return [self._wrap(item) for item in value]
        if isinstance(value, Exploration):
            return Exploration(self._wrap(value.best), value.score, value.index, value.attempts)
        return value


def _bare(value: Any) -> Any:
    return value.target if isinstance(value, Blocking) else value


class StopIterationAsyncError(Exception):
    pass


async def _next(iterator: Any) -> Any:
    try:
        return await iterator.__anext__()
    except StopAsyncIteration:
        raise StopIterationAsyncError from None
