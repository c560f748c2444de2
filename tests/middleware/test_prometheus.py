"""Tests of the metrics for Prometheus."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest

from wellwired.errors import MissingExtraError, RegistrationError
from wellwired.middleware import (
    CircuitChanged,
    EvictionFailed,
    LetterKept,
    LetterLost,
    Metrics,
    Noticing,
    WriteEvent,
)
from wellwired.middleware.prometheus import PrometheusMetrics


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own."""
    return CollectorRegistry()


def event(**fields: Any) -> WriteEvent:
    """The event of a success, unless said otherwise."""
    plain: dict[str, Any] = {
        "writer": "sql.main",
        "target": "sql.main",
        "type": "profile",
        "code": "OK",
        "outcome": "APPLIED",
        "attempts": 1,
        "duration": 0.02,
        "replayed": False,
        "reason": "",
        "backend_code": None,
        "meta": {"trace_id": "abc"},
    }
    return WriteEvent(**{**plain, **fields})


COMMON = {"writer": "sql.main", "target": "sql.main", "type": "profile", "code": "OK"}


def test_writes_are_counted_by_names_code_and_outcome(registry: CollectorRegistry) -> None:
    """Each combination on its own."""
    metrics = PrometheusMetrics(registry=registry)
    for _ in range(3):
        metrics.record(event())
    metrics.record(event(code="BACKEND", outcome="UNKNOWN"))
    sample = registry.get_sample_value
    assert sample("wellwired_writes_total", {**COMMON, "outcome": "APPLIED"}) == 3
    assert sample("wellwired_writes_total", {**COMMON, "code": "BACKEND", "outcome": "UNKNOWN"}) == 1


def test_durations_fall_into_buckets(registry: CollectorRegistry) -> None:
    """In seconds; the bounds can be chosen."""
    metrics = PrometheusMetrics(registry=registry, buckets=(0.01, 0.1))
    metrics.record(event(duration=0.02))
    metrics.record(event(duration=5.0))
    name = "wellwired_write_duration_seconds"
    assert registry.get_sample_value(f"{name}_bucket", {**COMMON, "le": "0.01"}) == 0
    assert registry.get_sample_value(f"{name}_bucket", {**COMMON, "le": "0.1"}) == 1
    assert registry.get_sample_value(f"{name}_count", COMMON) == 2
    assert registry.get_sample_value(f"{name}_sum", COMMON) == pytest.approx(5.02)


def test_attempts_beyond_the_first_are_counted(registry: CollectorRegistry) -> None:
    """A write that took three is two retries."""
    metrics = PrometheusMetrics(registry=registry)
    metrics.record(event(attempts=3))
    metrics.record(event(attempts=1))
    metrics.record(event(attempts=0))
    assert registry.get_sample_value("wellwired_write_retries_total", COMMON) == 2


def test_a_name_that_nobody_registered_is_no_label(registry: CollectorRegistry) -> None:
    """A caller who invents targets or types cannot make series."""
    metrics = PrometheusMetrics(registry=registry)
    for number in range(50):
        metrics.record(event(writer="", target=f"made-up-{number}", code="WRITER_NOT_FOUND", outcome="NOT_APPLIED"))
        metrics.record(event(type=f"invented-{number}", code="TYPE_NOT_SUPPORTED", outcome="NOT_APPLIED"))
    text = generate_latest(registry).decode()
    assert "made-up" not in text
    assert "invented" not in text
    unknown = {"writer": "unknown", "target": "unknown", "type": "unknown"}
    labels = {**unknown, "code": "WRITER_NOT_FOUND", "outcome": "NOT_APPLIED"}
    assert registry.get_sample_value("wellwired_writes_total", labels) == 50
    labels = {**COMMON, "type": "unknown", "code": "TYPE_NOT_SUPPORTED", "outcome": "NOT_APPLIED"}
    assert registry.get_sample_value("wellwired_writes_total", labels) == 50


def test_series_cannot_grow_without_end(registry: CollectorRegistry) -> None:
    """A writer may support targets that it makes up as it goes: beyond the limit they share one."""
    metrics = PrometheusMetrics(registry=registry, limit=3)
    for number in range(10):
        metrics.record(event(target=f"tenant.{number}"))
    labels = {**COMMON, "target": "other", "type": "other", "outcome": "APPLIED"}
    assert registry.get_sample_value("wellwired_writes_total", labels) == 7
    assert generate_latest(registry).decode().count("wellwired_writes_total{") == 4


