"""Races of readers and writers, made to happen: a fill that a write has overtaken, writers that cross.

Each schedule is forced by gates inside the layers. The same schedules run against a store whose fences were taken away,
and must find the damage there: that is what shows that they would find it here.
"""

# ruff: noqa: D102 - the protocols tell what each method of a layer does

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.stores.fakes import BrokenError, FakeStore, FencedFake, Gate, ManyFake, in_threads
from wellwired.stores import DelegatedStore, FillRefused, Layer, LoadPolicy, MemoryStore
from wellwired.stores.protocols import Entry
from wellwired.testing.clock import VirtualClock

Write = Callable[[DelegatedStore[Any]], object]

WRITES: dict[str, Write] = {
    "set": lambda store: store.set("a", "new"),
    "set_many": lambda store: store.set_many({"a": "new", "b": "new"}),
    "get_set": lambda store: store.get_set("a", "new"),
    "delete": lambda store: store.delete("a"),
    "delete_many": lambda store: store.delete_many(["a", "b"]),
    "clear": lambda store: store.clear(),
    "set by another way, and evict": lambda store: (store.layers[-1].store.set("a", "new"), store.evict(["a"])),
}
UPPERS: dict[str, Callable[[], Any]] = {
    "memory": MemoryStore,
    "plain": FakeStore,
    "many": ManyFake,
    "fenced": FencedFake,
    "memory in the background": lambda: Layer(MemoryStore(), inline=False),
}


class Unfenced(MemoryStore):
    """A memory store that lets every fill and put in."""

    def fill(self, key: str, entry: Entry[Any], token: int, /) -> bool:
        return super().fill(key, entry, self.read(key)[1])

    def put_many(self, items: Any, /) -> Any:
        return super().put_many({key: (entry, self.read(key)[1]) for key, (entry, _) in items.items()})


def take_fences_away(store: DelegatedStore[Any]) -> None:
    """Makes the store admit every fill and take every writer for alone."""
    fence = store._stack.fence
    fence.admits = lambda key, ticket: True  # type: ignore[method-assign]
    fence.undisturbed = lambda key, began: True  # type: ignore[method-assign]


def overtaken_fill(store: DelegatedStore[Any], primary: FakeStore, write: Write) -> Any:
    """A reader reads the old value, a writer comes and returns, the reader goes on to fill: what is read afterwards."""
    primary.data["a"] = ("old", None)
    gate = primary.after["get"] = Gate()
    reader = threading.Thread(target=store.get, args=("a",))
    reader.start()
    assert gate.reached.wait(10)
    primary.after.clear()
    write(store)
    gate.open()
    reader.join(10)
    store.flush(10)
    return store.get("a", None)


def crossing_writers(store: DelegatedStore[Any], primary: FakeStore) -> tuple[Any, Any]:
    """A writer is held after the primary took its value, another comes and returns: what is read, what is true."""
    store.set("a", "old")
    gate = primary.after["set"] = Gate()
    first = threading.Thread(target=store.set, args=("a", "first"))
    first.start()
    assert gate.reached.wait(10)
    primary.after.clear()
    store.set("a", "second")
    gate.open()
    first.join(10)
    return store.get("a"), primary.data["a"][0]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("upper", UPPERS)
def test_a_fill_never_undoes_a_write(upper: str, write: str) -> None:
    """Once a write has returned, no fill brings the old value back, into whatever kind of layer."""
    layer, primary = UPPERS[upper](), FakeStore()
    store = DelegatedStore[Any]([layer, primary])
    assert overtaken_fill(store, primary, WRITES[write]) == ("new" if "set" in write else None)
    store.close()


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("make", [Unfenced, FakeStore])
def test_without_fences_the_schedule_finds_the_damage(make: Callable[[], Any], write: str) -> None:
    """The same schedule on a store without fences reads the old value after the write has returned."""
    primary = FakeStore()
    store = DelegatedStore[Any]([make(), primary])
    take_fences_away(store)
    assert overtaken_fill(store, primary, WRITES[write]) == "old"
    store.close()


@pytest.mark.parametrize("upper", UPPERS)
def test_writers_that_cross_leave_no_wrong_copy(upper: str) -> None:
    """Of two writers the copy never keeps the one that the primary does not have."""
    primary = FakeStore()
    store = DelegatedStore[Any]([UPPERS[upper](), primary])
    read, true = crossing_writers(store, primary)
    assert read == true == "second"
    store.close()


@pytest.mark.parametrize("make", [Unfenced, FakeStore])
def test_without_fences_writers_that_cross_do_damage(make: Callable[[], Any]) -> None:
    """The same schedule on a store without fences leaves the first writer's value in the copy."""
    primary = FakeStore()
    store = DelegatedStore[Any]([make(), primary])
    take_fences_away(store)
    assert crossing_writers(store, primary) == ("first", "second")


