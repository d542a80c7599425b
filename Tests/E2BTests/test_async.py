"""The asynchronous client."""

import asyncio
import importlib.metadata

import e2b
import pytest
from conftest import MAKES_BY_CONSTRUCTOR, TEMPLATE, exception
from e2b import AsyncSandbox, CommandExitException
from e2b_code_interpreter import AsyncSandbox as AsyncCodeSandbox


def e2b_version():
    return tuple(int(part) for part in importlib.metadata.version("e2b").split("."))


def with_sandbox(run, body, template=TEMPLATE, cls=AsyncSandbox):
    async def work():
        sandbox = await cls.create(template=template, timeout=300)
        try:
            await body(sandbox)
        finally:
            assert await sandbox.kill() in ((True, None) if MAKES_BY_CONSTRUCTOR else (True,))

    run(work())


def test_commands_and_files(run, mark):
    async def body(sandbox):
        assert (await sandbox.commands.run("echo hi")).stdout == "hi\n"
        with pytest.raises(CommandExitException):
            await sandbox.commands.run("exit 2")
        path = f"/tmp/{mark}/ü.txt"
        await sandbox.files.write(path, "text")
        assert await sandbox.files.read(path) == "text"
        assert [entry.path for entry in await sandbox.files.list(f"/tmp/{mark}")] == [path]
        assert await sandbox.files.exists(path)
        await sandbox.files.remove(path)
        assert not await sandbox.files.exists(path)

    with_sandbox(run, body)


def test_many_commands_at_once(run):
    async def body(sandbox):
        results = await asyncio.gather(*[sandbox.commands.run(f"sleep 0.2; echo {i}") for i in range(20)])
        assert [result.stdout for result in results] == [f"{i}\n" for i in range(20)]

    with_sandbox(run, body)


def test_background_and_streams(run):
    async def body(sandbox):
        seen = []
        handle = await sandbox.commands.run(
            "for i in 1 2 3; do echo $i; sleep 0.2; done", background=True, on_stdout=lambda text: seen.append(text)
        )
        await handle.wait()
        assert "".join(seen) == "1\n2\n3\n"

    with_sandbox(run, body)


def test_watching(run, mark):
    async def body(sandbox):
        events, came = [], asyncio.Event()

        def take(event):
            events.append((event.name, event.type.value))
            if ("new.txt", "create") in events and ("sub/deep.txt", "create") in events:
                came.set()

        await sandbox.files.make_dir(f"/tmp/{mark}/sub")
        watch = await sandbox.files.watch_dir(f"/tmp/{mark}", on_event=take, recursive=True)
        await sandbox.files.write(f"/tmp/{mark}/new.txt", "1")
        await sandbox.files.write(f"/tmp/{mark}/sub/deep.txt", "1")
        await asyncio.wait_for(came.wait(), 15)
        await watch.stop()
        with pytest.raises(exception("FileNotFoundException", "NotFoundException")):
            await sandbox.files.watch_dir(f"/tmp/{mark}/none", on_event=take)

    with_sandbox(run, body)


def test_terminal(run):
    if e2b_version() < (2,):
        pytest.skip("this version sends no token when it opens a terminal from asyncio")

    async def body(sandbox):
        seen, came = bytearray(), asyncio.Event()

        async def take(data):
            seen.extend(data)
            if b"ter42" in seen:
                came.set()

        handle = await sandbox.pty.create(e2b.PtySize(rows=24, cols=80), on_data=take)
        await sandbox.pty.send_stdin(handle.pid, b"echo ter$((40+2))\n")
        await asyncio.wait_for(came.wait(), 15)
        assert await handle.kill() is True

    with_sandbox(run, body)


def test_pause_and_connect(run):
    async def body(sandbox):
        if not hasattr(sandbox, "pause") and not hasattr(sandbox, "beta_pause"):
            pytest.skip("this version cannot pause")
        await sandbox.files.write("/tmp/x", "1")
        await (sandbox.pause if hasattr(sandbox, "pause") else sandbox.beta_pause)()
        again = await AsyncSandbox.connect(sandbox.sandbox_id)
        assert await again.files.read("/tmp/x") == "1"

    with_sandbox(run, body)


def test_code(run):
    async def body(sandbox):
        assert (await sandbox.run_code("1 + 1")).text == "2"
        out = []
        await sandbox.run_code("print('x')", on_stdout=lambda m: out.append(m.line))
        assert out == ["x\n"]

    with_sandbox(run, body, template="code-interpreter-v1", cls=AsyncCodeSandbox)


def test_what_is_not_there(run):
    async def body(sandbox):
        with pytest.raises(exception("FileNotFoundException", "NotFoundException")):
            await sandbox.files.read("/no/such/file")
        with pytest.raises((exception("SandboxNotFoundException", "NotFoundException"), exception("SandboxException"))):
            await AsyncSandbox.connect("s" + "0" * 19)

    with_sandbox(run, body)


def test_a_client_that_vanishes_mid_stream(run):
    async def body(sandbox):
        task = asyncio.create_task(sandbox.commands.run("echo began; sleep 300", timeout=0))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await sandbox.commands.run("echo on")).stdout == "on\n"

    with_sandbox(run, body)
