"""Files in a sandbox."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterable, Iterator
from typing import IO

from . import _calls as calls
from ._files import LocalSource, LocalTarget, is_missing, pieces_of
from .client import Client
from .errors import NotFoundError
from .models import FileInfo


class Files:
    """A sandbox's files. Paths are absolute. Small contents are held in memory, large ones are streamed."""

    def __init__(self, client: Client, sandbox: str) -> None:
        self._client = client
        self._sandbox = sandbox

    def read(self, path: str) -> str:
        """A file's content as text; raises ``UnicodeDecodeError`` if it is not UTF-8."""
        return self.read_bytes(path).decode()

    def read_bytes(self, path: str, *, offset: int | None = None, length: int | None = None) -> bytes:
        """A file's content, or ``length`` bytes of it from ``offset`` on."""
        return self._client._run(calls.read_file(self._sandbox, path, offset, length))

    def read_stream(self, path: str, *, offset: int | None = None, length: int | None = None) -> Iterator[bytes]:
        """A file's content in pieces, as they arrive. A transfer that breaks off is an error, never a short end."""
        call = calls.read_file(self._sandbox, path, offset, length)
        with self._client._open(call) as response:
            yield from self._client._pieces(call, response)

    def write(
        self,
        path: str,
        data: str | bytes | IO[bytes] | Iterable[bytes],
        *,
        mode: int | None = None,
        owner: str | None = None,
    ) -> FileInfo:
        """Writes a file; missing directories are made. It shows when all of it has arrived, or else not at all.

        :param data: text (as UTF-8), bytes, an open binary file, or pieces as they are made.
        :param mode: permission bits; without it those of the file replaced, else 0o644.
        :param owner: ``user`` or ``user:group``; without it that of the file replaced, else root.
        """
        if isinstance(data, (str, bytes)):
            made = calls.write_file(self._sandbox, path, content=data, mode=mode, owner=owner)
        else:
            pieces = pieces_of(data)
            made = calls.write_file(
                self._sandbox, path, stream=lambda: pieces, mode=mode, owner=owner, is_repeatable=False
            )
        return self._client._run(made)

    def list(self, path: str, *, depth: int = 1) -> builtins.list[FileInfo]:
        """A directory's entries by path, and those of its directories down to ``depth`` levels."""
        found = self._client._run(calls.list_files(self._sandbox, path, depth))
        return sorted(found, key=lambda file: file.path)

    def stat(self, path: str) -> FileInfo:
        """A file's facts; a link is not followed."""
        return self._client._run(calls.stat_file(self._sandbox, path))

    def exists(self, path: str) -> bool:
        """Whether there is something of that name."""
        try:
            self.stat(path)
        except NotFoundError as error:
            if is_missing(error):
                return False
            raise
        return True

    def mkdir(self, path: str, *, mode: int | None = None, parents: bool = True, owner: str | None = None) -> FileInfo:
        """Makes a directory, and with ``parents`` those above it."""
        return self._client._run(calls.make_directory(self._sandbox, path, mode, parents, owner))

    def move(self, source: str, target: str) -> FileInfo:
        """Moves a file or directory; a file that is in the way is replaced."""
        return self._client._run(calls.move_file(self._sandbox, source, target))

    def rename(self, source: str, target: str) -> FileInfo:
        """As ``move``."""
        return self.move(source, target)

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Removes a file, or a directory; one that is not empty with ``recursive`` only."""
        self._client._run(calls.remove_file(self._sandbox, path, recursive))

    def upload(
        self, local: str | os.PathLike[str], path: str, *, mode: int | None = None, owner: str | None = None
    ) -> FileInfo:
        """Streams a local file into the sandbox, at any size; its permission bits go along unless ``mode`` is given."""
        source = LocalSource(local, mode)
        made = calls.write_file(
            self._sandbox, path, stream=source.pieces, size=source.size, mode=source.mode, owner=owner
        )
        return self._client._run(made)

    def download(self, path: str, local: str | os.PathLike[str]) -> int:
        """Streams a file out of the sandbox, at any size; the local file is replaced whole or not at all.

        :returns: its size.
        """
        call = calls.read_file(self._sandbox, path)
        with self._client._open(call) as response, LocalTarget(local, response.headers) as target:
            for piece in self._client._pieces(call, response):
                target.write(piece)
            return target.finish()
