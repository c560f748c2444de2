"""The numbers of writes for Prometheus: a counter, a histogram of durations, a counter of retries.

==============================================  ========================================
``wellwired_writes_total``                      writes that are over
``wellwired_write_duration_seconds``            how long they took, from call to answer
``wellwired_write_retries_total``               attempts beyond the first
``wellwired_evictions_failed_total``            evictions of changed keys that failed
``wellwired_circuit_state``                     0 closed, 1 half-open, 2 open
``wellwired_dead_letters_total``                letters that were ``kept`` or ``lost``
==============================================  ========================================

The first three have the labels ``writer``, ``target``, ``type`` and ``code``, and the very first ``outcome`` too; the
others have their own: the ``store``, the ``target``, and ``code``, ``outcome`` and ``result``. A label's value is
never a name that a caller made up: where nothing is registered under it, it is ``unknown``, so that wrong requests
cannot grow the series without end. Series are looked up once and kept.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakKeyDictionary

from wellwired.errors import ErrorCode, MissingExtraError, RegistrationError
from wellwired.middleware.batches import BatchEvent
from wellwired.middleware.events import WriteEvent
from wellwired.middleware.notices import CircuitChanged, EvictionFailed, LetterKept, LetterLost, Notice

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["BUCKETS", "PrometheusMetrics"]

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets, in seconds: from a local commit to a write that needed its whole time."""

_LABELS = ("writer", "target", "type", "code")


_STATES = {"closed": 0, "half-open": 1, "open": 2}


class _Families(NamedTuple):
    writes: Counter
    durations: Histogram
    retries: Counter
    evictions: Counter
    circuits: Gauge
    letters: Counter


class _Series(NamedTuple):
    writes: Counter
    durations: Histogram
    retries: Counter


_families: WeakKeyDictionary[CollectorRegistry, dict[str, _Families]] = WeakKeyDictionary()
_making = threading.Lock()


def _renew() -> None:
    global _making
    _making = threading.Lock()


# Another thread may hold it at the moment of a fork, and would hold it in the child for ever.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


class PrometheusMetrics:
    """Metrics for Prometheus; safe to share by threads.

    Two on one registry under one namespace count into the same series, so that an application may build its manager
    again; the first one's buckets are kept.

    Args:
        registry: where the series are registered; None for prometheus_client's own.
        namespace: what their names begin with.
        buckets: upper bounds of the histogram's buckets, in seconds, rising.
        limit: how many different sets of labels get series of their own; later ones share one labelled ``other``.

    Raises:
        MissingExtraError: prometheus_client is not installed.
        RegistrationError: the registry has series of these names that are not ours.
    """

    def __init__(
        self,
        *,
        registry: CollectorRegistry | None = None,
        namespace: str = "wellwired",
        buckets: Sequence[float] = BUCKETS,
        limit: int = 1000,
    ) -> None:
        try:
            import prometheus_client
        except ImportError as error:
            raise MissingExtraError("prometheus-client", extra="prometheus", purpose="PrometheusMetrics") from error
        chosen = prometheus_client.REGISTRY if registry is None else registry
        self._limit = limit
        self._series: dict[tuple[str, ...], _Series] = {}
        with _making:
            known = _families.setdefault(chosen, {})
            if namespace not in known:
                known[namespace] = _registered(chosen, namespace, buckets)
            self._made = known[namespace]

    def record(self, event: WriteEvent, /) -> None:
        """Counts one write that is over."""
        # The first five fields of an event are its labels, so the lookup of a known one makes no other tuple.
        labels = event[:5]
        series = self._series.get(labels)
        if series is None:
            series = self._found(_bounded(labels))
        series.writes.inc()
        series.durations.observe(event.duration)
        if event.attempts > 1:
            series.retries.inc(event.attempts - 1)

    def record_many(self, event: BatchEvent, /) -> None:
        """Counts a group of a batch: each of its writes, and its duration once for each way in which some ended."""
        for (code, outcome), number in event.counts.items():
            labels = (event.writer, event.target, event.type, code, outcome)
            series = self._series.get(labels) or self._found(_bounded(labels))
            series.writes.inc(number)
            series.durations.observe(event.duration)
            if event.attempts > 1:
                series.retries.inc(event.attempts - 1)

    def notice(self, notice: Notice, /) -> None:
        """Counts what is told beside the writes."""
        match notice:
            case EvictionFailed():
                self._made.evictions.labels(notice.store).inc()
            case CircuitChanged():
                self._made.circuits.labels(notice.target).set(_STATES[notice.state])
            case LetterKept() | LetterLost():
                result = "kept" if isinstance(notice, LetterKept) else "lost"
                self._made.letters.labels(notice.code, notice.outcome, result).inc()

    def _found(self, labels: tuple[str, ...]) -> _Series:
        series = self._series.get(labels)
        if series is not None:
            return series
        if len(self._series) >= self._limit:
            labels = (labels[0], "other", "other", *labels[3:])
        writes, durations, retries, *_ = self._made
        common = labels[:4]
        made = _Series(writes.labels(*labels), durations.labels(*common), retries.labels(*common))
        return self._series.setdefault(labels, made)


_UNTYPED = ErrorCode.TYPE_NOT_SUPPORTED.value


def _bounded(labels: tuple[str, ...]) -> tuple[str, ...]:
    writer, target, kind, code, outcome = labels
    if not writer:
        return ("unknown", "unknown", "unknown", code, outcome)
    return (writer, target, "unknown" if code == _UNTYPED else kind, code, outcome)


def _registered(registry: CollectorRegistry, namespace: str, buckets: Sequence[float]) -> _Families:
    from prometheus_client import Counter, Gauge, Histogram

    families = _Families(
        Counter("writes", "Writes that are over.", (*_LABELS, "outcome"), namespace, registry=None),
        Histogram(
            "write_duration_seconds",
            "Seconds from the call to the answer.",
            _LABELS,
            namespace,
            registry=None,
            buckets=buckets,
        ),
        Counter("write_retries", "Attempts beyond the first.", _LABELS, namespace, registry=None),
        Counter("evictions_failed", "Evictions of changed keys that failed.", ("store",), namespace, registry=None),
        Gauge("circuit_state", "0 closed, 1 half-open, 2 open.", ("target",), namespace, registry=None),
        Counter("dead_letters", "Dead letters.", ("code", "outcome", "result"), namespace, registry=None),
    )
    done: list[Counter | Gauge | Histogram] = []
    try:
        for family in families:
            registry.register(family)
            done.append(family)
    except ValueError as error:
        for family in done:
            registry.unregister(family)
        raise RegistrationError(
            f"the registry already has series named {namespace}_write…; give another namespace or registry"
        ) from error
    return families
