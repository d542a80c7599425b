"""Filesystem: every method, with names and contents that are easy to get wrong."""

import io
import os
import time
import urllib.error
import urllib.request

import e2b
import httpx
import pytest
from conftest import exception, has, takes

NAMES = ["plain.txt", "with blank.txt", "Grüße 世界 🙂.txt", "per%20cent&plus+.txt", "quote'\"back\\slash", "#hash?mark"]


@pytest.fixture
def folder(box, mark):
    path = f"/tmp/{mark}"
    box.files.make_dir(path)
    yield path
    box.files.remove(path)


@pytest.mark.parametrize("name", NAMES)
def test_text_comes_back_from_files_of_any_name(box, folder, name):
    box.files.write(f"{folder}/{name}", "Zeile 1\nlinha dois – 第三行\n")
    assert box.files.read(f"{folder}/{name}") == "Zeile 1\nlinha dois – 第三行\n"
    assert [entry.name for entry in box.files.list(folder)] == [name]


def test_bytes_come_back_as_they_were(box, folder):
    data = bytes(range(256)) * 33
    box.files.write(f"{folder}/data", data)
    assert bytes(box.files.read(f"{folder}/data", format="bytes")) == data


def test_an_empty_file_stays_empty(box, folder):
    box.files.write(f"{folder}/empty", "")
    assert box.files.read(f"{folder}/empty") == ""


def test_a_large_file_comes_back_whole(box, folder):
    data = os.urandom(1 << 20) * 12
    box.files.write(f"{folder}/large", data)
    assert bytes(box.files.read(f"{folder}/large", format="bytes")) == data


def test_a_file_can_be_read_as_a_stream(box, folder):
    data = os.urandom(300_000)
    box.files.write(f"{folder}/stream", data)
    assert b"".join(box.files.read(f"{folder}/stream", format="stream")) == data


def test_a_stream_can_be_written(box, folder):
    data = os.urandom(500_000)
    box.files.write(f"{folder}/io", io.BytesIO(data))
    assert bytes(box.files.read(f"{folder}/io", format="bytes")) == data


def test_writing_replaces_and_makes_parents(box, folder):
    box.files.write(f"{folder}/a/b/c.txt", "a longer text that is there first")
    box.files.write(f"{folder}/a/b/c.txt", "short")
    assert box.files.read(f"{folder}/a/b/c.txt") == "short"


def test_many_files_in_one_request(box, folder):
    entries = [{"path": f"{folder}/many/{i}", "data": f"file {i}"} for i in range(20)]
    if hasattr(box.files, "write_files"):
        written = box.files.write_files(entries)
    else:
        written = box.files.write(entries)
    assert sorted(w.path for w in written) == sorted(e["path"] for e in entries)
    assert box.files.read(f"{folder}/many/19") == "file 19"


def test_relative_paths_are_below_the_users_home(box, mark):
    box.files.write(f"{mark}.txt", "at home")
    try:
        assert box.files.read(f"/home/user/{mark}.txt") == "at home"
        assert box.files.exists(f"{mark}.txt")
    finally:
        box.files.remove(f"{mark}.txt")


def test_files_belong_to_the_user_who_wrote_them(box, folder):
    box.files.write(f"{folder}/own", "x")
    assert box.commands.run(f"stat -c %U {folder}/own").stdout == "user\n"
    box.files.write(f"{folder}/roots", "x", "root")
    assert box.commands.run(f"stat -c %U {folder}/roots").stdout == "root\n"


def test_lists_go_as_deep_as_asked(box, folder):
    box.files.write(f"{folder}/one/two/three.txt", "3")
    assert [e.name for e in box.files.list(folder)] == ["one"]
    if not takes(box.files.list, "depth"):
        pytest.skip("this version lists one level")
    assert [e.path for e in box.files.list(folder, depth=3)] == [
        f"{folder}/one", f"{folder}/one/two", f"{folder}/one/two/three.txt",
    ]


