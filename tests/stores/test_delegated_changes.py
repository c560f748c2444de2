"""`add`, `update` and `touch`: one step with having looked, in the primary first and then as `set` in the copies."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.stores.fakes import BrokenError, FakeStore, Gate, ManyFake, in_threads
from wellwired.errors import (
    AbilityError,
    KeyFormatError,
    LayerError,
    LayerTimeoutError,
    NotFound,
    ReadOnlyError,
    StoreTimeoutError,
)
from wellwired.middleware.breaker import BreakerPolicy
from wellwired.operations import StoreOperation, StoreVerb
from wellwired.stores import KEEP, MISSING, Atomic, DelegatedStore, Entry, Hit, Layer, LoadPolicy, MemoryStore, Miss
from wellwired.stores.changing import Wanted, pause, wanted_of
from wellwired.stores.loader import LoaderStore
from wellwired.testing.clock import VirtualClock


class AtomicFake(FakeStore):
    """A `Store` that is `Atomic` as well, and fails and stops as the other fakes do."""

    def witness(self, key: str, /) -> tuple[Entry[Any] | None, Any]:
        """What is there, and the very pair that it is kept in."""
        found: tuple[Entry[Any] | None, Any] = self._do("witness", key, lambda: (self._get(key), self._token(key)))
        return found

    def swap(self, key: str, entry: Entry[Any], token: Any, /) -> bool:
        """Stores it if that pair is still there."""

        def act() -> bool:
            if self._token(key) is not token:
                return False
            self._set(key, entry.value, entry.left)
            return True

        return bool(self._do("swap", key, act))

    def _token(self, key: str) -> Any:
        return None if self._get(key) is None else self.data[key]


class AddingFake(AtomicFake):
    """The same, that adds in one step as well."""

    def add(self, key: str, entry: Entry[Any], /) -> bool:
        """Stores it if nothing is there."""

        def act() -> bool:
            if self._get(key) is not None:
                return False
            self._set(key, entry.value, entry.left)
            return True

        return bool(self._do("add", key, act))


def stack(*stores: Any, **options: Any) -> Any:
    """A delegated store over the stores, the last of them primary."""
    return DelegatedStore([store if isinstance(store, Layer) else Layer(store) for store in stores], **options)


def plus_one(value: Any) -> Any:
    """Counts."""
    return 1 if value is MISSING else value + 1


# --- the rules


def test_what_an_answer_means() -> None:
    """A plain value keeps what there is or gets the ttl, an Entry speaks for itself, MISSING leaves all as it is."""
    there: Entry[Any] = Entry(1, 50.0, 7.0, ("t",))
    assert wanted_of(there, MISSING, KEEP) is None
    assert wanted_of(there, 2, KEEP) == Wanted(2, 50.0, 7.0, ("t",), aging=True)
    assert wanted_of(None, 2, KEEP) == Wanted(2)
    assert wanted_of(there, 2, 5.0) == Wanted(2, 5.0, 0.0, ("t",))
    assert wanted_of(there, 2, None) == Wanted(2, None, 0.0, ("t",))
    assert wanted_of(there, Entry(2, 90.0, 3.0, ("u",)), KEEP) == Wanted(2, 90.0, 3.0, ("u",))
    assert wanted_of(there, Entry(2, 90.0), 5.0) == Wanted(2, 5.0) == wanted_of(None, Entry(2, 5.0), None)


def test_pauses_are_short_and_at_random() -> None:
    """Full jitter from nothing to twice as much with every attempt, and never more than a tenth of a second."""
    assert [pause(attempt, 1.0) for attempt in (1, 2, 3, 4)] == [0.001, 0.002, 0.004, 0.008]
    assert pause(5, 0.0) == 0.0 and pause(10_000, 1.0) == 0.1 and pause(1, 0.5) == 0.0005


# --- update


def test_update_gives_the_primarys_value_to_the_function() -> None:
    """`MISSING` at first, then what is there, a stored None included; the new value is returned and in every layer."""
    store, seen = stack(MemoryStore(), MemoryStore()), list[Any]()

    def change(value: Any) -> Any:
        seen.append(value)
        return [None, "second", "third"][len(seen) - 1]

    assert [store.update("a", change) for _ in range(3)] == [None, "second", "third"]
    assert seen == [MISSING, None, "second"]
    for layer in store.layers:
        assert layer.store.get("a") == Entry("third")


def test_a_copy_is_not_what_is_changed() -> None:
    """The function is given what the primary has, whatever a copy above says."""
    copy, truth = MemoryStore(), MemoryStore()
    store = stack(copy, truth)
    store.set("n", 1)
    truth.set("n", 10)  # by another process
    assert store.get("n") == 1 and store.update("n", plus_one) == 11 and store.get("n") == 11


def test_missing_leaves_all_as_it_is() -> None:
    """The value that is there is returned and nothing is written; if there is none it is NotFound, a KeyError."""
    truth = AtomicFake()
    store = stack(MemoryStore(), truth)
    with pytest.raises(NotFound):
        store.update("a", lambda value: MISSING)
    store.set("a", 5)
    assert store.update("a", lambda value: MISSING) == 5
    assert "swap" not in [call for call, _ in truth.calls]


def test_what_the_function_raises_is_raised_and_nothing_changes() -> None:
    """Its own exception, untouched; later changes of the key go on as before."""
    store = stack(MemoryStore(), MemoryStore())
    store.set("n", 1)
    with pytest.raises(ZeroDivisionError):
        store.update("n", lambda value: value / 0)
    assert store.get("n") == 1 and store.update("n", plus_one) == 2


def test_a_life_is_kept_given_or_taken_from_an_entry(virtual_clock: VirtualClock) -> None:
    """`KEEP` keeps what is left when the primary was asked; a ttl counts from now; an Entry has its own."""
    store = stack(MemoryStore(clock=virtual_clock), MemoryStore(clock=virtual_clock), clock=virtual_clock)

    def left() -> list[float | None]:
        entries = [layer.store.get("n") for layer in store.layers]
        return [entry.left for entry in entries if entry is not None]

    store.set("n", 1, ttl=60.0)
    virtual_clock.advance(10.0)
    store.update("n", plus_one)
    assert left() == [50.0, 50.0]

    def slowly(value: Any) -> Any:
        virtual_clock.advance(5.0)
        return value + 1

    store.update("n", slowly)
    assert left() == [45.0, 45.0]
    store.update("n", plus_one, ttl=7.0)
    assert left() == [7.0, 7.0]
    store.update("n", lambda value: Entry(value + 1, 90.0))
    assert left() == [90.0, 90.0]
    store.update("n", lambda value: Entry(value + 1, 90.0), ttl=30.0)
    assert left() == [30.0, 30.0]
    store.update("n", plus_one, ttl=None)
    assert left() == [None, None] and store.get("n") == 7
    assert store.update("n", lambda value: Entry("gone", 0.0)) == "gone"
    assert left() == [] and not store.has("n")


def test_a_value_without_any_life_is_never_there() -> None:
    """An Entry with no time left removes what is there; on a clock that goes on there is no moment of it either."""
    store = stack(MemoryStore(), MemoryStore())
    store.set("n", 1)
    assert store.update("n", lambda value: Entry("gone", 0.0)) == "gone"
    assert [layer.store.get("n") for layer in store.layers] == [None, None] and not store.has("n")


def test_caps_hold_and_stale_lives_are_kept(virtual_clock: VirtualClock) -> None:
    """No layer keeps a changed value longer than its cap, and the stale life that is left goes with the fresh one."""
    copy = Layer(MemoryStore(clock=virtual_clock), ttl=20.0, stale=15.0)
    truth = Layer(MemoryStore(clock=virtual_clock), primary=True, stale=100.0)
    store = stack(copy, truth, clock=virtual_clock)
    store.update("a", lambda value: Entry(1, 60.0, 40.0))
    virtual_clock.advance(10.0)
    store.update("a", plus_one)
    kept = [layer.store.read_stale(["a"])["a"] for layer in (copy, truth)]  # type: ignore[attr-defined]
    assert kept == [Entry(2, 20.0, 15.0), Entry(2, 50.0, 40.0)]


def test_tags_are_kept_by_a_plain_value() -> None:
    """A changed value falls with the tag that it was set with; an Entry brings tags of its own."""
    store = stack(MemoryStore(), MemoryStore())
    store.set("n", 1, tags=["t"])
    store.update("n", plus_one)
    store.invalidate_tags(["t"])
    assert not store.has("n")
    store.set("n", 1, tags=["t"])
    store.update("n", lambda value: Entry(value + 1, None, 0.0, ("u",)))
    store.invalidate_tags(["t"])
    assert store.get("n") == 2
    store.invalidate_tags(["u"])
    assert not store.has("n")


def test_what_may_be_changed_is_the_functions_own() -> None:
    """A list that is changed in place is not the primary's own list, nor the one that callers get later."""
    store = stack(MemoryStore(), MemoryStore())
    store.set("list", [1])
    got = store.get("list")

    def append(value: Any) -> Any:
        value.append(2)
        return value

    returned = store.update("list", append)
    returned.append(3)
    assert got == [1] and store.get("list") == [1, 2] and store.layers[1].store.get("list") == Entry([1, 2])
    with pytest.raises(ZeroDivisionError):
        store.update("list", lambda value: value.clear() or 1 / 0)
    assert store.get("list") == [1, 2]


