"""The application's stores: what the environment says about their layers and loads is what they do."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry, generate_latest
from pydantic_settings import SettingsConfigDict

from wellwired import Application, DelegatedStore, Layer, MemoryStore, Settings, providers
from wellwired.errors import SettingsError
from wellwired.middleware import NoMetrics
from wellwired.middleware.breaker import BreakerPolicy
from wellwired.middleware.prometheus import PrometheusMetrics
from wellwired.settings import LoadSettings
from wellwired.stores import LoadPolicy

LAYERS = [
    {"name": "memory", "ttl": 60, "stale": 600},
    {
        "name": "redis.cache",
        "ttl": 3600,
        "stale": 600,
        "time_limit": 0.2,
        "soft_limit": 0.05,
        "callers": 4,
        "breaker": {"enabled": True, "calls": 7, "failures": 0.25, "window": 3, "pause": 2, "probes": 1},
    },
    {"name": "sql.main", "primary": True, "time_limit": 2, "stale": 900},
]


class Shop(Application):
    """An application that reads its settings from variables of its own."""

    class _Own(Settings):
        model_config = SettingsConfigDict(env_prefix="SHOP__")

    settings = providers.Singleton(_Own.load)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """Variables for a store with every option."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP__SQL__MAIN__URL", "sqlite:///shop.db")
    monkeypatch.setenv("SHOP__REDIS__CACHE__URL", "memory://")
    monkeypatch.setenv("SHOP__STORES__PRICES__LAYERS", json.dumps(LAYERS))
    monkeypatch.setenv("SHOP__STORES__PRICES__LOADS__ABSENT_TTL", "5")
    monkeypatch.setenv("SHOP__STORES__PRICES__LOADS__JITTER", "0.1")
    monkeypatch.setenv("SHOP__STORES__PRICES__LOADS__PATIENCE", "none")
    monkeypatch.setenv("SHOP__LOG__LEVEL", "CRITICAL")
    yield monkeypatch
    structlog.reset_defaults()


def test_the_environment_says_how_layers_keep_their_time() -> None:
    """Limits, stale lives and breakers of layers, and how values are loaded, come from the environment."""
    with Shop() as shop:
        store = shop.stores["prices"]()
        memory, cache, truth = store.layers
        assert (memory.stale, memory.time_limit, memory.breaker) == (600.0, None, None)
        assert (cache.time_limit, cache.soft_limit, cache.callers, cache.stale) == (0.2, 0.05, 4, 600.0)
        assert cache.breaker == BreakerPolicy(calls=7, failures=0.25, window=3, pause=2, probes=1)
        assert (truth.time_limit, truth.stale) == (2.0, 900.0)
        assert store._endpoint.loads._policy == LoadPolicy(absent_ttl=5.0, jitter=0.1)
        assert store._endpoint.loads.patience(None) is None


def test_every_option_of_loading_comes_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    """None of a policy's fields is left out, and each means what it says."""
    policy = LoadPolicy(2.5, 0.2, 3.0, 4.0, 20.0, 2, 9)
    names = [field.name for field in fields(LoadPolicy)]
    for name in names:
        environment.setenv(f"SHOP__STORES__PRICES__LOADS__{name.upper()}", str(getattr(policy, name)))
    environment.setenv("SHOP__STORES__PRICES__LOADS__PATIENCE", "1.5")
    with Shop() as shop:
        loads = shop.stores["prices"]()._endpoint.loads
        assert loads._policy == policy and loads.patience(None) == 1.5
        assert set(names) | {"patience"} == set(LoadSettings.model_fields)


def test_a_lease_from_the_environment_is_taken(environment: pytest.MonkeyPatch) -> None:
    """While a loader is at work, the shared layer says so for as long as the environment does."""
    environment.setenv("SHOP__STORES__PRICES__LOADS__LEASE", "20")
    with Shop() as shop:
        store, seen = shop.stores["prices"](), list[tuple[Any, int]]()
        client = shop.redis["cache"]()
        store.layers[2].store.create_table()  # type: ignore[attr-defined]

        def load(key: str) -> str:
            seen.extend((name, client.ttl(name)) for name in client.keys("prices!~*"))
            return key.upper()

        assert store.get_or_load("tea", load) == "TEA"
        assert store.get_or_load_many(["oolong"], lambda keys: {key: load(key) for key in keys}) == {"oolong": "OOLONG"}
        assert [name for name, _ in seen] == [b"prices!~tea", b"prices!~oolong"]
        assert all(15 < seconds <= 20 for _, seconds in seen) and client.keys("prices!~*") == []


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("JITTER", "1", "less than 1"),
        ("LEASE", "0", "more than 0"),
        ("WORKERS", "0", "1"),
        ("REFRESH_AHEAD", "-1", "0"),
    ],
)
def test_a_loading_option_that_means_nothing_is_a_fault_of_its_variable(
    environment: pytest.MonkeyPatch, option: str, value: str, complaint: str
) -> None:
    """It is found before anything connects."""
    name = f"SHOP__STORES__PRICES__LOADS__{option}"
    environment.setenv(name, value)
    with pytest.raises((SettingsError, ExceptionGroup)) as raised:
        Shop().start()
    text = "".join(str(error) for error in getattr(raised.value, "exceptions", [raised.value]))
    assert name in text and complaint in text.lower()


