"""What the server tells of sandboxes, snapshots, files and processes."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime

from ._fields import Fields
from .errors import CommandError, InternalError, MartletError, error_of
from .network import NetworkPolicy


@dataclass(frozen=True)
class Isolation:
    """How a sandbox is kept apart, and how strong that wall is."""

    engine: str
    accelerator: str
    #: ``hardware-vm``, ``user-kernel``, ``emulated-vm`` or ``process``, strongest first.
    level: str

    @staticmethod
    def parse(f: Fields) -> Isolation:
        return Isolation(f.text("engine"), f.text("accelerator"), f.text("level"))


@dataclass(frozen=True)
class CreateReport:
    """How a sandbox came to be running, and where the time went."""

    #: What was ready: ``warm``, ``shell``, ``cold``, ``baked``; or ``restored``, ``booted``.
    mode: str
    total_ms: float
    phases: dict[str, float]

    @staticmethod
    def parse(f: Fields) -> CreateReport:
        return CreateReport(f.text("mode"), f.number("total_ms"), f.numbers("phases"))


@dataclass(frozen=True)
class Capture:
    """What a pause has kept, and how long the programs stood still for it."""

    captured_at: datetime
    pause_ms: float
    memory_bytes: int
    disk_bytes: int

    @staticmethod
    def parse(f: Fields) -> Capture:
        return Capture(f.time("captured_at"), f.number("pause_ms"), f.integer("memory_bytes"), f.integer("disk_bytes"))


@dataclass(frozen=True)
class SandboxInfo:
    """A sandbox as it was when the server told of it."""

    id: str
    name: str | None
    template: str
    #: creating, running, pausing, paused, resuming, stopping, stopped or failed.
    state: str
    #: Why it is in a state nobody asked for.
    state_reason: str | None
    isolation: Isolation
    cpus: int
    memory_mb: int
    disk_mb: int
    created_at: datetime
    #: When its time is over; None for a paused one.
    expires_at: datetime | None
    #: What happens then: ``kill`` or ``pause``.
    on_timeout: str
    metadata: dict[str, str]
    #: The sandbox it is a fork of.
    parent: str | None
    #: The snapshot it was made from.
    from_snapshot: str | None
    #: Whether a checkpoint is kept after every exec.
    record: bool
    paused_at: datetime | None
    capture: Capture | None
    create: CreateReport | None
    #: None where several sandboxes are told of.
    network: NetworkPolicy | None

    @staticmethod
    def parse(f: Fields) -> SandboxInfo:
        return SandboxInfo(
            id=f.text("id"),
            name=f.text_or_none("name"),
            template=f.text("template"),
            state=f.text("state"),
            state_reason=f.text_or_none("state_reason"),
            isolation=f.part("isolation", Isolation.parse),
            cpus=f.integer("cpus"),
            memory_mb=f.integer("memory_mb"),
            disk_mb=f.integer("disk_mb"),
            created_at=f.time("created_at"),
            expires_at=f.time_or_none("expires_at"),
            on_timeout=f.text("on_timeout"),
            metadata=f.mapping("metadata"),
            parent=f.text_or_none("parent"),
            from_snapshot=f.text_or_none("from_snapshot"),
            record=f.flag("record"),
            paused_at=f.time_or_none("paused_at"),
            capture=f.part_or_none("capture", Capture.parse),
            create=f.part_or_none("create", CreateReport.parse),
            network=f.part_or_none("network", NetworkPolicy.parse),
        )


@dataclass(frozen=True)
class SnapshotInfo:
    """Memory, processes and disk of one instant, kept."""

    id: str
    name: str | None
    #: snapshot, checkpoint or imported.
    kind: str
    #: Of a checkpoint: its place among those of its sandbox.
    number: int | None
    sandbox: str
    parent: str | None
    template: str
    captured_at: datetime
    pause_ms: float
    memory_bytes: int
    disk_bytes: int
    metadata: dict[str, str]
    #: ready, or deleting while sandboxes made from it live.
    state: str
    in_use_by: list[str]

    @staticmethod
    def parse(f: Fields) -> SnapshotInfo:
        return SnapshotInfo(
            id=f.text("id"),
            name=f.text_or_none("name"),
            kind=f.text("kind"),
            number=f.integer_or_none("number"),
            sandbox=f.text("sandbox"),
            parent=f.text_or_none("parent"),
            template=f.text("template"),
            captured_at=f.time("captured_at"),
            pause_ms=f.number("pause_ms"),
            memory_bytes=f.integer("memory_bytes"),
            disk_bytes=f.integer("disk_bytes"),
            metadata=f.mapping("metadata"),
            state=f.text("state"),
            in_use_by=f.texts("in_use_by"),
        )


@dataclass(frozen=True)
class ForkReport:
    """What came of each child of a fork, in order: a sandbox or an error."""

    captured_at: datetime
    pause_ms: float
    children: list[SandboxInfo | MartletError]

    @staticmethod
    def parse(f: Fields) -> ForkReport:
        return ForkReport(f.time("captured_at"), f.number("pause_ms"), f.parts("forks", _child))


def _child(f: Fields) -> SandboxInfo | MartletError:
    made = f.part_or_none("sandbox", SandboxInfo.parse)
    return made or f.part("error", lambda e: error_of(e.text("code"), e.text("message"), details=e.mapping("details")))


def output_bytes(f: Fields, name: str, encoded: str) -> bytes:
    """Bytes that are told as text where they are UTF-8, and else as base64."""
    text = f.text_or_none(encoded)
    if text is None:
        return (f.text_or_none(name) or "").encode()
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InternalError(f"the server's answer is not what this version knows: {encoded} is no base64") from None


@dataclass(frozen=True)
class ExecResult:
    """How a command ended, and what it wrote."""

    #: 128 + signal when a signal ended it; 127 for a command that is not there, 126 for one that cannot be executed.
    exit_code: int
    #: The signal that ended it, such as ``SIGKILL``.
    signal: str | None
    stdout_bytes: bytes = field(repr=False)
    stderr_bytes: bytes = field(repr=False)
    #: Whether it was killed for running longer than it was given.
    timed_out: bool
    #: Whether output was left out, being more than was asked for.
    truncated: bool
    #: Milliseconds it took the server, and the sandbox alone.
    duration_ms: float
    guest_ms: float
    #: In a recording sandbox: the number of the checkpoint taken after it.
    checkpoint: int | None

    @property
    def stdout(self) -> str:
        """Standard output as text; bytes that are not UTF-8 are replaced."""
        return self.stdout_bytes.decode(errors="replace")

    @property
    def stderr(self) -> str:
        """Standard error as text; bytes that are not UTF-8 are replaced."""
        return self.stderr_bytes.decode(errors="replace")

    @property
    def ok(self) -> bool:
        """Whether it ended with 0, in time."""
        return self.exit_code == 0 and not self.timed_out

    def check(self) -> ExecResult:
        """Itself, or a :class:`CommandError` unless it is ``ok``."""
        if not self.ok:
            raise CommandError(self)
        return self

    @staticmethod
    def parse(f: Fields) -> ExecResult:
        return ExecResult(
            exit_code=f.integer("exit_code"),
            signal=f.text_or_none("signal"),
            stdout_bytes=output_bytes(f, "stdout", "stdout_base64"),
            stderr_bytes=output_bytes(f, "stderr", "stderr_base64"),
            timed_out=f.flag("timed_out"),
            truncated=f.flag("truncated"),
            duration_ms=f.number("duration_ms"),
            guest_ms=f.number("guest_ms"),
            checkpoint=f.integer_or_none("checkpoint"),
        )


@dataclass(frozen=True)
class FileInfo:
    """One file's facts; a link is not followed."""

    #: file, directory, symlink or other.
    type: str
    path: str
    name: str
    size: int
    #: Permission bits.
    mode: int
    uid: int
    gid: int
    modified_at: datetime
    #: Where a link points.
    target: str | None

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return self.type == "directory"

    @staticmethod
    def parse(f: Fields) -> FileInfo:
        try:
            mode = int(f.text("mode"), 8)
        except ValueError:
            raise InternalError("the server's answer is not what this version knows: mode is not octal") from None
        return FileInfo(
            type=f.text("type"),
            path=f.text("path"),
            name=f.text("name"),
            size=f.integer("size"),
            mode=mode,
            uid=f.integer("uid"),
            gid=f.integer("gid"),
            modified_at=f.time("modified_at"),
            target=f.text_or_none("target"),
        )