def test_a_writer_that_was_crossed_stores_no_copy_at_all() -> None:
    """The later to begin may be the earlier at the primary; so neither of the two leaves its value in the copy."""
    upper, primary = FakeStore(), FakeStore()
    store = DelegatedStore[Any]([upper, primary])
    first_arrives, second_stored, first_dropped = primary.before["set"], primary.after["set"], upper.after["delete"] = (
        Gate(), Gate(), Gate()
    )  # fmt: skip
    first = threading.Thread(target=store.set, args=("a", "first"))
    first.start()
    assert first_arrives.reached.wait(10)
    del primary.before["set"]
    second = threading.Thread(target=store.set, args=("a", "second"))
    second.start()
    assert second_stored.reached.wait(10)
    del primary.after["set"]
    first_arrives.open()
    assert first_dropped.reached.wait(10)
    del upper.after["delete"]
    second_stored.open()
    second.join(10)
    first_dropped.open()
    first.join(10)
    assert primary.data["a"][0] == "first" == store.get("a")


def test_two_primaries_keep_the_same_writers_value() -> None:
    """Writers of one key take turns where there are two primaries, so both keep the value of the same one."""
    upper, lower = FakeStore(), FakeStore()
    store = DelegatedStore[Any]([Layer(upper, primary=True), Layer(lower, primary=True)])
    gate = lower.after["set"] = Gate()
    first = threading.Thread(target=store.set, args=("a", 1))
    first.start()
    assert gate.reached.wait(10)
    lower.after.clear()
    second = threading.Thread(target=store.set, args=("a", 2))
    second.start()
    gate.open()
    first.join(10)
    second.join(10)
    assert upper.data == lower.data == {"a": (2, None)}


def test_a_fill_that_waits_is_overtaken_too() -> None:
    """A delete that comes while a fill is waiting in the background wins, and the refusal is told."""
    upper, primary = FakeStore(), FakeStore()
    primary.data.update(a=("old", None), slow=("x", None))
    store = DelegatedStore[Any]([upper, primary])
    refused: list[Any] = []
    store.on_event(lambda event: refused.append(event) if isinstance(event, FillRefused) else None)
    store._stack.fence._mask = 0xFFFF  # so many stripes that these two keys do not share one
    store._stack.fence._generations = [0] * 0x10000
    store._stack.fence.after_fork()
    gate = upper.before["set"] = Gate()
    store.get("slow")
    assert gate.reached.wait(10)
    assert store.get("a") == "old"
    upper.before.clear()
    store.delete("a")
    gate.open()
    store.flush(10)
    assert upper.data == {"slow": ("x", None)} and store.get("a", None) is None
    assert refused == [FillRefused("a", 0, "fake", "overtaken", "store")]
    assert store.stats().layers[0].refused == 1


def test_a_write_waits_for_a_fill_that_is_landing() -> None:
    """A plain layer cannot refuse; so a write of the key begins after the fill has landed, and removes it."""
    upper, primary = FakeStore(), FakeStore()
    primary.data["a"] = ("old", None)
    store = DelegatedStore[Any]([upper, primary])
    gate = upper.before["set"] = Gate()
    store.get("a")
    assert gate.reached.wait(10)
    deleted = threading.Event()
    primary.after["delete"] = deleted.set
    writer = threading.Thread(target=store.delete, args=("a",))
    writer.start()
    assert not deleted.wait(0.05)
    gate.open()
    writer.join(10)
    assert deleted.is_set() and upper.data == {} == primary.data


def test_during_a_write_nothing_is_filled() -> None:
    """What is read while a write is under way may be old or new, so it is filled nowhere."""
    memory, primary = MemoryStore(), FakeStore()
    primary.data["a"] = ("old", None)
    store = DelegatedStore[Any]([memory, primary])
    gate = primary.before["set"] = Gate()
    writer = threading.Thread(target=store.set, args=("a", "new"))
    writer.start()
    assert gate.reached.wait(10)
    assert store.get("a") == "old" and not memory.has("a")
    gate.open()
    writer.join(10)
    assert store.get("a") == "new" and memory.get("a") == Entry("new", None)


def test_a_refusal_keeps_the_layers_above_from_being_filled() -> None:
    """Another process's write is seen by the shared layer's token: neither that layer nor memory above it is filled."""
    memory, shared, primary = MemoryStore(), FencedFake(), FakeStore()
    here = DelegatedStore[Any]([memory, shared, primary])
    there = DelegatedStore[Any]([shared, primary])
    assert overtaken_fill(here, primary, lambda _: there.delete("a")) is None
    assert not memory.has("a") and shared.data == {}


def test_writers_of_two_processes_that_cross() -> None:
    """A shared layer that is `Ordered` lets the later of two puts not in, so it never keeps the wrong one."""
    shared, primary = MemoryStore(), FakeStore()
    here, there = (DelegatedStore[Any]([shared, primary]) for _ in range(2))
    gate = primary.after["set"] = Gate()
    first = threading.Thread(target=here.set, args=("a", "first"))
    first.start()
    assert gate.reached.wait(10)
    primary.after.clear()
    there.set("a", "second")
    gate.open()
    first.join(10)
    assert here.get("a") == there.get("a") == primary.data["a"][0] == "second"


