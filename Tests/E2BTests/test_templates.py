"""Templates that a client builds: steps run in a microVM of this host, and what comes of them is started like any other."""

import time

import e2b
import pytest
from conftest import exception, has, make, takes

if not hasattr(e2b, "Template"):
    pytest.skip("this version has no Template", allow_module_level=True)

Template = e2b.Template
failure = exception("BuildException")


@pytest.fixture
def builder(tmp_path):
    """A template whose files come from a folder of the test's own."""
    (tmp_path / "app.txt").write_text("an app\n")
    (tmp_path / "tool.sh").write_text("#!/bin/sh\necho a tool\n")
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "one.txt").write_text("one\n")
    (tmp_path / "data" / "deep" / "two.txt").write_text("two\n")
    (tmp_path / "data" / "link").symlink_to("one.txt")
    (tmp_path / "left.log").write_text("to be ignored\n")
    return lambda **options: Template(file_context_path=str(tmp_path), **options)


@pytest.fixture
def built(mark):
    """Builds templates that are gone when the test is over."""
    import httpx
    import os

    made = []

    def build(template, name=mark, **options):
        lines = []
        info = Template.build(template, name, on_build_logs=lambda entry: lines.append(entry.message), **options)
        made.append(info.template_id)
        return info, lines

    yield build
    for template in set(made):
        # The client has no method for it.
        httpx.delete(
            f"{os.environ['E2B_API_URL']}/templates/{template}", headers={"X-API-Key": os.environ["E2B_API_KEY"]}
        )


def said(sandbox, command, **options):
    return sandbox.commands.run(command, **options).stdout.strip()


def test_steps_become_a_template(built, builder, mark, fresh):
    template = (
        builder(file_ignore_patterns=["*.log"])
        .from_base_image()
        .copy("app.txt", "/opt/app/")
        .copy("tool.sh", "/usr/local/bin/tool", user="root", mode=0o755)
        .copy("data", "/opt/data")
        .copy("*.txt", "/opt/texts")
        .set_envs({"GREETING": "hello, wörld", "MORE": "$PATH:/opt/bin", "QUOTED": 'a "b" c'})
        .set_workdir("/srv/work")
        .run_cmd("echo $GREETING > greeting && id -un > who")
        .run_cmd(["touch a", "touch b"])
        .run_cmd("id -un > /etc/made-by", user="root")
        .make_dir("/opt/made", mode=0o750, user="root")
        .set_user("worker")
        .run_cmd("id -un > /tmp/worker")
    )
    _, lines = built(template)
    assert any("COPY app.txt" in line for line in lines) and any("RUN echo $GREETING" in line for line in lines)
    sandbox = fresh(mark)
    assert said(sandbox, "cat /opt/app/app.txt") == "an app"
    assert said(sandbox, "tool") == "a tool"
    assert said(sandbox, "stat -c '%U %a' /usr/local/bin/tool") == "root 755"
    assert said(sandbox, "cat /opt/data/deep/two.txt; readlink /opt/data/link; stat -c %U /opt/data/one.txt").split() == [
        "two",
        "one.txt",
        "user",
    ]
    assert said(sandbox, "ls /opt/texts") == "app.txt"
    assert said(sandbox, "cat /srv/work/greeting /srv/work/who; ls /srv/work").split("\n") == [
        "hello, wörld",
        "user",
        "a",
        "b",
        "greeting",
        "who",
    ]
    assert said(sandbox, "cat /etc/made-by; stat -c %a /opt/made").split() == ["root", "750"]
    # What programs find that ask for nothing.
    assert said(sandbox, "pwd; id -un; echo $GREETING; echo $QUOTED").split("\n") == [
        "/srv/work",
        "worker",
        "hello, wörld",
        'a "b" c',
    ]
    assert said(sandbox, "echo $MORE").endswith("/bin:/opt/bin")
    assert said(sandbox, "cat /tmp/worker") == "worker"
    assert sandbox.files.write("mine", "x").path == "/home/worker/mine"
    assert said(sandbox, "id -un", user="root") == "root"


def test_a_template_starts_its_command_once_and_is_captured_when_it_is_ready(built, builder, mark, fresh):
    template = (
        builder()
        .from_base_image()
        .set_envs({"PORT": "8321"})
        .run_cmd("mkdir -p /home/user/www && echo served > /home/user/www/index.html")
        .set_workdir("/home/user/www")
        .set_start_cmd(
            "date +%s%N >> /tmp/started; exec python3 -m http.server $PORT", e2b.wait_for_port(8321)
        )
    )
    built(template)
    first, second = fresh(mark), fresh(mark)
    for sandbox in (first, second):
        assert said(sandbox, "curl -s http://127.0.0.1:8321/") == "served"
        assert said(sandbox, "wc -l < /tmp/started") == "1"
    # It ran before the capture, which both go on from.
    assert said(first, "cat /tmp/started") == said(second, "cat /tmp/started")


