"""Tells the observers about a group of a batch: metrics, then the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wellwired.middleware.batches import BatchEvent, CountsBatches, batch_event, events_of
from wellwired.middleware.logging import WriteLog
from wellwired.middleware.metrics import Metrics, NoMetrics
from wellwired.middleware.observe import notify
from wellwired.operations import WriteRequest
from wellwired.writers._answers import Answer

__all__ = ["Telling"]


class Telling:
    """What is told of batches, and to whom; safe to share by threads.

    Args:
        metrics: told of a group at once if they count batches, else of each of its requests; None for none.
        log: takes one line for a group.
    """

    def __init__(self, metrics: Metrics | None, log: WriteLog) -> None:
        counted = metrics is not None and not isinstance(metrics, NoMetrics)
        self._metrics = metrics if counted and not isinstance(metrics, CountsBatches) else None
        many: tuple[Callable[[BatchEvent], object], ...] = ()
        if counted and isinstance(metrics, CountsBatches):
            many = (metrics.record_many,)
        self._observers = (*many, log.many)

    def __call__(
        self, writer: str, requests: Sequence[WriteRequest], answers: Sequence[Answer], duration: float
    ) -> tuple[str, ...]:
        """Tells of a group that is over.

        Args:
            writer: the name of the writer, or "" if none was found.
            requests: what was asked.
            answers: what became of each.
            duration: seconds from the beginning of the group to its last answer.

        Returns:
            A line for each observer that failed.
        """
        first = requests[0].meta
        alike = not first or all(request.meta is first or request.meta == first for request in requests)
        event = batch_event(writer, requests[0], answers, duration=duration, alike=alike)
        failures: dict[str, None] = {}
        if self._metrics is not None:
            for one in events_of(event, requests, answers):
                failures.update(dict.fromkeys(notify((self._metrics.record,), one)))
        failures.update(dict.fromkeys(notify(self._observers, event)))
        return tuple(failures)
