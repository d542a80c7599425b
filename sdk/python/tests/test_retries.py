"""What is sent again, and when."""

from __future__ import annotations

import time
from typing import Any

import pytest
from scripted_server import HANG_UP, ScriptedServer, answer, error
from test_errors import SANDBOX, _info

import martlet
from martlet import CapacityError, RetryPolicy, UnavailableError
from martlet._retry import BROKEN, Retries

PAGE = answer(200, {"items": []})


def full(seconds: int = 0) -> bytes:
    return error(429, "resource_exhausted", Retry_After=str(seconds))


def test_reading_is_repeated_when_the_server_says_when(scripted: Any, server: ScriptedServer) -> None:
    server.script = [full(), error(503, "unavailable", Retry_After="0"), PAGE]
    assert scripted.sandboxes() == []
    assert len(server.asked) == 3


def test_it_waits_as_long_as_the_server_says(scripted: Any, server: ScriptedServer) -> None:
    server.script = [full(1), PAGE]
    began = time.monotonic()
    scripted.sandboxes()
    assert 1 <= time.monotonic() - began < 3


def test_attempts_are_bounded(scripted: Any, server: ScriptedServer) -> None:
    server.script = [full(), full(), full(), PAGE]
    with pytest.raises(CapacityError) as caught:
        scripted.sandboxes()
    assert caught.value.retry_after == 0
    assert len(server.asked) == 3


def test_a_create_is_repeated_with_the_same_key(scripted: Any, server: ScriptedServer) -> None:
    server.script = [full(), HANG_UP, answer(201, SANDBOX)]
    made = scripted.sandbox_type.create("base", client=scripted)
    assert made.id == "s1"
    keys = {asked.headers["idempotency-key"] for asked in server.asked}
    assert len(server.asked) == 3
    assert len(keys) == 1
    server.script = [answer(201, SANDBOX)]
    scripted.sandbox_type.create("base", client=scripted)
    assert server.asked[-1].headers["idempotency-key"] not in keys


@pytest.mark.parametrize("said", [full(), error(503, "unavailable", Retry_After="0"), HANG_UP])
def test_what_might_be_done_twice_is_not_repeated(said: bytes, scripted: Any, server: ScriptedServer) -> None:
    server.script = [said, answer(200, {})]
    with pytest.raises((CapacityError, UnavailableError)):
        scripted.sandbox_type(scripted, _info()).exec("true")
    with pytest.raises(martlet.InternalError):
        scripted.sandbox_type(scripted, _info()).fork(2)
    assert len(server.asked) == 2


def test_an_unavailable_that_says_no_time_is_not_repeated(scripted: Any, server: ScriptedServer) -> None:
    server.script = [error(503, "unavailable"), PAGE]
    with pytest.raises(UnavailableError):
        scripted.sandboxes()


def test_an_upload_of_bytes_is_repeated_and_one_of_pieces_is_not(scripted: Any, server: ScriptedServer) -> None:
    file = {
        "type": "file", "path": "/a", "name": "a", "size": 3, "mode": "0644", "uid": 0, "gid": 0,
        "modified_at": "2026-11-23T20:15:00.125Z",
    }  # fmt: skip
    files = scripted.sandbox_type(scripted, _info()).files
    server.script = [full(), answer(200, file)]
    assert files.write("/a", b"abc").size == 3
    assert [asked.body for asked in server.asked] == [b"abc", b"abc"]
    server.script = [full(), answer(200, file)]
    with pytest.raises(CapacityError):
        files.write("/a", iter([b"a", b"bc"]))
    assert server.asked[-1].body == b"abc"


def test_waits_grow_are_spread_and_end() -> None:
    policy = RetryPolicy(attempts=5, first=1, longest=3, total=100)
    broken = UnavailableError("x", details={"reason": BROKEN})
    waits = []
    for _ in range(50):
        retries = Retries(policy, True)
        waits.append([retries.delay(broken) for _ in range(6)])
    for position, (low, high) in enumerate([(0.5, 1), (1, 2), (1.5, 3), (1.5, 3), (1.5, 3)]):
        column = [wait[position] for wait in waits]
        assert all(wait is not None and low <= wait <= high for wait in column)
        assert len(set(column)) > 1
    assert all(wait[5] is None for wait in waits)


def test_a_server_that_asks_for_more_than_there_is_gets_no_wait() -> None:
    error = CapacityError("x", retry_after=31)
    assert Retries(RetryPolicy(total=30), True).delay(error) is None
    assert Retries(RetryPolicy(total=40), True).delay(error) is not None
    assert Retries(RetryPolicy(total=40), False).delay(error) is None


def test_lists_are_followed_to_their_end(scripted: Any, server: ScriptedServer) -> None:
    server.script = [
        answer(200, {"items": [SANDBOX], "next_cursor": "a+b/c="}),
        answer(200, {"items": [SANDBOX, SANDBOX]}),
        answer(200, {"items": [SANDBOX, SANDBOX], "next_cursor": "more"}),
    ]
    assert len(scripted.sandboxes(metadata={"a b": "c&d"}, state="running")) == 3
    assert server.asked[0].target == "/v1/sandboxes?state=running&limit=1000&metadata.a%20b=c%26d"
    assert server.asked[1].target == "/v1/sandboxes?state=running&limit=1000&cursor=a%2Bb%2Fc%3D&metadata.a%20b=c%26d"
    assert len(scripted.sandboxes(limit=2)) == 2
    assert server.asked[2].target == "/v1/sandboxes?limit=2"
    assert scripted.sandboxes(limit=0) == []
    assert len(server.asked) == 3
