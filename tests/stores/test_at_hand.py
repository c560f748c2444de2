"""What is at hand: a read that never waits, for who must not."""

from __future__ import annotations

from typing import Any

from wellwired.stores import DelegatedStore, Layer, MemoryStore
from wellwired.testing.clock import VirtualClock


def two_layers(clock: VirtualClock) -> tuple[DelegatedStore[Any], MemoryStore]:
    """A store of a memory layer above another, and that memory layer."""
    top = MemoryStore(clock=clock)
    return DelegatedStore([Layer(top), Layer(MemoryStore(clock=clock), primary=True)], clock=clock), top


def test_what_lies_in_memory_is_at_hand(virtual_clock: VirtualClock) -> None:
    """None included, as a copy of the caller's own, and until its life is over."""
    store, _ = two_layers(virtual_clock)
    store.set("none", None)
    store.set("list", [1], ttl=10)
    assert store.at_hand("none", "default") is None
    nothing: Any = None
    store.at_hand("list", nothing).append(2)
    assert store.at_hand("list", nothing) == [1]
    virtual_clock.advance(11)
    assert store.at_hand("list", "default") == "default" and store.at_hand("missing", 0) == 0


def test_what_only_a_lower_layer_has_is_not_at_hand(virtual_clock: VirtualClock) -> None:
    """Nobody is asked, and nothing is filled."""
    store, top = two_layers(virtual_clock)
    store.set("key", 1)
    top.delete("key")
    assert store.at_hand("key", "default") == "default"
    assert top.get("key") is None and store.stats().layers[1].hits == 0
    assert store.get("key") == 1 and store.at_hand("key", "default") == 1


def test_it_counts_as_a_hit(virtual_clock: VirtualClock) -> None:
    """Of its layer, as a `get` does."""
    store, _ = two_layers(virtual_clock)
    store.set("key", 1)
    before = store.stats().layers[0].hits
    store.at_hand("key", 0)
    assert store.stats().layers[0].hits == before + 1


def test_nothing_is_at_hand_behind_middleware(virtual_clock: VirtualClock) -> None:
    """Which sees every read; nor after the end."""

    def seen(following: Any) -> Any:
        return following

    store, _ = two_layers(virtual_clock)
    store.set("key", 1)
    store.use(seen)
    assert store.at_hand("key", "default") == "default"
    other, _ = two_layers(virtual_clock)
    other.set("key", 1)
    other.close()
    assert other.at_hand("key", "default") == "default"