OVERTAKE: dict[str, tuple[Callable[[DelegatedStore[Any], Any], object], Any]] = {
    "set": (lambda store, truth: store.set("n", 100), 101),
    "set by another process": (lambda store, truth: truth.set("n", 100), 101),
    "delete": (lambda store, truth: store.delete("n"), 1),
    "clear": (lambda store, truth: store.clear(), 1),
    "tags": (lambda store, truth: store.invalidate_tags(["t"]), 1),
    "expiry": (lambda store, truth: truth.clock.advance(21.0), 1),
    "eviction": (lambda store, truth: truth.set("other", 1), 1),
    "the same value again": (lambda store, truth: store.set("n", 5), 6),
}


class Roomless(MemoryStore):
    """A memory layer with room for one entry and a clock that a test can reach."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock=clock, max_entries=1)
        self.clock = clock


@pytest.mark.parametrize(("overtake", "expected"), OVERTAKE.values(), ids=OVERTAKE)
def test_a_change_that_was_overtaken_is_made_again(
    overtake: Callable[[DelegatedStore[Any], Any], object], expected: Any, virtual_clock: VirtualClock
) -> None:
    """Whatever happened to the value meanwhile, the function is called again with what there is then."""
    truth = Roomless(virtual_clock)
    store = stack(MemoryStore(clock=virtual_clock), truth, clock=virtual_clock)
    store.set("n", 5, ttl=20.0, tags=["t"])
    calls: list[Any] = []

    def change(value: Any) -> Any:
        calls.append(value)
        if len(calls) == 1:
            overtake(store, truth)
        return plus_one(value)

    assert store.update("n", change) == expected == store.get("n")
    assert len(calls) == 2 and calls[0] == 5 and store.stats().overtaken == 1


def test_an_eviction_of_copies_overtakes_nobody() -> None:
    """`evict` says that copies are old; the primary, which is what is changed, stays as it is."""
    store, calls = stack(MemoryStore(), MemoryStore()), list[Any]()
    store.set("n", 1)

    def change(value: Any) -> Any:
        calls.append(value)
        store.evict(["n"])
        return value + 1

    assert store.update("n", change) == 2 and calls == [1] and store.get("n") == 2


def test_a_load_that_fills_the_primary_overtakes_a_change() -> None:
    """A value that a loader gave while the function ran is not lost either."""
    store, calls = stack(MemoryStore(), MemoryStore()), list[Any]()

    def change(value: Any) -> Any:
        calls.append(value)
        if len(calls) == 1:
            assert store.get_or_load("n", lambda key: 10) == 10
        return plus_one(value)

    assert store.update("n", change) == 11 and calls == [MISSING, 10]


def test_overtaken_for_too_long_it_gives_up(virtual_clock: VirtualClock) -> None:
    """It waits a little at random after each time, for the store's patience or the deadline, and says what happened."""
    for options, limit in (({"patience": 0.5}, 0.5), ({"patience": None}, 0.2), ({}, 0.2)):
        truth = MemoryStore(clock=virtual_clock)
        store = stack(truth, clock=virtual_clock, **options)
        began, numbers = virtual_clock.monotonic(), iter(range(100_000))

        def change(value: Any, truth: MemoryStore = truth, numbers: Any = numbers) -> Any:
            truth.set("n", next(numbers))
            return "mine"

        with pytest.raises(StoreTimeoutError, match=r"update .* store store was overtaken .* nothing was changed"):
            store.update("n", change, deadline=0.2 if limit == 0.2 else None)
        assert limit * 0.4 < virtual_clock.monotonic() - began <= limit
        assert truth.get("n") != Entry("mine")
    assert len(set(virtual_clock.naps)) > 5 and max(virtual_clock.naps) <= 0.1


