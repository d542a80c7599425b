"""What the tests share. They run with the official clients as they come; where to point these is in the environment.

MARTLET_E2B_TEMPLATE names the template of sandboxes that only run programs. Whatever a version of the client does not have
is skipped by name, so that the table in docs/e2b.md can be checked against a run.
"""

import asyncio
import inspect
import os
import uuid

import e2b
import pytest
from e2b_code_interpreter import Sandbox as CodeSandbox

TEMPLATE = os.environ.get("MARTLET_E2B_TEMPLATE", "base")
# Versions before 2.0 make a sandbox by their constructor.
MAKES_BY_CONSTRUCTOR = "create" not in dir(e2b.Sandbox)


def has(owner, name):
    """Skips the test where this version of the client has no such method."""
    if not hasattr(owner, name):
        pytest.skip(f"this version has no {getattr(owner, '__name__', type(owner).__name__)}.{name}")


def takes(function, name):
    """Whether a method of this version takes an argument."""
    return name in inspect.signature(function).parameters


def make(template=TEMPLATE, cls=e2b.Sandbox, timeout=300, **options):
    if MAKES_BY_CONSTRUCTOR:
        return cls(template=template, timeout=timeout, **options)
    return cls.create(template=template, timeout=timeout, **options)


def ended(sandbox):
    """Kills it; versions before 2.0 do not say whether there was anything to kill."""
    return sandbox.kill() in ((True, None) if MAKES_BY_CONSTRUCTOR else (True,))


def exception(*names):
    """The most exact class of these that this version has."""
    for name in names:
        if hasattr(e2b, name):
            return getattr(e2b, name)
        if hasattr(e2b.exceptions, name):
            return getattr(e2b.exceptions, name)
    raise AttributeError(names)


def query(**filters):
    """A filter for lists, as this version wants it."""
    if hasattr(e2b, "SandboxQuery"):
        return e2b.SandboxQuery(**filters)
    from e2b.sandbox.sandbox_api import SandboxQuery

    return SandboxQuery(**filters)


def listed(**options):
    """All sandboxes, whichever way this version pages."""
    pages = e2b.Sandbox.list(**options)
    if isinstance(pages, list):
        return pages
    found = []
    while pages.has_next:
        found += pages.next_items()
    return found


@pytest.fixture
def mark():
    """A name nobody else uses."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def fresh():
    """Makes sandboxes that are gone when the test is over."""
    made = []

    def one(*args, **options):
        sandbox = make(*args, **options)
        made.append(sandbox)
        return sandbox

    yield one
    for sandbox in made:
        sandbox.kill()


@pytest.fixture(scope="session")
def box():
    """One sandbox for all tests that leave it as it was."""
    sandbox = make(timeout=1800)
    yield sandbox
    sandbox.kill()


@pytest.fixture(scope="session")
def code():
    """One code interpreter for all tests that leave it as it was."""
    sandbox = make("code-interpreter-v1", cls=CodeSandbox, timeout=1800)
    yield sandbox
    sandbox.kill()


@pytest.fixture
def run():
    """Runs a coroutine to its end."""
    return lambda coroutine: asyncio.run(asyncio.wait_for(coroutine, 120))