@dataclass(frozen=True)
class Metrics:
    """What a sandbox uses: as its kernel counts it since its start, and as the host sees it."""

    uptime_ms: int | None
    cpu_user_ms: int | None
    cpu_system_ms: int | None
    load_average: float | None
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    #: Memory on the host that only this sandbox holds.
    host_private_bytes: int | None
    disk_total_bytes: int | None
    disk_used_bytes: int | None
    network_received_bytes: int | None
    network_sent_bytes: int | None
    processes: int | None

    @staticmethod
    def parse(f: Fields) -> Metrics:
        return Metrics(
            uptime_ms=f.integer_or_none("uptime_ms"),
            cpu_user_ms=f.integer_or_none("cpu_user_ms"),
            cpu_system_ms=f.integer_or_none("cpu_system_ms"),
            load_average=f.number_or_none("load_average"),
            memory_total_bytes=f.integer_or_none("memory_total_bytes"),
            memory_available_bytes=f.integer_or_none("memory_available_bytes"),
            host_private_bytes=f.integer_or_none("host_private_bytes"),
            disk_total_bytes=f.integer_or_none("disk_total_bytes"),
            disk_used_bytes=f.integer_or_none("disk_used_bytes"),
            network_received_bytes=f.integer_or_none("network_received_bytes"),
            network_sent_bytes=f.integer_or_none("network_sent_bytes"),
            processes=f.integer_or_none("processes"),
        )


@dataclass(frozen=True)
class ExposedPort:
    """A published port and how to reach it. The token is told once, and never shown in a representation."""

    port: int
    #: ``private``: whoever has the token. ``public``: whoever knows the address.
    visibility: str
    #: By a host name of its own, for browsers.
    url: str
    #: Below the API's address, for programs: needs no name.
    path_url: str
    token: str | None = field(repr=False)
    #: When the token, or the publication of a public port, is over.
    expires_at: datetime | None
    #: Whether a request resumes the sandbox if it is paused.
    wake: bool

    @property
    def headers(self) -> dict[str, str]:
        """What a request has to carry."""
        return {"X-Martlet-Token": self.token} if self.token else {}

    @staticmethod
    def parse(f: Fields) -> ExposedPort:
        return ExposedPort(
            port=f.integer("port"),
            visibility=f.text("visibility"),
            url=f.text("url"),
            path_url=f.text("path_url"),
            token=f.text_or_none("token"),
            expires_at=f.time_or_none("expires_at"),
            wake=f.flag("wake"),
        )
