"""When a failed write is tried again, and after how long: the rule alone, without a clock or a loop.

A retry is right only if the write is certainly not applied, or if doing it twice is harmless. The wait is drawn with
full jitter, ``U(0, min(cap, base * 2**n))``: of the usual schemes it spreads a crowd best without remembering anything
(Brooker, "Exponential Backoff And Jitter"). Two scales are used, because two writers that met in a deadlock should
meet again soon, while a server without room needs time. Where an error says how long to stay away (`retry_after`), the
jitter comes on top of that. A wait that would outlast the deadline is not begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final, TypeAlias

from wellwired.errors import Outcome, Retry, WriteError

__all__ = ["FAST_REASONS", "Decision", "RetryPolicy", "Stop", "Wait", "worse"]

FAST_REASONS: Final = frozenset({"deadlock", "lock", "serialization", "stale_plan"})
"""The `reason` of errors that another writer caused by being there first: a short wait is enough."""

_LARGEST_EXPONENT = 62
_BADNESS = {Outcome.NOT_APPLIED: 0, Outcome.PARTIAL: 1, Outcome.UNKNOWN: 2}


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Do not try again.

    Args:
        reason: ``"error"`` (it would not help), ``"repeat"`` (it could apply twice), ``"attempts"`` or ``"deadline"``.
    """

    reason: str


Decision: TypeAlias = Wait | Stop


def worse(one: Outcome, other: Outcome) -> Outcome:
    """The worse of two outcomes: not applied, then partly applied, then unknown."""
    return one if _BADNESS[one] >= _BADNESS[other] else other


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a write is retried; immutable.

    Args:
        attempts: how many at most, the first included; 1 never retries.
        base: seconds that the first wait is at most, for a lost connection or a server without room.
        cap: seconds that any such wait is at most.
        fast_base: seconds that the first wait is at most, for a deadlock and its like (`FAST_REASONS`).
        fast_cap: seconds that any such wait is at most.

    Raises:
        ValueError: attempts is less than 1, or a number of seconds is negative or not finite.
    """

    attempts: int = 3
    base: float = 0.1
    cap: float = 5.0
    fast_base: float = 0.01
    fast_cap: float = 0.5

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts must be 1 or more")
        for name in ("base", "cap", "fast_base", "fast_cap"):
            seconds = getattr(self, name)
            if not isfinite(seconds) or seconds < 0:
                raise ValueError(f"{name} must be a finite number of seconds, 0 or more")

    def allows(self, error: WriteError, *, repeatable: bool) -> bool:
        """Whether sending the same write again is right after this error.

        Args:
            error: how the attempt failed.
            repeatable: whether doing the write twice is harmless.
        """
        if error.retry is Retry.NEVER:
            return False
        # An error that calls itself safe while its outcome is open is not believed.
        return repeatable or (error.retry is Retry.SAFE and error.outcome is Outcome.NOT_APPLIED)

    def ceiling(self, error: WriteError, attempt: int) -> float:
        """The longest that the wait after an attempt may be, in seconds.

        Args:
            error: how the attempt failed.
            attempt: which attempt it was, from 1.
        """
        fast = error.reason in FAST_REASONS
        base, cap = (self.fast_base, self.fast_cap) if fast else (self.base, self.cap)
        return min(cap, base * 2.0 ** min(attempt - 1, _LARGEST_EXPONENT))

    def decide(self, error: WriteError, *, attempt: int, repeatable: bool, left: float, draw: float) -> Decision:
        """What follows a failed attempt.

        Args:
            error: how it failed.
            attempt: which attempt it was, from 1.
            repeatable: whether doing the write twice is harmless.
            left: seconds until the deadline.
            draw: a random number from 0 to 1, for the jitter.

        Returns:
            `Wait` with a time shorter than what is left, or `Stop` with the reason.
        """
        if error.retry is Retry.NEVER:
            return Stop("error")
        if not self.allows(error, repeatable=repeatable):
            return Stop("repeat")
        if attempt >= self.attempts:
            return Stop("attempts")
        seconds = error.retry_after + draw * self.ceiling(error, attempt)
        return Wait(seconds) if seconds < left else Stop("deadline")
