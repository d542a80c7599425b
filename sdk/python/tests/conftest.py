from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from blocking import Loop
from daemon import IMAGES, PROGRAM, Daemon, is_built
from scripted_server import ScriptedServer

from martlet import AsyncClient, AsyncSandbox, Client, RetryPolicy, Sandbox

VARIABLES = ("MARTLET_URL", "MARTLET_API_KEY", "MARTLET_DATA", "XDG_DATA_HOME", "HOME")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    made = ScriptedServer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    if not PROGRAM.exists() or not is_built("base"):
        pytest.skip(f"the program {PROGRAM} or the template base in {IMAGES} is not built")
    made = Daemon("--stop-sandboxes").start()
    yield made
    made.end()


@pytest.fixture
def at_daemon(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """The environment says where the daemon is."""
    for name, value in daemon.environment.items():
        monkeypatch.setenv(name, value)
    return daemon


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest, loop: Loop) -> Any:
    """Both classes of sandboxes, the asynchronous one behind a face that blocks: one test for both."""
    return Sandbox if request.param == "sync" else loop.blocking(AsyncSandbox)


@pytest.fixture(params=["sync", "async"])
def scripted(request: pytest.FixtureRequest, loop: Loop, server: ScriptedServer) -> Iterator[Any]:
    """A client of the scripted server, of either kind, that does not wait long."""
    policy = RetryPolicy(attempts=2, first=0.01, longest=0.02)
    client: Any
    if request.param == "sync":
        client = Client(server.url, "k-secret", retry=policy)
    else:
        client = loop.blocking(AsyncClient(server.url, "k-secret", retry=policy))
    client.sandbox_type = Sandbox if request.param == "sync" else loop.blocking(AsyncSandbox)
    yield client
    client.close()


@pytest.fixture
def box(kind: Any, at_daemon: Daemon) -> Iterator[Any]:
    """A sandbox of template base."""
    with kind.create(timeout=120) as made:
        yield made


@pytest.fixture(scope="session")
def has_interpreter() -> None:
    if not is_built("code-interpreter-v1"):
        pytest.skip("template code-interpreter-v1 is not built: martlet template build code-interpreter-v1")


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        if name in os.environ:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch
