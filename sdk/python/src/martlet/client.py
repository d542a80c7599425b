"""The connection to a server."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


class Client(ClientCore):
    """A connection to a server, for sandboxes to share. Safe to use from several threads.

    Address and key are found as the command line finds them: ``url`` and ``api_key``, else ``MARTLET_URL`` and
    ``MARTLET_API_KEY``, else the local daemon's unix socket. Sandboxes made without a client have one of their own.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        super().__init__(url, api_key, retry=retry, verify=verify)
        self._http = httpx.Client(transport=httpx.HTTPTransport(**self._transport_options()), **self._options())

    def sandboxes(
        self, *, state: str | None = None, metadata: Mapping[str, str] | None = None, limit: int | None = None
    ) -> list[SandboxInfo]:
        """The caller's sandboxes, newest first; at most ``limit``, if given."""
        return self._collect(lambda size, cursor: calls.list_sandboxes(state, metadata, size, cursor), limit)

    def snapshots(
        self, *, sandbox: str | None = None, name: str | None = None, limit: int | None = None
    ) -> list[SnapshotInfo]:
        """The caller's snapshots, newest first."""
        return self._collect(lambda size, cursor: calls.list_snapshots(sandbox, name, size, cursor), limit)

    def delete_snapshot(self, snapshot: str) -> None:
        """Deletes a snapshot, by id or name; it is kept for the sandboxes made from it as long as they live."""
        self._run(calls.delete_snapshot(snapshot))

    def close(self) -> None:
        """Ends all connections; what is under way fails. Sandboxes live on."""
        if self._closing():
            self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # MARK: For the rest of the package

    def _collect(self, page: calls.PageCall[T], limit: int | None) -> list[T]:
        pages = calls.Pages(page, limit)
        while (request := pages.next()) is not None:
            pages.take(self._run(request))
        return pages.items

    def _run(self, call: Call[T]) -> T:
        """Sends a call, again if it may and should be, and reads its answer."""
        retries = Retries(self._retry, call.idempotent)
        while True:
            try:
                content = call.content if call.stream is None else call.stream()
                request = self._request(self._http, call, content, is_stream=False)
                with self._translated(call):
                    response = self._http.send(request)
                return call.parse(self._checked(call, response, response.content))
            except MartletError as error:
                delay = retries.delay(error)
                if delay is None:
                    raise
            time.sleep(delay)

    @contextmanager
    def _open(self, call: Call[Any]) -> Iterator[httpx.Response]:
        """Sends a call and gives its answer with the body still to be read, by ``_pieces``."""
        retries = Retries(self._retry, call.idempotent)
        while True:
            try:
                request = self._request(self._http, call, call.content, is_stream=True)
                with self._translated(call):
                    response = self._http.send(request, stream=True)
                if response.status_code >= 300:
                    with self._translated(call):
                        try:
                            body = response.read()
                        finally:
                            response.close()
                    self._checked(call, response, body)
                break
            except MartletError as error:
                delay = retries.delay(error)
                if delay is None:
                    raise
            time.sleep(delay)
        try:
            yield response
        finally:
            response.close()

    def _pieces(self, call: Call[Any], response: httpx.Response) -> Iterator[bytes]:
        with self._translated(call):
            yield from response.iter_raw()

    def _let_go(self) -> None:
        if self._release():
            self.close()