def test_nothing_but_labels_and_numbers_is_shown(registry: CollectorRegistry) -> None:
    """Neither meta nor reasons."""
    PrometheusMetrics(registry=registry).record(event(meta={"token": "hunter2"}, reason="hunter2"))
    assert "hunter2" not in generate_latest(registry).decode()


def test_two_on_one_registry_share_their_series(registry: CollectorRegistry) -> None:
    """An application may build its manager again; nothing is counted twice or lost."""
    PrometheusMetrics(registry=registry).record(event())
    PrometheusMetrics(registry=registry).record(event())
    assert registry.get_sample_value("wellwired_writes_total", {**COMMON, "outcome": "APPLIED"}) == 2


def test_namespaces_are_apart(registry: CollectorRegistry) -> None:
    """Two applications in one process, for example."""
    PrometheusMetrics(registry=registry).record(event())
    PrometheusMetrics(registry=registry, namespace="shop").record(event())
    assert registry.get_sample_value("shop_writes_total", {**COMMON, "outcome": "APPLIED"}) == 1


def test_foreign_series_of_the_same_name_are_not_touched(registry: CollectorRegistry) -> None:
    """The error says what to do, and nothing of ours is left behind."""
    foreign = Counter("shop_write_retries", "Not ours.", registry=registry)
    with pytest.raises(RegistrationError, match="namespace or registry"):
        PrometheusMetrics(registry=registry, namespace="shop")
    registry.unregister(foreign)
    assert generate_latest(registry) == b""
    PrometheusMetrics(registry=registry, namespace="shop").record(event())


def test_a_registry_is_not_kept_alive() -> None:
    """That its series are remembered does not make it immortal."""
    registry = CollectorRegistry()
    PrometheusMetrics(registry=registry).record(event())
    gone = weakref.ref(registry)
    del registry
    gc.collect()
    assert gone() is None


def test_racing_threads_lose_no_count(registry: CollectorRegistry) -> None:
    """Making the metrics and looking up series included."""
    start = threading.Barrier(8)

    def count() -> None:
        start.wait()
        metrics = PrometheusMetrics(registry=registry)
        for number in range(200):
            metrics.record(event(type=f"type {number % 5}"))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(5):
        labels = {**COMMON, "type": f"type {number}", "outcome": "APPLIED"}
        assert registry.get_sample_value("wellwired_writes_total", labels) == 320


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that brings it."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError) as caught:
        PrometheusMetrics()
    assert caught.value.extra == "prometheus"
    assert "pip install 'wellwired[prometheus]'" in str(caught.value)


def test_it_is_a_metrics_backend(registry: CollectorRegistry) -> None:
    """As the protocol wants it."""
    assert isinstance(PrometheusMetrics(registry=registry), Metrics)


def test_notices_are_counted(registry: CollectorRegistry) -> None:
    """Evictions that failed by their store, circuits by their state, letters by what became of them."""
    metrics = PrometheusMetrics(registry=registry)
    assert isinstance(metrics, Noticing)
    metrics.notice(EvictionFailed("stores.users", 3, "OSError"))
    metrics.notice(CircuitChanged("sql.main", "closed", "open", 9, 10, 5.0))
    metrics.notice(LetterKept("id", "sql.main", "put", "BACKEND", "UNKNOWN"))
    metrics.notice(LetterLost("sql.main", "put", "BACKEND", "UNKNOWN", "OSError"))
    sample = registry.get_sample_value
    assert sample("wellwired_evictions_failed_total", {"store": "stores.users"}) == 1
    assert sample("wellwired_circuit_state", {"target": "sql.main"}) == 2
    for result in ("kept", "lost"):
        labels = {"code": "BACKEND", "outcome": "UNKNOWN", "result": result}
        assert sample("wellwired_dead_letters_total", labels) == 1
    metrics.notice(CircuitChanged("sql.main", "open", "half-open", 0, 0, 0.0))
    assert sample("wellwired_circuit_state", {"target": "sql.main"}) == 1
