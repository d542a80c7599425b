"""What the synchronous and the asynchronous client have in common: everything but the waiting."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from ._call import Answer, Call, broken, error_of_answer, no_answer, not_listening
from ._config import Configuration, SocketPath
from ._retry import RetryPolicy
from .errors import ClosedError, InvalidArgumentError, PermissionDeniedError

CONNECT_SECONDS = 5.0
#: Seconds without a byte of the answer, for requests that do not say otherwise.
PATIENCE_SECONDS = 60.0

# A host that vanished without a word is noticed by streams that wait for hours.
_KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
]
if hasattr(socket, "TCP_KEEPIDLE"):
    _KEEPALIVE += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ]


class ClientCore:
    """Configuration, life and errors of a client."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        retry: RetryPolicy | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._configuration = Configuration.find(url, api_key)
        self._retry = retry or RetryPolicy()
        self._verify = verify
        self._socket: SocketPath | None = None
        if self._configuration.endpoint.socket:
            self._socket = SocketPath(self._configuration.endpoint.socket)
        self._is_closed = False
        # Sandboxes that live by it; the last one to go closes a client that nobody else holds.
        self._users = 1

    @property
    def url(self) -> str:
        """Where the server listens."""
        return str(self._configuration.endpoint)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}{' closed' if self._is_closed else ''}>"

    def _options(self) -> dict[str, Any]:
        headers = {"accept-encoding": "identity", "user-agent": "martlet-python/0.1.0"}
        if self._configuration.api_key:
            headers["authorization"] = f"Bearer {self._configuration.api_key}"
        # What is set for other programs in the environment (proxies, .netrc) is not meant for this address.
        return {
            "base_url": self._configuration.endpoint.base_url,
            "headers": headers,
            "trust_env": False,
            "follow_redirects": False,
        }

    def _transport_options(self) -> dict[str, Any]:
        # Streams hold a connection each; nobody is to wait for another's stream to end.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20, keepalive_expiry=30)
        options: dict[str, Any] = {"limits": limits, "verify": self._verify, "trust_env": False}
        if self._socket:
            options["uds"] = self._socket.path
        else:
            options["socket_options"] = _KEEPALIVE
        return options

    def _retain(self) -> None:
        self._users += 1

    def _release(self) -> bool:
        """Whether that was the last one."""
        self._users -= 1
        return self._users <= 0

    def _closing(self) -> bool:
        """Marks it closed; false when it was before."""
        if self._is_closed:
            return False
        self._is_closed = True
        if self._socket:
            self._socket.close()
        return True

    def _request(
        self,
        http: httpx.Client | httpx.AsyncClient,
        call: Call[Any],
        content: bytes | Iterable[bytes] | AsyncIterable[bytes] | None,
        *,
        is_stream: bool,
    ) -> httpx.Request:
        if self._is_closed:
            raise ClosedError(f"{call.name}: the client was closed")
        patience = call.patience
        if patience is None and not is_stream:
            patience = PATIENCE_SECONDS
        timeout = httpx.Timeout(connect=CONNECT_SECONDS, read=patience, write=PATIENCE_SECONDS, pool=None)
        try:
            return http.build_request(call.method, call.target, headers=call.headers, content=content, timeout=timeout)
        except httpx.InvalidURL as error:
            raise InvalidArgumentError(f"{call.name}: {error}") from None

    @contextmanager
    def _translated(self, call: Call[Any]) -> Iterator[None]:
        """Turns every failure below HTTP into ours."""
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            endpoint = self._configuration.endpoint
            if _errno_of(error) == errno.EACCES:
                raise PermissionDeniedError(f"{endpoint}: this user may not connect to it") from error
            raise not_listening(endpoint, error, is_socket=endpoint.socket is not None) from error
        except httpx.TimeoutException as error:
            raise no_answer(call.name, call.patience) from error
        except (httpx.TransportError, httpx.StreamError) as error:
            if self._is_closed:
                raise ClosedError(f"{call.name}: the client was closed") from error
            raise broken(call.name, error or type(error).__name__) from error

    @staticmethod
    def _checked(call: Call[Any], response: httpx.Response, body: bytes) -> Answer:
        answer = Answer(response.status_code, response.headers, body)
        if response.status_code >= 300:
            raise error_of_answer(answer, call.name)
        return answer


def _errno_of(error: BaseException | None) -> int | None:
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return None
