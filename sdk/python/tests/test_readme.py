"""The examples in the READMEs do what they say, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from daemon import REPOSITORY, Daemon, is_built

BLOCK = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def examples() -> list[pytest.param]:  # type: ignore[valid-type]
    found = []
    for path in (REPOSITORY / "sdk/python/README.md", REPOSITORY / "README.md"):
        for match in BLOCK.finditer(path.read_text()):
            line = path.read_text()[: match.start()].count("\n") + 1
            found.append(pytest.param(match[1], id=f"{path.relative_to(REPOSITORY)}:{line}"))
    return found


def test_there_are_examples() -> None:
    assert len(examples()) >= 6


@pytest.mark.parametrize("code", examples())
def test_an_example_runs(code: str, daemon: Daemon, tmp_path: Path) -> None:
    if "code-interpreter" in code and not is_built("code-interpreter-v1"):
        pytest.skip("template code-interpreter-v1 is not built")
    environment = {"PATH": os.environ["PATH"], **daemon.environment}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # What a comment says is printed is printed.
    for said in re.findall(r"print\(.*?#> (.*)$", code, re.M):
        assert said in done.stdout.splitlines(), done.stdout
    assert daemon.sandboxes() == []
