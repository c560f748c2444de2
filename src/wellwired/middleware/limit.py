"""Keeps a write from starting after its deadline, and can give it a nearer one.

A deadline is a moment, not a duration, so it does not grow on its way down. Nothing here interrupts anything: no
thread is left behind in the middle of a write and no signal is sent. The writer asks the deadline at every step and
gives up before COMMIT, which is why a timeout can promise that nothing was applied.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import Retry, WriteTimeoutError
from wellwired.middleware.chain import WriteMiddleware, WriteNext
from wellwired.operations import WriteOperation, WriteRequest, WriteResult

__all__ = ["time_limit", "too_late"]


def time_limit(seconds: float | None = None) -> WriteMiddleware:
    """The middleware that refuses what is too late and, if told so, brings the deadline nearer.

    Outside the retries it limits the write, inside them each attempt. It never moves a deadline further away.

    Args:
        seconds: how long what is inside may take at most; None keeps the deadline as it is.

    Raises:
        ValueError: seconds is not a positive, finite number.
    """
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise ValueError("a time limit must be a positive, finite number of seconds")

    def wrap(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            deadline = operation.deadline
            if deadline.passed:
                raise too_late(operation.request)
            if seconds is not None:
                operation = _nearer(operation, deadline.sooner(seconds))
            return next(operation)

        return call

    return wrap


def too_late(request: WriteRequest) -> WriteTimeoutError:
    """The error of a write whose deadline passed before anything was sent.

    Args:
        request: the request that came too late.
    """
    return WriteTimeoutError(
        "the deadline passed before anything was sent; allow more time, or look for what used it up",
        retry=Retry.SAFE,
        target=request.target,
        type=request.type,
    )


def _nearer(operation: WriteOperation, deadline: Deadline) -> WriteOperation:
    return operation if deadline is operation.deadline else replace(operation, deadline=deadline)