def test_facts_of_a_file(box, folder):
    has(box.files, "get_info")
    box.files.write(f"{folder}/facts", "12345")
    box.commands.run(f"chmod 640 {folder}/facts; ln -s facts {folder}/link")
    info = box.files.get_info(f"{folder}/facts")
    assert (info.name, info.path, info.size, info.type.value) == ("facts", f"{folder}/facts", 5, "file")
    assert (info.mode, info.permissions, info.owner, info.group) == (0o640, "-rw-r-----", "user", "user")
    assert abs(info.modified_time.timestamp() - time.time()) < 3600
    link = box.files.get_info(f"{folder}/link")
    assert link.symlink_target == f"{folder}/facts"


def test_directories(box, folder):
    assert box.files.make_dir(f"{folder}/new/deep") is True
    assert box.files.make_dir(f"{folder}/new/deep") is False
    assert box.files.exists(f"{folder}/new/deep") is True
    assert box.files.exists(f"{folder}/nothing") is False


def test_rename_and_remove(box, folder):
    box.files.write(f"{folder}/old", "moved")
    assert box.files.rename(f"{folder}/old", f"{folder}/sub/new").path == f"{folder}/sub/new"
    assert not box.files.exists(f"{folder}/old")
    assert box.files.read(f"{folder}/sub/new") == "moved"
    box.files.remove(f"{folder}/sub")
    assert not box.files.exists(f"{folder}/sub")


def test_what_is_not_there_is_told_so(box, folder):
    missing = exception("FileNotFoundException", "NotFoundException")
    for work in (
        lambda: box.files.read(f"{folder}/none"),
        lambda: box.files.list(f"{folder}/none"),
        lambda: box.files.rename(f"{folder}/none", f"{folder}/other"),
    ):
        with pytest.raises(missing):
            work()
    with pytest.raises(exception("InvalidArgumentException")):
        box.files.read(folder)


def test_an_unknown_user_is_refused(box, folder):
    with pytest.raises(exception("AuthenticationException")):
        box.files.write(f"{folder}/x", "x", "nobody-of-that-name")


def wait_for(watch, wanted, seconds=10):
    seen = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seen += [(event.name, event.type.value) for event in watch.get_new_events()]
        if wanted <= set(seen):
            break
        time.sleep(0.05)
    return seen


def test_a_watch_tells_what_happens(box, folder):
    watch = box.files.watch_dir(folder)
    box.files.write(f"{folder}/seen", "1")
    box.commands.run(f"echo 2 >> {folder}/seen; chmod 600 {folder}/seen; mv {folder}/seen {folder}/gone; rm {folder}/gone")
    wanted = {("seen", "create"), ("seen", "write"), ("seen", "chmod"), ("seen", "rename"), ("gone", "remove")}
    seen = wait_for(watch, wanted)
    watch.stop()
    assert wanted <= set(seen), seen
    with pytest.raises(e2b.SandboxException):
        watch.get_new_events()


def test_a_recursive_watch_sees_new_directories(box, folder):
    watch = box.files.watch_dir(folder, recursive=True)
    box.files.make_dir(f"{folder}/sub")
    wait_for(watch, {("sub", "create")})
    box.files.write(f"{folder}/sub/deep.txt", "1")
    seen = wait_for(watch, {("sub/deep.txt", "create")})
    watch.stop()
    assert ("sub/deep.txt", "create") in seen, seen


def test_a_watch_on_nothing_is_refused(box, folder):
    with pytest.raises(exception("FileNotFoundException", "NotFoundException")):
        box.files.watch_dir(f"{folder}/none")


def test_compressed_transfer(box, folder):
    if not takes(box.files.write, "gzip"):
        pytest.skip("this version does not compress")
    data = b"the same line again\n" * 50_000
    box.files.write(f"{folder}/zip", data, gzip=True)
    assert bytes(box.files.read(f"{folder}/zip", format="bytes", gzip=True)) == data
    assert box.commands.run(f"wc -c < {folder}/zip").stdout.strip() == str(len(data))


