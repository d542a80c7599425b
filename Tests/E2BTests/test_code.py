"""The code interpreter: kernels that keep their state, results of every kind, errors, contexts.

As in E2B's, the text of a string comes without its quotes.
"""

import base64
import re
import subprocess
import sys
import time

import e2b
import pytest
from conftest import exception, has
from e2b_code_interpreter import Sandbox


def test_the_default_template(fresh):
    sandbox = fresh(Sandbox.default_template, cls=Sandbox)
    assert sandbox.run_code("21 * 2").text == "42"


def test_state_is_kept(code):
    code.run_code("kept = [1, 2]")
    assert code.run_code("kept.append(3); kept").text == "[1, 2, 3]"


def test_output_and_callbacks(code):
    out, err, results = [], [], []
    sign = f"/tmp/heard-{time.monotonic_ns()}"

    def hear(message):
        out.append(message.line)
        # The code goes on once its first line has been heard: it comes while the code runs, or never.
        if len(out) == 1:
            code.files.write(sign, "heard")

    execution = code.run_code(
        f"import os, sys, time\nprint('a')\nwhile not os.path.exists('{sign}'): time.sleep(0.02)\n"
        "print('b')\nprint('e', file=sys.stderr)\n'value'",
        on_stdout=hear,
        on_stderr=lambda m: err.append(m.line),
        on_result=lambda r: results.append(r.text),
    )
    assert "".join(out) == "a\nb\n" and "".join(err) == "e\n" and results == ["value"]
    assert "".join(execution.logs.stdout) == "a\nb\n"


def test_errors_have_name_value_and_traceback(code):
    seen = []
    execution = code.run_code("def f():\n    return 1 / 0\nf()", on_error=lambda e: seen.append(e.name))
    assert (execution.error.name, execution.error.value) == ("ZeroDivisionError", "division by zero")
    plain = re.sub(r"\x1b\[[0-9;]*m", "", execution.error.traceback)
    assert "f()" in plain and seen == ["ZeroDivisionError"]
    assert "SyntaxError" == code.run_code("a b c").error.name


def test_a_plot_comes_as_a_picture_and_as_a_chart(code):
    execution = code.run_code("import matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nplt.title('squares')\nplt.show()")
    result = execution.results[0]
    assert base64.b64decode(result.png)[:8] == b"\x89PNG\r\n\x1a\n"
    assert result.chart.type.value == "line" and result.chart.title == "squares"
    assert [point[1] for point in result.chart.elements[0].points] == [1, 4, 9]


def test_rich_results(code):
    execution = code.run_code("import pandas as pd\npd.DataFrame({'a': [1, 2]})")
    assert "<table" in execution.results[0].html and "a" in execution.results[0].text
    execution = code.run_code(
        "from IPython.display import display, HTML, Markdown, SVG, JSON, Latex, Javascript\n"
        "for r in (HTML('<b>h</b>'), Markdown('**m**'), SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>'),"
        " JSON({'k': [1]}), Latex('$x$'), Javascript('1')): display(r)"
    )
    assert execution.error is None
    html, markdown, svg, json, latex, javascript = execution.results
    assert html.html == "<b>h</b>" and markdown.markdown == "**m**" and "<svg" in svg.svg
    assert json.json == {"k": [1]} and latex.latex == "$x$" and javascript.javascript == "1"
    assert not html.is_main_result


def test_environment_of_one_call(code):
    assert code.run_code("import os; os.environ['ONLY']", envs={"ONLY": "here"}).text == "here"
    assert code.run_code("os.environ.get('ONLY')").text in (None, "None")


def test_environment_of_the_sandbox(fresh):
    sandbox = fresh("code-interpreter-v1", cls=Sandbox, envs={"WHOLE": "yes"})
    assert sandbox.run_code("import os; os.environ.get('WHOLE')").text == "yes"


def test_other_languages(code):
    assert "".join(code.run_code("console.log(6 * 7)", language="javascript").logs.stdout) == "42\n"
    assert "".join(code.run_code("echo $((6 * 7))", language="bash").logs.stdout) == "42\n"


def test_contexts_know_nothing_of_each_other(code):
    context = code.create_code_context(cwd="/tmp")
    assert code.run_code("import os; os.getcwd()", context=context).text == "/tmp"
    code.run_code("own = 1", context=context)
    assert code.run_code("own").error.name == "NameError"
    if hasattr(code, "list_code_contexts"):
        assert context.id in [found.id for found in code.list_code_contexts()]
        code.restart_code_context(context)
        assert code.run_code("own", context=context).error.name == "NameError"
        code.remove_code_context(context)
        assert context.id not in [found.id for found in code.list_code_contexts()]


def test_time_out_of_code_interrupts_the_kernel(code):
    with pytest.raises(e2b.TimeoutException):
        code.run_code("import time\nwhile True: time.sleep(0.05)", timeout=2)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            assert code.run_code("'alive'", timeout=10).text == "alive"
            break
        except e2b.TimeoutException:
            continue
    else:
        pytest.fail("the kernel was not interrupted")


def test_a_kernel_that_dies_is_told_of_and_comes_back(fresh):
    sandbox = fresh("code-interpreter-v1", cls=Sandbox)
    execution = sandbox.run_code("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert execution.error is not None
    assert sandbox.run_code("'back'", timeout=60).text == "back"


def test_files_and_commands_share_the_machine(code):
    code.files.write("/home/user/data.csv", "a,b\n1,2\n")
    assert code.run_code("open('/home/user/data.csv').read()").text == "a,b\\n1,2\\n"
    assert code.commands.run("cat /home/user/data.csv").stdout == "a,b\n1,2\n"


def test_a_killed_sandbox(fresh):
    sandbox = fresh("code-interpreter-v1", cls=Sandbox)
    sandbox.kill()
    with pytest.raises(exception("TimeoutException")):
        sandbox.run_code("1")


def test_kernels_live_through_a_pause(fresh):
    sandbox = fresh("code-interpreter-v1", cls=Sandbox)
    if not hasattr(sandbox, "pause") and not hasattr(sandbox, "beta_pause"):
        pytest.skip("this version cannot pause")
    sandbox.run_code("kept = 7")
    (sandbox.pause if hasattr(sandbox, "pause") else sandbox.beta_pause)()
    again = Sandbox.connect(sandbox.sandbox_id)
    assert again.run_code("kept").text == "7"


FIRST_CODE = """
import sys, time
from e2b_code_interpreter import Sandbox
sandbox = Sandbox.connect(sys.argv[1])
time.sleep(max(0, float(sys.argv[3]) - time.time()))
execution = sandbox.run_code(f"import time; time.sleep(1); print({sys.argv[2]})")
sys.stdout.write("".join(execution.logs.stdout))
"""


def test_two_processes_whose_first_code_comes_at_the_same_instant(fresh):
    """Neither cuts the other off, though a client that leaves interrupts its own code."""
    sandbox = fresh("code-interpreter-v1", cls=Sandbox)
    moment = str(time.time() + 5)
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_CODE, sandbox.sandbox_id, number, moment],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in ("1", "2")
    ]
    told = [client.communicate(timeout=90) for client in clients]
    assert [output for output, _ in told] == ["1\n", "2\n"], told