def test_a_slow_function_that_was_overtaken_once_is_called_again(virtual_clock: VirtualClock) -> None:
    """However long it took: the patience begins when others have overtaken it."""
    truth = MemoryStore(clock=virtual_clock)
    store, calls = stack(truth, clock=virtual_clock, patience=1.0), list[Any]()

    def slow(value: Any) -> Any:
        calls.append(value)
        virtual_clock.advance(60.0)
        if len(calls) == 1:
            truth.set("n", 10)
        return plus_one(value)

    assert store.update("n", slow) == 11 and calls == [MISSING, 10]


def test_threads_lose_no_change() -> None:
    """Eight threads count to 200 each on four keys: every count is exact, and they hardly get in one another's way."""
    truth = AtomicFake()
    store, keys = stack(MemoryStore(), truth), ("a", "b", "c", "d")

    def count() -> None:
        for number in range(200):
            store.update(keys[number % 4], plus_one)

    assert in_threads(*[count] * 8) == [None] * 8
    assert [truth.data[key][0] for key in keys] == [400] * 4 and [store.get(key) for key in keys] == [400] * 4
    assert len([call for call, _ in truth.calls if call == "swap"]) <= 1600 * 1.05


def test_what_reads_and_then_sets_does_lose_changes() -> None:
    """The counter that is not atomic, made to race: the test above can fail."""

    class Reading(AtomicFake):
        def swap(self, key: str, entry: Entry[Any], token: Any, /) -> bool:
            self.set(key, entry.value, entry.left)
            return True

    truth, gate = Reading(), Gate()
    slow, fast = stack(MemoryStore(), truth), stack(MemoryStore(), truth)

    def late(value: Any) -> Any:
        gate()
        return plus_one(value)

    thread = threading.Thread(target=lambda: slow.update("n", late))
    thread.start()
    assert gate.reached.wait(10)
    fast.update("n", plus_one)
    gate.open()
    thread.join(10)
    assert truth.data["n"][0] == 1


