"""Files in real sandboxes."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest

import martlet

NAME = "/tmp/ü ⚠ %2F?&#\n/é'\".txt"
BIG = 24 << 20


def test_text_and_bytes_go_both_ways(box: Any) -> None:
    info = box.files.write(NAME, "grüße", mode=0o640, owner="user")
    assert (info.size, info.mode, info.path) == (7, 0o640, NAME)
    assert info.uid != 0
    assert box.files.read(NAME) == "grüße"
    assert box.files.read_bytes(NAME, offset=2, length=3) == "üß".encode()[:3]
    assert box.files.stat(NAME).name == NAME.rsplit("/", 1)[1]
    box.files.write("/tmp/b", b"\xff\x00")
    assert box.files.read_bytes("/tmp/b") == b"\xff\x00"
    with pytest.raises(UnicodeDecodeError):
        box.files.read("/tmp/b")
    assert box.files.write("/tmp/empty", "").size == 0
    assert box.files.read_bytes("/tmp/empty") == b""


def test_directories(box: Any) -> None:
    assert box.files.mkdir("/srv/a/b", mode=0o700).is_dir
    box.files.write("/srv/a/b/c", "x")
    box.exec("ln -s b /srv/a/link")
    assert [file.path for file in box.files.list("/srv/a")] == ["/srv/a/b", "/srv/a/link"]
    assert [file.path for file in box.files.list("/srv/a", depth=2)] == ["/srv/a/b", "/srv/a/b/c", "/srv/a/link"]
    assert box.files.stat("/srv/a/link").target == "b"
    assert box.files.move("/srv/a/b/c", "/srv/a/d").name == "d"
    assert box.files.rename("/srv/a/d", "/srv/a/e").path == "/srv/a/e"
    assert box.files.exists("/srv/a/e")
    assert not box.files.exists("/srv/a/d")
    with pytest.raises(martlet.ConflictError):
        box.files.remove("/srv/a")
    box.files.remove("/srv/a", recursive=True)
    assert not box.files.exists("/srv/a")


def test_what_is_not_there_or_not_allowed(box: Any) -> None:
    with pytest.raises(martlet.NotFoundError):
        box.files.read("/nope")
    with pytest.raises(martlet.InvalidArgumentError):
        box.files.write("relative", "x")
    with pytest.raises(martlet.InvalidArgumentError):
        box.files.read("/etc")
    with pytest.raises(martlet.MartletError):
        box.files.write("/proc/nope", b"x" * BIG)
    box.kill()
    with pytest.raises(martlet.NotFoundError):
        box.files.exists("/etc/passwd")


def test_large_files_are_streamed(box: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(BIG))
    source.chmod(0o750)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    info = box.files.upload(source, "/tmp/big")
    assert (info.size, info.mode) == (BIG, 0o750)
    assert box.exec("sha256sum < /tmp/big").stdout.split()[0] == digest
    assert box.files.download("/tmp/big", target) == BIG
    assert hashlib.sha256(target.read_bytes()).hexdigest() == digest
    assert target.stat().st_mode & 0o777 == 0o750
    seen = hashlib.sha256()
    largest = 0
    for piece in box.files.read_stream("/tmp/big"):
        seen.update(piece)
        largest = max(largest, len(piece))
    assert seen.hexdigest() == digest
    assert largest < BIG // 4
    with source.open("rb") as file:
        assert box.files.write("/tmp/from-file", file).size == BIG
    assert box.files.write("/tmp/pieces", (b"ab" for _ in range(1000))).size == 2000
    with pytest.raises(martlet.InvalidArgumentError):
        box.files.write("/tmp/text", io.StringIO("text"))


def test_a_transfer_that_fails_leaves_what_was_there(box: Any, tmp_path: Path) -> None:
    box.files.write("/tmp/old", "old")

    def breaks_off() -> Any:
        yield b"new"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        box.files.write("/tmp/old", breaks_off())
    assert box.files.read("/tmp/old") == "old"
    (tmp_path / "local").write_text("mine")
    with pytest.raises(martlet.NotFoundError):
        box.files.download("/nope", tmp_path / "local")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("local", "mine")]