def test_metadata_stays_with_a_file(box, folder):
    if not takes(box.files.write, "metadata"):
        pytest.skip("this version has no metadata of files")
    path = f"{folder}/meta"
    written = box.files.write(path, "1", metadata={"author": "me", "X-Kind": "a b=c"})
    assert written.metadata == {"author": "me", "x-kind": "a b=c"}
    assert box.files.get_info(path).metadata == written.metadata
    box.files.write(f"{folder}/plain", "1")
    assert {entry.name: entry.metadata for entry in box.files.list(folder)} == {
        "meta": written.metadata,
        "plain": None,
    }
    box.files.rename(path, f"{folder}/moved")
    assert box.files.get_info(f"{folder}/moved").metadata == written.metadata
    # Each upload replaces all of it.
    box.files.write(f"{folder}/moved", "2", metadata={"only": "this"})
    assert box.files.get_info(f"{folder}/moved").metadata == {"only": "this"}
    box.files.write(f"{folder}/moved", "3")
    assert box.files.get_info(f"{folder}/moved").metadata is None
    with pytest.raises(e2b.SandboxException, match="4096"):
        box.files.write(path, "1", metadata={"big": "x" * 5000})
    assert not box.files.exists(path)


def plain(box, method, path, **options):
    """A route of the daemon that the client has no method for."""
    if "E2B_SANDBOX_URL" not in os.environ:
        pytest.skip("asked by address")
    headers = {
        "E2b-Sandbox-Id": box.sandbox_id,
        "E2b-Sandbox-Port": "49983",
        "X-Access-Token": box._envd_access_token,
    }
    return httpx.request(method, os.environ["E2B_SANDBOX_URL"] + path, headers=headers, **options)


def test_files_are_composed(box, folder):
    for name, text in (("a", "one "), ("b", "two "), ("c", "three")):
        box.files.write(f"{folder}/{name}", text)
    wish = {"source_paths": [f"{folder}/{name}" for name in "abc"], "destination": f"{folder}/whole"}
    answer = plain(box, "POST", "/files/compose", json=wish)
    assert answer.status_code == 200 and answer.json()["path"] == f"{folder}/whole"
    assert box.files.read(f"{folder}/whole") == "one two three"
    assert [entry.name for entry in box.files.list(folder)] == ["whole"]
    assert plain(box, "POST", "/files/compose", json=wish).status_code == 404
    assert plain(box, "POST", "/files/compose", json={**wish, "source_paths": []}).status_code == 400


def test_metrics_and_environment_of_the_daemon(fresh):
    sandbox = fresh(envs={"GIVEN": "yes=no"})
    metrics = plain(sandbox, "GET", "/metrics").json()
    assert metrics["cpu_count"] == 1 and 0 < metrics["mem_used"] <= metrics["mem_total"]
    assert 0 < metrics["disk_used"] <= metrics["disk_total"] and 0 <= metrics["cpu_used_pct"] <= 100
    variables = plain(sandbox, "GET", "/envs").json()
    assert variables["GIVEN"] == "yes=no" and variables["USER"] == "user"


def fetch(url, data=None, headers={}):
    with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers), timeout=30) as answer:
        return answer.read()


def test_download_and_upload_by_address(box, folder):
    path = f"{folder}/by url.bin"
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nfrom a form\r\n--b--\r\n'
    )
    options = {"use_signature": True} if takes(box.upload_url, "use_signature") and not takes(
        box.upload_url, "use_signature_expiration"
    ) else {}
    fetch(box.upload_url(path, **options), body, {"Content-Type": "multipart/form-data; boundary=b"})
    assert fetch(box.download_url(path, **options)) == b"from a form"
    wrong = box.download_url(path, **options).replace("v1_", "v1_x")
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(wrong)
    assert refused.value.code in (401, 404)
