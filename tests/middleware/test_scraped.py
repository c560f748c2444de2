"""What stores have counted, as a scrape of a real registry shows it."""

from __future__ import annotations

import dataclasses
import gc
import sys
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from tests.stores.fakes import FakeStore
from wellwired.errors import LayerError, RegistrationError
from wellwired.middleware import BreakerPolicy, Watching
from wellwired.middleware._scraped import OF_LAYERS, OF_STORES
from wellwired.middleware.prometheus import PrometheusMetrics
from wellwired.stores import DelegatedStore, Layer, LayerStats, MemoryStore, StoreStats


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own, which asks a collector for its names."""
    return CollectorRegistry(auto_describe=True)


@pytest.fixture
def metrics(registry: CollectorRegistry) -> PrometheusMetrics:
    """Metrics in it."""
    return PrometheusMetrics(registry=registry)


def watched(metrics: PrometheusMetrics, name: str = "stores.users", *layers: Any) -> DelegatedStore[Any]:
    """A store of two layers, unless told otherwise, that the metrics watch."""
    usual = MemoryStore(), Layer(FakeStore(), name="truth", primary=True)
    store = DelegatedStore[Any](layers or usual, name=name)
    metrics.watch(store)
    return store


def of(layer: str, store: str = "stores.users") -> dict[str, str]:
    """The labels of a layer."""
    return {"store": store, "layer": layer}


def test_a_scrape_shows_what_each_layer_has_counted(registry: CollectorRegistry, metrics: PrometheusMetrics) -> None:
    """Hits, misses, fills and failures of this moment, by store and layer, each time anew."""
    store = watched(metrics)
    top = store.layers[0].name
    truth: Any = store.layers[1].store
    truth.data["a"] = ("v", None)
    sample = registry.get_sample_value
    assert sample("wellwired_store_hits_total", of(top)) == 0
    for _ in range(4):
        assert store.get("a") == "v"
    assert sample("wellwired_store_hits_total", of(top)) == 3
    assert sample("wellwired_store_misses_total", of(top)) == 1
    assert sample("wellwired_store_hits_total", of("truth")) == 1
    assert sample("wellwired_store_fills_total", of(top)) == 1
    truth.fail.add("get")
    with pytest.raises(LayerError):
        store.get("b")
    assert sample("wellwired_store_failures_total", of("truth")) == 1
    assert sample("wellwired_store_layer_failing", of("truth")) == 1
    assert sample("wellwired_store_layer_failing", of(top)) == 0
    store.close()


def test_a_scrape_shows_what_the_store_has_counted(registry: CollectorRegistry, metrics: PrometheusMetrics) -> None:
    """Loads and what waits are counted for the store as a whole."""
    store = watched(metrics)
    store.get_or_load("a", lambda _: 1)
    labels = {"store": "stores.users"}
    assert registry.get_sample_value("wellwired_store_loads_total", labels) == 1
    assert registry.get_sample_value("wellwired_store_fills_pending", labels) == 0
    assert registry.get_sample_value("wellwired_store_listener_errors_total", labels) == 0
    store.close()


def test_circuits_are_shown_where_there_are_any(registry: CollectorRegistry, metrics: PrometheusMetrics) -> None:
    """A layer with a breaker has a state as a number, and one without has no such series."""
    broken = FakeStore()
    broken.fail.add("get")
    policy = BreakerPolicy(calls=1, failures=0.5)
    store = watched(metrics, "s", MemoryStore(), Layer(broken, name="truth", primary=True, breaker=policy))
    sample = registry.get_sample_value
    assert sample("wellwired_store_circuit_state", of("truth", "s")) == 0
    for _ in range(20):
        with pytest.raises(LayerError):
            store.get("a")
    assert sample("wellwired_store_circuit_state", of("truth", "s")) == 2
    assert (sample("wellwired_store_skipped_total", of("truth", "s")) or 0) > 0
    assert sample("wellwired_store_circuit_state", of(store.layers[0].name, "s")) is None
    store.close()


def test_a_hit_calls_nothing(metrics: PrometheusMetrics) -> None:
    """A read from memory calls the same functions whether or not metrics watch the store: none of theirs."""

    def calls(store: DelegatedStore[Any]) -> list[str]:
        store.set("a", "v")
        seen: list[str] = []

        def note(frame: Any, event: str, argument: Any) -> None:
            if event == "call":
                seen.append(frame.f_code.co_qualname)
            elif event == "c_call":
                seen.append(argument.__name__)

        sys.setprofile(note)
        try:
            store.get("a")
        finally:
            sys.setprofile(None)
        return [name for name in seen if name != "setprofile"]

    plain = DelegatedStore[Any]([MemoryStore()])
    store = watched(metrics, "s", MemoryStore())
    assert calls(store) == calls(plain)
    assert "DelegatedStore.get" in calls(store) and len(calls(store)) <= 2
    plain.close()
    store.close()


def test_a_store_that_is_gone_is_not_shown(registry: CollectorRegistry, metrics: PrometheusMetrics) -> None:
    """Being watched keeps nothing alive."""
    store = watched(metrics)
    assert b"stores.users" in generate_latest(registry)
    store.close()
    del store
    gc.collect()
    assert b"stores.users" not in generate_latest(registry)


def test_of_two_stores_of_one_name_the_later_is_shown(registry: CollectorRegistry, metrics: PrometheusMetrics) -> None:
    """A scrape never has two numbers for one set of labels."""
    first, second = watched(metrics), watched(metrics)
    first.get_or_load("a", lambda _: 1)
    shown = generate_latest(registry).decode()
    assert shown.count('wellwired_store_loads_total{store="stores.users"}') == 1
    assert registry.get_sample_value("wellwired_store_loads_total", {"store": "stores.users"}) == 0
    first.close()
    second.close()


def test_metrics_that_share_a_registry_show_each_store_once(registry: CollectorRegistry) -> None:
    """Whichever of them watches it."""
    stores = [watched(PrometheusMetrics(registry=registry), name) for name in ("s", "t")]
    shown = generate_latest(registry).decode()
    assert [shown.count(f'wellwired_store_loads_total{{store="{store.name}"}}') for store in stores] == [1, 1]
    for store in stores:
        store.close()


def test_a_name_that_is_taken_is_refused(registry: CollectorRegistry) -> None:
    """A registry with such series of somebody else's is left as it was."""
    Gauge("wellwired_store_fills_pending", "Not ours.", registry=registry)
    with pytest.raises(RegistrationError, match="give another namespace or registry"):
        PrometheusMetrics(registry=registry)
    assert b"wellwired_writes" not in generate_latest(registry)
    assert isinstance(PrometheusMetrics(registry=registry, namespace="other"), Watching)


@pytest.mark.parametrize(
    ("kind", "series", "names"),
    [(LayerStats, OF_LAYERS, {"layer", "index", "is_primary", "fenced"}), (StoreStats, OF_STORES, {"store", "layers"})],
)
def test_everything_that_is_counted_is_shown(kind: Any, series: Any, names: set[str]) -> None:
    """Each field of the statistics has a series, apart from those that only describe."""
    assert {one.attribute for one in series} | names == {field.name for field in dataclasses.fields(kind)}
