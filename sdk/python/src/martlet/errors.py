"""Everything that can go wrong, as one tree: the same for :class:`Sandbox` and :class:`AsyncSandbox`."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models import ExecResult


class MartletError(Exception):
    """What every failure of this package is.

    A program in a sandbox that fails is no error but a result; see :class:`CommandError` for who wants one.
    """

    #: The code of errors of this class, as in the API.
    default_code = "internal"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        details: Mapping[str, str] | None = None,
        request_id: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        #: What failed, on which object, and why.
        self.message = message
        #: A stable word, such as ``not_found``.
        self.code = code or self.default_code
        #: More about it; ``reason`` tells apart what has the same code.
        self.details: dict[str, str] = dict(details or {})
        #: How the server's log names the request; absent where no answer came.
        self.request_id = request_id
        #: The answer's status; absent where no answer came.
        self.status = status
        #: Seconds after which the server expects to be able to.
        self.retry_after = retry_after

    def __str__(self) -> str:
        request = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.code}: {self.message}{request}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments are lost on the way to another process otherwise.
        return (_rebuild, (type(self), self.message, self.__dict__))


def _rebuild(kind: type[MartletError], message: str, state: dict[str, object]) -> MartletError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class InvalidArgumentError(MartletError):
    """A value is not as it must be; ``details["field"]`` names it."""

    default_code = "invalid_argument"


class AuthenticationError(MartletError):
    """No key was sent, or none that is valid."""

    default_code = "unauthenticated"


class PermissionDeniedError(MartletError):
    """The key may not do this, or the sandbox's own file permissions do not allow it."""

    default_code = "permission_denied"


class NotFoundError(MartletError):
    """There is no such sandbox, file, process or port, or it is not the caller's."""

    default_code = "not_found"


class ConflictError(MartletError):
    """It is in the way of something that is there, such as a name in use."""

    default_code = "conflict"


class FailedPreconditionError(MartletError):
    """The state of things does not allow it: a sandbox that is paused, for instance."""

    default_code = "failed_precondition"


class TooLargeError(MartletError):
    """More than is taken or told at once."""

    default_code = "too_large"


class CapacityError(MartletError):
    """A limit is reached, of the key, the host or the sandbox; ``retry_after`` says when to try again."""

    default_code = "resource_exhausted"


class UnsupportedError(MartletError):
    """Not built, or not by the engine that runs the sandbox."""

    default_code = "unsupported"


class UnavailableError(MartletError):
    """It cannot be done now: the sandbox does not answer, or the connection broke."""

    default_code = "unavailable"


class ConnectError(UnavailableError):
    """Nothing listens at the address."""


class TimeoutError(MartletError, builtins.TimeoutError):
    """It took longer than it was given. Also a :class:`TimeoutError` of Python's own."""

    default_code = "timeout"


class InternalError(MartletError):
    """The server failed, or said what this version does not know."""

    default_code = "internal"


class ClosedError(MartletError):
    """The client was closed before."""

    default_code = "closed"


class CommandError(MartletError):
    """A command ended otherwise than with 0, and ``check=True`` asked for an error; ``result`` has the rest."""

    default_code = "command_failed"

    def __init__(self, result: ExecResult) -> None:
        how = "ran out of time" if result.timed_out else f"ended with exit code {result.exit_code}"
        super().__init__(f"the command {how}")
        #: How it ended and what it wrote.
        self.result = result


class ForkError(MartletError):
    """Not all children of a fork could be made; those that could were killed. ``errors`` says why, one by one."""

    default_code = "fork_failed"

    def __init__(self, asked: int, errors: list[MartletError]) -> None:
        super().__init__(f"{len(errors)} of {asked} children could not be made: {errors[0].message}")
        #: Why, one for each child that is missing.
        self.errors = errors


class ExploreError(MartletError):
    """No attempt of an ``explore`` returned a score; all forks were killed. ``errors`` has each attempt's."""

    default_code = "explore_failed"

    def __init__(self, errors: list[BaseException | None]) -> None:
        first = next((error for error in errors if error is not None), None)
        why = f": {first!r}" if first is not None else ""
        super().__init__(f"none of {len(errors)} attempts returned a score{why}")
        #: What each attempt raised; None for one that returned no score.
        self.errors = errors


_BY_CODE: dict[str, type[MartletError]] = {
    kind.default_code: kind
    for kind in (
        InvalidArgumentError,
        AuthenticationError,
        PermissionDeniedError,
        NotFoundError,
        ConflictError,
        FailedPreconditionError,
        TooLargeError,
        CapacityError,
        UnsupportedError,
        UnavailableError,
        TimeoutError,
        InternalError,
    )
}

_CODE_BY_STATUS = {
    400: "invalid_argument",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    405: "invalid_argument",
    409: "conflict",
    412: "failed_precondition",
    413: "too_large",
    429: "resource_exhausted",
    500: "internal",
    501: "unsupported",
    502: "unavailable",
    503: "unavailable",
    504: "timeout",
}


def error_of(
    code: str,
    message: str,
    *,
    details: Mapping[str, str] | None = None,
    request_id: str | None = None,
    status: int | None = None,
    retry_after: float | None = None,
) -> MartletError:
    """The error an answer's code stands for; one this version does not know is an :class:`InternalError`."""
    kind = _BY_CODE.get(code, InternalError)
    return kind(message, code=code, details=details, request_id=request_id, status=status, retry_after=retry_after)


def code_of_status(status: int) -> str:
    """The code that goes with a status, for answers that are not the API's own (a proxy's, say)."""
    return _CODE_BY_STATUS.get(status, "internal")
