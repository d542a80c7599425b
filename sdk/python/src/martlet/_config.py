"""Which server to talk to and as whom: found as the command line finds it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .errors import InvalidArgumentError


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens: a unix socket, or an address without a slash at its end."""

    base_url: str
    socket: str | None = None

    @staticmethod
    def parse(text: str) -> Endpoint:
        """Reads ``http://host:port``, ``https://host``, ``unix:///path`` or an absolute path."""
        path = text.removeprefix("unix://") if text.startswith("unix://") else text
        if path.startswith("/"):
            return Endpoint("http://localhost", socket=path)
        if text.startswith("unix://"):
            raise InvalidArgumentError("a unix socket needs an absolute path, as in unix:///run/martlet/api.sock")
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or True)
        except ValueError:
            usable = False
        if not usable:
            raise InvalidArgumentError(f"'{text}' is not http://host:port, https://host or unix:///path")
        return Endpoint(text.rstrip("/"))

    @property
    def is_loopback(self) -> bool:
        """Whether a key of this machine may be sent there."""
        return self.socket is None and urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1")

    def __str__(self) -> str:
        return f"unix://{self.socket}" if self.socket else self.base_url


@dataclass(frozen=True)
class Configuration:
    """An endpoint and a key; its representation never shows the key."""

    endpoint: Endpoint
    api_key: str | None = field(default=None, repr=False)

    @staticmethod
    def find(
        url: str | None = None, api_key: str | None = None, environment: Mapping[str, str] | None = None
    ) -> Configuration:
        """What is given, else ``MARTLET_URL`` and ``MARTLET_API_KEY``, else the local daemon's unix socket.

        With an address of this machine and no key, the local daemon's key is used if this user may read it.
        """
        env = os.environ if environment is None else environment
        directory = data_directory(env)
        key = api_key or env.get("MARTLET_API_KEY") or None
        address = url or env.get("MARTLET_URL")
        if not address:
            return Configuration(Endpoint("http://localhost", socket=f"{directory}/api.sock"), key)
        try:
            endpoint = Endpoint.parse(address)
        except InvalidArgumentError as error:
            name = "url" if url else "MARTLET_URL"
            raise InvalidArgumentError(f"{name}: {error.message}", details={"field": name}) from None
        if key is None and endpoint.is_loopback:
            key = _read_key(f"{directory}/api-key")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise InvalidArgumentError("api_key: it has characters that no key has", details={"field": "api_key"})
        return Configuration(endpoint, key)


def data_directory(env: Mapping[str, str]) -> str:
    """Where the local daemon keeps its socket and key."""
    if given := env.get("MARTLET_DATA"):
        return os.path.abspath(given)
    if os.geteuid() == 0:
        return "/var/lib/martlet"
    share = env.get("XDG_DATA_HOME", "")
    if share.startswith("/"):
        return f"{share}/martlet"
    return f"{env.get('HOME') or '/tmp'}/.local/share/martlet"


def _read_key(path: str) -> str | None:
    """The first line of a key file; None when there is none or it may not be read."""
    try:
        with open(path, encoding="ascii") as file:
            return file.readline(512).strip() or None
    except (OSError, UnicodeDecodeError):
        return None


class SocketPath:
    """A name for a unix socket that is short enough for the kernel, whatever the length of its real path.

    A path that does not fit is reached through an open descriptor of its directory, held until ``close``.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._directory: int | None = None
        # 108 bytes with the terminating zero.
        if len(os.fsencode(path)) > 107:
            directory, name = os.path.split(path)
            try:
                self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                return
            self.path = f"/proc/self/fd/{self._directory}/{name}"

    def close(self) -> None:
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None
