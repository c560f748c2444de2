"""What is told about a write when it is over, and about a retry when it is decided.

One event is made for each write, whatever became of it, and handed to every observer: the log, the metrics, yours.
Events hold names, codes and numbers. A payload never enters one, so no observer can leak it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from wellwired.errors import WriteError
from wellwired.operations import WriteOperation, WriteResult

__all__ = [
    "APPLIED",
    "OK",
    "PENDING",
    "Observer",
    "RetryEvent",
    "RetryObserver",
    "WriteEvent",
    "failed",
    "retried",
    "succeeded",
]

OK: Final = "OK"
"""The `code` of a write that took effect, where a failure has its `ErrorCode`."""

APPLIED: Final = "APPLIED"
"""The `outcome` of a write that took effect, where a failure has its `Outcome`."""

PENDING: Final = "PENDING"
"""The `outcome` of a write that takes effect when a transaction around it is committed, which is not its writer's."""


class WriteEvent(NamedTuple):
    """One write that is over. A named tuple, because one is made for every write and it is the quickest to make.

    Args:
        writer: the name of the writer, or "" if none was found.
        target: the request's target, or "" if it was no name.
        type: the request's type, or "" if it was no name.
        code: `OK`, or the error's code.
        outcome: `APPLIED`, `PENDING`, or what became of the data.
        attempts: how many times the backend was tried.
        duration: seconds from the call to the answer.
        replayed: whether an earlier write with the same key gave the result.
        reason: the error's word of detail.
        backend_code: the backend's own code, if it gave one.
        meta: what came with the request.
        warnings: what went wrong after the commit.
        cause: the class of the exception behind a failure, such as a bug of a handler; "" if there is none.
    """

    writer: str
    target: str
    type: str
    code: str
    outcome: str
    attempts: int
    duration: float
    replayed: bool
    reason: str
    backend_code: str | int | None
    meta: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    cause: str = ""

    def __repr__(self) -> str:
        return f"<write {self.type!r} to {self.target!r}: {self.code} {self.outcome}, {self.attempts} attempts>"


@dataclass(frozen=True, slots=True)
class RetryEvent:
    """An attempt that failed and will be followed by another.

    Args:
        writer: the name of the writer.
        target: the request's target.
        type: the request's type.
        attempt: which attempt failed, from 1.
        code: the error's code.
        outcome: what became of the attempt's data.
        reason: the error's word of detail.
        backend_code: the backend's own code, if it gave one.
        wait: seconds until the next attempt.
        size: how many requests are tried again, in a batch.
    """

    writer: str
    target: str
    type: str
    attempt: int
    code: str
    outcome: str
    reason: str
    backend_code: str | int | None
    wait: float
    size: int = 1


Observer: TypeAlias = Callable[[WriteEvent], object]
"""Told of every write that is over. It must not block; what it raises changes nothing for the write."""

RetryObserver: TypeAlias = Callable[[RetryEvent], object]
"""Told of every retry before its wait."""


def succeeded(operation: WriteOperation, result: WriteResult[Any], duration: float) -> WriteEvent:
    """The event of a write that took effect.

    Args:
        operation: what was written.
        result: what the caller gets.
        duration: seconds from the call to the answer.
    """
    request = operation.request
    return WriteEvent(
        operation.writer,
        request.target,
        request.type,
        OK,
        PENDING if result.pending else APPLIED,
        result.attempts,
        duration,
        result.replayed,
        "",
        None,
        request.meta,
        result.warnings,
    )


def failed(
    error: WriteError, *, writer: str, target: str, type: str, duration: float, meta: Mapping[str, Any]
) -> WriteEvent:
    """The event of a write that did not take effect, or may not have.

    Args:
        error: what the caller gets.
        writer: the name of the writer, or "" if none was found.
        target: the request's target, or "" if it is no name.
        type: the request's type, or "" if it is no name.
        duration: seconds from the call to the error.
        meta: what came with the request.
    """
    return WriteEvent(
        writer,
        target,
        type,
        error.code.value,
        error.outcome.value,
        error.attempts,
        duration,
        False,
        error.reason,
        error.backend_code,
        meta,
        cause=_cause(error),
    )


def retried(operation: WriteOperation, error: WriteError, attempt: int, wait: float) -> RetryEvent:
    """The event of an attempt that failed and will be followed by another.

    Args:
        operation: what is being written.
        error: how the attempt failed.
        attempt: which attempt it was, from 1.
        wait: seconds until the next one.
    """
    return RetryEvent(
        writer=operation.writer,
        target=operation.request.target,
        type=operation.request.type,
        attempt=attempt,
        code=error.code.value,
        outcome=error.outcome.value,
        reason=error.reason,
        backend_code=error.backend_code,
        wait=wait,
    )


def _cause(error: WriteError) -> str:
    """The class of what was raised first: an error of ours that is made of another tells nothing new."""
    cause: BaseException | None = error.__cause__
    if isinstance(cause, WriteError):  # the last attempt's, under an error about all of them
        cause = cause.__cause__
    return "" if cause is None else type(cause).__name__
