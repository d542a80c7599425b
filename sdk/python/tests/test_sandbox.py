"""A sandbox's life, against a real daemon with real machines."""

from __future__ import annotations

import threading
import time
import urllib.request
import uuid
from datetime import datetime, timezone
from typing import Any

import pytest
from daemon import Daemon

import martlet
from martlet import Client, NetworkPolicy, NotFoundError, RetryPolicy, Sandbox, Secret


def test_the_block_ends_the_sandbox(kind: Any, at_daemon: Daemon) -> None:
    with pytest.raises(ZeroDivisionError), kind.create("base", timeout=60, name="block", metadata={"a": "ü"}) as box:
        assert (box.name, box.info.state, box.info.metadata) == ("block", "running", {"a": "ü"})
        assert [info.id for info in kind.list(metadata={"a": "ü"}, state="running")] == [box.id]
        assert kind.list(metadata={"a": "b"}) == []
        raise ZeroDivisionError
    assert at_daemon.sandboxes() == []


def test_it_is_found_by_name_and_outlives_a_close(kind: Any, at_daemon: Daemon) -> None:
    box = kind.create(timeout=60, name="found")
    box.close()
    with pytest.raises(martlet.ClosedError):
        box.exec("true")
    again = kind.connect("found")
    assert again.id == box.id
    assert again.exec("echo here").stdout == "here\n"
    assert again.kill() is True
    assert again.kill() is False
    with pytest.raises(NotFoundError):
        again.exec("true")
    again.close()
    with pytest.raises(NotFoundError):
        kind.connect("found")


def test_time_and_labels_change(box: Any) -> None:
    until = box.set_timeout(500).expires_at
    assert 400 < (until - datetime.now(timezone.utc)).total_seconds() <= 500
    assert box.update(metadata={"x": "y"}, on_timeout="pause").metadata == {"x": "y"}
    assert box.refresh().on_timeout == "pause"
    assert box.metrics().processes > 0
    assert isinstance(box.logs(), str)


def test_pause_keeps_programs_and_says_what_is_paused(box: Any) -> None:
    box.exec("sleep 1000 & echo $! > /tmp/pid")
    assert box.pause().state == "paused"
    assert box.info.capture is not None
    with pytest.raises(martlet.FailedPreconditionError):
        box.exec("true")
    assert box.resume(timeout=100).state == "running"
    assert box.exec("kill -0 $(cat /tmp/pid)").ok
    box.resume(from_disk=True)
    assert not box.exec("kill -0 $(cat /tmp/pid)").ok


def test_a_wrong_key_and_wrong_values_have_their_errors(kind: Any, at_daemon: Daemon, monkeypatch: Any) -> None:
    with pytest.raises(martlet.InvalidArgumentError) as caught:
        kind.create(timeout=-1)
    assert caught.value.details["field"] == "timeout_seconds"
    assert caught.value.request_id
    with pytest.raises(NotFoundError):
        kind.create("no-such-template")
    monkeypatch.setenv("MARTLET_API_KEY", "mk_wrong")
    with pytest.raises(martlet.AuthenticationError) as denied:
        kind.list()
    assert "mk_wrong" not in str(denied.value)


def test_the_unix_socket_needs_no_key(daemon: Daemon, monkeypatch: Any) -> None:
    monkeypatch.delenv("MARTLET_API_KEY", raising=False)
    with Client(daemon.socket) as client, Sandbox.create(timeout=60, client=client) as box:
        assert box.exec(["echo", "hi"]).stdout == "hi\n"


def test_the_same_key_makes_one_sandbox(kind: Any, at_daemon: Daemon) -> None:
    key = str(uuid.uuid4())
    with kind.create(timeout=60, idempotency_key=key) as one, kind.create(timeout=60, idempotency_key=key) as two:
        assert one.id == two.id
        with pytest.raises(martlet.ConflictError):
            kind.create(timeout=61, idempotency_key=key)


def test_a_snapshot_is_gone_on_from(kind: Any, box: Any, at_daemon: Daemon) -> None:
    box.files.write("/root/state", "kept")
    snapshot = box.snapshot("kept", metadata={"step": "1"})
    assert (snapshot.name, snapshot.sandbox, snapshot.metadata) == ("kept", box.id, {"step": "1"})
    box.files.write("/root/state", "later")
    with kind.create(from_snapshot="kept", timeout=60) as child:
        assert child.files.read("/root/state") == "kept"
        assert child.info.from_snapshot == snapshot.id
    with Client() as client:
        assert [one.id for one in client.snapshots(sandbox=box.id)] == [snapshot.id]
        client.delete_snapshot("kept")
        assert client.snapshots(sandbox=box.id) == []


def test_a_recording_sandbox_is_put_back(kind: Any, at_daemon: Daemon) -> None:
    with kind.create(timeout=120, record=True) as box:
        first = box.exec("echo one > /root/n").checkpoint
        box.exec("echo two > /root/n")
        assert [point.number for point in box.checkpoints()] == [0, 1, 2]
        box.rewind(first)
        assert box.files.read("/root/n") == "one\n"


def test_networks_are_told_and_changed(kind: Any, at_daemon: Daemon) -> None:
    secret = Secret("API_KEY", ["api.example.com"], value="v-secret", header="Authorization", format="Bearer {value}")
    policy = NetworkPolicy.allowlist("api.example.com", "203.0.113.0/24:5432")
    with kind.create(timeout=60, network=policy, secrets=[secret]) as box:
        told = box.network()
        assert told.policy.mode == "allowlist"
        assert told.policy.allow == ("api.example.com", "203.0.113.0/24:5432")
        assert (told.secrets[0].name, told.secrets[0].header) == ("API_KEY", "Authorization")
        assert box.exec("echo $API_KEY").stdout.strip() == told.secrets[0].placeholder
        assert "v-secret" not in repr(told)
        box.set_network("none")
        assert box.network().policy == NetworkPolicy.none()
        with pytest.raises(martlet.InvalidArgumentError):
            box.set_network("everything")


def test_a_port_is_exposed_and_taken_back(box: Any) -> None:
    box.files.write("/srv/www/page", "served")
    box.start(["python3", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", "/srv/www"])
    port = box.expose(8000)
    assert port.token
    assert port.token not in repr(port)
    assert "8000" in port.url
    body = ""
    for _ in range(100):
        try:
            request = urllib.request.Request(port.path_url + "page", headers=port.headers)
            body = urllib.request.urlopen(request, timeout=10).read().decode()
            break
        except OSError:
            time.sleep(0.1)
    assert body == "served"
    assert [(one.port, one.token) for one in box.ports()] == [(8000, None)]
    box.unexpose(8000)
    assert box.ports() == []
    with pytest.raises(NotFoundError):
        box.unexpose(8000)


def test_a_create_waits_for_a_place(kind: Any, monkeypatch: Any, loop: Any) -> None:
    crowded = Daemon("--max-sandboxes", "1", "--no-pool", "--stop-sandboxes", "--no-network").start()
    try:
        for name, value in crowded.environment.items():
            monkeypatch.setenv(name, value)
        first = kind.create(timeout=60)
        hasty = Client(retry=RetryPolicy(attempts=0))
        with pytest.raises(martlet.CapacityError) as caught:
            Sandbox.create(client=hasty)
        assert caught.value.retry_after == 1
        hasty.close()
        threading.Timer(0.5, first.kill).start()
        began = time.monotonic()
        with kind.create(timeout=60) as second:
            assert time.monotonic() - began >= 1
            assert crowded.sandboxes() == [second.id]
        first.close()
    finally:
        crowded.end()
