"""Files in a sandbox, for asyncio."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import IO

from . import _calls as calls
from ._files import LocalSource, LocalTarget, async_pieces_of, is_missing
from .async_client import AsyncClient
from .errors import NotFoundError
from .models import FileInfo


class AsyncFiles:
    """A sandbox's files. Paths are absolute. Small contents are held in memory, large ones are streamed."""

    def __init__(self, client: AsyncClient, sandbox: str) -> None:
        self._client = client
        self._sandbox = sandbox

    async def read(self, path: str) -> str:
        """A file's content as text; raises ``UnicodeDecodeError`` if it is not UTF-8."""
        return (await self.read_bytes(path)).decode()

    async def read_bytes(self, path: str, *, offset: int | None = None, length: int | None = None) -> bytes:
        """A file's content, or ``length`` bytes of it from ``offset`` on."""
        return await self._client._run(calls.read_file(self._sandbox, path, offset, length))

    async def read_stream(
        self, path: str, *, offset: int | None = None, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A file's content in pieces, as they arrive. A transfer that breaks off is an error, never a short end."""
        call = calls.read_file(self._sandbox, path, offset, length)
        async with (
            self._client._open(call) as response,
            contextlib.aclosing(self._client._pieces(call, response)) as pieces,
        ):
            async for piece in pieces:
                yield piece

    async def write(
        self,
        path: str,
        data: str | bytes | IO[bytes] | Iterable[bytes] | AsyncIterable[bytes],
        *,
        mode: int | None = None,
        owner: str | None = None,
    ) -> FileInfo:
        """Writes a file; as :meth:`Files.write`. Files and plain iterators are read in another thread."""
        if isinstance(data, (str, bytes)):
            made = calls.write_file(self._sandbox, path, content=data, mode=mode, owner=owner)
        else:
            pieces = async_pieces_of(data)
            made = calls.write_file(
                self._sandbox, path, astream=lambda: pieces, mode=mode, owner=owner, is_repeatable=False
            )
        return await self._client._run(made)

    async def list(self, path: str, *, depth: int = 1) -> builtins.list[FileInfo]:
        """A directory's entries by path, and those of its directories down to ``depth`` levels."""
        found = await self._client._run(calls.list_files(self._sandbox, path, depth))
        return sorted(found, key=lambda file: file.path)

    async def stat(self, path: str) -> FileInfo:
        """A file's facts; a link is not followed."""
        return await self._client._run(calls.stat_file(self._sandbox, path))

    async def exists(self, path: str) -> bool:
        """Whether there is something of that name."""
        try:
            await self.stat(path)
        except NotFoundError as error:
            if is_missing(error):
                return False
            raise
        return True

    async def mkdir(
        self, path: str, *, mode: int | None = None, parents: bool = True, owner: str | None = None
    ) -> FileInfo:
        """Makes a directory, and with ``parents`` those above it."""
        return await self._client._run(calls.make_directory(self._sandbox, path, mode, parents, owner))

    async def move(self, source: str, target: str) -> FileInfo:
        """Moves a file or directory; a file that is in the way is replaced."""
        return await self._client._run(calls.move_file(self._sandbox, source, target))

    async def rename(self, source: str, target: str) -> FileInfo:
        """As ``move``."""
        return await self.move(source, target)

    async def remove(self, path: str, *, recursive: bool = False) -> None:
        """Removes a file, or a directory; one that is not empty with ``recursive`` only."""
        await self._client._run(calls.remove_file(self._sandbox, path, recursive))

    async def upload(
        self, local: str | os.PathLike[str], path: str, *, mode: int | None = None, owner: str | None = None
    ) -> FileInfo:
        """Streams a local file into the sandbox, at any size; its permission bits go along unless ``mode`` is given."""
        source = LocalSource(local, mode)
        made = calls.write_file(
            self._sandbox, path, astream=source.apieces, size=source.size, mode=source.mode, owner=owner
        )
        return await self._client._run(made)

    async def download(self, path: str, local: str | os.PathLike[str]) -> int:
        """Streams a file out of the sandbox, at any size; the local file is replaced whole or not at all.

        :returns: its size.
        """
        call = calls.read_file(self._sandbox, path)
        async with (
            self._client._open(call) as response,
            contextlib.aclosing(self._client._pieces(call, response)) as pieces,
        ):
            with LocalTarget(local, response.headers) as target:
                async for piece in pieces:
                    await asyncio.to_thread(target.write, piece)
                return target.finish()
