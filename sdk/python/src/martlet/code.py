"""What comes of code that was run in a kernel."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from ._fields import Fields

#: Called with each piece of text as it is written.
TextHandler = Callable[[str], None]
AsyncTextHandler = Callable[[str], "Awaitable[None] | None"]


@dataclass(frozen=True)
class CodeContext:
    """A kernel with its variables."""

    id: str
    #: python, javascript or bash.
    language: str
    cwd: str

    @staticmethod
    def parse(f: Fields) -> CodeContext:
        return CodeContext(f.text("id"), f.text("language"), f.text("cwd"))


@dataclass(frozen=True)
class CodeResult:
    """A value that code showed, in as many forms as it has."""

    #: Whether it is the value of the last expression, and not one shown on the way.
    is_main: bool
    text: str | None = None
    html: str | None = None
    markdown: str | None = None
    svg: str | None = None
    #: Base64; see ``png_bytes``.
    png: str | None = field(default=None, repr=False)
    jpeg: str | None = field(default=None, repr=False)
    pdf: str | None = field(default=None, repr=False)
    latex: str | None = None
    javascript: str | None = None
    json: Any = None
    #: A table's columns.
    data: dict[str, list[Any]] | None = field(default=None, repr=False)
    #: What a figure shows: ``type`` (line, scatter, bar, pie, box_and_whisker, superchart), ``title``, ``elements``, …
    chart: dict[str, Any] | None = field(default=None, repr=False)
    #: Other forms, by MIME type.
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def png_bytes(self) -> bytes | None:
        """The picture, if there is one."""
        return base64.b64decode(self.png) if self.png else None

    @staticmethod
    def parse(f: Fields) -> CodeResult:
        return CodeResult(
            is_main=f.flag("is_main_result"),
            text=f.text_or_none("text"),
            html=f.text_or_none("html"),
            markdown=f.text_or_none("markdown"),
            svg=f.text_or_none("svg"),
            png=f.text_or_none("png"),
            jpeg=f.text_or_none("jpeg"),
            pdf=f.text_or_none("pdf"),
            latex=f.text_or_none("latex"),
            javascript=f.text_or_none("javascript"),
            json=f.any("json"),
            data=f.object_or_none("data"),
            chart=f.object_or_none("chart"),
            extra=f.object_or_none("extra") or {},
        )


@dataclass(frozen=True)
class CodeError:
    """What code raised. ``KernelDied`` is its kernel's end: the next code finds a new one, without variables."""

    name: str
    value: str
    #: As the language tells it; may have terminal colours.
    traceback: str

    @staticmethod
    def parse(f: Fields) -> CodeError:
        return CodeError(f.text("name"), f.text("value"), f.text("traceback"))


@dataclass
class Execution:
    """What came of a piece of code."""

    results: list[CodeResult] = field(default_factory=list)
    stdout: str = ""
    stderr: str = ""
    #: None if it raised nothing. Code that fails is a result, not an error of this package.
    error: CodeError | None = None
    #: The kernel's count of executions.
    execution_count: int | None = None

    @property
    def text(self) -> str | None:
        """The value of the last expression as text."""
        return next((result.text for result in self.results if result.is_main), None)
