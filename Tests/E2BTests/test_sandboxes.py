"""Sandboxes as wholes: made, found, paused, forked, ended; and what is told of those that are not there."""

import os
import threading
import time

import e2b
import httpx
import pytest
from conftest import ended, exception, has, listed, make, query, takes

gone = exception("SandboxNotRunningException", "TimeoutException")
unknown = exception("SandboxNotFoundException", "NotFoundException", "SandboxException")


def takes_network():
    return hasattr(e2b.Sandbox, "create") and takes(e2b.Sandbox.create, "network")


def identity(sandbox_or_info):
    return sandbox_or_info.sandbox_id


def test_a_new_sandbox_runs_and_is_told_of(fresh, mark):
    sandbox = fresh(metadata={"mark": mark, "a.b/c_d": "cødé & more"}, timeout=120)
    assert sandbox.is_running()
    info = sandbox.get_info()
    assert info.sandbox_id == sandbox.sandbox_id
    assert info.metadata == {"mark": mark, "a.b/c_d": "cødé & more"}
    assert 100 < (info.end_at - info.started_at).total_seconds() <= 121


def test_connecting_from_elsewhere(fresh):
    first = fresh()
    first.files.write("/tmp/x", "shared")
    second = e2b.Sandbox.connect(first.sandbox_id)
    assert second.files.read("/tmp/x") == "shared"


def test_lists_can_be_filtered(fresh, mark):
    made = {fresh(metadata={"mark": mark, "n": str(n)}).sandbox_id for n in range(3)}
    assert {identity(found) for found in listed(query=query(metadata={"mark": mark}))} == made


def test_lists_have_pages(fresh, mark):
    if isinstance(e2b.Sandbox.list(), list):
        pytest.skip("this version has no pages")
    made = {fresh(metadata={"mark": mark}).sandbox_id for _ in range(3)}
    pages, found = e2b.Sandbox.list(query=query(metadata={"mark": mark}), limit=2), []
    sizes = []
    while pages.has_next:
        items = pages.next_items()
        sizes.append(len(items))
        found += [identity(item) for item in items]
    assert set(found) == made and len(found) == 3 and max(sizes) == 2


def test_killing(fresh):
    sandbox = fresh()
    assert ended(sandbox)
    assert sandbox.is_running() is False
    assert not e2b.Sandbox.kill(sandbox.sandbox_id)
    assert sandbox.sandbox_id not in [identity(found) for found in listed()]


def test_the_end_of_its_time(fresh):
    sandbox = fresh(timeout=3)
    end = time.monotonic() + 20
    while sandbox.is_running() and time.monotonic() < end:
        time.sleep(0.25)
    assert not sandbox.is_running()


def test_more_time(fresh):
    sandbox = fresh(timeout=4)
    sandbox.set_timeout(300)
    time.sleep(5)
    assert sandbox.commands.run("echo still").stdout == "still\n"
    assert (sandbox.get_info().end_at.timestamp() - time.time()) > 200


def test_what_a_sandbox_uses(fresh):
    sandbox = fresh()
    has(sandbox, "get_metrics")
    sandbox.commands.run("true")
    sample = sandbox.get_metrics()[-1]
    assert sample.cpu_count >= 1 and 0 <= sample.cpu_used_pct <= 100
    assert 0 < sample.mem_used <= sample.mem_total
    assert 0 < sample.disk_used <= sample.disk_total


# Paused and resumed


def pause(sandbox, **options):
    if hasattr(sandbox, "pause"):
        return sandbox.pause(**options)
    if hasattr(sandbox, "beta_pause"):
        return sandbox.beta_pause(**options)
    pytest.skip("this version cannot pause")


def test_pause_keeps_memory_and_files(fresh):
    sandbox = fresh()
    sandbox.files.write("/tmp/kept", "yes")
    handle = sandbox.commands.run("sleep 500", background=True)
    pause(sandbox)
    assert not sandbox.is_running()
    again = e2b.Sandbox.connect(sandbox.sandbox_id)
    assert again.files.read("/tmp/kept") == "yes"
    assert handle.pid in [process.pid for process in again.commands.list()]


def test_pausing_twice(fresh):
    sandbox = fresh()
    pause(sandbox)
    if hasattr(sandbox, "pause") and takes(sandbox.pause, "mode"):
        assert sandbox.pause() is False
    e2b.Sandbox.connect(sandbox.sandbox_id)


def test_a_pause_without_memory_boots_anew(fresh):
    sandbox = fresh()
    has(sandbox, "pause")
    if not takes(sandbox.pause, "mode") and not takes(sandbox.pause, "keep_memory"):
        pytest.skip("this version always keeps memory")
    sandbox.files.write("/home/user/kept", "yes")
    handle = sandbox.commands.run("sleep 5000", background=True)
    sandbox.pause(**({"mode": "filesystem"} if takes(sandbox.pause, "mode") else {"keep_memory": False}))
    again = e2b.Sandbox.connect(sandbox.sandbox_id, request_timeout=120)
    assert again.files.read("/home/user/kept") == "yes"
    assert "sleep" not in again.commands.run("ps -eo args | grep '^sleep 5000' || true").stdout


def test_calls_to_a_paused_sandbox_fail_as_documented(fresh):
    sandbox = fresh()
    pause(sandbox)
    with pytest.raises(gone):
        sandbox.commands.run("true")
    with pytest.raises(gone):
        sandbox.files.read("/etc/hostname")


# Forks and snapshots


