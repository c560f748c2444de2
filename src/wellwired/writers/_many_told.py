"""Tells the observers about a group of a batch: metrics, then the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wellwired.errors import WriteError
from wellwired.middleware.batches import BatchEvent, CountsBatches, events_of
from wellwired.middleware.events import APPLIED, OK, PENDING
from wellwired.middleware.logging import WriteLog
from wellwired.middleware.metrics import Metrics, NoMetrics
from wellwired.middleware.observe import notify
from wellwired.operations import WriteRequest
from wellwired.writers._answers import Answers, Committed

__all__ = ["Telling"]


class Telling:
    """What is told of batches, and to whom; safe to share by threads.

    Args:
        metrics: told of a group at once if they count batches, else of each of its requests; None for none.
        log: takes one line for a group.
    """

    def __init__(self, metrics: Metrics | None, log: WriteLog) -> None:
        told: object = None if isinstance(metrics, NoMetrics) else metrics
        by_groups = isinstance(told, CountsBatches)
        self._metrics = metrics if told is not None and not by_groups else None
        many: tuple[Callable[[BatchEvent], object], ...] = (
            (told.record_many,) if isinstance(told, CountsBatches) else ()
        )
        self._observers = (*many, log.many)

    def __call__(
        self, writer: str, requests: Sequence[WriteRequest], answers: Answers, duration: float, *, plain: bool
    ) -> tuple[str, ...]:
        """Tells of a group that is over.

        Args:
            writer: the name of the writer, or "" if none was found.
            requests: what was asked.
            answers: what became of each.
            duration: seconds from the beginning of the group to its last answer.
            plain: whether it is known that no request has meta.

        Returns:
            A line for each observer that failed.
        """
        first = requests[0].meta
        alike = plain or all(request.meta is first or request.meta == first for request in requests)
        meta = first if alike and isinstance(first, Mapping) else {}
        event = _event(writer, requests[0], answers, duration, meta)
        failures: dict[str, None] = {}
        if self._metrics is not None:
            for one in events_of(event, requests, answers):
                failures.update(dict.fromkeys(notify((self._metrics.record,), one)))
        failures.update(dict.fromkeys(notify(self._observers, event)))
        return tuple(failures)


def _event(
    writer: str, request: WriteRequest, answers: Answers, duration: float, meta: Mapping[str, Any]
) -> BatchEvent:
    counts: dict[tuple[str, str], int] = {}
    reasons: dict[str, int] = {}
    warnings: dict[str, None] = {}
    attempts = applied = pending = replayed = 0
    for part in answers.parts:
        if isinstance(part, Committed):
            applied, attempts = applied + len(part), max(attempts, part.attempts)
            pending += len(part) if part.pending else 0
            continue
        for answer in part:
            attempts = max(attempts, answer.attempts)
            if isinstance(answer, WriteError):
                ended = (answer.code.value, answer.outcome.value)
                counts[ended] = counts.get(ended, 0) + 1
                if answer.reason:
                    reasons[answer.reason] = reasons.get(answer.reason, 0) + 1
            else:
                applied, replayed = applied + 1, replayed + answer.replayed
                pending += answer.pending
                warnings.update(dict.fromkeys(answer.warnings))
    if pending:
        counts[OK, PENDING] = pending
    if applied > pending:
        counts[OK, APPLIED] = applied - pending
    where = (writer, request.target, request.type)
    return BatchEvent(*where, counts, reasons, attempts, duration, replayed, meta, tuple(warnings))
