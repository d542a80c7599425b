"""Event streams, lines of the interpreter, and following a program over broken connections."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scripted_server import HANG_UP, ScriptedServer, error, events
from test_errors import _info

import martlet
from martlet import Exit, InternalError, Lost, Output, UnavailableError
from martlet._code import ExecutionReader
from martlet._sse import LIMIT, EventParser

STREAM = (
    b"\xef\xbb\xbf: a comment\r\nid: 6\r\nevent: stdout\r\ndata: one\r\ndata:two\r\n\r\n"
    b"event: nothing\n\ndata: \rid: 7\r\rdata: last\n\ndata: never whole"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_read_however_they_are_cut(size: int) -> None:
    parser = EventParser()
    found = []
    for begin in range(0, len(STREAM), size):
        found += parser.feed(STREAM[begin : begin + size])
    assert [(event.name, event.data, event.id) for event in found] == [
        ("stdout", b"one\ntwo", "6"),
        ("message", b"", "7"),
        ("message", b"last", "7"),
    ]


def test_an_event_without_an_end_is_refused() -> None:
    with pytest.raises(InternalError):
        EventParser().feed(b"data: " + b"x" * (LIMIT + 1))
    parser = EventParser()
    with pytest.raises(InternalError):
        for _ in range(LIMIT // 1024 + 2):
            parser.feed(b"data: " + b"x" * 1024 + b"\n")


def event(name: str, **data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n"


EXIT = event("exit", exit_code=0, timed_out=False, duration_ms=1, cpu_ms=1, max_resident_bytes=1, output_bytes=6)


def follow(scripted: Any) -> list[Any]:
    return list(scripted.sandbox_type(scripted, _info()).process(7).events())


def test_a_broken_stream_is_taken_up_where_it_broke(scripted: Any, server: ScriptedServer) -> None:
    server.script = [
        events(event("stdout", offset=0, text="abc")),
        HANG_UP,
        error(503, "unavailable", Retry_After="0"),
        events(event("stdout", offset=0, text="abcd"), event("error", error={"code": "unavailable", "message": "bye"})),
        events(
            event("stderr", offset=4, base64="/w=="), event("of_tomorrow"), event("stdout", offset=8, text="z"), EXIT
        ),
    ]
    found = follow(scripted)
    told = [(e.channel, e.data) if isinstance(e, Output) else e for e in found[:-1]]
    assert told == [("stdout", b"abc"), ("stdout", b"d"), ("stderr", b"\xff"), Lost(3), ("stdout", b"z")]
    assert isinstance(found[-1], Exit)
    assert found[-1].ok
    assert [asked.target.split("from=")[1] for asked in server.asked] == [
        f"{offset}&lossless=true" for offset in (0, 3, 3, 3, 4)
    ]


def test_what_is_for_good_is_told(scripted: Any, server: ScriptedServer) -> None:
    gone = event("error", error={"code": "unavailable", "message": "the sandbox is gone", "details": {}})
    server.script = [events(gone), error(404, "not_found")]
    with pytest.raises(UnavailableError, match="the sandbox is gone"):
        follow(scripted)
    server.script = [events(event("error", code="internal", message="worse", details={}))]
    with pytest.raises(InternalError, match="worse"):
        follow(scripted)
    server.script = [error(503, "unavailable")]
    with pytest.raises(UnavailableError):
        follow(scripted)


def test_it_gives_up_after_a_time(scripted: Any, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("martlet._process.RECONNECT_SECONDS", 0.3)
    server.script = [events(event("stdout", offset=0, text="abc")), *[HANG_UP] * 50]
    with pytest.raises(UnavailableError, match="broke off"):
        follow(scripted)
    assert 3 <= len(server.asked) < 10


def test_characters_cut_in_two_are_told_whole(scripted: Any, server: ScriptedServer) -> None:
    server.script = [
        events(
            event("stdout", offset=0, base64="w6TD"),  # ä and the first half of ö
            event("stderr", offset=3, text="x"),
            event("stdout", offset=4, base64="tg=="),
            EXIT,
        )
    ]
    assert [(e.channel, e.text) for e in follow(scripted)[:-1]] == [("stdout", "ä"), ("stderr", "x"), ("stdout", "ö")]


LINES = [
    {"type": "number_of_executions", "execution_count": 3},
    {"type": "stdout", "text": "ä\n"},
    {"type": "keepalive"},
    {"type": "stderr", "text": "w"},
    {"type": "result", "is_main_result": False, "text": "<Figure>", "png": "iVBORw==", "chart": {"type": "line"}},
    {"type": "result", "is_main_result": True, "text": "2", "json": [1], "extra": {"a/b": "c"}},
    {"type": "error", "name": "ValueError", "value": "no", "traceback": "Traceback"},
    {"type": "end_of_execution"},
]


@pytest.mark.parametrize("size", [1, 13, 10_000])
def test_executions_are_read_however_they_are_cut(size: int) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in LINES).encode()
    reader = ExecutionReader()
    told = []
    for begin in range(0, len(text), size):
        told += list(reader.feed(text[begin : begin + size]))
    assert [kind for kind, _ in told] == ["stdout", "stderr", "result", "result", "error"]
    done = reader.finish()
    assert (done.stdout, done.stderr, done.text, done.execution_count) == ("ä\n", "w", "2", 3)
    assert done.results[0].png_bytes == b"\x89PNG"
    assert done.results[0].chart == {"type": "line"}
    assert (done.results[1].json, done.results[1].extra) == ([1], {"a/b": "c"})
    assert done.error == martlet.CodeError("ValueError", "no", "Traceback")


def test_an_execution_that_breaks_off_is_an_error() -> None:
    reader = ExecutionReader()
    list(reader.feed(b'{"type": "stdout", "text": "half"}\n'))
    with pytest.raises(UnavailableError):
        reader.finish()
    with pytest.raises(InternalError):
        list(ExecutionReader().feed(b"no json\n"))
