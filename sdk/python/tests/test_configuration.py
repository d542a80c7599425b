"""Where a client finds its server and key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from scripted_server import ScriptedServer, answer

from martlet import Client, InvalidArgumentError, PermissionDeniedError, Secret
from martlet._config import Configuration, Endpoint, data_directory


@pytest.mark.parametrize(
    ("text", "base", "socket"),
    [
        ("http://127.0.0.1:7070", "http://127.0.0.1:7070", None),
        ("https://sandboxes.example.com/under/", "https://sandboxes.example.com/under", None),
        ("unix:///run/martlet/api.sock", "http://localhost", "/run/martlet/api.sock"),
        ("/run/api.sock", "http://localhost", "/run/api.sock"),
        ("http://[::1]:7070", "http://[::1]:7070", None),
    ],
)
def test_addresses_are_read(text: str, base: str, socket: str | None) -> None:
    assert Endpoint.parse(text) == Endpoint(base, socket)


@pytest.mark.parametrize(
    "text", ["", "localhost:7070", "http://", "http://:80", "unix://relative", "ftp://a", "http://a:b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        Endpoint.parse(text)


def test_without_an_address_it_is_the_local_socket() -> None:
    found = Configuration.find(environment={"MARTLET_DATA": "/srv/m", "MARTLET_API_KEY": "k"})
    assert found.endpoint.socket == "/srv/m/api.sock"
    assert found.api_key == "k"


def test_the_variable_is_named_when_it_is_no_address() -> None:
    with pytest.raises(InvalidArgumentError, match="MARTLET_URL"):
        Configuration.find(environment={"MARTLET_URL": "nonsense"})


def test_what_is_given_goes_before_the_environment() -> None:
    found = Configuration.find("http://a", "mine", {"MARTLET_URL": "http://b", "MARTLET_API_KEY": "theirs"})
    assert (found.endpoint.base_url, found.api_key) == ("http://a", "mine")


@pytest.mark.parametrize(
    ("url", "key"),
    [("http://127.0.0.1:1", "mk_local"), ("http://localhost", "mk_local"), ("http://example.com", None),
     ("http://127.0.0.1.example.com", None), ("http://localhost@example.com", None)],
)  # fmt: skip
def test_the_local_key_goes_to_this_machine_only(url: str, key: str | None, tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("mk_local\n")
    assert Configuration.find(environment={"MARTLET_URL": url, "MARTLET_DATA": str(tmp_path)}).api_key == key


def test_data_directories() -> None:
    assert data_directory({"MARTLET_DATA": "/x/../y/"}) == "/y"
    expected = "/var/lib/martlet" if os.geteuid() == 0 else "/share/martlet"
    assert data_directory({"XDG_DATA_HOME": "/share", "HOME": "/home/a"}) == expected


def test_no_representation_shows_a_key_or_secret() -> None:
    client = Client("http://127.0.0.1:1", "k-secret")
    secret = Secret("API_KEY", ["example.com"], value="k-secret")
    assert "k-secret" not in repr(client) + str(client) + repr(client._configuration) + repr(secret)


@pytest.mark.parametrize("key", ["a\r\nX-Evil: 1", "schlüssel"])
def test_a_key_cannot_write_headers(key: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Client("http://127.0.0.1:1", key)
    assert key not in str(caught.value)


@pytest.mark.parametrize("length", [20, 150])
def test_sockets_are_reached_however_long_their_path(length: int, tmp_path: Path) -> None:
    directory = tmp_path / ("d" * length)
    directory.mkdir()
    here = os.getcwd()
    os.chdir(directory)
    try:
        server = ScriptedServer("api.sock")
    finally:
        os.chdir(here)
    server.script = [answer(200, {"items": []})]
    with Client(f"unix://{directory}/api.sock") as client:
        assert client.sandboxes() == []
    assert "authorization" not in server.asked[0].headers
    server.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_socket_of_somebody_else_is_permission_denied(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    server = ScriptedServer(str(tmp_path / "s"))
    (tmp_path / "s").chmod(0o600)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.seteuid(65534)
            with Client(server.url) as client:
                client.sandboxes()
        except PermissionDeniedError:
            status = 0
        except BaseException as error:
            print(repr(error))
        os._exit(status)
    _, status = os.waitpid(child, 0)
    server.close()
    assert status == 0


def test_proxies_of_the_environment_are_not_used(server: ScriptedServer, monkeypatch: Any) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.script = [answer(200, {"items": []})]
    with Client(server.url) as client:
        assert client.sandboxes() == []
