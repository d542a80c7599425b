"""What programs in a sandbox do, as it happens."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._fields import Fields


@dataclass(frozen=True)
class Output:
    """A program wrote these bytes."""

    #: ``stdout`` or ``stderr``; a terminal has ``stdout`` only.
    channel: str
    data: bytes
    #: The same as text. A character cut between two outputs is told with the later one; what is no UTF-8 is replaced.
    text: str


@dataclass(frozen=True)
class Lost:
    """This many bytes were dropped before they could be read: more was written than is kept."""

    count: int


@dataclass(frozen=True)
class Exit:
    """A program has ended; the last event."""

    #: 128 + signal when a signal ended it.
    exit_code: int
    signal: str | None
    #: Whether it was killed for running longer than it was given.
    timed_out: bool
    duration_ms: float
    cpu_ms: float
    max_resident_bytes: int = field(repr=False)
    output_bytes: int = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether it ended with 0, in time."""
        return self.exit_code == 0 and not self.timed_out

    @staticmethod
    def parse(f: Fields) -> Exit:
        return Exit(
            exit_code=f.integer("exit_code"),
            signal=f.text_or_none("signal"),
            timed_out=f.flag("timed_out"),
            duration_ms=f.number("duration_ms"),
            cpu_ms=f.number("cpu_ms"),
            max_resident_bytes=f.integer("max_resident_bytes"),
            output_bytes=f.integer("output_bytes"),
        )


ProcessEvent = Output | Lost | Exit


@dataclass(frozen=True)
class ProcessInfo:
    """A program that was started in the background."""

    pid: int
    cmd: list[str]
    cwd: str
    user: str
    pty: bool
    running: bool
    output_bytes: int
    #: None while it runs.
    exit: Exit | None

    @staticmethod
    def parse(f: Fields) -> ProcessInfo:
        return ProcessInfo(
            pid=f.integer("pid"),
            cmd=f.texts("cmd"),
            cwd=f.text("cwd"),
            user=f.text("user"),
            pty=f.flag("pty"),
            running=f.flag("running"),
            output_bytes=f.integer("output_bytes"),
            exit=f.part_or_none("exit", Exit.parse),
        )
