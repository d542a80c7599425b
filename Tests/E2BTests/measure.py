"""What E2B's client gets in time, beside what Martlet's own API takes for the same; run by `scripts/test-e2b --measure`.

Alternates between the two, so that a busy moment of the machine meets both.
"""

import os
import statistics
import time

import httpx
from e2b import Sandbox
from e2b_code_interpreter import Sandbox as CodeSandbox

ROUNDS = 60


def milliseconds(work):
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def told(name, values):
    values = sorted(values)
    print(f"{name}: p50 {statistics.median(values):.1f} ms, min {values[0]:.1f}, max {values[-1]:.1f} ({len(values)} runs)")


def overhead():
    """The client runs every command by `bash -l -c`; so does the call to our own API."""
    sandbox = Sandbox.create("base", timeout=600)
    api = httpx.Client(
        base_url=os.environ["MARTLET_E2B_URL"], headers={"Authorization": f"Bearer {os.environ['E2B_API_KEY']}"}
    )
    body = {"cmd": ["/bin/bash", "-l", "-c", "true"], "user": "user"}

    def own():
        api.post(f"/v1/sandboxes/{sandbox.sandbox_id}/exec", json=body).raise_for_status()

    def client():
        sandbox.commands.run("true")

    for work in (own, client) * 5:
        work()
    pairs = [(milliseconds(own), milliseconds(client)) for _ in range(ROUNDS)]
    told("own exec of the same command", [pair[0] for pair in pairs])
    told("commands.run('true')", [pair[1] for pair in pairs])
    told("overhead of commands.run over our own exec", [pair[1] - pair[0] for pair in pairs])
    sandbox.kill()


def code():
    creates, wholes = [], []
    for _ in range(12):
        start = time.perf_counter()
        sandbox = CodeSandbox.create(timeout=300)
        creates.append((time.perf_counter() - start) * 1000)
        assert sandbox.run_code("1+1").text == "2"
        wholes.append((time.perf_counter() - start) * 1000)
        sandbox.kill()
        # What is kept ready is made again between two creates, as it is between two users.
        time.sleep(4)
    told("Sandbox.create of the code interpreter", creates)
    told("create until the first run_code('1+1') has its result", wholes)
    plots = []
    for _ in range(3):
        sandbox = CodeSandbox.create(timeout=300)
        plot = "import matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nplt.show()"
        start = time.perf_counter()
        assert sandbox.run_code(plot).results[0].png
        plots.append((time.perf_counter() - start) * 1000)
        sandbox.kill()
        time.sleep(4)
    told("run_code of a plot", plots)


overhead()
code()
