"""What middleware sees of a batch, and what is told of it.

A middleware of `use(...)` knows single writes, so a batch goes through it one by one. One that can do better has an
attribute `many`: a middleware of many operations at once, built like the other. If every middleware of a manager has
one, batches stay batches::

    def audited(next):
        def call(operation): ...          # a write by itself
        return call

    def audited_many(next):
        def call(operations):
            ...                           # on the way in
            return next(operations)       # an answer for each, by position: its result or its error
        return call

    audited.many = audited_many

What is told of a batch is one event for each group of its requests with one target and type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from wellwired.errors import WriteError
from wellwired.middleware.chain import WriteMiddleware
from wellwired.middleware.events import APPLIED, OK, PENDING, WriteEvent, failed
from wellwired.operations import WriteOperation, WriteRequest, WriteResult

__all__ = ["BatchEvent", "BatchMiddleware", "BatchNext", "CountsBatches", "events_of", "many_of"]

BatchNext: TypeAlias = Callable[[Sequence[WriteOperation]], Sequence[WriteResult[Any] | WriteError]]
"""Takes operations of one target and type, gives the answer of each by position; raises nothing for one of them."""

BatchMiddleware: TypeAlias = Callable[[BatchNext], BatchNext]
"""Takes the next call for batches, gives the call around it."""


class BatchEvent(NamedTuple):
    """A group of a batch that is over.

    Args:
        writer: the name of the writer, or "" if none was found.
        target: the target of its requests.
        type: their type.
        counts: how many ended so, by code and outcome: `OK` and `APPLIED` or `PENDING`, or those of an error.
        reasons: how many errors had which word of detail.
        attempts: how many times the backend was tried, for the request that took most.
        duration: seconds from the beginning of the group to its last answer.
        replayed: how many results were those of earlier writes with the same keys.
        meta: what came with the requests, if it came with all of them alike.
        warnings: what went wrong after a commit, each once.
    """

    writer: str
    target: str
    type: str
    counts: Mapping[tuple[str, str], int]
    reasons: Mapping[str, int]
    attempts: int
    duration: float
    replayed: int
    meta: Mapping[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many requests there were."""
        return sum(self.counts.values())

    @property
    def applied(self) -> int:
        """How many took effect."""
        return self.counts.get((OK, APPLIED), 0)


@runtime_checkable
class CountsBatches(Protocol):
    """The ability of metrics to take a group of a batch at once; others are told of each of its requests."""

    def record_many(self, event: BatchEvent, /) -> None:
        """Takes a group that is over; called by many threads at once, and must not block."""
        ...


def many_of(middleware: Sequence[WriteMiddleware]) -> tuple[BatchMiddleware, ...] | None:
    """The parts for batches of these middlewares, or None if one has none.

    Args:
        middleware: in the order of registration.
    """
    found = tuple(getattr(one, "many", None) for one in middleware)
    return found if all(callable(one) for one in found) else None  # type: ignore[return-value]  # it was looked at


def events_of(
    batch: BatchEvent, requests: Sequence[WriteRequest], answers: Sequence[WriteResult[Any] | WriteError]
) -> list[WriteEvent]:
    """An event for each request of a group, for metrics that do not count batches.

    Args:
        batch: the group's event.
        requests: its requests.
        answers: what became of each.
    """
    events: list[WriteEvent] = []
    for request, answer in zip(requests, answers, strict=True):
        if isinstance(answer, WriteError):
            told = failed(
                answer,
                writer=batch.writer,
                target=batch.target,
                type=batch.type,
                duration=batch.duration,
                meta=request.meta,
            )
        else:
            told = WriteEvent(
                batch.writer,
                batch.target,
                batch.type,
                OK,
                PENDING if answer.pending else APPLIED,
                answer.attempts,
                batch.duration,
                answer.replayed,
                "",
                None,
                request.meta,
                answer.warnings,
            )
        events.append(told)
    return events