def test_forks_go_on_from_where_their_parent_was(fresh):
    sandbox = fresh()
    has(sandbox, "fork")
    sandbox.files.write("/tmp/state", "common")
    forks = sandbox.fork(timeout=120, count=3)
    try:
        assert len(forks) == 3 and len({fork.sandbox_id for fork in forks}) == 3
        for number, fork in enumerate(forks):
            assert fork.files.read("/tmp/state") == "common"
            fork.files.write("/tmp/state", f"own {number}")
        assert [fork.files.read("/tmp/state") for fork in forks] == ["own 0", "own 1", "own 2"]
        assert sandbox.files.read("/tmp/state") == "common"
    finally:
        for fork in forks:
            fork.kill()


def test_snapshots(fresh, mark):
    sandbox = fresh()
    has(sandbox, "create_snapshot")
    sandbox.files.write("/tmp/then", "captured")
    snapshot = sandbox.create_snapshot(**({"name": mark} if takes(sandbox.create_snapshot, "name") else {}))
    sandbox.files.write("/tmp/then", "later")
    made = fresh(snapshot.snapshot_id)
    assert made.files.read("/tmp/then") == "captured"
    pages = e2b.Sandbox.list_snapshots()
    assert snapshot.snapshot_id in [found.snapshot_id for found in pages.next_items()]
    made.kill()
    assert e2b.Sandbox.delete_snapshot(snapshot.snapshot_id) is True
    assert e2b.Sandbox.delete_snapshot(snapshot.snapshot_id) is False


# Ports


def test_a_port_is_reached_by_its_host(fresh):
    sandbox = fresh()
    sandbox.commands.run("mkdir -p /tmp/www && echo served > /tmp/www/page.txt")
    server = sandbox.commands.run("cd /tmp/www && python3 -m http.server 8123", background=True)
    host = sandbox.get_host(8123)
    assert host.startswith(f"8123-{sandbox.sandbox_id}.")
    for _ in range(100):
        answer = visit(host, "/page.txt")
        if answer.status_code != 502:
            break
        assert "port is not open" in answer.text
        time.sleep(0.1)
    assert (answer.status_code, answer.text) == (200, "served\n")
    server.kill()


def visit(host, path, **headers):
    """As a browser would; where sandboxes have no names that resolve, with the name in the field that counts."""
    if "E2B_SANDBOX_URL" in os.environ:
        return httpx.get(os.environ["E2B_SANDBOX_URL"] + path, headers={"Host": host, **headers})
    return httpx.get(f"https://{host}{path}", headers=headers)


def test_private_ports_take_a_token(fresh):
    if not takes_network():
        pytest.skip("this version has no network options")
    sandbox = fresh(network={"allow_public_traffic": False})
    host = sandbox.get_host(8124)
    assert visit(host, "/").status_code == 403
    assert visit(host, "/", **{"e2b-traffic-access-token": "wrong"}).status_code == 403
    answer = visit(host, "/", **{"e2b-traffic-access-token": sandbox.traffic_access_token})
    assert answer.status_code == 502 and "port is not open" in answer.text


# Network


def test_network_of_a_running_sandbox(fresh):
    sandbox = fresh()
    has(sandbox, "update_network")
    sandbox.update_network({"deny_out": ["0.0.0.0/0"]})
    assert sandbox.commands.run("echo on").stdout == "on\n"


# What is not there


def test_a_wrong_key():
    # Versions before 2.51 have one class for all that the API refuses.
    refused = exception("AuthenticationException") if takes_network() else e2b.SandboxException
    with pytest.raises(refused, match="401|key"):
        make(api_key="e2b_" + "0" * 40)


def test_an_unknown_template():
    with pytest.raises(e2b.SandboxException, match="not found"):
        make("no-such-template-anywhere")


def test_an_unknown_sandbox():
    for work in (
        lambda: e2b.Sandbox.connect("s" + "0" * 19),
        lambda: e2b.Sandbox.set_timeout("s" + "0" * 19, 30),
    ):
        with pytest.raises((unknown, exception("SandboxException"))):
            work()


def test_a_killed_sandbox(fresh):
    sandbox = fresh()
    sandbox.kill()
    with pytest.raises(gone):
        sandbox.commands.run("true")
    with pytest.raises(gone):
        sandbox.files.write("/tmp/x", "x")
    with pytest.raises((unknown, exception("SandboxException"))):
        sandbox.set_timeout(10)


def test_a_sandbox_killed_under_a_running_command(fresh):
    sandbox = fresh()
    handle = sandbox.commands.run("sleep 100", background=True)
    threading.Timer(1, sandbox.kill).start()
    with pytest.raises(e2b.SandboxException):
        handle.wait()


def test_every_sandbox_is_secure(fresh):
    maker = getattr(e2b.Sandbox, "create", e2b.Sandbox.__init__)
    sandbox = fresh(**({"secure": False} if takes(maker, "secure") else {}))
    if "E2B_SANDBOX_URL" not in os.environ:
        pytest.skip("asked by address")
    call = {
        "url": os.environ["E2B_SANDBOX_URL"] + "/filesystem.Filesystem/Stat",
        "json": {"path": "/"},
    }
    place = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": "49983"}
    assert httpx.post(**call, headers=place).status_code == 401
    assert httpx.post(**call, headers={**place, "X-Access-Token": "0" * 64}).status_code == 401
    # The client has a token all the same.
    assert sandbox.files.exists("/")


# Many at once


def test_fifty_sandboxes_by_ten_clients_at_once():
    results, failures = {}, []

    def client(number):
        for turn in range(5):
            try:
                sandbox = make(timeout=300)
                try:
                    word = f"{number}-{turn}"
                    results[word] = sandbox.commands.run(f"echo {word}").stdout == word + "\n"
                finally:
                    assert ended(sandbox)
            except Exception as error:
                failures.append(f"{number}-{turn}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert len(results) == 50 and all(results.values())