def test_a_test_puts_a_store_of_its_own_in_place() -> None:
    """What the environment says is replaced, options and all, and comes back afterwards."""
    fake = DelegatedStore[Any]([Layer(MemoryStore())], name="fake")
    with Shop() as shop:
        with shop.overriding({"stores.prices": fake}):
            assert shop.stores["prices"]() is fake
        assert len(shop.stores["prices"]().layers) == 3
    fake.close()


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        ({"name": "sql.main", "primary": True, "stale": -5}, "must be 0"),
        ({"name": "sql.main", "primary": True, "time_limit": 1, "soft_limit": 2}, "longer than time_limit"),
        ({"name": "sql.main", "primary": True, "time_limit": 0}, "must be more than 0"),
        ({"name": "sql.main", "primary": True, "breaker": {"failures": 2}}, "must be 1.0 or less"),
    ],
)
def test_what_cannot_be_meant_is_a_fault_of_its_variable(
    environment: pytest.MonkeyPatch, layer: dict[str, Any], complaint: str
) -> None:
    """A wrong option is found before anything connects, under the variable's name."""
    environment.setenv("SHOP__STORES__PRICES__LAYERS", json.dumps([layer]))
    with pytest.raises((SettingsError, ExceptionGroup)) as raised:
        Shop().start()
    text = "".join(str(error) for error in getattr(raised.value, "exceptions", [raised.value]))
    assert "SHOP__STORES__PRICES__LAYERS" in text and complaint in text.lower()


def counting(registry: CollectorRegistry) -> type[Shop]:
    """The application with metrics in a registry of the test's own."""

    class Counting(Shop):
        metrics = providers.Singleton(lambda: PrometheusMetrics(registry=registry))

    return Counting


def test_what_the_stores_of_an_application_count_is_scraped() -> None:
    """Without a line of the application's own, by the store's dotted name and the layer's."""
    registry = CollectorRegistry()
    with counting(registry)() as shop:
        assert shop.stores["prices"]().layers[2].store.create_table() is None  # type: ignore[attr-defined]
        shop.stores["prices"]().set("tea", 3)
        assert shop.stores["prices"]().get("tea") == 3
        labels = {"store": "stores.prices", "layer": "memory"}
        assert registry.get_sample_value("wellwired_store_hits_total", labels) == 1
        labels["layer"] = "redis.cache"
        assert registry.get_sample_value("wellwired_store_circuit_state", labels) == 0


def test_a_scrape_builds_no_store() -> None:
    """An application that is not started, or never asks for its store, has none to show."""
    registry = CollectorRegistry()
    shop = counting(registry)()
    shop.metrics()
    assert b"stores.prices" not in generate_latest(registry)
    assert not any(resource.initialized for resource in shop.traverse(types=[providers.Resource]))


def test_a_store_needs_no_metrics_that_watch() -> None:
    """Metrics of an application's own that only record writes, or none at all, are enough."""
    shop = Shop(metrics=NoMetrics())
    with shop:
        assert len(shop.stores["prices"]().layers) == 3


def test_metrics_that_stand_in_for_others_show_the_stores() -> None:
    """A test that overrides the metrics sees what the stores count from then on; afterwards the others do again."""
    registry, other = CollectorRegistry(), CollectorRegistry()
    series = "wellwired_store_loads_total", {"store": "stores.prices"}
    with counting(registry)() as shop:
        with shop.overriding({"metrics": PrometheusMetrics(registry=other)}):
            assert other.get_sample_value(*series) == 0
        assert registry.get_sample_value(*series) == 0
        assert generate_latest(registry).decode().count("wellwired_store_loads_total{") == 1
