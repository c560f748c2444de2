"""The memory store: the contract of a layer, bounds, eviction, isolation and threads."""

from __future__ import annotations

import bisect
import gc
import itertools
import os
import random
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores.fakes import in_threads
from tests.stores.layer_contract import LayerContract, PassTime
from wellwired.stores.memory import MemoryStore
from wellwired.stores.protocols import Atomic, Entry, Fenced, FencedMany, KeepsStale, Many, Ordered, Tagged
from wellwired.testing.clock import VirtualClock


class TestContract(LayerContract):
    """The memory store keeps the contract of a layer."""

    abilities = (Many, Fenced, FencedMany, Ordered, Atomic, KeepsStale, Tagged)

    @pytest.fixture
    def store(self, virtual_clock: VirtualClock) -> MemoryStore:
        """A memory store on a virtual clock."""
        return MemoryStore(clock=virtual_clock)

    @pytest.fixture
    def pass_time(self, virtual_clock: VirtualClock) -> PassTime:
        """Moves the virtual clock."""
        return virtual_clock.advance


class TestTinyContract(LayerContract):
    """So does one that is bounded by bytes, with room for the contract's entries."""

    @pytest.fixture
    def store(self, virtual_clock: VirtualClock) -> MemoryStore:
        """A memory store bounded by bytes."""
        return MemoryStore(max_entries=None, max_bytes=200_000, clock=virtual_clock)

    @pytest.fixture
    def pass_time(self, virtual_clock: VirtualClock) -> PassTime:
        """Moves the virtual clock."""
        return virtual_clock.advance


# --- bounds


@pytest.mark.parametrize("bounds", [{"max_entries": 0}, {"max_entries": -1}, {"max_bytes": 0}])
def test_impossible_bounds_are_refused(bounds: dict[str, int]) -> None:
    """A bound below one is an error at construction, not a store that keeps nothing."""
    with pytest.raises(ValueError, match=r"must be at least 1, or None"):
        MemoryStore(**bounds)  # type: ignore[arg-type]


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 100])
def test_it_never_keeps_more_entries_than_told(bound: int) -> None:
    """The bound holds at every moment, and the newest entry is always there."""
    store = MemoryStore(max_entries=bound)
    for number in range(500):
        store.set(f"k{number}", number)
        assert len(store) <= bound
        assert store.get(f"k{number}") == Entry(number, None)
    assert store.stats().evictions == 500 - bound


def test_it_never_keeps_more_bytes_than_told() -> None:
    """The bound on bytes holds when entries come, grow and shrink; one that is larger alone is not kept."""
    store = MemoryStore(max_entries=None, max_bytes=20_000)
    for number in range(200):
        store.set(f"k{number % 30}", "x" * (number * 37 % 4000))
        kept = store.stats().bytes
        assert kept is not None and 0 < kept <= 20_000
    store.set("k0", "small")
    store.set("k0", "x" * 30_000)
    assert store.get("k0") is None
    store.clear()
    assert store.stats().bytes == 0


def test_unbounded_stores_free_what_has_ended(virtual_clock: VirtualClock) -> None:
    """Without a bound, entries whose time has passed do not pile up, though nobody asks for them."""
    store = MemoryStore(max_entries=None, clock=virtual_clock)
    for number in range(20_000):
        store.set(f"k{number}", number, 1.0)
        virtual_clock.advance(0.01)
    assert len(store) < 3_000


def test_purge_frees_what_has_ended(virtual_clock: VirtualClock) -> None:
    """A purge removes exactly the entries whose time has passed."""
    store = MemoryStore(clock=virtual_clock)
    store.set_many({"a": Entry(1, 5.0), "b": Entry(2, 50.0), "c": Entry(3)})
    virtual_clock.advance(6.0)
    assert len(store) == 3 and store.purge() == 1 and sorted(store.keys()) == ["b", "c"]


def test_entries_that_have_ended_go_first(virtual_clock: VirtualClock) -> None:
    """An entry whose time has passed is given up although it was much used."""
    store = MemoryStore(max_entries=2, clock=virtual_clock)
    store.set("old", 1, 1.0)
    for _ in range(5):
        store.get("old")
    store.set("young", 2)
    virtual_clock.advance(2.0)
    store.set("new", 3)
    assert sorted(store.keys()) == ["new", "young"]