def test_a_function_may_change_other_keys() -> None:
    """Two that change each other's key from within do not wait for each other without end."""
    store, meet = stack(MemoryStore()), threading.Barrier(2)

    def crosswise(mine: str, other: str) -> Any:
        def change(value: Any) -> Any:
            if value is MISSING and not meet.broken:
                try:
                    meet.wait(5)
                except threading.BrokenBarrierError:
                    pass
            store.update(other, lambda theirs: Entry((theirs, mine), None))
            return mine

        return store.update(mine, change)

    assert in_threads(lambda: crosswise("a", "b"), lambda: crosswise("b", "a")) == ["a", "b"]


def test_a_change_waits_for_no_one_for_ever() -> None:
    """A function that hangs keeps other changes of its key from taking turns, and not from being made."""
    store, gate = stack(MemoryStore()), Gate()

    def hanging(value: Any) -> Any:
        if not gate.opened.is_set():
            gate()
        return plus_one(value)

    thread = threading.Thread(target=lambda: store.update("n", hanging))
    thread.start()
    assert gate.reached.wait(10)
    assert store.update("n", plus_one) == 1
    gate.open()
    thread.join(10)
    assert store.get("n") == 2


def test_a_child_does_not_wait_for_the_parents_changes() -> None:
    """Forked while the parent changes a key: the turn is free in the child, and both go on by themselves."""
    store, gate = stack(MemoryStore()), Gate()

    def hanging(value: Any) -> Any:
        if not gate.opened.is_set():
            gate()
        return plus_one(value)

    thread = threading.Thread(target=lambda: store.update("n", hanging))
    thread.start()
    assert gate.reached.wait(10)
    pid = os.fork()
    if pid == 0:
        with store._stack.courtesy.offered("n", 0.0) as taken:
            good = taken and store.update("n", plus_one) == 1 and store.add("m", 1) and store.touch("m", 5.0)
        os._exit(0 if good else 1)
    gate.open()
    thread.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert store.get("n") == 1 and not store.has("m")


