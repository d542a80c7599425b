"""One request to the server before it is sent, and how its answer is read: no input or output happens here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from ._fields import Fields
from ._json import JSON
from ._retry import BROKEN
from .errors import (
    ConnectError,
    InternalError,
    InvalidArgumentError,
    MartletError,
    TimeoutError,
    UnavailableError,
    code_of_status,
    error_of,
)

T = TypeVar("T")


@dataclass
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def fields(self) -> Fields:
        """The body as a JSON object."""
        try:
            return Fields(json.loads(self.body))
        except ValueError:
            raise InternalError("the server's answer is not JSON", status=self.status) from None


@dataclass
class Call(Generic[T]):
    """A request and how to read its answer."""

    method: str
    path: str
    parse: Callable[[Answer], T]
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes | None = None
    #: Makes the body anew for each attempt, where it is not held in memory.
    stream: Callable[[], Iterable[bytes]] | None = None
    astream: Callable[[], AsyncIterable[bytes]] | None = None
    #: Whether it may be sent twice.
    idempotent: bool = False
    #: Seconds without a byte before it is given up; None: the client's.
    patience: float | None = None

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def path_of(*segments: str | int) -> str:
    """A path below ``/v1``; each segment is encoded on its own."""
    encoded = []
    for segment in segments:
        text = str(segment)
        # Whoever normalises addresses would take these for steps.
        if text in ("", ".", ".."):
            raise InvalidArgumentError(f"'{text}' is no id or name")
        encoded.append(quote(text, safe="", errors="surrogateescape"))
    return "/v1/" + "/".join(encoded)


def query_of(**values: str | int | bool | None) -> str:
    """A query of those that are not None."""

    def text(value: str | int | bool) -> str:
        return ("true" if value else "false") if isinstance(value, bool) else str(value)

    return "&".join(
        f"{quote(name)}={quote(text(value), safe='', errors='surrogateescape')}"
        for name, value in values.items()
        if value is not None
    )


def body_of(**values: JSON) -> dict[str, JSON]:
    """A JSON body of those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def call(
    method: str,
    path: str,
    parse: Callable[[Answer], T],
    *,
    body: Mapping[str, JSON] | None = None,
    query: str = "",
    idempotent: bool = False,
    patience: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call[T]:
    """A call with a JSON body, or none."""
    made = Call(method, path, parse, query, dict(headers or {}), idempotent=idempotent, patience=patience)
    if body is not None:
        try:
            made.content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(f"the request cannot be written as JSON: {error}") from None
        made.headers["content-type"] = "application/json"
    return made


def nothing(_: Answer) -> None:
    """Reads an answer that has nothing to tell."""


def one(parse: Callable[[Fields], T]) -> Callable[[Answer], T]:
    """Reads an answer that is one object."""
    return lambda answer: parse(answer.fields())


def items(parse: Callable[[Fields], T]) -> Callable[[Answer], list[T]]:
    """Reads the items of a page."""
    return lambda answer: answer.fields().parts("items", parse)


def error_of_answer(answer: Answer, name: str) -> MartletError:
    """The error an answer stands for, whoever wrote it."""
    headers = {key.lower(): value for key, value in answer.headers.items()}
    request_id = headers.get("x-request-id")
    retry_after = _seconds(headers.get("retry-after"))
    try:
        value: Any = json.loads(answer.body)
        detail = Fields(value["error"])
        return error_of(
            detail.text("code"),
            detail.text("message"),
            details=detail.mapping("details"),
            request_id=detail.text_or_none("request_id") or request_id,
            status=answer.status,
            retry_after=retry_after,
        )
    except (ValueError, KeyError, TypeError, InternalError):
        text = answer.body[:200].decode(errors="replace")
        return error_of(
            code_of_status(answer.status),
            f"{name}: the server answered {answer.status}" + (f": {text}" if text else ""),
            request_id=request_id,
            status=answer.status,
            retry_after=retry_after,
        )


def _seconds(text: str | None) -> float | None:
    if text is None or not (text.isascii() and text.isdigit()):
        return None
    return float(text)


def not_listening(endpoint: object, why: object, *, is_socket: bool) -> MartletError:
    """Nobody is there."""
    hint = "; start the daemon with 'martlet serve'" if is_socket else ""
    return ConnectError(f"nothing listens at {endpoint}: {why}{hint}", details={"reason": "not_listening"})


def broken(name: str, why: object) -> MartletError:
    """The connection broke off."""
    return UnavailableError(f"{name}: the connection broke off: {why}", details={"reason": BROKEN})


def no_answer(name: str, seconds: float | None) -> MartletError:
    """The server is there and says nothing."""
    given = f" in {seconds:g} seconds" if seconds is not None else " in time"
    return TimeoutError(f"{name}: no answer{given}", details={"reason": "no_answer"})