def test_a_ttl_of_zero_leaves_nothing(virtual_clock: VirtualClock) -> None:
    """A value without any life is not kept, and takes away the one before it."""
    store = MemoryStore(clock=virtual_clock)
    store.set("a", 1)
    store.set("a", 2, 0.0)
    assert store.get("a") is None and len(store) == 0


def test_removed_entries_do_not_pile_up_in_the_queues() -> None:
    """Setting and deleting for ever takes no more memory than the entries that are there."""
    store = MemoryStore(max_entries=100)
    for number in range(5_000):
        store.set(f"k{number}", number)
        store.delete(f"k{number}")
    queues = store._queues
    assert len(queues._small) + len(queues._main) < 200


def test_what_is_given_up_is_freed_at_once() -> None:
    """An evicted or deleted value is not kept alive by the store's own bookkeeping."""

    class Thing:
        pass

    store = MemoryStore(max_entries=4, share=True)
    things = [Thing() for _ in range(20)]
    refs = [weakref.ref(thing) for thing in things]
    gc.disable()
    try:
        for number in range(20):
            store.set(f"k{number}", things.pop(0))
        assert sum(ref() is not None for ref in refs) == 4
        store.clear()
        assert sum(ref() is not None for ref in refs) == 0
    finally:
        gc.enable()


# --- eviction


def _zipf(keys: int, exponent: float, count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    weights = list(itertools.accumulate(1 / rank**exponent for rank in range(1, keys + 1)))
    return [f"k{bisect.bisect_left(weights, rng.random() * weights[-1])}" for _ in range(count)]


def _hit_ratio(store: MemoryStore, trace: Sequence[str]) -> float:
    hits = 0
    for key in trace:
        if store.get(key) is None:
            store.set(key, key)
        else:
            hits += 1
    return hits / len(trace)


def test_the_hit_ratio_on_skewed_traffic() -> None:
    """Zipf 0.99 over 50,000 keys with room for a tenth: three quarters of the reads hit, once it is warm."""
    trace = _zipf(50_000, 0.99, 250_000, seed=7)
    store = MemoryStore(max_entries=5_000)
    _hit_ratio(store, trace[:100_000])
    assert _hit_ratio(store, trace[100_000:]) >= 0.75


def test_a_scan_does_not_flush_what_is_in_use() -> None:
    """After a scan over ten times the capacity, nearly all that was in use is still there."""
    store = MemoryStore(max_entries=1_000)
    used = [f"used{number}" for number in range(800)]
    for _ in range(3):
        _hit_ratio(store, used)
    _hit_ratio(store, [f"scan{number}" for number in range(10_000)])
    assert sum(store.has(key) for key in used) >= 780


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["set", "get", "delete", "clear", "advance", "purge", "fork"]),
            st.integers(0, 8),
            st.one_of(st.none(), st.floats(0.5, 20)),
        ),
        max_size=80,
    ),
    st.integers(1, 6),
)
def test_it_agrees_with_a_perfect_model(steps: list[tuple[str, int, float | None]], bound: int) -> None:
    """Whatever happens, it answers with the last value set and alive, or with nothing if it was given up."""
    clock = VirtualClock()
    store = MemoryStore(max_entries=bound, clock=clock)
    model: dict[str, tuple[int, float | None]] = {}
    for serial, (verb, number, amount) in enumerate(steps):
        key = f"k{number}"
        if verb == "set":
            store.set(key, serial, amount)
            model[key] = (serial, None if amount is None else clock.monotonic() + amount)
        elif verb == "delete":
            store.delete(key)
            model.pop(key, None)
        elif verb == "clear":
            store.clear()
            model.clear()
        elif verb == "advance":
            clock.advance(amount or 0.0)
        elif verb == "purge":
            store.purge()
        elif verb == "fork":
            store.after_fork()
        model = {k: (v, end) for k, (v, end) in model.items() if end is None or end > clock.monotonic()}
        entry = store.get(key)
        assert entry is None or (key in model and entry.value == model[key][0])
        assert len(store) <= bound and set(store.keys()) <= model.keys()
        if len(model) <= bound and store.stats().evictions == 0:
            assert set(store.keys()) == model.keys()
        assert store._queues.alive == len(store)


# --- isolation