def test_a_start_command_that_ends_is_not_started_again(built, builder, mark, fresh):
    template = builder().from_base_image().set_start_cmd("echo once >> /tmp/count", e2b.wait_for_file("/tmp/count"))
    built(template)
    sandbox = fresh(mark)
    time.sleep(2)
    assert said(sandbox, "cat /tmp/count") == "once"


def test_a_failing_step_is_told_with_its_output(built, builder, mark):
    lines = []
    template = builder().from_base_image().run_cmd("echo before").run_cmd("echo it broke >&2; exit 3").run_cmd("true")
    with pytest.raises(failure, match="exit 3.*exit status 3") as raised:
        Template.build(template, mark, on_build_logs=lambda entry: lines.append(entry.message))
    assert "before" in lines and "it broke" in lines and not any("RUN true" in line for line in lines)
    # The place in the caller's own program at which the step was written.
    assert raised.traceback[-1].path.name == "test_templates.py"
    assert exists(mark) is False
    with pytest.raises(e2b.SandboxException, match="not found"):
        make(mark)


def test_a_command_that_does_not_come_up_fails_the_build(built, builder, mark):
    template = builder().from_base_image().set_start_cmd("echo no luck; exit 7", e2b.wait_for_port(1))
    with pytest.raises(failure, match="no luck"):
        Template.build(template, mark)
    assert exists(mark) is False


@pytest.mark.parametrize("image", ["alpine:3.20", "ubuntu:latest", "ghcr.io/somebody/something:1", "python:2.7"])
def test_images_of_registries_are_refused_in_so_many_words(image, builder, mark):
    with pytest.raises(failure, match="registries"):
        Template.build(builder().from_image(image).run_cmd("true"), mark)


def test_names_of_the_hosts_own_templates_are_taken(builder):
    with pytest.raises(failure, match="base"):
        Template.build(builder().from_base_image(), "base")


def exists(name):
    return (Template.exists if hasattr(Template, "exists") else Template.alias_exists)(name)


def test_images_that_templates_of_this_host_stand_in_for(built, builder, mark, fresh):
    built(builder().from_debian_image("bookworm").run_cmd("cp /etc/debian_version /opt/version", user="root"))
    assert exists(mark) is True
    assert said(fresh(mark), "cat /opt/version").startswith("12")


def test_python_images_are_the_code_interpreter(built, builder, mark, fresh):
    built(builder().from_python_image("3.11"))
    assert said(fresh(mark), "python3 -c 'import sys; print(sys.version_info[:2])'; pip --version").startswith("(3, 11)")


def test_templates_are_built_out_of_built_ones(built, builder, mark, fresh):
    built(
        builder()
        .from_base_image()
        .set_envs({"A": "1", "B": "1"})
        .set_workdir("/srv")
        .run_cmd("echo parent > /opt/parent", user="root"),
        mark,
    )
    built(
        builder()
        .from_template(mark)
        .set_envs({"B": "$B-2"})
        .run_cmd("cat /opt/parent > /opt/child; echo $A$B >> /opt/child; pwd >> /opt/child", user="root"),
        mark + "-child",
    )
    sandbox = fresh(mark + "-child")
    assert said(sandbox, "cat /opt/child; echo $A$B; pwd").split() == ["parent", "11-2", "/srv", "11-2", "/srv"]


def test_a_dockerfile(built, builder, mark, fresh):
    template = builder().from_dockerfile(
        "FROM debian:12\nWORKDIR /app\nENV MODE=fast\nCOPY app.txt /app/\nRUN echo $MODE > mode\n"
        'CMD ["python3", "-m", "http.server", "8322"]\n'
    )
    # The client waits 20 seconds for such a command; here that it listens is enough.
    template._template._ready_cmd = e2b.wait_for_port(8322).get_cmd()
    built(template)
    sandbox = fresh(mark)
    assert said(sandbox, "cat /app/app.txt /app/mode").split("\n") == ["an app", "fast"]
    assert said(sandbox, "curl -s http://127.0.0.1:8322/mode") == "fast"


