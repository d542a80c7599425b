"""Forks, and the best of them, on real machines."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from daemon import Daemon

import martlet
from martlet import AsyncSandbox, ExploreError, Sandbox


def test_children_go_on_from_the_instant(box: Any, at_daemon: Daemon) -> None:
    box.exec("echo parent > /tmp/who; (while :; do echo >> /tmp/ticks; sleep 0.05; done) > /dev/null 2>&1 &")
    children = box.fork(2, timeout=60, metadata={"n": "1"}, env={"WORKER": "1"})
    try:
        assert len({box.id, *(child.id for child in children)}) == 3
        for child in children:
            assert (child.info.parent, child.info.metadata) == (box.id, {"n": "1"})
            result = child.exec(
                "cat /tmp/who; echo $WORKER; a=$(wc -l < /tmp/ticks); sleep 1; test $a -lt $(wc -l < /tmp/ticks)"
            )
            assert (result.stdout, result.exit_code) == ("parent\n1\n", 0)
    finally:
        for child in children:
            child.kill()
            child.close()
    assert at_daemon.sandboxes() == [box.id]
    assert box.exec("true").ok


def test_bad_forks_leave_nothing(box: Any, at_daemon: Daemon) -> None:
    for count in (0, 65):
        with pytest.raises(martlet.InvalidArgumentError):
            box.fork(count)
    assert at_daemon.sandboxes() == [box.id]


def test_a_fork_that_finds_no_place_for_all_makes_none(monkeypatch: Any) -> None:
    crowded = Daemon("--max-sandboxes", "2", "--no-pool", "--stop-sandboxes", "--no-network").start()
    try:
        for name, value in crowded.environment.items():
            monkeypatch.setenv(name, value)
        with Sandbox.create(timeout=60) as box:
            with pytest.raises(martlet.ForkError) as caught:
                box.fork(3)
            assert [type(error) for error in caught.value.errors] == [martlet.CapacityError] * 2
            assert crowded.sandboxes() == [box.id]
    finally:
        crowded.end()


def score_of(text: str) -> float | None:
    return None if text == "none" else float(text)


def test_the_best_is_kept(at_daemon: Daemon) -> None:
    scores = ["1", "7", "nan", "none", "7", "oops"]
    meet = threading.Barrier(len(scores), timeout=60)

    def attempt(fork: Sandbox, index: int) -> float | None:
        meet.wait()  # all run at once, or this breaks
        fork.files.write("/tmp/score", scores[index])
        return score_of(fork.exec("cat /tmp/score").stdout)

    with Sandbox.create(timeout=120) as box:
        found = box.explore(len(scores), attempt, timeout=60)
        with found.best as best:
            assert (found.score, found.index, best.info.parent) == (7, 1, box.id)
            assert [one.score for one in found.attempts[:2]] == [1, 7]
            assert [one.counts for one in found.attempts] == [True, True, False, False, True, False]
            assert isinstance(found.attempts[5].error, ValueError)
            assert set(at_daemon.sandboxes()) == {box.id, best.id}
            assert best.files.read("/tmp/score") == "7"
        assert at_daemon.sandboxes() == [box.id]


def test_when_all_lose_all_are_killed(at_daemon: Daemon) -> None:
    def attempt(fork: Sandbox, index: int) -> float | None:
        raise ValueError(index) if index else martlet.InternalError("first")

    with Sandbox.create(timeout=120) as box:
        with pytest.raises(ExploreError, match="first") as caught:
            box.explore(2, attempt)
        assert [type(error) for error in caught.value.errors] == [martlet.InternalError, ValueError]
        with pytest.raises(martlet.InvalidArgumentError):
            box.explore(2, attempt, concurrency=0)
        assert at_daemon.sandboxes() == [box.id]

        def interrupted(fork: Sandbox, index: int) -> float | None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            box.explore(2, interrupted)
        assert at_daemon.sandboxes() == [box.id]


def test_the_best_is_kept_asynchronously(at_daemon: Daemon) -> None:
    running = most = 0

    async def attempt(fork: AsyncSandbox, index: int) -> float | None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        result = await fork.exec(f"sleep 0.1; echo {index}")
        running -= 1
        return -abs(float(result.stdout) - 1)

    async def main() -> None:
        async with await AsyncSandbox.create(timeout=120) as box:
            found = await box.explore(4, attempt, concurrency=2)
            async with found.best as best:
                assert (found.score, found.index, most) == (0, 1, 2)
                assert set(at_daemon.sandboxes()) == {box.id, best.id}
            assert at_daemon.sandboxes() == [box.id]

    asyncio.run(main())
    assert at_daemon.sandboxes() == []


def test_a_cancelled_exploration_leaves_nothing(at_daemon: Daemon) -> None:
    cancelled = []

    async def attempt(fork: AsyncSandbox, index: int) -> float | None:
        try:
            await fork.exec("sleep 50")
        except asyncio.CancelledError:
            cancelled.append(index)
            raise
        return 1

    async def main() -> None:
        async with await AsyncSandbox.create(timeout=120) as box:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(box.explore(2, attempt), 2)
            assert at_daemon.sandboxes() == [box.id]

    began = time.monotonic()
    asyncio.run(main())
    assert sorted(cancelled) == [0, 1]
    assert time.monotonic() - began < 20


def test_a_cancelled_block_ends_its_sandbox(at_daemon: Daemon) -> None:
    async def main() -> None:
        async def use() -> None:
            async with await AsyncSandbox.create(timeout=120) as box, await box.exec_stream("sleep 50") as stream:
                async for _ in stream:
                    pass

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(use(), 1.5)

    asyncio.run(main())
    assert at_daemon.sandboxes() == []


def test_sandboxes_are_used_from_many_threads(at_daemon: Daemon) -> None:
    with Sandbox.create(timeout=60) as box:
        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda i=i: found.append(box.exec(f"echo {i}").stdout.strip())) for i in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(int, found)) == list(range(12))