# --- add


@pytest.mark.parametrize("make", [MemoryStore, AtomicFake, AddingFake])
def test_add_stores_only_where_nothing_is(make: Callable[[], Any]) -> None:
    """Once; a stored None is something; what was deleted can be added again. Copies get it, too."""
    store = stack(MemoryStore(), make())
    assert store.add("a", None) is True and store.add("a", 2) is False and store.get("a") is None
    store.delete("a")
    assert store.add("a", 3, ttl=60.0) is True and store.add("a", 4) is False
    assert [getattr(layer.store.get("a"), "value", None) for layer in store.layers] == [3, 3]


@pytest.mark.parametrize("make", [MemoryStore, AtomicFake, AddingFake])
def test_add_asks_the_primary_and_no_copy(make: Callable[[], Any]) -> None:
    """A copy of what the primary has lost is nothing; what the primary has and no copy knows is something."""
    truth = make()
    store = stack(MemoryStore(), truth)
    store.set("a", 1)
    truth.delete("a")
    assert store.get("a") == 1 and store.add("a", 2) is True and store.get("a") == 2
    truth.set("b", 1)
    assert store.add("b", 2) is False and store.get("b") == 1


def test_a_remembered_absence_is_nothing() -> None:
    """It neither keeps a value from being added, nor is remembered any longer."""
    store = stack(MemoryStore(), MemoryStore(), loads=LoadPolicy(absent_ttl=60.0))
    assert store.get("a", "nothing") == "nothing"
    assert store.add("a", 1) is True and store.get("a") == 1
    assert store.get("b", "nothing") == "nothing"
    assert store.update("b", plus_one) == 1 and store.get("b") == 1


def test_what_a_change_has_seen_is_absent_no_more() -> None:
    """Who was told that there is something, and left it as it is, reads it then, whatever was remembered."""
    primary = MemoryStore()
    store = stack(MemoryStore(), primary, loads=LoadPolicy(absent_ttl=60.0))
    assert store.get("a", "nothing") == "nothing"
    primary.set("a", 5)  # as another process would
    assert store.get("a", "nothing") == "nothing"
    assert store.update("a", lambda _: MISSING) == 5 and store.get("a", "nothing") == 5


@pytest.mark.parametrize("make", [MemoryStore, AtomicFake, AddingFake])
def test_of_many_who_add_one_succeeds(make: Callable[[], Any]) -> None:
    """Eight threads add the same twenty keys: each key is added once, and is what its adder said."""
    store, keys = stack(MemoryStore(), make()), [f"k{number}" for number in range(20)]

    def work(me: int) -> list[str]:
        return [key for key in keys if store.add(key, me)]

    added = in_threads(*[lambda me=me: work(me) for me in range(8)])
    assert sorted(key for mine in added for key in mine) == sorted(keys)
    assert all(key in added[store.get(key)] for key in keys)


def test_an_add_over_something_that_has_ended(virtual_clock: VirtualClock) -> None:
    """What has ended is nothing, also where its stale life goes on; the added value has its own life."""
    truth = Layer(MemoryStore(clock=virtual_clock), primary=True, stale=100.0)
    store = stack(truth, clock=virtual_clock)
    store.update("a", lambda value: Entry(1, 10.0, 100.0))
    virtual_clock.advance(11.0)
    assert store.add("a", 2, ttl=30.0) is True
    assert store.lookup("a") == Hit(2, "memory", 0, 30.0, False)


