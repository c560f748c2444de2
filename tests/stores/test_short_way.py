"""The short way of a read that has missed memory: the same answers, fills, refusals and counts as the long one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.stores.fakes import BrokenError, FakeStore, FencedFake
from wellwired.errors import LayerError, NotFound
from wellwired.stores import DelegatedStore, Entry, Hit, Layer, LoadPolicy, MemoryStore
from wellwired.stores._short_way import _ShortWay
from wellwired.testing.clock import VirtualClock

Ways = tuple[DelegatedStore[Any], DelegatedStore[Any]]


def is_short(store: DelegatedStore[Any]) -> bool:
    """Whether its reads go the short way."""
    return isinstance(getattr(store._find, "__self__", None), _ShortWay)


@pytest.fixture(params=["short", "long"])
def make(request: pytest.FixtureRequest, virtual_clock: VirtualClock) -> Callable[..., DelegatedStore[Any]]:
    """Makes a store over a memory whose reads go the way that is wanted; all else is the same."""

    def make(*lower: Any, cap: float | None = 60.0) -> DelegatedStore[Any]:
        memory = Layer(MemoryStore(clock=virtual_clock), ttl=cap)
        store = DelegatedStore[Any]([memory, *lower], clock=virtual_clock)
        assert is_short(store)
        if request.param == "long":
            store._find = lambda key: store._endpoint.reads.walk(key).entry
        return store

    return make


def counts(store: DelegatedStore[Any]) -> list[tuple[int, ...]]:
    """What was counted for each layer."""
    return [(one.hits, one.misses, one.fills, one.refused, one.failures) for one in store.stats().layers]


def test_what_is_found_below_is_given_and_kept(make: Any, virtual_clock: VirtualClock) -> None:
    """For no longer than it has left there, nor than the cap of memory; each caller has a value of their own."""
    lower = FencedFake(virtual_clock)
    store = make(lower)
    for key, life, left in (("a", 10.0, 10.0), ("b", 500.0, 60.0), ("c", None, 60.0)):
        lower.set(key, {"n": [1]}, life)
        value = store.get(key)
        value["n"].append(2)
        assert store.get(key) == {"n": [1]} and store.lookup(key) == Hit({"n": [1]}, "memory", 0, left)
    assert counts(store) == [(6, 3, 3, 0, 0), (3, 0, 0, 0, 0)]
    assert store.layers[0].store.stats().misses == 3


def test_the_time_that_a_read_takes_is_taken_off(make: Any, virtual_clock: VirtualClock) -> None:
    """A life counts from before the layer was asked; one that has ended on the way fills nothing."""
    lower = FencedFake(virtual_clock)
    store = make(lower, cap=None)
    lower.set("a", 1, 10.0)
    lower.after["get"] = lambda: virtual_clock.advance(4.0)
    assert store.get("a") == 1 and store.lookup("a") == Hit(1, "memory", 0, 6.0)
    lower.after["get"] = lambda: virtual_clock.advance(20.0)
    lower.set("b", 1, 10.0)
    assert store.get("b") == 1 and not store.layers[0].store.has("b")
    assert counts(store)[0] == (1, 2, 1, 1, 0)


@pytest.mark.parametrize("how", ["set", "delete", "evict", "beneath", "begun"])
def test_a_write_that_comes_meanwhile_wins(make: Any, how: str, virtual_clock: VirtualClock) -> None:
    """Whatever was read before it is answered, and kept nowhere."""
    lower = FencedFake(virtual_clock)
    store = make(lower)
    lower.set("a", "old")
    writes: dict[str, Callable[[], Any]] = {
        "set": lambda: store.set("a", "new"),
        "delete": lambda: store.delete("a"),
        "evict": lambda: store.evict(["a"]),
        "beneath": lambda: store.layers[0].store.delete("a"),
        "begun": lambda: store._stack.fence.writing(["a"]).__enter__(),
    }

    def write() -> None:
        lower.after.clear()
        writes[how]()

    lower.after["get"] = write
    assert store.get("a") == "old"
    assert store.layers[0].store.has("a") is (how == "set")
    assert counts(store)[0][3] == 1
    assert store.get("a", None) == {"set": "new", "delete": None}.get(how, "old")


def test_what_is_not_there_is_looked_for_further_down(make: Any, virtual_clock: VirtualClock) -> None:
    """And what is found there fills both layers above."""
    middle, truth = FencedFake(virtual_clock), FakeStore(virtual_clock)
    store = make(middle, Layer(truth, primary=True))
    truth.data["a"] = (1, None)
    assert store.get("a") == 1
    store.flush(10)
    assert middle.data["a"][0] == 1 and store.layers[0].store.has("a")
    with pytest.raises(NotFound):
        store.get("b")
    assert store.get("b", 7) == 7
    assert counts(store) == [(0, 3, 1, 0, 0), (0, 3, 1, 0, 0), (1, 2, 0, 0, 0)]


def test_a_layer_that_fails_is_passed_or_told(make: Any, virtual_clock: VirtualClock) -> None:
    """Where there is a layer below it answers; where there is none the error says which layer failed."""
    middle, truth = FencedFake(virtual_clock), FakeStore(virtual_clock)
    store = make(middle, Layer(truth, primary=True))
    middle.fail.add("get")
    truth.data["a"] = (1, None)
    for _ in range(2):
        assert store.get("a") == 1
        store.flush(10)
        store.layers[0].store.delete("a")
    assert store.stats().layers[1].failing and store.stats().layers[1].failures == 2
    middle.fail.clear()
    assert store.get("a") == 1 and not store.stats().layers[1].failing
    alone = make(middle)
    middle.fail.add("get")
    with pytest.raises(LayerError) as raised:
        alone.get("a")
    assert isinstance(raised.value.__cause__, BrokenError) and raised.value.__cause__.__traceback__ is not None


def test_what_cannot_be_copied_fails_as_it_does_on_the_long_way(make: Any, virtual_clock: VirtualClock) -> None:
    """The value is given all the same, and memory does not have it."""

    class Stubborn:
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("no copies")

    lower, value = FencedFake(virtual_clock), Stubborn()
    lower.data["a"] = (value, None)
    store = make(lower)
    assert store.get("a") is value and not store.layers[0].store.has("a")
    assert counts(store)[0] == (0, 1, 0, 0, 1)


def test_what_bears_tags_keeps_them(make: Any) -> None:
    """A value with tags is filled with them."""
    lower = MemoryStore()
    lower.set_many({"a": Entry(1, None, 0.0, ("t",))})
    store = make(lower)
    assert store.get("a") == 1
    store.invalidate_tags(["t"])
    assert store.get("a", None) is None


def test_a_key_in_doubt_is_settled_first(make: Any, virtual_clock: VirtualClock) -> None:
    """A value that a write could not reach is not read the short way either."""
    lower, truth = FencedFake(virtual_clock), FakeStore(virtual_clock)
    store = make(lower, Layer(truth, primary=True))
    store.set("a", "old")
    lower.fail.update(("set", "delete"))
    store.set("a", "new")
    lower.fail.clear()
    store.layers[0].store.delete("a")
    assert store.get("a") == "new"


def test_who_listens_is_told(make: Any, virtual_clock: VirtualClock) -> None:
    """Back-fills are told of whichever way a read went."""
    lower = FencedFake(virtual_clock)
    lower.data["a"] = (1, None)
    store, told = make(lower), list[str]()
    store.on_back_fill(lambda fill: told.append(fill.key))
    assert store.get("a") == 1
    store.flush(10)
    assert told == ["a"]


@pytest.mark.parametrize(
    ("layers", "loads"),
    [
        (lambda: [MemoryStore()], LoadPolicy()),
        (lambda: [MemoryStore(), FakeStore()], LoadPolicy()),
        (lambda: [FencedFake(), FencedFake()], LoadPolicy()),
        (lambda: [MemoryStore(), FencedFake()], LoadPolicy(absent_ttl=5.0)),
        (lambda: [MemoryStore(), Layer(FencedFake(), time_limit=1.0)], LoadPolicy()),
        (lambda: [MemoryStore(), Layer(FencedFake(), soft_limit=1.0)], LoadPolicy()),
        (lambda: [Layer(MemoryStore(), stale=5.0), FencedFake()], LoadPolicy()),
    ],
)
def test_what_needs_the_long_way_takes_it(layers: Callable[[], Any], loads: LoadPolicy) -> None:
    """Limits, stale lives, remembered absences, and layers that are not fenced."""
    assert not is_short(DelegatedStore[Any](layers(), loads=loads))
