"""Tells observers about every write that is over, without letting them change what became of it.

The middleware stands outermost, so that it sees the final verdict with all its attempts. An observer that fails is
no reason to call a committed write an error: its failure becomes a warning in the result, or a note on the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from wellwired.errors import WriteError
from wellwired.middleware.chain import WriteMiddleware, WriteNext
from wellwired.middleware.events import Observer, failed, succeeded
from wellwired.operations import WriteOperation, WriteResult

__all__ = ["notify", "observed"]

E = TypeVar("E")


def notify(observers: Iterable[Callable[[E], object]], event: E) -> tuple[str, ...]:
    """Tells every observer, in order.

    Args:
        observers: each is called with the event, whatever the others did.
        event: what to tell.

    Returns:
        A line for each observer that failed, naming it and the class of its exception.
    """
    failures: tuple[str, ...] = ()
    for observer in observers:
        try:
            observer(event)
        except Exception as error:  # noqa: BLE001 - reported to the caller by the line it becomes
            failures += (f"the observer {_name(observer)} failed: {type(error).__name__}",)
    return failures


def observed(*observers: Observer) -> WriteMiddleware:
    """The middleware that times a write, fills in what its result or error leaves open, and tells the observers.

    Args:
        observers: told in this order, in the thread of the write, before the caller has its answer.
    """

    def wrap(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            clock = operation.deadline.clock
            try:
                result = next(operation)
            except WriteError as error:
                _report(observers, operation, error, clock.monotonic() - operation.began)
                raise
            duration = clock.monotonic() - operation.began
            warnings = result.warnings
            if observers:
                warnings += notify(observers, succeeded(operation, result, duration))
            replayed, pending = result.replayed, result.pending
            return WriteResult(
                True, result.message, result.data, result.attempts, duration, replayed, warnings, pending
            )

        return call

    return wrap


def _report(observers: tuple[Observer, ...], operation: WriteOperation, error: WriteError, duration: float) -> None:
    request = operation.request
    error.target = error.target or request.target
    error.type = error.type or request.type
    event = failed(
        error,
        writer=operation.writer,
        target=request.target,
        type=request.type,
        duration=duration,
        meta=request.meta,
    )
    for failure in notify(observers, event):
        error.add_note(failure)


def _name(observer: object) -> str:
    # A bound method is best known by what it is bound to.
    owner = getattr(observer, "__self__", observer)
    given = getattr(owner, "__qualname__", None)
    return given if isinstance(given, str) else type(owner).__qualname__
