"""What a sandbox may reach: each wish of a client as a policy of Martlet's, asked of Martlet's own API."""

import os

import e2b
import httpx
import pytest
from conftest import make, takes


def ours(path):
    url = os.environ.get("MARTLET_E2B_URL")
    if url is None:
        pytest.skip("Martlet's own API is not known")
    answer = httpx.get(url + path, headers={"Authorization": f"Bearer {os.environ['E2B_API_KEY']}"})
    answer.raise_for_status()
    return answer.json()


@pytest.fixture(scope="module", autouse=True)
def networks():
    if not (ours("/v1/host").get("network") or {}).get("available"):
        pytest.skip("this host has no networks for sandboxes")


def policy(sandbox):
    found = ours(f"/v1/sandboxes/{sandbox.sandbox_id}")["network"]
    return found["mode"], sorted(found.get("allow", [])), sorted(found.get("deny", []))


def test_the_internet_unless_told_otherwise(fresh):
    assert policy(fresh()) == ("public", [], [])


def test_no_internet(fresh):
    assert policy(fresh(allow_internet_access=False)) == ("none", [], [])


WISHES = [
    ({"deny_out": ["0.0.0.0/0"]}, ("none", [], [])),
    (
        {"deny_out": ["0.0.0.0/0"], "allow_out": ["192.0.2.1", "pypi.org"]},
        ("allowlist", ["192.0.2.1", "pypi.org"], []),
    ),
    ({"deny_out": ["198.51.100.0/24"]}, ("public", [], ["198.51.100.0/24"])),
    (
        {"deny_out": ["198.51.100.0/30"], "allow_out": ["198.51.100.1"]},
        ("public", [], ["198.51.100.0", "198.51.100.2/31"]),
    ),
]


def takes_network():
    return hasattr(e2b.Sandbox, "create") and takes(e2b.Sandbox.create, "network")


@pytest.mark.parametrize("wish, expected", WISHES)
def test_wishes(fresh, wish, expected):
    if not takes_network():
        pytest.skip("this version has no network options")
    assert policy(fresh(network=wish)) == expected


def test_a_new_wish_replaces_the_old_one(fresh):
    if not hasattr(e2b.Sandbox, "update_network"):
        pytest.skip("this version has no Sandbox.update_network")
    sandbox = fresh(network={"deny_out": ["198.51.100.0/24"]})
    sandbox.update_network({"deny_out": ["0.0.0.0/0"], "allow_out": ["192.0.2.7"]})
    assert policy(sandbox) == ("allowlist", ["192.0.2.7"], [])
    sandbox.update_network({})
    assert policy(sandbox) == ("public", [], [])


def test_names_need_all_else_denied():
    if not takes_network():
        pytest.skip("this version has no network options")
    with pytest.raises(e2b.SandboxException, match="denyOut"):
        make(network={"allow_out": ["pypi.org"]})


def takes_rules():
    if not takes_network() or not hasattr(e2b.Sandbox, "update_network"):
        pytest.skip("this version has no rules for hosts")


def test_headers_of_rules_are_put_in_outside(fresh):
    takes_rules()
    rule = {"transform": {"headers": {"X-Api-Key": "not for the guest"}}}
    sandbox = fresh(network={"deny_out": ["0.0.0.0/0"], "allow_out": ["api.example.com"], "rules": {"api.example.com": [rule]}})
    secrets = ours(f"/v1/sandboxes/{sandbox.sandbox_id}")["secrets"]
    assert [secret["hosts"] for secret in secrets] == [["api.example.com"]]
    everywhere = sandbox.commands.run("env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'", user="root").stdout
    assert "not for the guest" not in everywhere and "martlet-secret-" in everywhere


def test_an_egress_proxy_is_refused():
    takes_rules()
    if "egress_proxy" not in str(e2b.SandboxNetworkOpts.__annotations__):
        pytest.skip("this version has no egress proxy")
    with pytest.raises(e2b.SandboxException, match="egressProxy"):
        make(network={"egress_proxy": {"address": "socks5://192.0.2.1:1080"}})
