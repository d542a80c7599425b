"""The requests of the API, one function each; shared by the synchronous and the asynchronous classes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar
from urllib.parse import quote

from ._call import Call, body_of, call, items, nothing, one, path_of, query_of
from ._fields import Fields
from ._json import JSON
from .errors import InvalidArgumentError
from .models import ExecResult, ExposedPort, FileInfo, ForkReport, Metrics, SandboxInfo, SnapshotInfo
from .network import NetworkInfo, NetworkPolicy, Secret

T = TypeVar("T")

#: A command: an argument list, or a line for the sandbox's ``/bin/sh``.
Command = str | Sequence[str]
#: What may be written: text (as UTF-8) or bytes.
Data = str | bytes

# A template's first use captures it, which takes minutes under emulation.
MAKING_SECONDS = 900.0
CHANGING_SECONDS = 300.0
MARGIN_SECONDS = 60.0
MAX_ENTRIES = 100_000


class Page(Generic[T]):
    """Some of a list, and where the rest begins."""

    def __init__(self, items: list[T], next_cursor: str | None) -> None:
        self.items = items
        self.next_cursor = next_cursor


PageCall = Callable[[int, "str | None"], Call[Page[T]]]


class Pages(Generic[T]):
    """Follows a list from page to page."""

    def __init__(self, page: PageCall[T], limit: int | None) -> None:
        self.items: list[T] = []
        self._page = page
        self._limit = limit
        self._cursor: str | None = None
        self._is_over = limit is not None and limit <= 0

    def next(self) -> Call[Page[T]] | None:
        if self._is_over:
            return None
        left = 1000 if self._limit is None else min(1000, self._limit - len(self.items))
        return self._page(left, self._cursor)

    def take(self, page: Page[T]) -> None:
        self.items += page.items
        self._cursor = page.next_cursor
        self._is_over = page.next_cursor is None or (self._limit is not None and len(self.items) >= self._limit)


def _page(parse: Callable[[Fields], T]) -> Callable[[Fields], Page[T]]:
    return lambda f: Page(f.parts("items", parse), f.text_or_none("next_cursor"))


# MARK: Sandboxes


def policy_of(network: NetworkPolicy | str | None) -> dict[str, JSON] | None:
    """A policy as the API takes it; a word stands for a mode."""
    if network is None:
        return None
    return (NetworkPolicy(network) if isinstance(network, str) else network).to_json()


def _secrets(secrets: Sequence[Secret] | None) -> list[JSON] | None:
    return [secret.to_json() for secret in secrets] if secrets else None


def create_sandbox(
    *,
    template: str | None,
    timeout: int | None,
    name: str | None,
    cpus: int | None,
    memory_mb: int | None,
    disk_mb: int | None,
    env: Mapping[str, str] | None,
    metadata: Mapping[str, str] | None,
    network: NetworkPolicy | str | None,
    secrets: Sequence[Secret] | None,
    from_snapshot: str | None,
    inherit_env: bool,
    on_timeout: str | None,
    record: bool,
    idempotency_key: str | None,
) -> Call[SandboxInfo]:
    body = body_of(
        template=template,
        timeout_seconds=timeout,
        name=name,
        cpus=cpus,
        memory_mb=memory_mb,
        disk_mb=disk_mb,
        env=dict(env) if env is not None else None,
        metadata=dict(metadata) if metadata is not None else None,
        network=policy_of(network),
        secrets=_secrets(secrets),
        from_snapshot=from_snapshot,
        inherit_env=inherit_env or None,
        on_timeout=on_timeout,
        record=record or None,
    )
    key = idempotency_key if idempotency_key is not None else str(uuid.uuid4())
    if not (0 < len(key) <= 255 and key.isascii() and key.isprintable() and " " not in key):
        raise InvalidArgumentError("idempotency_key: must be 1-255 printable ASCII characters without spaces")
    return call(
        "POST",
        path_of("sandboxes"),
        one(SandboxInfo.parse),
        body=body,
        headers={"idempotency-key": key},
        idempotent=True,
        patience=MAKING_SECONDS,
    )


def list_sandboxes(
    state: str | None, metadata: Mapping[str, str] | None, limit: int, cursor: str | None
) -> Call[Page[SandboxInfo]]:
    query = query_of(state=state, limit=limit, cursor=cursor)
    for key, value in (metadata or {}).items():
        query += f"&{quote('metadata.' + key, safe='')}={quote(value, safe='')}"
    return call("GET", path_of("sandboxes"), one(_page(SandboxInfo.parse)), query=query, idempotent=True)


def get_sandbox(sandbox: str) -> Call[SandboxInfo]:
    return call("GET", path_of("sandboxes", sandbox), one(SandboxInfo.parse), idempotent=True)


def update_sandbox(
    sandbox: str, timeout: int | None, metadata: Mapping[str, str] | None, on_timeout: str | None
) -> Call[SandboxInfo]:
    body = body_of(
        timeout_seconds=timeout, metadata=dict(metadata) if metadata is not None else None, on_timeout=on_timeout
    )
    return call("PATCH", path_of("sandboxes", sandbox), one(SandboxInfo.parse), body=body, idempotent=True)


def kill_sandbox(sandbox: str) -> Call[None]:
    return call("DELETE", path_of("sandboxes", sandbox), nothing, idempotent=True, patience=CHANGING_SECONDS)


def pause(sandbox: str) -> Call[SandboxInfo]:
    return call("POST", path_of("sandboxes", sandbox, "pause"), one(SandboxInfo.parse), patience=CHANGING_SECONDS)


def resume(sandbox: str, from_disk: bool, timeout: int | None) -> Call[SandboxInfo]:
    body = body_of(**{"from": "disk" if from_disk else "memory", "timeout_seconds": timeout})
    path = path_of("sandboxes", sandbox, "resume")
    return call("POST", path, one(SandboxInfo.parse), body=body, patience=CHANGING_SECONDS)


def rewind(sandbox: str, to: int) -> Call[SandboxInfo]:
    path = path_of("sandboxes", sandbox, "rewind")
    return call("POST", path, one(SandboxInfo.parse), body={"to": to}, patience=CHANGING_SECONDS)


def checkpoints(sandbox: str) -> Call[list[SnapshotInfo]]:
    return call("GET", path_of("sandboxes", sandbox, "checkpoints"), items(SnapshotInfo.parse), idempotent=True)


def fork(
    sandbox: str,
    *,
    count: int,
    timeout: int | None,
    metadata: Mapping[str, str] | None,
    env: Mapping[str, str] | None,
    inherit_env: bool,
    inherit_secrets: bool,
    at: int | None,
    network: NetworkPolicy | str | None,
    secrets: Sequence[Secret] | None,
) -> Call[ForkReport]:
    body = body_of(
        count=count,
        timeout_seconds=timeout,
        metadata=dict(metadata) if metadata is not None else None,
        env=dict(env) if env is not None else None,
        inherit_env=inherit_env or None,
        inherit_secrets=inherit_secrets or None,
        at=at,
        network=policy_of(network),
        secrets=_secrets(secrets),
    )
    path = path_of("sandboxes", sandbox, "fork")
    return call("POST", path, one(ForkReport.parse), body=body, patience=CHANGING_SECONDS)


def metrics(sandbox: str) -> Call[Metrics]:
    return call("GET", path_of("sandboxes", sandbox, "metrics"), one(Metrics.parse), idempotent=True)


def logs(sandbox: str) -> Call[str]:
    path = path_of("sandboxes", sandbox, "logs")
    return call("GET", path, lambda answer: answer.body.decode(errors="replace"), idempotent=True)


# MARK: Snapshots


def create_snapshot(sandbox: str, name: str | None, metadata: Mapping[str, str] | None) -> Call[SnapshotInfo]:
    return call(
        "POST",
        path_of("sandboxes", sandbox, "snapshots"),
        one(SnapshotInfo.parse),
        body=body_of(name=name, metadata=dict(metadata) if metadata is not None else None),
        headers={"idempotency-key": str(uuid.uuid4())},
        idempotent=True,
        patience=CHANGING_SECONDS,
    )


def list_snapshots(sandbox: str | None, name: str | None, limit: int, cursor: str | None) -> Call[Page[SnapshotInfo]]:
    query = query_of(sandbox=sandbox, name=name, limit=limit, cursor=cursor)
    return call("GET", path_of("snapshots"), one(_page(SnapshotInfo.parse)), query=query, idempotent=True)


def delete_snapshot(snapshot: str) -> Call[None]:
    return call("DELETE", path_of("snapshots", snapshot), nothing, idempotent=True)


# MARK: Network and ports


def get_network(sandbox: str) -> Call[NetworkInfo]:
    return call("GET", path_of("sandboxes", sandbox, "network"), one(NetworkInfo.parse), idempotent=True)


def set_network(sandbox: str, policy: NetworkPolicy | str) -> Call[SandboxInfo]:
    path = path_of("sandboxes", sandbox, "network")
    return call("PUT", path, one(SandboxInfo.parse), body=policy_of(policy), idempotent=True)


def publish_port(
    sandbox: str, port: int, *, public: bool = False, ttl: int | None = None, wake: bool | None = None
) -> Call[ExposedPort]:
    body = body_of(port=port, visibility="public" if public else "private", ttl_seconds=ttl, wake=wake)
    return call("POST", path_of("sandboxes", sandbox, "ports"), one(ExposedPort.parse), body=body)


def list_ports(sandbox: str) -> Call[list[ExposedPort]]:
    return call("GET", path_of("sandboxes", sandbox, "ports"), items(ExposedPort.parse), idempotent=True)


def unpublish_port(sandbox: str, port: int) -> Call[None]:
    return call("DELETE", path_of("sandboxes", sandbox, "ports", port), nothing, idempotent=True)


# MARK: Programs


def command_of(cmd: Command) -> JSON:
    """A command as the API takes it."""
    return cmd if isinstance(cmd, str) else list(cmd)


def exec_command(
    sandbox: str,
    cmd: Command,
    *,
    cwd: str | None,
    env: Mapping[str, str] | None,
    user: str | None,
    stdin: Data | None,
    timeout: float,
    max_output_bytes: int | None,
) -> Call[ExecResult]:
    if isinstance(stdin, bytes):
        try:
            stdin = stdin.decode()
        except UnicodeDecodeError:
            raise InvalidArgumentError("stdin: bytes that are not UTF-8 need exec_stream") from None
    body = body_of(
        cmd=command_of(cmd),
        cwd=cwd,
        env=dict(env) if env is not None else None,
        user=user,
        stdin=stdin,
        timeout_seconds=timeout,
        max_output_bytes=max_output_bytes,
    )
    path = path_of("sandboxes", sandbox, "exec")
    return call("POST", path, one(ExecResult.parse), body=body, patience=timeout + MARGIN_SECONDS)


# MARK: Files


def _files(sandbox: str, *rest: str) -> str:
    return path_of("sandboxes", sandbox, "files", *rest)


def read_file(sandbox: str, path: str, offset: int | None = None, length: int | None = None) -> Call[bytes]:
    query = query_of(path=path, offset=offset, length=length)
    return call("GET", _files(sandbox), lambda answer: answer.body, query=query, idempotent=True)


def write_file(
    sandbox: str,
    path: str,
    *,
    content: Data | None = None,
    stream: Callable[[], Iterable[bytes]] | None = None,
    astream: Callable[[], AsyncIterable[bytes]] | None = None,
    size: int | None = None,
    mode: int | None = None,
    owner: str | None = None,
    is_repeatable: bool = True,
) -> Call[FileInfo]:
    query = query_of(path=path, mode=None if mode is None else f"{mode & 0o7777:04o}", owner=owner)
    made = call("PUT", _files(sandbox), one(FileInfo.parse), query=query, idempotent=is_repeatable)
    made.headers["content-type"] = "application/octet-stream"
    made.content = content.encode() if isinstance(content, str) else content
    made.stream, made.astream = stream, astream
    if size is not None:
        made.headers["content-length"] = str(size)
    # The sandbox may take its time with what it has been sent before it answers.
    made.patience = CHANGING_SECONDS
    return made


def stat_file(sandbox: str, path: str) -> Call[FileInfo]:
    return call("GET", _files(sandbox, "stat"), one(FileInfo.parse), query=query_of(path=path), idempotent=True)


def list_files(sandbox: str, path: str, depth: int) -> Call[list[FileInfo]]:
    query = query_of(path=path, depth=depth, limit=MAX_ENTRIES)
    return call("GET", _files(sandbox, "list"), items(FileInfo.parse), query=query, idempotent=True)


def make_directory(sandbox: str, path: str, mode: int | None, parents: bool, owner: str | None) -> Call[FileInfo]:
    octal = None if mode is None else f"{mode & 0o7777:04o}"
    body = body_of(path=path, mode=octal, parents=parents, owner=owner)
    return call("POST", _files(sandbox, "mkdir"), one(FileInfo.parse), body=body)


def move_file(sandbox: str, source: str, target: str) -> Call[FileInfo]:
    return call("POST", _files(sandbox, "move"), one(FileInfo.parse), body={"from": source, "to": target})


def remove_file(sandbox: str, path: str, recursive: bool) -> Call[None]:
    query = query_of(path=path, recursive=recursive or None)
    return call("DELETE", _files(sandbox), nothing, query=query, patience=CHANGING_SECONDS)
