"""What the caller is told when no attempt succeeded: the rule alone.

The outcome is the worst of all attempts: a later attempt that was cleanly refused does not close what an earlier one
left open. An error keeps its own code as long as that code is the whole truth; otherwise the answer is
RETRY_EXHAUSTED, with the last error as its cause.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from wellwired.errors import Outcome, Retry, RetryExhaustedError, WriteError, WriteTimeoutError
from wellwired.middleware.policy import worse

__all__ = ["verdict"]

_WHY = {
    "attempts": "no more are allowed",
    "budget": "the budget for retries is spent",
    "deadline": "the deadline leaves no time for another",
    "error": "another would not help",
    "repeat": "another could apply it twice",
}


def verdict(history: Sequence[WriteError], reason: str) -> WriteError:
    """The error for a write of which every attempt failed.

    Args:
        history: how each attempt failed, in order; not empty.
        reason: why there was no further attempt: the reason of a `Stop`, or ``"budget"``.

    Returns:
        The last error itself, its `attempts` filled in, or a `RetryExhaustedError`.
    """
    last, worst = history[-1], functools.reduce(worse, (error.outcome for error in history))
    last.attempts = len(history)
    final = reason in ("error", "repeat") and last.outcome is worst
    # A timeout stays one: nothing was applied, and there is no time for another attempt.
    late = reason == "deadline" and isinstance(last, WriteTimeoutError) and worst is Outcome.NOT_APPLIED
    return last if len(history) == 1 or final or late else _exhausted(history, worst, reason)


def _exhausted(history: Sequence[WriteError], worst: Outcome, reason: str) -> RetryExhaustedError:
    last = history[-1]
    safe = last.retry if worst is Outcome.NOT_APPLIED or last.retry is Retry.NEVER else Retry.IF_IDEMPOTENT
    exhausted = RetryExhaustedError(
        f"{len(history)} attempts failed and {_WHY[reason]}; the last: {last.message}",
        outcome=worst,
        retry=safe,
        phase=last.phase,
        target=last.target,
        type=last.type,
        backend_code=last.backend_code,
        reason=reason,
        attempts=len(history),
    )
    for number, error in enumerate(history, 1):
        exhausted.add_note(f"attempt {number}: {error}")
    exhausted.retry_after = last.retry_after
    exhausted.__cause__ = last
    return exhausted
