"""Commands, streams and background programs in real sandboxes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from daemon import Daemon

import martlet
from martlet import CommandError, Exit, Output, Sandbox


def test_a_command_is_run_to_its_end(box: Any) -> None:
    result = box.exec(["sh", "-c", 'echo "$1 $A"; pwd; id -un; cat; echo é >&2; exit 3', "x", "a'b $c"],
                      cwd="/tmp", env={"A": "ü"}, user="user", stdin="in")  # fmt: skip
    assert (result.stdout, result.stderr) == ("a'b $c ü\n/tmp\nuser\nin", "é\n")
    assert (result.exit_code, result.ok, result.signal) == (3, False, None)
    assert box.exec("printf '\\377\\000'").stdout_bytes == b"\xff\x00"
    assert box.exec("kill -9 $$").signal == "SIGKILL"


def test_failures_of_programs_are_results(box: Any) -> None:
    assert box.exec(["no-such-program"]).exit_code == 127
    slow = box.exec("sleep 20", timeout=0.5)
    assert (slow.timed_out, slow.ok) == (True, False)
    long = box.exec("head -c 5000 /dev/zero", max_output_bytes=100)
    assert (len(long.stdout_bytes), long.truncated) == (100, True)
    with pytest.raises(CommandError) as caught:
        box.exec("echo why; exit 4", check=True)
    assert (caught.value.result.exit_code, caught.value.result.stdout) == (4, "why\n")
    assert box.exec("true", check=True).ok


def test_bad_requests_are_errors(box: Any) -> None:
    with pytest.raises(martlet.InvalidArgumentError):
        box.exec([])
    with pytest.raises(martlet.InvalidArgumentError, match="exec_stream"):
        box.exec("cat", stdin=b"\xff")
    with pytest.raises(martlet.InvalidArgumentError):
        box.exec("true", env={"not a name": "x"})


def test_output_is_told_as_it_is_written(box: Any) -> None:
    times = []
    events = []
    for event in box.exec_stream("echo a; sleep 3; echo b >&2; exit 5"):
        times.append(time.monotonic())
        events.append(event)
    assert [(e.channel, e.text) for e in events[:-1]] == [("stdout", "a\n"), ("stderr", "b\n")]
    assert isinstance(events[-1], Exit)
    assert events[-1].exit_code == 5
    assert times[1] - times[0] > 0.4


def test_input_and_output_flow_at_once(box: Any) -> None:
    data = os.urandom(3 << 20)
    with box.exec_stream("cat", stdin=data) as stream:
        assert b"".join(event.data for event in stream if isinstance(event, Output)) == data
        assert stream.exit.ok


def test_input_is_written_piece_by_piece(box: Any) -> None:
    with box.exec_stream(["python3", "-c", "while True: print(int(input()) * 2, flush=True)"], stdin=True) as stream:
        events = iter(stream)
        for number in (3, 21):
            stream.write(f"{number}\n")
            assert next(events).text == f"{number * 2}\n"
        stream.close_stdin()
        assert next(event for event in events if isinstance(event, Exit)).exit_code == 1


def test_a_stream_left_early_ends_its_program(box: Any) -> None:
    with box.exec_stream("sleep 999 & echo started; wait", timeout=None) as stream:
        assert next(iter(stream)).text == "started\n"
    assert box.exec("pgrep -x sleep").exit_code == 1
    stopped = box.exec_stream("echo up; exec sleep 1000")
    assert next(iter(stopped)).text == "up\n"
    stopped.signal("SIGTERM")
    assert next(iter(stopped)).signal == "SIGTERM"
    late = list(box.exec_stream("sleep 30", timeout=0.3))
    assert late[-1].timed_out


def test_programs_go_on_in_the_background(box: Any) -> None:
    program = box.start("for i in 1 2 3; do echo $i; sleep 0.1; done", cwd="/tmp")
    assert program.wait().ok
    again = box.process(program.pid)
    assert b"".join(e.data for e in again.events() if isinstance(e, Output)) == b"1\n2\n3\n"
    assert b"".join(e.data for e in again.events(4) if isinstance(e, Output)) == b"3\n"
    assert again.info().exit.ok
    terminal = box.start("stty size; read x; stty size", pty=(10, 20), timeout=60)
    seen = ""
    for event in terminal.events():
        if isinstance(event, Output):
            seen += event.text
            if seen == "10 20\r\n":
                terminal.resize(30, 40)
                terminal.write("\n")
    assert seen == "10 20\r\n\r\n30 40\r\n"
    assert {program.pid, terminal.pid} <= {one.pid for one in box.processes()}
    program.kill()
    with pytest.raises(martlet.NotFoundError):
        program.info()
    with pytest.raises(martlet.InvalidArgumentError) as caught:
        box.start(["no-such-program"])
    assert caught.value.details["reason"] == "command_not_found"


def test_a_stream_ends_with_an_error_when_the_sandbox_does(kind: Any, at_daemon: Daemon) -> None:
    with kind.create(timeout=60) as box:
        events = iter(box.exec_stream("echo up; sleep 100"))
        assert next(events).text == "up\n"
        threading.Timer(0.3, Sandbox.connect(box.id).kill).start()
        began = time.monotonic()
        with pytest.raises((martlet.UnavailableError, martlet.NotFoundError)):
            list(events)
        assert time.monotonic() - began < 20


def test_a_stream_does_not_notice_a_crash_of_the_daemon(kind: Any, monkeypatch: Any) -> None:
    daemon = Daemon("--no-pool").start()
    try:
        for name, value in daemon.environment.items():
            monkeypatch.setenv(name, value)
        with kind.create(timeout=60) as box:
            found = []
            for event in box.exec_stream("for i in $(seq 1 40); do echo $i; sleep 0.05; done"):
                found.append(event)
                if len(found) == 5:
                    daemon.crash()
                    daemon.start()
            assert "".join(e.text for e in found[:-1]) == "".join(f"{i}\n" for i in range(1, 41))
    finally:
        daemon.end()


def test_a_client_that_vanishes_leaves_nothing_behind(at_daemon: Daemon) -> None:
    with Sandbox.create(timeout=60) as box:
        code = (
            "from martlet import Sandbox\n"
            f"for event in Sandbox.connect({box.id!r}).exec_stream('echo up; sleep 777', timeout=3):\n"
            "    print('up', flush=True)\n"
        )
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            child.send_signal(signal.SIGKILL)
        assert box.exec("pgrep -fx 'sleep 777'").ok
        deadline = time.monotonic() + 15
        while box.exec("pgrep -fx 'sleep 777'").ok:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        ended = next(program.exit for program in box.processes() if "sleep 777" in program.cmd[-1])
        assert ended is not None
        assert ended.timed_out
