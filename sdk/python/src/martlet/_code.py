"""The code interpreter's protocol: HTTP on a port of the sandbox, reached through the API, answered with JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ._call import Answer, Call, body_of, broken, call, nothing, path_of
from ._calls import MAKING_SECONDS
from ._fields import Fields
from .code import CodeContext, CodeError, CodeResult, Execution
from .errors import InternalError, InvalidArgumentError, MartletError, NotFoundError, TimeoutError, UnavailableError

PORT = 49999
#: The interpreter says something every five seconds; this much silence means that it is gone.
SILENCE_SECONDS = 60.0
#: Most characters of one line: as much output as the interpreter tells of one execution, and room for escapes.
LINE_LIMIT = 256 << 20

T = TypeVar("T")


def _path(sandbox: str, *rest: str) -> str:
    return path_of("sandboxes", sandbox, "ports", PORT, *rest)


def execute(
    sandbox: str, code: str, language: str | None, context: CodeContext | str | None, env: Mapping[str, str] | None
) -> Call[None]:
    if language is not None and context is not None:
        raise InvalidArgumentError("run_code: give language or context, not both: a context has its language")
    body = body_of(
        code=code,
        language=language,
        context_id=_id_of(context) if context is not None else None,
        env_vars=dict(env) if env is not None else None,
    )
    return call("POST", _path(sandbox, "execute"), nothing, body=body, patience=SILENCE_SECONDS)


def create_context(sandbox: str, language: str | None, cwd: str | None) -> Call[CodeContext]:
    body = body_of(language=language, cwd=cwd)
    path = _path(sandbox, "contexts")
    return call("POST", path, lambda a: CodeContext.parse(a.fields()), body=body, patience=MAKING_SECONDS)


def list_contexts(sandbox: str) -> Call[list[CodeContext]]:
    return call("GET", _path(sandbox, "contexts"), _contexts, idempotent=True)


def remove_context(sandbox: str, context: CodeContext | str) -> Call[None]:
    return call("DELETE", _path(sandbox, "contexts", _id_of(context)), nothing)


def restart_context(sandbox: str, context: CodeContext | str) -> Call[None]:
    path = _path(sandbox, "contexts", _id_of(context), "restart")
    return call("POST", path, nothing, patience=MAKING_SECONDS)


def is_unpublished(error: MartletError) -> bool:
    """Whether the interpreter's port has to be published first."""
    return isinstance(error, NotFoundError) and error.details.get("reason") == "not_published"


def explained(error: MartletError) -> MartletError:
    """The error, which says what to do where no interpreter is there."""
    if isinstance(error, UnavailableError) and error.details.get("reason") == "port_closed":
        message = f"{error.message}; code runs in sandboxes of template code-interpreter-v1"
        return UnavailableError(message, details=error.details, request_id=error.request_id, status=error.status)
    return error


def out_of_time(seconds: float) -> MartletError:
    """The code was not done in time."""
    return TimeoutError(f"run_code: it ran longer than {seconds:g} seconds and was interrupted")


def _id_of(context: CodeContext | str) -> str:
    return context if isinstance(context, str) else context.id


def _contexts(answer: Answer) -> list[CodeContext]:
    try:
        values = json.loads(answer.body)
    except ValueError:
        raise InternalError("run_code: the interpreter's answer is not JSON") from None
    if not isinstance(values, list):
        raise InternalError("run_code: the interpreter's answer is no list")
    return [CodeContext.parse(Fields(value)) for value in values]


class ExecutionReader:
    """Reads the lines of an execution and gathers what came of it.

    ``feed`` gives what there is to tell a handler: its name and its value.
    """

    def __init__(self) -> None:
        self.execution = Execution()
        self.is_finished = False
        self._rest: list[bytes] = []
        self._size = 0
        self._stdout: list[str] = []
        self._stderr: list[str] = []

    def feed(self, piece: bytes) -> Iterator[tuple[str, Any]]:
        """What the next piece of the answer tells."""
        *lines, rest = piece.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._rest, lines[0]])
            self._rest, self._size = [], 0
        self._rest.append(rest)
        self._size += len(rest)
        if self._size > LINE_LIMIT:
            raise InternalError("run_code: the interpreter's answer has a line without an end")
        for line in lines:
            if line.strip():
                yield from self._take(line)

    def finish(self) -> Execution:
        """What came of it; raises when the interpreter went away in the middle."""
        if not self.is_finished:
            raise broken("run_code", "the interpreter went away before the code was done")
        self.execution.stdout = "".join(self._stdout)
        self.execution.stderr = "".join(self._stderr)
        return self.execution

    def _take(self, line: bytes) -> Iterator[tuple[str, Any]]:
        try:
            f = Fields(json.loads(line))
        except ValueError:
            raise InternalError("run_code: the interpreter's answer is not JSON") from None
        kind = f.text("type")
        if kind in ("stdout", "stderr"):
            text = f.text("text")
            (self._stdout if kind == "stdout" else self._stderr).append(text)
            yield kind, text
        elif kind == "result":
            result = CodeResult.parse(f)
            self.execution.results.append(result)
            yield kind, result
        elif kind == "error":
            self.execution.error = CodeError.parse(f)
            yield kind, self.execution.error
        elif kind == "number_of_executions":
            self.execution.execution_count = f.integer("execution_count")
        elif kind == "end_of_execution":
            self.is_finished = True
