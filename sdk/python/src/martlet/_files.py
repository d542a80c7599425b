"""The local end of transfers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from types import TracebackType
from typing import IO

from .errors import InvalidArgumentError, MartletError

#: Bytes read and sent at a time.
PIECE = 256 << 10


def is_missing(error: MartletError) -> bool:
    """Whether a file is not there, and not its sandbox."""
    return error.details.get("reason") == "not_found"


def pieces_of(data: IO[bytes] | Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of an open file, or of what makes them."""
    read = getattr(data, "read", None)
    if read is None:
        yield from data
        return
    while piece := read(PIECE):
        if not isinstance(piece, bytes):
            raise InvalidArgumentError("data: the file is open for text; open it in binary mode")
        yield piece


async def async_pieces_of(data: IO[bytes] | Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same, without holding up the event loop."""
    if isinstance(data, AsyncIterable):
        async for piece in data:
            yield piece
        return
    pieces = pieces_of(data)

    def following() -> bytes | None:
        return next(pieces, None)

    while True:
        following_piece = await asyncio.to_thread(following)
        if following_piece is None:
            return
        yield following_piece


class LocalSource:
    """A local file to be sent. It is opened anew for each attempt."""

    def __init__(self, path: str | os.PathLike[str], mode: int | None) -> None:
        self._path = path
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            raise InvalidArgumentError(f"upload: '{os.fspath(path)}' is no file")
        self.size = facts.st_size
        self.mode = stat.S_IMODE(facts.st_mode) & 0o777 if mode is None else mode

    def pieces(self) -> Iterator[bytes]:
        left = self.size
        with open(self._path, "rb") as file:
            # No more than was announced, should it grow meanwhile; if it shrinks the server sees that some are missing.
            while left > 0 and (piece := file.read(min(PIECE, left))):
                left -= len(piece)
                yield piece

    async def apieces(self) -> AsyncIterator[bytes]:
        async for piece in async_pieces_of(self.pieces()):
            yield piece


class LocalTarget:
    """A local file to be received: written beside its place, and put there when it is whole."""

    def __init__(self, path: str | os.PathLike[str], headers: Mapping[str, str]) -> None:
        self._path = os.fspath(path)
        mode = headers.get("x-file-mode", "")
        self._mode = int(mode, 8) & 0o777 if mode and set(mode) <= set("01234567") else 0o644
        self._size = 0
        self._is_finished = False

    def __enter__(self) -> LocalTarget:
        directory, name = os.path.split(os.path.abspath(self._path))
        descriptor, self._temporary = tempfile.mkstemp(dir=directory, prefix=f".{name[:100]}.")
        self._file = os.fdopen(descriptor, "wb")
        return self

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._size += len(piece)

    def finish(self) -> int:
        """Puts it in its place; its size."""
        # What a download may not do: make a file that others may write to.
        os.fchmod(self._file.fileno(), self._mode & ~0o022)
        self._file.close()
        os.replace(self._temporary, self._path)
        self._is_finished = True
        return self._size

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._is_finished:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)
