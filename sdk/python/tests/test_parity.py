"""The two classes are one interface."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import martlet

PAIRS = [
    (martlet.Sandbox, martlet.AsyncSandbox),
    (martlet.Files, martlet.AsyncFiles),
    (martlet.Process, martlet.AsyncProcess),
    (martlet.ExecStream, martlet.AsyncExecStream),
    (martlet.Client, martlet.AsyncClient),
]


def public(kind: type) -> dict[str, Any]:
    return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("plain", "asynchronous"), PAIRS)
def test_both_have_the_same_methods(plain: type, asynchronous: type) -> None:
    assert public(plain).keys() == public(asynchronous).keys()
    for name, method in public(plain).items():
        if callable(method):
            theirs = inspect.signature(public(asynchronous)[name]).parameters
            ours = inspect.signature(method).parameters
            assert {(p.name, p.default, p.kind) for p in ours.values()} == {
                (p.name, p.default, p.kind) for p in theirs.values()
            }, name


@pytest.mark.parametrize("kind", [one for pair in PAIRS for one in pair])
def test_everything_is_documented(kind: type) -> None:
    assert kind.__doc__
    for name, method in public(kind).items():
        assert inspect.getdoc(method), f"{kind.__name__}.{name}"


def test_all_is_what_there_is() -> None:
    assert all(hasattr(martlet, name) for name in martlet.__all__)