def test_immutable_values_are_shared() -> None:
    """What nobody can change is handed out as it is."""
    store = MemoryStore()
    for value in ("text", b"bytes", (1, ("a", frozenset({2}))), None, 1.5):
        store.set("a", value)
        entry = store.get("a")
        assert entry is not None and entry.value is value


def test_sharing_is_for_those_who_ask() -> None:
    """With `share`, every reader gets the very object that was set."""
    value = {"a": [1]}
    store = MemoryStore(share=True)
    store.set("a", value)
    assert store.read("a")[0] == Entry(value, None)
    assert store.get_many(["a"])["a"].value is value


def test_what_cannot_be_copied_is_not_kept() -> None:
    """A value that cannot be copied raises, and leaves what was there before."""
    store = MemoryStore()
    store.set("a", 1)
    with pytest.raises(TypeError):
        store.set("a", [threading.Lock()])
    with pytest.raises(TypeError):
        store.set_many({"b": Entry(2), "a": Entry([threading.Lock()])})
    assert store.get("a") == Entry(1, None) and not store.has("b")


# --- counting


def test_hits_and_misses_are_counted() -> None:
    """Hits survive eviction, deletion and clearing of the entries that they were for."""
    store = MemoryStore(max_entries=3)
    for number in range(20):
        store.set(f"k{number}", number)
        assert store.get(f"k{number}") is not None
    store.delete("k19")
    store.get("k19")
    store.clear()
    stats = store.stats()
    assert (stats.hits, stats.misses, stats.entries, stats.bytes) == (20, 1, 0, None)


# --- threads and processes


def test_many_threads_on_few_entries() -> None:
    """Under eviction, deletion, fills and clearing by eight threads, nobody ever reads another key's value."""
    store = MemoryStore(max_entries=16)

    def fill(key: str, rng: random.Random) -> None:
        store.fill(key, Entry([key, rng.random()]), store.read(key)[1])

    actions: list[Callable[[str, random.Random], object]] = [
        lambda key, rng: store.set(key, [key], rng.choice([None, 0.001, 5.0])),
        lambda key, rng: store.delete(key),
        fill,
        lambda key, rng: store.clear() if rng.random() < 0.05 else None,
    ]

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(1_500):
            key = f"k{rng.randrange(40)}"
            rng.choice(actions)(key, rng)
            found = store.get(key)
            assert found is None or found.value[0] == key
            assert len(store) <= 16

    assert in_threads(*[partial(work, seed) for seed in range(8)]) == [None] * 8
    assert store._queues.alive == len(store)
    assert store._queues.alive + store._queues._dead == len(store._queues._small) + len(store._queues._main)


def test_no_write_is_lost_to_a_late_fill() -> None:
    """Readers that fill what they read before a write never undo it: the last value set is what stays."""
    store = MemoryStore()
    source = {"a": 0}
    stop = threading.Event()

    def fill_for_ever() -> None:
        while not stop.is_set():
            _, token = store.read("a")
            store.fill("a", Entry(source["a"]), token)

    readers = [threading.Thread(target=fill_for_ever) for _ in range(3)]
    for reader in readers:
        reader.start()
    wrong: list[Any] = []
    for number in range(1, 2_000):
        source["a"] = number
        store.delete("a")
        entry = store.get("a")
        if entry is not None and entry.value != number:
            wrong.append((number, entry.value))
    stop.set()
    for reader in readers:
        reader.join(10)
    assert wrong == []


def test_a_finaliser_may_use_the_store() -> None:
    """A value whose finaliser runs during an eviction can call the store without a deadlock."""
    store = MemoryStore(max_entries=1, share=True)
    done: list[bool] = []

    class Thing:
        def __del__(self) -> None:
            done.append(store.delete("nothing"))

    store.set("a", Thing())
    thread = threading.Thread(target=store.set, args=("b", 1))
    thread.start()
    thread.join(10)
    assert not thread.is_alive() and done == [False]


def test_a_fork_while_a_thread_holds_the_lock() -> None:
    """The child can go on although the parent's lock was held at the fork, and has the entries."""
    store = MemoryStore()
    store.set("a", 1)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with store._lock:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    pid = os.fork()
    if pid == 0:
        store.set("b", 2)
        os._exit(0 if store.get("a") == Entry(1, None) and sorted(store.keys()) == ["a", "b"] else 1)
    release.set()
    thread.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
