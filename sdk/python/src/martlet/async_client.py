"""The connection to a server, for asyncio."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar

import httpx

from . import _calls as calls
from ._call import Call
from ._core import ClientCore
from ._retry import Retries, RetryPolicy
from .errors import MartletError
from .models import SandboxInfo, SnapshotInfo

T = TypeVar("T")


class AsyncClient(ClientCore):
    """A connection to a server, for sandboxes to share; belongs to one event loop. Otherwise as :class:`Client`."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        super().__init__(url, api_key, retry=retry, verify=verify)
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(**self._transport_options()), **self._options()
        )

    async def sandboxes(
        self, *, state: str | None = None, metadata: Mapping[str, str] | None = None, limit: int | None = None
    ) -> list[SandboxInfo]:
        """The caller's sandboxes, newest first; at most ``limit``, if given."""
        return await self._collect(lambda size, cursor: calls.list_sandboxes(state, metadata, size, cursor), limit)

    async def snapshots(
        self, *, sandbox: str | None = None, name: str | None = None, limit: int | None = None
    ) -> list[SnapshotInfo]:
        """The caller's snapshots, newest first."""
        return await self._collect(lambda size, cursor: calls.list_snapshots(sandbox, name, size, cursor), limit)

    async def delete_snapshot(self, snapshot: str) -> None:
        """Deletes a snapshot, by id or name; it is kept for the sandboxes made from it as long as they live."""
        await self._run(calls.delete_snapshot(snapshot))

    async def close(self) -> None:
        """Ends all connections; what is under way fails. Sandboxes live on."""
        if self._closing():
            await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # MARK: For the rest of the package

    async def _collect(self, page: calls.PageCall[T], limit: int | None) -> list[T]:
        pages = calls.Pages(page, limit)
        while (request := pages.next()) is not None:
            pages.take(await self._run(request))
        return pages.items

    async def _run(self, call: Call[T]) -> T:
        """Sends a call, again if it may and should be, and reads its answer."""
        retries = Retries(self._retry, call.idempotent)
        while True:
            try:
                content = call.content if call.astream is None else call.astream()
                request = self._request(self._http, call, content, is_stream=False)
                with self._translated(call):
                    response = await self._http.send(request)
                return call.parse(self._checked(call, response, response.content))
            except MartletError as error:
                delay = retries.delay(error)
                if delay is None:
                    raise
            await asyncio.sleep(delay)

    @asynccontextmanager
    async def _open(self, call: Call[Any]) -> AsyncIterator[httpx.Response]:
        """Sends a call and gives its answer with the body still to be read, by ``_pieces``."""
        retries = Retries(self._retry, call.idempotent)
        while True:
            try:
                request = self._request(self._http, call, call.content, is_stream=True)
                with self._translated(call):
                    response = await self._http.send(request, stream=True)
                if response.status_code >= 300:
                    with self._translated(call):
                        try:
                            body = await response.aread()
                        finally:
                            await response.aclose()
                    self._checked(call, response, body)
                break
            except MartletError as error:
                delay = retries.delay(error)
                if delay is None:
                    raise
            await asyncio.sleep(delay)
        try:
            yield response
        finally:
            await response.aclose()

    async def _pieces(self, call: Call[Any], response: httpx.Response) -> AsyncGenerator[bytes, None]:
        with self._translated(call):
            async for piece in response.aiter_raw():
                yield piece

    async def _let_go(self) -> None:
        if self._release():
            await self.close()
