"""The numbers of writes and of layered stores for Prometheus.

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

Of stores that are watched, those of an `Application` by itself, what they counted is read at each scrape; an operation
of a store calls nothing here. Each layer has, with the labels ``store`` and ``layer``:

==============================================  ========================================
``wellwired_store_hits_total``                  reads that the layer answered
``wellwired_store_misses_total``                reads that it had nothing for
``wellwired_store_failures_total``              calls of it that raised
``wellwired_store_timeouts_total``              calls of it that were out of time
``wellwired_store_skipped_total``               calls that its open breaker kept from it
``wellwired_store_stale_total``                 stale values that it served
``wellwired_store_fills_total``                 values that it was given by back-fill
``wellwired_store_fills_refused_total``         fills that a write had overtaken
``wellwired_store_doubtful_keys``               keys of it that a write could not reach
``wellwired_store_layer_doubted``               1 if that holds for all of its keys
``wellwired_store_layer_failing``               1 if its last call raised
``wellwired_store_circuit_state``               as above, if it has a breaker
==============================================  ========================================

and each store ``wellwired_store_loads_total``, ``…_load_joins_total``, ``…_refreshes_total``,
``…_refreshes_left_out_total``, ``…_background_loads_failed_total``, ``…_changes_overtaken_total``,
``…_fills_dropped_total``, ``…_events_untold_total``, ``…_listener_errors_total`` and ``wellwired_store_fills_pending``.
prometheus_client's mode for several processes shows no such numbers.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from wellwired.errors import ErrorCode, MissingExtraError, RegistrationError
from wellwired.middleware._scraped import STATES, StoreCollector
from wellwired.middleware.batches import BatchEvent
from wellwired.middleware.events import WriteEvent
from wellwired.middleware.metrics import Watched
from wellwired.middleware.notices import CircuitChanged, EvictionFailed, LetterKept, LetterLost, Notice

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["BUCKETS", "PrometheusMetrics"]

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram's buckets, in seconds: from a local commit to a write that needed its whole time."""

_LABELS = ("writer", "target", "type", "code")


class _Families(NamedTuple):
    writes: Counter
    durations: Histogram
    retries: Counter
    evictions: Counter
    circuits: Gauge
    letters: Counter
    stores: StoreCollector


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
                self._made.circuits.labels(notice.target).set(STATES[notice.state])
            case LetterKept() | LetterLost():
                result = "kept" if isinstance(notice, LetterKept) else "lost"
                self._made.letters.labels(notice.code, notice.outcome, result).inc()

    def watch(self, store: Watched, /) -> None:
        """Shows what a layered store has counted, at each scrape from now on; does not keep it alive.

        Args:
            store: a `DelegatedStore`; takes the place of one of the same name.
        """
        self._made.stores.watch(store)

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
        StoreCollector(namespace),
    )
    done: list[Any] = []
    try:
        for family in families:
            registry.register(family)
            done.append(family)
    except ValueError as error:
        for family in done:
            registry.unregister(family)
        taken = f"the registry already has series named {namespace}_write… or {namespace}_store…"
        raise RegistrationError(f"{taken}; give another namespace or registry") from error
    return families
