"""Sandboxes."""

from __future__ import annotations

import builtins
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from . import _calls as calls
from . import _code as interpreter
from . import _process as processes
from ._call import Call
from ._calls import Command, Data
from ._deadline import Deadline
from .client import Client
from .code import CodeContext, Execution, TextHandler
from .errors import ExploreError, ForkError, MartletError, NotFoundError, UnavailableError
from .events import ProcessInfo
from .exploration import Attempt, Exploration, best_of, check_concurrency
from .files import Files
from .models import ExecResult, ExposedPort, Metrics, SandboxInfo, SnapshotInfo
from .network import NetworkInfo, NetworkPolicy, Secret
from .process import ExecStream, Process

T = TypeVar("T")


class Sandbox:
    """A machine of its own: made with ``create``, found with ``connect``, ended with ``kill`` or at its time-out.

    In a ``with`` block it is killed at the block's end. Safe to use from several threads.
    """

    def __init__(self, client: Client, info: SandboxInfo) -> None:
        """For ``create`` and ``connect``. The sandbox becomes one user of the client."""
        self._client = client
        self._is_open = True
        #: What the server told last; ``refresh`` asks again.
        self.info = info
        #: Its files.
        self.files = Files(client, info.id)
        self._publishing = threading.Lock()

    def __repr__(self) -> str:
        name = f" {self.info.name!r}" if self.info.name else ""
        return f"<Sandbox {self.id}{name} of {self.info.template}>"

    @property
    def id(self) -> str:
        """What it is called for ever."""
        return self.info.id

    @property
    def name(self) -> str | None:
        """What it was called when it was made."""
        return self.info.name

    # MARK: Making and finding

    @classmethod
    def create(
        cls,
        template: str | None = None,
        *,
        timeout: int | None = None,
        name: str | None = None,
        cpus: int | None = None,
        memory_mb: int | None = None,
        disk_mb: int | None = None,
        env: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        network: NetworkPolicy | str | None = None,
        secrets: Sequence[Secret] | None = None,
        from_snapshot: str | None = None,
        inherit_env: bool = False,
        on_timeout: str | None = None,
        record: bool = False,
        idempotency_key: str | None = None,
        client: Client | None = None,
    ) -> Sandbox:
        """Makes a sandbox and returns when it runs.

        At a limit it is tried again, as the client's :class:`RetryPolicy` says; a repeated request makes one sandbox.

        :param template: ``base``, if nothing is said.
        :param timeout: seconds until it is killed (300), counted anew by ``set_timeout``.
        :param env: for all its programs.
        :param network: what it may reach: a policy, ``"none"`` or ``"public"``; nothing if nothing is said.
        :param secrets: values its requests have and it has not.
        :param from_snapshot: goes on from this snapshot, by id or name; template and sizes are the snapshot's then.
        :param inherit_env: with ``from_snapshot``: new programs have the snapshot's environment too.
        :param on_timeout: ``"pause"`` keeps it at its time-out, and the next request resumes it.
        :param record: keeps a checkpoint after every ``exec``, for ``rewind``.
        :param idempotency_key: the same key and request make one sandbox within 24 hours, whichever process asks.
        :param client: the connection to use; one of its own, closed with the sandbox, if none is given.
        """
        call = calls.create_sandbox(
            template=template,
            timeout=timeout,
            name=name,
            cpus=cpus,
            memory_mb=memory_mb,
            disk_mb=disk_mb,
            env=env,
            metadata=metadata,
            network=network,
            secrets=secrets,
            from_snapshot=from_snapshot,
            inherit_env=inherit_env,
            on_timeout=on_timeout,
            record=record,
            idempotency_key=idempotency_key,
        )
        return cls._open(client, call)

    @classmethod
    def connect(cls, sandbox: str, *, client: Client | None = None) -> Sandbox:
        """Finds a sandbox by id or name. One that is paused stays so until ``resume``."""
        return cls._open(client, calls.get_sandbox(sandbox))

    @staticmethod
    def list(
        *,
        state: str | None = None,
        metadata: Mapping[str, str] | None = None,
        limit: int | None = None,
        client: Client | None = None,
    ) -> builtins.list[SandboxInfo]:
        """The caller's sandboxes, newest first: those in a state, with these labels, at most ``limit``."""
        if client is not None:
            return client.sandboxes(state=state, metadata=metadata, limit=limit)
        with Client() as own:
            return own.sandboxes(state=state, metadata=metadata, limit=limit)

    @classmethod
    def _open(cls, client: Client | None, call: Call[SandboxInfo]) -> Sandbox:
        if client is not None:
            sandbox = cls(client, client._run(call))
            client._retain()
            return sandbox
        own = Client()
        try:
            return cls(own, own._run(call))
        except BaseException:
            own.close()
            raise

    # MARK: Life

    def refresh(self) -> SandboxInfo:
        """Asks the server what it is like now."""
        self.info = self._client._run(calls.get_sandbox(self.id))
        return self.info

    def set_timeout(self, seconds: int) -> SandboxInfo:
        """Lets it live this much longer, counted from now; a paused one, from when it is resumed."""
        return self._update(calls.update_sandbox(self.id, seconds, None, None))

    def update(self, *, metadata: Mapping[str, str] | None = None, on_timeout: str | None = None) -> SandboxInfo:
        """Replaces its labels, or what happens at its time-out."""
        return self._update(calls.update_sandbox(self.id, None, metadata, on_timeout))

    def pause(self) -> SandboxInfo:
        """Keeps memory, programs and disk, and lets go of the machine. Has no deadline until it is resumed."""
        return self._update(calls.pause(self.id))

    def resume(self, *, from_disk: bool = False, timeout: int | None = None) -> SandboxInfo:
        """Goes on from where it was paused.

        :param from_disk: boots it afresh from its disk instead: the way out when it does not answer any more.
        :param timeout: seconds from now; its own if nothing is said.
        """
        return self._update(calls.resume(self.id, from_disk, timeout))

    def kill(self) -> bool:
        """Ends it; nothing of it is left but its snapshots.

        :returns: whether it was there.
        """
        try:
            self._client._run(calls.kill_sandbox(self.id))
        except NotFoundError:
            return False
        return True

    def close(self) -> None:
        """Lets go of it without ending it: closes the connection, unless others use it."""
        if self._is_open:
            self._is_open = False
            self._client._let_go()

    def metrics(self) -> Metrics:
        """CPU, memory, disk and network."""
        return self._client._run(calls.metrics(self.id))

    def logs(self) -> str:
        """The end of its console, which is its own to write."""
        return self._client._run(calls.logs(self.id))

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.kill()
        except MartletError:
            # What went wrong in the block is what the caller wants to know.
            if error is None:
                raise
        finally:
            self.close()

    # MARK: Programs

    def exec(
        self,
        cmd: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stdin: Data | None = None,
        timeout: float = 60,
        max_output_bytes: int | None = None,
        check: bool = False,
    ) -> ExecResult:
        """Runs a command to its end. Whatever it does is the result, never an error, unless ``check`` says so.

        :param cmd: an argument list, executed as it is; or a line for the sandbox's own ``/bin/sh``.
        :param user: a name or number, or ``user:group``; root if nothing is said.
        :param stdin: what it reads; UTF-8.
        :param timeout: seconds after which it is killed with its process group; the result has ``timed_out`` then.
        :param max_output_bytes: of each output (1 MiB, at most 16); what is over is left out, and ``truncated`` tells.
        :param check: raises :class:`CommandError` unless it ends with 0.
        """
        call = calls.exec_command(
            self.id,
            cmd,
            cwd=cwd,
            env=env,
            user=user,
            stdin=stdin,
            timeout=timeout,
            max_output_bytes=max_output_bytes,
        )
        result = self._client._run(call)
        return result.check() if check else result

    def exec_stream(
        self,
        cmd: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stdin: Data | bool | None = None,
        timeout: float | None = 60,
    ) -> ExecStream:
        """Runs a command and gives what it writes as it writes it: :class:`Output` events, then one :class:`Exit`.

        The program waits for a reader that is slow. Use it in a ``with`` block to have it killed when the block is
        left early.

        :param stdin: what it reads, any bytes; ``True`` for input that is written later, with ``write``.
        :param timeout: seconds after which it is killed with its process group; None: no limit.
        """
        started = self.start(cmd, cwd=cwd, env=env, user=user, stdin=stdin not in (None, False), timeout=timeout)
        return ExecStream(started, stdin if isinstance(stdin, (str, bytes)) else None)

    def start(
        self,
        cmd: Command,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stdin: bool = False,
        pty: tuple[int, int] | None = None,
        timeout: float | None = None,
        replay_bytes: int | None = None,
    ) -> Process:
        """Starts a command in the background. It goes on whether or not anybody follows it.

        :param stdin: whether it can be written to.
        :param pty: rows and columns of a terminal to run it on.
        :param replay_bytes: how much of its output is kept to be read later (1 MiB).
        """
        call = processes.start(
            self.id,
            cmd,
            cwd=cwd,
            env=env,
            user=user,
            stdin=stdin or pty is not None,
            pty=pty,
            timeout=timeout,
            replay_bytes=replay_bytes,
        )
        return self.process((self._client._run(call)).pid)

    def process(self, pid: int) -> Process:
        """A program that was started before, by its number."""
        return Process(self._client, self.id, pid)

    def processes(self) -> builtins.list[ProcessInfo]:
        """The programs that were started through the API and are remembered, running or ended."""
        return self._client._run(processes.list_all(self.id))

    # MARK: Code

    def run_code(
        self,
        code: str,
        *,
        language: str | None = None,
        context: CodeContext | str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = 300,
        on_stdout: TextHandler | None = None,
        on_stderr: TextHandler | None = None,
    ) -> Execution:
        """Runs code in a kernel that keeps its variables. Needs template ``code-interpreter-v1``.

        What the code raises is in ``error`` of the result. The interpreter's port is published for its owner alone.

        :param language: ``python`` if nothing is said, ``javascript`` or ``bash``; each has a context of its own.
        :param context: another context, of ``create_code_context``.
        :param env: for this run only.
        :param timeout: seconds after which the code is interrupted, and :class:`TimeoutError` raised.
        :param on_stdout: called with text as the code writes it; on_stderr alike.
        """
        call = interpreter.execute(self.id, code, language, context, env)
        handlers = {"stdout": on_stdout, "stderr": on_stderr}
        try:
            return self._execute(call, handlers, timeout)
        except MartletError as error:
            if not interpreter.is_unpublished(error):
                raise interpreter.explained(error) from error
        self._publish_interpreter()
        try:
            return self._execute(call, handlers, timeout)
        except MartletError as error:
            raise interpreter.explained(error) from error

    def _execute(
        self, call: Call[None], handlers: Mapping[str, TextHandler | None], timeout: float | None
    ) -> Execution:
        reader = interpreter.ExecutionReader()
        with Deadline(timeout) as deadline:
            try:
                with self._client._open(call) as response:
                    deadline.watch(response)
                    for piece in self._client._pieces(call, response):
                        for kind, value in reader.feed(piece):
                            handler = handlers.get(kind)
                            if handler is not None:
                                handler(value)
                return reader.finish()
            except UnavailableError as error:
                if timeout is not None and deadline.is_over:
                    raise interpreter.out_of_time(timeout) from error
                raise

    def create_code_context(self, language: str | None = None, *, cwd: str | None = None) -> CodeContext:
        """Starts a kernel with variables of its own."""
        return self._interpreted(interpreter.create_context(self.id, language, cwd))

    def code_contexts(self) -> builtins.list[CodeContext]:
        """The kernels there are."""
        return self._interpreted(interpreter.list_contexts(self.id))

    def remove_code_context(self, context: CodeContext | str) -> None:
        """Ends a kernel with all it has started."""
        self._interpreted(interpreter.remove_context(self.id, context))

    def restart_code_context(self, context: CodeContext | str) -> None:
        """Starts a kernel anew, without its variables."""
        self._interpreted(interpreter.restart_context(self.id, context))

    def _interpreted(self, call: Call[T]) -> T:
        try:
            return self._client._run(call)
        except MartletError as error:
            if not interpreter.is_unpublished(error):
                raise interpreter.explained(error) from error
        self._publish_interpreter()
        try:
            return self._client._run(call)
        except MartletError as error:
            raise interpreter.explained(error) from error

    def _publish_interpreter(self) -> None:
        # Publishing anew would cut off who is being answered: once, and not where somebody else was quicker. The token
        # is good for a second and nobody has it; the owner's key goes on to let in.
        with self._publishing:
            ports = self._client._run(calls.list_ports(self.id))
            if all(port.port != interpreter.PORT for port in ports):
                self._client._run(calls.publish_port(self.id, interpreter.PORT, ttl=1))

    # MARK: Snapshots and forks

    def snapshot(self, name: str | None = None, *, metadata: Mapping[str, str] | None = None) -> SnapshotInfo:
        """Keeps memory, programs and disk of this instant; ``create(from_snapshot=…)`` goes on from there."""
        return self._client._run(calls.create_snapshot(self.id, name, metadata))

    def checkpoints(self) -> builtins.list[SnapshotInfo]:
        """What a recording sandbox has kept, oldest first; ``number`` is what ``rewind`` takes."""
        return self._client._run(calls.checkpoints(self.id))

    def rewind(self, to: int) -> SandboxInfo:
        """Puts a recording sandbox back to a checkpoint; what it did since is undone in it."""
        return self._update(calls.rewind(self.id, to))

    def fork(
        self,
        count: int = 1,
        *,
        timeout: int | None = None,
        metadata: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        inherit_env: bool = False,
        inherit_secrets: bool = False,
        at: int | None = None,
        network: NetworkPolicy | str | None = None,
        secrets: Sequence[Secret] | None = None,
    ) -> builtins.list[Sandbox]:
        """Makes children that go on from this instant, with its programs, memory and disk; it goes on itself.

        All or nothing: if one cannot be made the others are killed, and :class:`ForkError` says why. Children share
        this one's connection, and have to be killed or closed one by one.

        :param timeout: of each child, in seconds (300); children do not have their parent's.
        :param env: for programs started in the children from now on; with ``inherit_env`` beside the parent's.
        :param inherit_secrets: the children have the parent's secrets too.
        :param at: the number of a checkpoint to go on from instead.
        :param network: the parent's, if nothing is said.
        """
        call = calls.fork(
            self.id,
            count=count,
            timeout=timeout,
            metadata=metadata,
            env=env,
            inherit_env=inherit_env,
            inherit_secrets=inherit_secrets,
            at=at,
            network=network,
            secrets=secrets,
        )
        report = self._client._run(call)
        errors = [child for child in report.children if isinstance(child, MartletError)]
        children = [Sandbox(self._client, child) for child in report.children if isinstance(child, SandboxInfo)]
        for _ in children:
            self._client._retain()
        if errors:
            _end(children)
            raise ForkError(count, errors)
        return children

    def explore(
        self,
        n: int,
        fn: Callable[[Sandbox, int], float | None],
        *,
        concurrency: int | None = None,
        timeout: int | None = None,
        metadata: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        inherit_env: bool = False,
        inherit_secrets: bool = False,
        at: int | None = None,
    ) -> Exploration[Sandbox]:
        """Tries something on ``n`` forks of this instant at once, and keeps the best.

        ``fn`` gets each fork and its number, 0 to n - 1, and returns a score. The fork with the highest score, of equal
        ones the first, runs on and is ``best`` of the result; all others are killed before this returns. An attempt
        that raises, or returns None or NaN, has lost; if all have, everything is killed and :class:`ExploreError` says
        why. This sandbox is not touched. Attempts run in threads.

        :param concurrency: how many attempts run at once; all of them, if nothing is said.

        The rest is as for ``fork``; ``best`` has to be killed or closed like any fork.
        """
        check_concurrency(concurrency)
        forks = self.fork(
            n,
            timeout=timeout,
            metadata=metadata,
            env=env,
            inherit_env=inherit_env,
            inherit_secrets=inherit_secrets,
            at=at,
        )
        kept: Sandbox | None = None
        pool = ThreadPoolExecutor(max_workers=min(concurrency or n, n), thread_name_prefix="martlet-explore")
        try:
            attempts = list(pool.map(_attempt, [fn] * n, forks, range(n)))
            best = best_of(attempts)
            if best is None or best.score is None:
                raise ExploreError([attempt.error for attempt in attempts])
            kept = forks[best.index]
            return Exploration(kept, best.score, best.index, attempts)
        finally:
            # Those that still run when this is interrupted fail on what they do next, their forks being gone.
            _end([fork for fork in forks if fork is not kept])
            pool.shutdown(wait=False, cancel_futures=True)

    # MARK: Network and ports

    def network(self) -> NetworkInfo:
        """Policy, secrets without their values, traffic."""
        return self._client._run(calls.get_network(self.id))

    def set_network(self, policy: NetworkPolicy | str) -> SandboxInfo:
        """Replaces what it may reach, at once: connections that are not allowed any more have ended on return."""
        return self._update(calls.set_network(self.id, policy))

    def expose(
        self, port: int, *, public: bool = False, ttl: int | None = None, wake: bool | None = None
    ) -> ExposedPort:
        """Publishes a port: requests to ``url`` or ``path_url`` reach what listens there, on 127.0.0.1 too.

        Published anew it gets a new token, and who uses the old one is cut off.

        :param public: whoever knows the address may come, without a token.
        :param ttl: seconds for which the token is good (3600), or a public port published (as long as the sandbox).
        :param wake: whether a request resumes the sandbox if it is paused; if nothing is said, one that pauses itself.
        """
        return self._client._run(calls.publish_port(self.id, port, public=public, ttl=ttl, wake=wake))

    def ports(self) -> builtins.list[ExposedPort]:
        """The published ports, without tokens."""
        return self._client._run(calls.list_ports(self.id))

    def unexpose(self, port: int) -> None:
        """Takes a published port back; who uses it is cut off."""
        self._client._run(calls.unpublish_port(self.id, port))

    def _update(self, call: Call[SandboxInfo]) -> SandboxInfo:
        self.info = self._client._run(call)
        return self.info


def _attempt(fn: Callable[[Sandbox, int], float | None], fork: Sandbox, index: int) -> Attempt:
    try:
        return Attempt(index, fork.id, fn(fork, index), None)
    except Exception as error:
        return Attempt(index, fork.id, None, error)


def _end(sandboxes: list[Sandbox]) -> None:
    """Kills and lets go of them. One that cannot be killed is left to its time-out."""
    for sandbox in sandboxes:
        with contextlib.suppress(MartletError):
            sandbox.kill()
        sandbox.close()
