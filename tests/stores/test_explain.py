"""What a store says about a key and about its own health: true, and without changing anything."""

from __future__ import annotations

import threading
from typing import Any

from tests.stores.fakes import FakeStore, Gate
from wellwired.middleware.breaker import BreakerPolicy
from wellwired.stores import DelegatedStore, KeyState, Layer, LayerHealth, MemoryStore, StoreState, ValueDamaged
from wellwired.stores.damage import DamageLog, Reason
from wellwired.testing.clock import VirtualClock


def stack(clock: VirtualClock) -> tuple[DelegatedStore[Any], MemoryStore, FakeStore, FakeStore]:
    """Memory that keeps stale values, a plain copy, and the truth."""
    memory, copy, truth = MemoryStore(clock=clock), FakeStore(clock), FakeStore(clock)
    layers = [
        Layer(memory, ttl=10.0, stale=50.0),
        Layer(copy, ttl=100.0, name="copy"),
        Layer(truth, name="truth", breaker=BreakerPolicy(calls=3, pause=5.0)),
    ]
    return DelegatedStore[Any](layers, clock=clock, name="users"), memory, copy, truth


def states(store: DelegatedStore[Any], key: str = "a") -> list[str]:
    """What each layer has."""
    return [str(view.state) for view in store.explain(key).layers]


def test_it_says_where_a_key_is_and_what_a_read_would_do(virtual_clock: VirtualClock) -> None:
    """Layer by layer, with lives and versions, for people as well."""
    store, memory, _, truth = stack(virtual_clock)
    assert store.explain("a").verdict == "finds nothing" and states(store) == ["nothing"] * 3
    store.set("a", 1)
    memory.delete("a")
    before = len(truth.calls)
    told = store.explain("a")
    assert told.verdict == "finds it in copy and fills memory"
    assert [(view.layer, view.is_primary, view.left) for view in told.layers] == [
        ("memory", False, None), ("copy", False, 100.0), ("truth", True, None)
    ]  # fmt: skip
    assert told.layers[0].version and not told.layers[1].version
    assert str(told).splitlines()[0].startswith("a in users: get finds it in copy and fills memory (generation ")
    assert "  copy: fresh for 100.000 s" in str(told).splitlines() and "  truth!: fresh for ever" in str(told)
    assert not memory.has("a") and truth.calls[before:] == [("get", "a")]
    store.close()


def test_it_shows_what_is_stale_doubtful_failing_or_left_alone(virtual_clock: VirtualClock) -> None:
    """Each of them is a state of its own, and the verdict is what a read then really does."""
    store, _, copy, truth = stack(virtual_clock)
    store.set("a", 1)
    copy.fail.add("delete")
    store.evict(["a"])
    copy.fail.clear()
    assert states(store) == ["nothing", "doubtful", "fresh"]
    store.get("a")
    store.flush(10)
    virtual_clock.advance(10.0)
    copy.data.clear()
    truth.fail.add("get")
    told = store.explain("a")
    assert [view.state for view in told.layers] == [KeyState.STALE, KeyState.NOTHING, KeyState.FAILED]
    assert told.verdict == "serves what memory keeps stale, for truth does not answer" and store.get("a") == 1
    assert "(BrokenError)" in str(told.layers[2])
    for _ in range(3):
        store.lookup("b")
    assert states(store, "b") == ["nothing", "nothing", "left alone"]
    assert store.explain("b").verdict == "fails, for truth does not answer"
    truth.fail.clear()
    store.close()


def test_it_shows_what_is_under_way(virtual_clock: VirtualClock) -> None:
    """A write or a load of the key that has begun and not ended."""
    store, _, _, truth = stack(virtual_clock)
    gate = truth.before["set"] = Gate()
    writer = threading.Thread(target=store.set, args=("a", 1))
    writer.start()
    assert gate.reached.wait(10)
    assert store.explain("a").writing and "under way: a write" in str(store.explain("a"))
    truth.before.clear()
    gate.open()
    writer.join(10)
    loading = Gate()
    loader = threading.Thread(target=store.get_or_load, args=("b", lambda _: loading()))
    loader.start()
    assert loading.reached.wait(10)
    assert store.explain("b").loading and "under way: a load" in str(store.explain("b"))
    loading.open()
    loader.join(10)
    assert not store.explain("a").writing and not store.explain("b").loading
    store.close()


def test_health_is_a_value(virtual_clock: VirtualClock) -> None:
    """Ready, degraded, stale-only or down, with the reason for each layer, and nobody is asked for it."""
    store, _, copy, truth = stack(virtual_clock)
    store.set("a", 1)
    assert store.health().state is StoreState.READY and store.health().ok
    copy.fail.add("get")
    store.get("b", None)
    calls = len(copy.calls)
    health = store.health()
    assert health.state is StoreState.DEGRADED and health.ok and len(copy.calls) == calls
    assert health.layers[1] == LayerHealth("copy", is_primary=False, works=False, reason="BrokenError")
    truth.fail.add("get")
    for _ in range(3):
        store.lookup("b")
    assert store.health().state is StoreState.STALE_ONLY and not store.health().ok
    assert store.health().to_dict() == {
        "state": "stale-only",
        "layers": {
            "memory": {"works": True, "reason": ""},
            "copy": {"works": False, "reason": "BrokenError"},
            "truth": {"works": False, "reason": "its breaker is open"},
        },
    }
    lone = DelegatedStore[Any]([truth])
    lone.lookup("a")
    assert lone.health().state is StoreState.DOWN
    truth.fail.clear()
    copy.fail.clear()
    lone.get("a")
    assert lone.health().state is StoreState.READY
    store.close()


class Damaged(FakeStore):
    """A store that finds a damaged value under every key."""

    def __init__(self) -> None:
        super().__init__()
        self.damage = DamageLog("n")
        self.before["get"] = lambda: self.damage.note("a", Reason.CHECKSUM)


def test_damage_in_a_layer_is_an_event_of_the_store() -> None:
    """Who listens to a store hears of values that a layer could not read, and a store that is gone hears nothing."""
    damaged = Damaged()
    gone = DelegatedStore[Any]([damaged, FakeStore()])
    del gone
    store = DelegatedStore[Any]([Layer(damaged, name="redis.cache"), FakeStore()], name="users")
    told: list[Any] = []
    assert store.get("a", None) is None
    store.on_event(told.append)
    assert store.get("a", None) is None
    store.flush(10)
    assert told == [ValueDamaged("a", 0, "redis.cache", "checksum", "users")]
    store.close()
