"""Martlet: run code nobody has vetted in sandboxes on machines you own.

:class:`Sandbox` is the whole of it, and :class:`AsyncSandbox` the same for asyncio; every failure is a
:class:`MartletError`.
"""

from ._retry import RetryPolicy
from .async_client import AsyncClient
from .async_files import AsyncFiles
from .async_process import AsyncExecStream, AsyncProcess
from .async_sandbox import AsyncSandbox
from .client import Client
from .code import CodeContext, CodeError, CodeResult, Execution
from .errors import (
    AuthenticationError,
    CapacityError,
    ClosedError,
    CommandError,
    ConflictError,
    ConnectError,
    ExploreError,
    FailedPreconditionError,
    ForkError,
    InternalError,
    InvalidArgumentError,
    MartletError,
    NotFoundError,
    PermissionDeniedError,
    TimeoutError,
    TooLargeError,
    UnavailableError,
    UnsupportedError,
)
from .events import Exit, Lost, Output, ProcessEvent, ProcessInfo
from .exploration import Attempt, Exploration
from .files import Files
from .models import (
    Capture,
    CreateReport,
    ExecResult,
    ExposedPort,
    FileInfo,
    Isolation,
    Metrics,
    SandboxInfo,
    SnapshotInfo,
)
from .network import NetworkInfo, NetworkPolicy, Secret, SecretInfo, Traffic
from .process import ExecStream, Process
from .sandbox import Sandbox

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AsyncExecStream",
    "AsyncFiles",
    "AsyncProcess",
    "AsyncSandbox",
    "Attempt",
    "AuthenticationError",
    "CapacityError",
    "Capture",
    "Client",
    "ClosedError",
    "CodeContext",
    "CodeError",
    "CodeResult",
    "CommandError",
    "ConflictError",
    "ConnectError",
    "CreateReport",
    "ExecResult",
    "ExecStream",
    "Execution",
    "Exit",
    "Exploration",
    "ExploreError",
    "ExposedPort",
    "FailedPreconditionError",
    "FileInfo",
    "Files",
    "ForkError",
    "InternalError",
    "InvalidArgumentError",
    "Isolation",
    "Lost",
    "MartletError",
    "Metrics",
    "NetworkInfo",
    "NetworkPolicy",
    "NotFoundError",
    "Output",
    "PermissionDeniedError",
    "Process",
    "ProcessEvent",
    "ProcessInfo",
    "RetryPolicy",
    "Sandbox",
    "SandboxInfo",
    "Secret",
    "SecretInfo",
    "SnapshotInfo",
    "TimeoutError",
    "TooLargeError",
    "Traffic",
    "UnavailableError",
    "UnsupportedError",
]