def test_what_was_built_before_is_not_built_again_unless_asked_for(built, builder, mark, fresh):
    def template():
        return builder().from_base_image().copy("app.txt", "/opt/").run_cmd(
            "cat /proc/sys/kernel/random/uuid > /opt/uuid", user="root"
        )

    def uuid(name):
        sandbox = fresh(name)
        try:
            return said(sandbox, "cat /opt/uuid")
        finally:
            sandbox.kill()

    built(template(), mark)
    first = uuid(mark)
    _, lines = built(template(), mark)
    assert any("CACHED" in line for line in lines) and any("Skipping upload" in line for line in lines)
    assert uuid(mark) == first
    _, lines = built(template(), mark, skip_cache=True)
    assert not any("CACHED" in line for line in lines)
    assert uuid(mark) != first


def test_a_build_in_the_background(built, builder, mark, fresh):
    has(Template, "build_in_background")
    # Steps of its own: those that another version's run has built already would not be run again.
    info = Template.build_in_background(builder().from_base_image().run_cmd(f"echo hard at work on {mark}"), mark)
    seen, offset = [], 0
    while True:
        status = Template.get_build_status(info, logs_offset=offset)
        seen += [entry.message for entry in status.log_entries]
        offset += len(status.log_entries)
        if status.status.value not in ("building", "waiting"):
            break
        time.sleep(0.2)
    assert status.status.value == "ready", status
    assert f"hard at work on {mark}" in seen and len(seen) == len([line for line in seen if line])
    assert said(fresh(mark), "echo up") == "up"
    with pytest.raises(failure):
        Template.get_build_status(type(info)(**{**vars(info), "build_id": "0" * 8 + "-0000-4000-8000-" + "0" * 12}))


def test_processors_and_memory(built, builder, mark, fresh):
    built(builder().from_base_image().run_cmd("true"), cpu_count=2, memory_mb=384)
    info = fresh(mark).get_info()
    assert (info.cpu_count, info.memory_mb) == (2, 384)


def test_tags(built, builder, mark, fresh):
    has(Template, "assign_tags")

    def version(text):
        return builder().from_base_image().run_cmd(f"echo {text} > /opt/version", user="root")

    def told(name):
        sandbox = fresh(name)
        try:
            return said(sandbox, "cat /opt/version")
        finally:
            sandbox.kill()

    first, _ = built(version("one"), mark, tags=["v1", "stable"])
    second, _ = built(version("two"), f"{mark}:v2")
    assert first.template_id == second.template_id and first.build_id != second.build_id
    assert (told(f"{mark}:v1"), told(f"{mark}:stable"), told(f"{mark}:v2")) == ("one", "one", "two")
    assigned = Template.assign_tags(f"{mark}:v2", ["stable", "production"])
    assert assigned.build_id == second.build_id and {"stable", "production"} <= set(assigned.tags)
    assert told(f"{mark}:stable") == "two"
    assert {tag.tag: tag.build_id for tag in Template.get_tags(mark)} == {
        "v1": first.build_id,
        "v2": second.build_id,
        "stable": second.build_id,
        "production": second.build_id,
    }
    Template.remove_tags(mark, ["v1", "production"])
    assert {tag.tag for tag in Template.get_tags(mark)} == {"v2", "stable"}
    with pytest.raises(e2b.SandboxException, match="not found"):
        make(f"{mark}:v1")
    with pytest.raises(exception("TemplateException")):
        Template.assign_tags(f"{mark}:nothing", ["x"])


def test_defaults_outlive_snapshots(built, builder, mark, fresh):
    has(e2b.Sandbox, "create_snapshot")
    built(builder().from_base_image().set_workdir("/srv").set_user("worker"))
    snapshot = fresh(mark).create_snapshot()
    try:
        assert said(fresh(snapshot.snapshot_id), "pwd; id -un").split() == ["/srv", "worker"]
    finally:
        e2b.Sandbox.delete_snapshot(snapshot.snapshot_id)


def test_from_asyncio(built, builder, mark, run, fresh):
    has(e2b, "AsyncTemplate")

    async def build():
        template = e2b.AsyncTemplate().from_base_image().run_cmd("echo async > /opt/how", user="root")
        return await e2b.AsyncTemplate.build(template, mark)

    info = run(build())
    assert said(fresh(mark), "cat /opt/how") == "async"
    assert info.name == mark if hasattr(info, "name") else info.alias == mark


def test_two_builds_at_once(builder, mark, fresh):
    has(Template, "build_in_background")
    infos = [
        Template.build_in_background(
            builder().from_base_image().run_cmd(f"echo {n} > /opt/number", user="root"), f"{mark}-{n}"
        )
        for n in range(3)
    ]
    for n, info in enumerate(infos):
        while (status := Template.get_build_status(info)).status.value in ("building", "waiting"):
            time.sleep(0.2)
        assert status.status.value == "ready"
        assert said(fresh(f"{mark}-{n}"), "cat /opt/number") == str(n)
