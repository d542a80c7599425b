"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from .errors import CapacityError, MartletError, UnavailableError

#: The mark in ``details["reason"]`` of a connection that broke before an answer came.
BROKEN = "connection_broken"


@dataclass(frozen=True)
class RetryPolicy:
    """How patiently requests are repeated that may be: reading, replacing, and creates with their idempotency key.

    Repeated are answers ``resource_exhausted`` and ``unavailable`` that say ``Retry-After``, and connections that
    broke. Never repeated is what might be done twice then, such as ``exec``, nor a server that is not there.
    """

    #: How often at most, besides the first time.
    attempts: int = 4
    #: Seconds that all waits together may take.
    total: float = 30.0
    #: The first wait, where the server does not say one; doubled each time.
    first: float = 0.2
    #: The longest wait of these.
    longest: float = 5.0


class Retries:
    """The repetitions of one request."""

    def __init__(self, policy: RetryPolicy, idempotent: bool) -> None:
        self._policy = policy
        self._idempotent = idempotent
        self._made = 0
        self._began = time.monotonic()

    def delay(self, error: MartletError) -> float | None:
        """Seconds to wait before the next attempt; None when there is to be none."""
        broken = error.details.get("reason") == BROKEN
        said = error.retry_after is not None and isinstance(error, (CapacityError, UnavailableError))
        if not self._idempotent or not (broken or said) or self._made >= self._policy.attempts:
            return None
        backoff = min(self._policy.first * 2.0**self._made, self._policy.longest)
        # Never earlier than the server said, and not all at the same moment.
        wait = (error.retry_after or 0.0) + backoff * random.uniform(0.5, 1.0)
        if time.monotonic() - self._began + wait > self._policy.total:
            return None
        self._made += 1
        return wait
