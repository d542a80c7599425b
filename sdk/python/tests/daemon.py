"""A daemon as users run it - the built program, real machines - with a data directory of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import httpx

REPOSITORY = Path(__file__).resolve().parents[3]
IMAGES = Path(os.environ.get("MARTLET_TEST_IMAGES") or REPOSITORY / ".cache/images")
PROGRAM = Path(os.environ.get("MARTLET_TEST_PROGRAM") or REPOSITORY / "bin/martlet")


def is_built(template: str) -> bool:
    """Whether sandboxes can be made from a template."""
    return (IMAGES / f"templates/{template}.json").exists()


class Daemon:
    """One daemon; ``end`` leaves neither a process nor a file of it."""

    def __init__(self, *options: str) -> None:
        root = os.environ.get("MARTLET_SDK_TEST_ROOT")
        self.data = Path(tempfile.mkdtemp(prefix="martlet-sdk-", dir=root))
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def start(self) -> Daemon:
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.data),
            "MARTLET_GUEST_AGENT": str(REPOSITORY / "libexec/martlet-guest"),
        }
        command = [
            str(PROGRAM), "serve", "--data", str(self.data), "--images", str(IMAGES),
            "--templates", str(REPOSITORY / "templates"), "--listen", self.url.removeprefix("http://") or "127.0.0.1:0",
            "--log-format", "text", *self.options,
        ]  # fmt: skip
        log = self.data / "test.log"
        seen = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        (self.data / "test.pid").write_text(str(self.process.pid))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            text = log.read_bytes()[seen:].decode(errors="replace")
            if "daemon ready" in text:
                line = next(line for line in text.splitlines() if "daemon ready" in line)
                self.url = next(word for word in line.split() if word.startswith("url=")).removeprefix("url=")
                return self
            time.sleep(0.05)
        tail = log.read_text(errors="replace")[-2000:]
        self.end()
        raise AssertionError(f"the daemon did not become ready:\n{tail}")

    @property
    def api_key(self) -> str:
        return (self.data / "api-key").read_text().strip()

    @property
    def socket(self) -> str:
        return f"unix://{self.data}/api.sock"

    @property
    def environment(self) -> dict[str, str]:
        """Where clients find it."""
        return {"MARTLET_URL": self.url, "MARTLET_API_KEY": self.api_key}

    def sandboxes(self) -> list[str]:
        """The ids of what lives in it, told without the package that is tested."""
        answer = httpx.get(f"{self.url}/v1/sandboxes", headers={"X-API-Key": self.api_key}, trust_env=False)
        return [item["id"] for item in answer.json()["items"]]

    def crash(self) -> None:
        """Ends it without a warning; sandboxes go on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def end(self) -> None:
        """Ends it and its machines, and removes its files."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None
        for pid in self._machines():
            os.kill(pid, signal.SIGKILL)
        for path in sorted(self.data.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        self.data.rmdir()

    def _machines(self) -> list[int]:
        """Processes of machines of this data directory, whoever their parent is."""
        mark = f"{self.data}/node/machines/".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if mark in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found
