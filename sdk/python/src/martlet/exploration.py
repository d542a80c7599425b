"""What came of trying something on several forks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from .errors import InvalidArgumentError

S = TypeVar("S")


def check_concurrency(concurrency: int | None) -> None:
    """Before anything is forked for it."""
    if concurrency is not None and concurrency < 1:
        raise InvalidArgumentError("concurrency: must be at least 1")


@dataclass(frozen=True)
class Attempt:
    """What one fork has come to."""

    index: int
    sandbox_id: str
    #: None if it returned none, or raised.
    score: float | None
    #: What it raised.
    error: Exception | None

    @property
    def counts(self) -> bool:
        """Whether it has a score; one that is not a number (NaN) is none."""
        return self.score is not None and self.score == self.score


@dataclass(frozen=True)
class Exploration(Generic[S]):
    """The fork that was best, which runs on, and what became of all."""

    best: S
    score: float
    #: Which attempt that was.
    index: int
    #: All of them, in order.
    attempts: list[Attempt]


def best_of(attempts: list[Attempt]) -> Attempt | None:
    """The attempt with the highest score, of equal ones the first; None if none has one."""
    return max((attempt for attempt in attempts if attempt.counts), key=lambda a: (a.score, -a.index), default=None)