# --- touch


def test_touch_gives_a_new_life_in_every_layer(virtual_clock: VirtualClock) -> None:
    """A longer one, a shorter one, and one without end; the value and its tags stay."""
    copy = Layer(MemoryStore(clock=virtual_clock), ttl=20.0)
    store = stack(copy, MemoryStore(clock=virtual_clock), clock=virtual_clock)

    def left() -> list[Any]:
        return [entry and entry.left for entry in (layer.store.get("a") for layer in store.layers)]

    store.set("a", 1, ttl=10.0, tags=["t"])
    assert store.touch("a", 60.0) is True and left() == [20.0, 60.0]
    assert store.touch("a", 5.0) is True and left() == [5.0, 5.0]
    assert store.touch("a", None) is True and left() == [20.0, None] and store.get("a") == 1
    store.invalidate_tags(["t"])
    assert not store.has("a") and store.touch("a", 60.0) is False


@pytest.mark.parametrize("ttl", [0, 0.0, -1])
def test_a_touch_with_no_time_ends_it(ttl: float) -> None:
    """In every layer; whether there was something is what it says."""
    store = stack(MemoryStore(), MemoryStore())
    store.set("a", 1)
    assert store.touch("a", ttl) is True and store.touch("a", ttl) is False
    assert [layer.store.get("a") for layer in store.layers] == [None, None]


def test_a_touch_finds_what_has_ended_no_more(virtual_clock: VirtualClock) -> None:
    """A life that is over does not begin again, nor does a stale one."""
    truth = Layer(MemoryStore(clock=virtual_clock), primary=True, stale=100.0)
    store = stack(truth, clock=virtual_clock)
    store.update("a", lambda value: Entry(1, 10.0, 100.0))
    virtual_clock.advance(11.0)
    assert store.touch("a", 60.0) is False and store.lookup("a") == Miss("a")


@pytest.mark.parametrize("ttl", [float("nan"), 0.0, -1.0])
def test_a_life_is_checked(ttl: float) -> None:
    """For `add` and `update` a ttl is more than nothing, as for `set`; for `touch` it is a number."""
    store = stack(MemoryStore())
    store.set("a", 1)
    with pytest.raises(ValueError, match="ttl"):
        store.add("b", 1, ttl=ttl)
    with pytest.raises(ValueError, match="ttl"):
        store.update("a", plus_one, ttl=ttl)
    with pytest.raises(ValueError, match="ttl"):
        store.touch("a", float("nan"))
    assert store.get("a") == 1 and not store.has("b")


# --- layers that cannot, and layers that fail


def operations(store: DelegatedStore[Any]) -> dict[str, Callable[[], object]]:
    """One call of each kind."""
    return {
        "add": lambda: store.add("a", 1),
        "update": lambda: store.update("a", plus_one),
        "touch": lambda: store.touch("a", 5.0),
    }


@pytest.mark.parametrize("verb", ["add", "update", "touch"])
def test_a_primary_that_cannot_is_named(verb: str) -> None:
    """Nothing less is done instead: no read, no write; and the error says which layer lacks what."""
    truth = ManyFake()
    store = stack(MemoryStore(), Layer(truth, name="legacy"), name="users")
    with pytest.raises(AbilityError, match=rf"{verb} needs .* layer legacy of store users .* Atomic") as caught:
        operations(store)[verb]()
    assert (caught.value.layer, caught.value.ability, truth.calls) == ("legacy", "Atomic", [])


@pytest.mark.parametrize("verb", ["add", "update", "touch"])
def test_read_only_primaries_take_nothing(verb: str) -> None:
    """That is an error of its own, whatever they could do otherwise."""
    store = stack(MemoryStore(), LoaderStore(lambda key: 1))
    with pytest.raises(ReadOnlyError):
        operations(store)[verb]()