def test_a_writer_that_crossed_a_delete_which_did_not_arrive_leaves_no_copy() -> None:
    """A delete that could not reach a copy has not renewed its tokens, so who crossed it must find out by itself."""

    class Frail(MemoryStore):
        broken = False

        def delete(self, key: str, /) -> bool:
            if self.broken:
                raise BrokenError
            return super().delete(key)

    copy, primary = Frail(), FakeStore()
    store = DelegatedStore[Any]([copy, primary])
    gate = primary.after["set"] = Gate()
    writer = threading.Thread(target=store.set, args=("a", "crossed"))
    writer.start()
    assert gate.reached.wait(10)
    copy.broken = True
    assert not store.delete("a").complete
    copy.broken = False
    gate.open()
    writer.join(10)
    assert store.get("a", None) is None and not copy.has("a")
    store.close()


def test_a_reader_of_what_is_loaded_anew_does_not_bring_it_back() -> None:
    """A refresh replaces a value, so a read that began before it fills nothing afterwards."""
    memory, primary = MemoryStore(), FakeStore()
    store = DelegatedStore[Any]([memory, primary], loads=LoadPolicy(refresh_ahead=1000.0))
    primary._set("a", "old", 500.0)
    gate = primary.after["get"] = Gate()
    reader = threading.Thread(target=store.get, args=("a",))
    reader.start()
    assert gate.reached.wait(10)
    primary.after.clear()
    assert store.get_or_load("a", lambda _: "new", ttl=500.0) == "old"
    done = threading.Event()
    while len(store._endpoint.loads.flights):
        done.wait(0.001)
    gate.open()
    reader.join(10)
    assert store.get("a") == "new"
    store.close()


def test_who_joins_a_load_is_not_given_what_had_ended_before(virtual_clock: VirtualClock) -> None:
    """A value that was read for somebody else, and whose time passed on the way, is not handed to who came later."""
    primary = FakeStore(virtual_clock)
    store = DelegatedStore[Any]([primary], clock=virtual_clock)
    primary._set("a", "short", 5.0)
    gate = primary.after["get"] = Gate()
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(store.get_or_load("a", lambda _: "never")))
    first.start()
    assert gate.reached.wait(10)
    virtual_clock.advance(6.0)
    second = threading.Thread(target=lambda: answers.append(store.get_or_load("a", lambda _: "new")))
    second.start()
    while not store.stats().joins:
        second.join(0.001)
    primary.after.clear()
    gate.open()
    first.join(10)
    second.join(10)
    assert sorted(answers) == ["new", "short"]
    store.close()


def test_time_ends_a_fill_that_waits_too_long(virtual_clock: VirtualClock) -> None:
    """A value whose time passed while it waited is not filled."""
    upper, primary = FakeStore(virtual_clock), FakeStore(virtual_clock)
    primary._set("a", "short", 5.0)
    store = DelegatedStore[Any]([upper, primary], clock=virtual_clock)
    refused: list[Any] = []
    store.on_event(refused.append)
    primary.after["get"] = lambda: virtual_clock.advance(6.0)
    assert store.get("a") == "short"
    store.flush(10)
    assert upper.data == {} and refused[1:] == [FillRefused("a", 0, "fake", "expired", "store")]


@pytest.mark.parametrize("uppers", [("memory", "fenced"), ("memory", "plain"), ("many", "memory in the background")])
def test_nobody_reads_what_is_older_than_a_write_that_returned(uppers: tuple[str, str]) -> None:
    """With readers and writers at full speed, a read is of a state not older than the last one written before."""
    store = DelegatedStore[Any]([*(UPPERS[upper]() for upper in uppers), FakeStore()])
    keys = ["a", "b", "c"]
    begun, returned = dict.fromkeys(keys, 0), dict.fromkeys(keys, 0)
    stop = threading.Event()

    def write(key: str) -> None:
        # Even states are values, odd ones are deletions; state 0 is "never written".
        for state in range(1, 250):
            begun[key] = state
            store.delete(key) if state % 2 else store.set(key, state)
            returned[key] = state

    def read(seed: int) -> list[Any]:
        rng, wrong = random.Random(seed), []
        while not stop.is_set():
            key = rng.choice(keys)
            oldest = returned[key]
            seen = store.get(key, None) if rng.random() < 0.7 else store.get_many([key]).get(key)
            newest = begun[key]
            ok = oldest <= seen <= newest if seen is not None else oldest % 2 or newest > oldest or oldest == 0
            if not ok:
                wrong.append((key, oldest, seen, newest))
        return wrong

    def write_all() -> None:
        in_threads(*[partial(write, key) for key in keys])
        stop.set()

    results = in_threads(write_all, *[partial(read, seed) for seed in range(3)])
    assert results == [None, [], [], []]
    store.close()
