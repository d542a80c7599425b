"""Code in kernels of real sandboxes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from daemon import Daemon

import martlet

pytestmark = pytest.mark.usefixtures("has_interpreter")


@pytest.fixture
def kernel(kind: Any, at_daemon: Daemon) -> Iterator[Any]:
    with kind.create("code-interpreter", timeout=300) as made:
        yield made


def test_code_keeps_its_variables_and_shows_values(kernel: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        # The first four at once: the port is published by one of them, and nobody is cut off.
        assert [done.text for done in pool.map(kernel.run_code, ["1+1"] * 4)] == ["2"] * 4
    texts: list[str] = []
    done = kernel.run_code("import sys; x = 'ü'; print(x); print('no', file=sys.stderr); x", on_stdout=texts.append)
    assert (done.text, done.stdout, done.stderr, done.error) == ("ü", "ü\n", "no\n", None)
    assert "".join(texts) == "ü\n"
    raised = kernel.run_code("int(x)")
    assert raised.error.name == "ValueError"
    assert "ValueError" in raised.error.traceback
    assert kernel.run_code("import os; os.environ['A']", env={"A": "b"}).text == "b"
    table = kernel.run_code("import pandas as pd; pd.DataFrame({'a': [1, 2]})").results[0]
    assert table.data == {"a": [1, 2]}
    assert "<table" in table.html
    assert kernel.run_code("from IPython.display import *; display(SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'), JSON({'k': 1}))").results[1].json == {"k": 1}  # fmt: skip # noqa: E501


def test_a_plot_is_a_picture(kernel: Any) -> None:
    done = kernel.run_code("import matplotlib.pyplot as p; p.plot([1, 2]); p.title('T'); p.show()")
    assert done.results[0].png_bytes.startswith(b"\x89PNG")
    assert (done.results[0].text, done.results[0].is_main) == ("<Figure size 640x480 with 1 Axes>", False)


def test_contexts_and_languages(kernel: Any) -> None:
    assert kernel.run_code("[1, 2].map(n => n * 2)", language="javascript").text
    assert kernel.run_code("echo $((6 * 7))", language="bash").stdout == "42\n"
    own = kernel.create_code_context("python", cwd="/tmp")
    assert kernel.run_code("y = 5; import os; os.getcwd()", context=own).text == "/tmp"
    assert kernel.run_code("y").error.name == "NameError"
    assert own.id in [one.id for one in kernel.code_contexts()]
    kernel.restart_code_context(own)
    assert kernel.run_code("y", context=own.id).error.name == "NameError"
    kernel.remove_code_context(own)
    with pytest.raises(martlet.NotFoundError):
        kernel.run_code("1", context=own)
    with pytest.raises(martlet.InvalidArgumentError):
        kernel.run_code("1", language="cobol")
    with pytest.raises(martlet.InvalidArgumentError):
        kernel.run_code("1", language="python", context=own)


def test_code_that_takes_too_long_is_interrupted(kernel: Any) -> None:
    kernel.run_code("n = 0")
    began = time.monotonic()
    with pytest.raises(martlet.TimeoutError, match="interrupted"):
        kernel.run_code("import time\nwhile True: n += 1; time.sleep(0.1)", timeout=1)
    assert time.monotonic() - began < 3
    first = kernel.run_code("n").text
    time.sleep(0.5)
    assert kernel.run_code("n").text == first
    died = kernel.run_code("import os; os.kill(os.getpid(), 9)")
    assert died.error.name == "KernelDied"
    assert kernel.run_code("1+1").text == "2"


def test_forks_have_the_variables(kernel: Any) -> None:
    kernel.run_code("z = 40")
    (child,) = kernel.fork(1)
    with child:
        assert child.run_code("z + 2").text == "42"


def test_other_templates_say_what_is_missing(box: Any) -> None:
    with pytest.raises(martlet.UnavailableError, match="code-interpreter-v1"):
        box.run_code("1")