@pytest.mark.parametrize("make", [AtomicFake, AddingFake])
@pytest.mark.parametrize("lost", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize("verb", ["add", "update"])
def test_a_primary_that_fails_leaves_no_copy(make: Callable[[], Any], lost: bool, verb: str) -> None:
    """Whether it did what it was asked or not: no copy has either value, nothing is tried again, and the error says."""
    truth, copy = make(), MemoryStore()
    store = stack(copy, Layer(truth, name="truth"))
    if verb == "update":
        store.set("a", 1)
    (truth.lose_reply if lost else truth.fail).update({"swap", "add"})
    with pytest.raises(LayerError) as caught:
        operations(store)[verb]()
    assert isinstance(caught.value.__cause__, BrokenError) and caught.value.layer == "truth"
    assert [str(one.state) for one in caught.value.receipt.layers] == ["dropped", "failed"]
    assert copy.get("a") is None and [call for call, _ in truth.calls].count("swap") <= 1
    truth.lose_reply.clear()
    truth.fail.clear()
    assert store.get("a", None) == ({"update": 2, "add": 1}[verb] if lost else {"update": 1, "add": None}[verb])


def test_a_primary_that_cannot_be_read_fails_the_change() -> None:
    """Nobody knows what is there, so the function is not called; the copies stay as they are."""
    truth = AtomicFake()
    store = stack(MemoryStore(), truth)
    store.set("a", 1)
    truth.fail.add("witness")
    with pytest.raises(LayerError):
        store.update("a", lambda value: pytest.fail("it was called"))
    truth.fail.clear()
    assert store.layers[0].store.has("a")


@pytest.mark.parametrize("limit", ["deadline", "time_limit"])
def test_a_primary_that_hangs_is_looked_at_for_as_long_as_there_is_time(limit: str) -> None:
    """The look is given up in time, and nothing was changed; the exchange itself is the driver's to end."""
    truth = AtomicFake()
    gate = truth.before["witness"] = Gate()
    store = stack(Layer(truth, primary=True, time_limit=0.02 if limit == "time_limit" else None))
    with pytest.raises(LayerTimeoutError):
        store.update("n", plus_one, deadline=0.02 if limit == "deadline" else None)
    gate.open()
    assert "swap" not in [call for call, _ in truth.calls] and store.update("n", plus_one) == 1
    store.close()


def test_a_primary_whose_breaker_is_open_is_left_alone(virtual_clock: VirtualClock) -> None:
    """No look, no function called, until it is tried again."""
    truth = AtomicFake(virtual_clock)
    layer = Layer(truth, primary=True, breaker=BreakerPolicy(calls=3, pause=5.0))
    store = stack(layer, clock=virtual_clock)
    truth.fail.add("witness")
    for _ in range(5):
        with pytest.raises(LayerError):
            store.update("n", plus_one)
    truth.fail.clear()
    looks = len(truth.calls)
    with pytest.raises(LayerError, match="breaker"):
        store.update("n", lambda value: pytest.fail("it was called"))
    assert len(truth.calls) == looks < 5
    virtual_clock.advance(6.0)
    assert store.update("n", plus_one) == 1


def test_a_copy_that_fails_does_not_fail_the_change() -> None:
    """It is in doubt, and not read before the key was removed there, as after a set."""
    copy = FakeStore()
    store = stack(copy, MemoryStore())
    store.set("n", 1)
    copy.fail.update({"set", "delete"})
    assert store.update("n", plus_one) == 2
    copy.fail.clear()
    assert store.get("n") == 2


def test_a_fill_that_a_change_has_overtaken_is_refused() -> None:
    """A read that began before the change does not bring the old value back into a copy."""
    truth, copy, gate = AtomicFake(), MemoryStore(), Gate()
    store = stack(copy, truth)
    truth.data["n"] = (1, None)
    truth.after["get"] = gate
    thread = threading.Thread(target=lambda: store.get("n"))
    thread.start()
    assert gate.reached.wait(10)
    del truth.after["get"]
    assert store.update("n", plus_one) == 2
    gate.open()
    thread.join(10)
    store.flush(10)
    assert copy.get("n") in (None, Entry(2)) and store.get("n") == 2


# --- several primaries


def test_of_several_primaries_the_lowest_decides() -> None:
    """It is asked and exchanged first; the others get what it took."""
    upper, lower = MemoryStore(), MemoryStore()
    store = stack(MemoryStore(), Layer(upper, primary=True, name="upper"), Layer(lower, primary=True, name="lower"))
    upper.set("n", 7)
    lower.set("n", 1)
    assert store.update("n", plus_one) == 2
    assert [layer.store.get("n") for layer in store.layers] == [Entry(2)] * 3
    assert store.add("n", 5) is False and store.touch("n", 50.0) is True


def test_what_only_another_primary_has_counts() -> None:
    """A value that the deciding primary lacks is looked for in the others, those that only read included."""
    lower = LoaderStore(lambda key: 10 if key == "n" else MISSING)
    upper = MemoryStore()
    layers = [Layer(upper, primary=True, name="upper"), Layer(lower, primary=True, name="loader")]
    store: DelegatedStore[Any] = DelegatedStore(layers)
    assert store.add("n", 5) is False and store.update("n", plus_one) == 11 and upper.get("n") == Entry(11)
    assert store.add("other", 5) is True and upper.get("other") == Entry(5)
    assert store.touch("n", 60.0) is True


def test_a_primary_that_another_writer_has_crossed_drops_the_key() -> None:
    """So it never keeps an older value than the deciding one; it is filled from below with the next read."""
    upper, lower = MemoryStore(), MemoryStore()
    layers = [Layer(upper, primary=True, name="upper"), Layer(lower, primary=True, name="lower")]
    store: DelegatedStore[Any] = DelegatedStore(layers)

    plain = lower.swap

    def swap(key: str, entry: Entry[Any], token: Any, /) -> bool:
        taken = plain(key, entry, token)
        # Another process writes before this one has come to the primary above.
        lower.set(key, "theirs")
        upper.set(key, "theirs")
        return taken

    lower.swap = swap  # type: ignore[method-assign]
    assert store.update("n", lambda value: "mine") == "mine"
    assert upper.get("n") is None and store.get("n") == "theirs"


def test_a_primary_above_that_cannot_be_ordered_is_written_as_by_set() -> None:
    """One that fails fails the change, and no copy has the value."""
    upper, copy = FakeStore(), MemoryStore()
    layers = [Layer(copy), Layer(upper, primary=True, name="upper"), Layer(MemoryStore(), primary=True, name="lower")]
    store: DelegatedStore[Any] = DelegatedStore(layers)
    assert store.update("n", plus_one) == 1 and upper.data["n"][0] == 1
    upper.fail.add("set")
    with pytest.raises(LayerError):
        store.update("n", plus_one)
    assert copy.get("n") is None


# --- what goes around


def test_middleware_sees_what_is_asked() -> None:
    """The verb, the key, the value and the ttl; and may answer in its place."""
    seen: list[StoreOperation] = []

    def noting(call: Callable[[StoreOperation], Any]) -> Callable[[StoreOperation], Any]:
        def run(operation: StoreOperation) -> Any:
            seen.append(operation)
            return call(replace(operation, ttl=30.0) if operation.verb is StoreVerb.ADD else operation)

        return run

    store = stack(MemoryStore(), middleware=[noting])
    assert store.add("a", 1, ttl=9.0) and store.touch("a", 5.0) and store.update("a", plus_one, ttl=None) == 2
    assert [(one.verb, one.key, one.value, one.ttl) for one in seen] == [
        (StoreVerb.ADD, "a", 1, 9.0), (StoreVerb.TOUCH, "a", None, 5.0), (StoreVerb.UPDATE, "a", None, None),
    ]  # fmt: skip


def test_keys_are_checked() -> None:
    """A key that is no text is refused before anything is asked."""
    store = stack(MemoryStore())
    for verb, *arguments in (("add", 1), ("update", plus_one), ("touch", 5.0)):
        with pytest.raises(KeyFormatError):
            getattr(store, verb)(1, *arguments)


def test_the_fake_is_what_it_seems() -> None:
    """What the tests above ran on has the ability."""
    assert isinstance(AtomicFake(), Atomic) and not isinstance(FakeStore(), Atomic)
