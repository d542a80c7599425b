"""Commands and terminals."""

import os
import subprocess
import sys
import threading
import time

import e2b
import pytest
from conftest import exception, has, make, takes
from e2b import CommandExitException, TimeoutException


def test_output_and_exit_code(box):
    result = box.commands.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 0)


def test_a_failing_program_raises_with_its_output(box):
    with pytest.raises(CommandExitException) as failed:
        box.commands.run("echo before; echo why >&2; exit 7")
    assert (failed.value.exit_code, failed.value.stdout, failed.value.stderr) == (7, "before\n", "why\n")


def test_environment_directory_and_user(box):
    result = box.commands.run('echo "$A|$PWD|$(id -un)|$E2B_SANDBOX"', envs={"A": "ä b"}, cwd="/tmp", user="root")
    assert result.stdout == "ä b|/tmp|root|true\n"
    assert box.commands.run("id -un; pwd").stdout == "user\n/home/user\n"


def test_environment_of_the_sandbox(fresh):
    sandbox = fresh(envs={"WHOLE": "yes", "OTHER": "no"})
    assert sandbox.commands.run("echo $WHOLE $OTHER", envs={"OTHER": "own"}).stdout == "yes own\n"


def test_output_is_streamed_while_it_comes(box):
    came = []
    sign = f"/tmp/heard-{time.monotonic_ns()}"

    def hear(text):
        came.append(text)
        # The command goes on once its first line has been heard: it comes while the command runs, or never.
        if len(came) == 1:
            box.files.write(sign, "heard")

    box.commands.run(f"echo 1; while [ ! -e {sign} ]; do sleep 0.05; done; echo 2; echo 3", on_stdout=hear)
    assert "".join(came) == "1\n2\n3\n"


def test_a_lot_of_output_comes_whole(box):
    result = box.commands.run("seq 1 200000")
    assert result.stdout == "".join(f"{i}\n" for i in range(1, 200001))


def test_output_that_is_no_utf8_does_not_break_the_stream(box):
    assert box.commands.run(r"printf '\xff\xfe ok\n'").stdout.endswith(" ok\n")


def test_background_input_and_end(box):
    handle = box.commands.run("cat; echo done", background=True, **({"stdin": True} if takes(box.commands.run, "stdin") else {}))
    box.commands.send_stdin(handle.pid, "one\n")
    assert handle.pid in [process.pid for process in box.commands.list()]
    if hasattr(box.commands, "close_stdin"):
        box.commands.close_stdin(handle.pid)
        assert handle.wait().stdout == "one\ndone\n"
    else:
        assert handle.kill() is True


def test_streamed_input(box):
    has(box.commands, "stream_input")
    handle = box.commands.run("wc -c", background=True, stdin=True)
    box.commands.stream_input(handle.pid, (b"x" * 1000 for _ in range(50)))
    box.commands.close_stdin(handle.pid)
    assert handle.wait().stdout.strip() == "50000"


def test_coming_back_to_a_process(box):
    handle = box.commands.run("sleep 1; echo later; sleep 0.2", background=True)
    handle.disconnect()
    again = box.commands.connect(handle.pid)
    assert again.wait().stdout == "later\n"


def test_killing(box):
    handle = box.commands.run("sleep 600", background=True)
    assert box.commands.kill(handle.pid) is True
    with pytest.raises(CommandExitException):
        handle.wait()
    assert box.commands.kill(handle.pid) is False
    assert handle.pid not in [process.pid for process in box.commands.list()]


def test_time_out_of_a_command(box):
    start = time.monotonic()
    with pytest.raises(TimeoutException):
        box.commands.run("sleep 30", timeout=1)
    assert time.monotonic() - start < 15


def test_an_unknown_process(box):
    with pytest.raises(exception("NotFoundException", "SandboxException")):
        box.commands.connect(999_999)
    with pytest.raises(exception("NotFoundException", "SandboxException")):
        box.commands.send_stdin(999_999, "x")


def test_a_directory_that_is_not_there(box):
    with pytest.raises((exception("InvalidArgumentException"), exception("SandboxException"))):
        box.commands.run("true", cwd="/no/such/place")


def test_ten_at_once(box):
    results = {}

    def work(i):
        results[i] = box.commands.run(f"echo {i}; sleep 0.3").stdout

    threads = [threading.Thread(target=work, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: f"{i}\n" for i in range(10)}


def test_terminal(box):
    has(box, "pty")
    from e2b import PtySize

    handle = box.pty.create(PtySize(rows=31, cols=97), cwd="/tmp", envs={"MARK": "ter"})
    box.pty.resize(handle.pid, PtySize(rows=41, cols=113))
    box.pty.send_stdin(handle.pid, b"stty size; echo $MARK$((40+2)); pwd; exit 3\n")
    seen = []
    with pytest.raises(CommandExitException) as ended:
        handle.wait(on_pty=lambda data: seen.append(bytes(data)))
    text = b"".join(seen).decode()
    assert "41 113" in text and "ter42" in text and "/tmp" in text, text
    assert ended.value.exit_code == 3


def test_killing_a_terminal(box):
    from e2b import PtySize

    handle = box.pty.create(PtySize(rows=24, cols=80))
    assert box.pty.kill(handle.pid) is True
    with pytest.raises(CommandExitException):
        handle.wait()
    assert box.pty.kill(handle.pid) is False


def test_clients_that_vanish_leave_nothing_in_the_daemon(box):
    """Their processes go on, as E2B's do; the daemon keeps no connection and no stream for them."""
    daemon = os.environ.get("MARTLET_E2B_DAEMON")
    if daemon is None:
        pytest.skip("the daemon is not known")
    before = len(os.listdir(f"/proc/{daemon}/fd"))
    program = (
        "import e2b, sys\n"
        "box = e2b.Sandbox.connect(sys.argv[1])\n"
        "handles = [box.commands.run('sleep 654', background=True) for _ in range(5)]\n"
        "print('began', flush=True)\n"
        "handles[0].wait()\n"
    )
    clients = [
        subprocess.Popen([sys.executable, "-c", program, box.sandbox_id], stdout=subprocess.PIPE) for _ in range(3)
    ]
    for client in clients:
        assert client.stdout.readline() == b"began\n"
    assert len(os.listdir(f"/proc/{daemon}/fd")) > before
    for client in clients:
        client.kill()
        client.wait()
    pids = [process.pid for process in box.commands.list() if "sleep 654" in process.args[-1]]
    assert len(pids) == 15
    end = time.monotonic() + 15
    while len(os.listdir(f"/proc/{daemon}/fd")) > before and time.monotonic() < end:
        time.sleep(0.2)
    assert len(os.listdir(f"/proc/{daemon}/fd")) <= before
    for pid in pids:
        assert box.commands.kill(pid) is True
