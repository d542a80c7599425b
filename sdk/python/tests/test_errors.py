"""One tree of errors, whatever fails."""

from __future__ import annotations

import builtins
import pickle
import socket
import time
from typing import Any

import pytest
from scripted_server import HANG_UP, SILENCE, ScriptedServer, answer, error

import martlet
from martlet import MartletError

CODES = {
    "invalid_argument": (400, martlet.InvalidArgumentError),
    "unauthenticated": (401, martlet.AuthenticationError),
    "permission_denied": (403, martlet.PermissionDeniedError),
    "not_found": (404, martlet.NotFoundError),
    "conflict": (409, martlet.ConflictError),
    "failed_precondition": (412, martlet.FailedPreconditionError),
    "too_large": (413, martlet.TooLargeError),
    "resource_exhausted": (429, martlet.CapacityError),
    "internal": (500, martlet.InternalError),
    "unsupported": (501, martlet.UnsupportedError),
    "unavailable": (503, martlet.UnavailableError),
    "timeout": (504, martlet.TimeoutError),
}
SANDBOX = {
    "id": "s1", "template": "base", "state": "running", "cpus": 1, "memory_mb": 256, "disk_mb": 4096,
    "isolation": {"engine": "qemu", "accelerator": "tcg", "level": "emulated-vm"}, "on_timeout": "kill",
    "created_at": "2026-11-23T20:15:00.125Z", "metadata": {}, "record": False, "a_field_of_tomorrow": 1,
}  # fmt: skip


@pytest.mark.parametrize("code", CODES)
def test_each_code_has_its_class(code: str, scripted: Any, server: ScriptedServer) -> None:
    status, kind = CODES[code]
    server.script = [error(status, code)]
    with pytest.raises(kind) as caught:
        scripted.sandboxes()
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.message, caught.value.request_id) == (code, "it is so", "r1")
    assert (caught.value.status, caught.value.details) == (status, {"k": "v"})
    assert "r1" in str(caught.value)


def test_answers_of_others_are_told_by_their_status(scripted: Any, server: ScriptedServer) -> None:
    server.script = [answer(502, b"<html>bad gateway</html>"), answer(418, b""), answer(302, b"", Location="/x")]
    with pytest.raises(martlet.UnavailableError, match="bad gateway"):
        scripted.sandboxes()
    for _ in range(2):
        with pytest.raises(martlet.InternalError):
            scripted.sandboxes()


@pytest.mark.parametrize(
    "body", [b"no json", [], {"items": {}}, {"items": [1]}, {"items": [{**SANDBOX, "id": 5}]},
             {"items": [{**SANDBOX, "created_at": "x"}]}, {"items": [{**SANDBOX, "cpus": True}]}],
)  # fmt: skip
def test_answers_that_make_no_sense_are_internal(body: object, scripted: Any, server: ScriptedServer) -> None:
    server.script = [answer(200, body)]
    with pytest.raises(martlet.InternalError):
        scripted.sandboxes()


def test_fields_of_tomorrow_are_left_alone(scripted: Any, server: ScriptedServer) -> None:
    server.script = [answer(200, {"items": [SANDBOX]})]
    assert scripted.sandboxes()[0].created_at.year == 2026


def test_nobody_there_is_told_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(martlet.ConnectError) as caught, martlet.Client(url) as client:
            client.sandboxes()
    assert time.monotonic() - began < 2
    assert isinstance(caught.value, martlet.UnavailableError)
    with pytest.raises(martlet.ConnectError, match="martlet serve"), martlet.Client("/nowhere/api.sock") as client:
        client.sandboxes()


def test_a_silent_server_runs_out_of_time(
    scripted: Any, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("martlet._core.PATIENCE_SECONDS", 0.2)
    server.script = [SILENCE]
    with pytest.raises(builtins.TimeoutError) as caught:
        scripted.sandboxes()
    assert isinstance(caught.value, MartletError)
    assert len(server.asked) == 1


def test_a_connection_that_breaks_is_unavailable(scripted: Any, server: ScriptedServer) -> None:
    server.script = [HANG_UP]
    with pytest.raises(martlet.UnavailableError, match="broke off"):
        scripted.sandbox_type(scripted, _info()).exec("true")


def test_a_closed_client_says_so(scripted: Any) -> None:
    scripted.close()
    scripted.close()
    with pytest.raises(martlet.ClosedError):
        scripted.sandboxes()


def test_ids_cannot_leave_their_place_in_the_path(scripted: Any, server: ScriptedServer) -> None:
    for name in ("", ".", ".."):
        with pytest.raises(martlet.InvalidArgumentError):
            scripted.delete_snapshot(name)
    server.script = [answer(204), answer(204)]
    scripted.delete_snapshot("a/../b?c#d e")
    assert server.asked[0].target == "/v1/snapshots/a%2F..%2Fb%3Fc%23d%20e"


def test_errors_travel_between_processes() -> None:
    error = martlet.CapacityError("full", details={"a": "b"}, request_id="r", status=429, retry_after=1)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.details, copy.retry_after) == (type(error), str(error), {"a": "b"}, 1)
    fork = pickle.loads(pickle.dumps(martlet.ForkError(2, [error])))
    assert fork.errors[0].status == 429


def _info() -> martlet.SandboxInfo:
    from martlet._fields import Fields

    return martlet.SandboxInfo.parse(Fields(SANDBOX))


def test_every_error_is_in_the_tree() -> None:
    kinds = [value for name, value in vars(martlet).items() if name.endswith("Error") and name != "CodeError"]
    assert len(kinds) > 15
    assert all(issubclass(kind, MartletError) for kind in kinds)
