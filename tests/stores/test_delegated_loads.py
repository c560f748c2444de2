"""`get_or_load` and `get_set`: one load at a time, who shares its end, and what becomes of the value."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.stores.fakes import BrokenError, FakeStore, FencedFake, Gate, in_threads
from wellwired.errors import StoreError, StoreTimeoutError
from wellwired.stores import BackFill, DelegatedStore, Layer, MemoryStore
from wellwired.testing.clock import VirtualClock


class GatedLoader:
    """A loader that stops at a gate, counts its calls, and gives or raises what it was told."""

    def __init__(self, result: Any = "loaded") -> None:
        self.gate = Gate()
        self.calls: list[str] = []
        self.result = result

    def __call__(self, key: str) -> Any:
        """Loads."""
        self.calls.append(key)
        self.gate()
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


@pytest.fixture
def store() -> DelegatedStore[Any]:
    """A store over memory and a plain primary."""
    return DelegatedStore([MemoryStore(), FakeStore()])


def joined(store: DelegatedStore[Any], count: int) -> None:
    """Waits until so many callers have joined a load."""
    while store.stats().joins < count:
        threading.Event().wait(0.001)


def joining(
    store: DelegatedStore[Any], loader: GatedLoader, followers: int, lead: Callable[[], Any] | None = None
) -> list[Any]:
    """Has one lead a load and others join it before the gate opens; what each of them got, the leader first."""
    results: list[Any] = []

    def run(call: Callable[[], Any]) -> None:
        results.extend(in_threads(call))

    leader = threading.Thread(target=run, args=(lead or partial(store.get_or_load, "a", loader),))
    leader.start()
    assert loader.gate.reached.wait(10)
    others: list[Any] = []
    crowd = threading.Thread(
        target=lambda: others.extend(in_threads(*[partial(store.get_or_load, "a", loader)] * followers))
    )
    crowd.start()
    joined(store, followers)
    loader.gate.open()
    leader.join(10)
    crowd.join(10)
    return [*results, *others]


def test_a_loaded_value_is_stored_everywhere(store: DelegatedStore[Any]) -> None:
    """The loader is called once, with the key; afterwards every layer has the value, the primary included."""
    calls: list[str] = []

    def load(key: str) -> str:
        calls.append(key)
        return "value"

    assert store.get_or_load("a", load) == "value"
    assert store.get_or_load("a", lambda key: "other") == "value" and calls == ["a"]
    assert [layer.store.has("a") for layer in store.layers] == [True, True]
    assert store.stats().loads == 1


def test_none_is_a_loaded_value(store: DelegatedStore[Any]) -> None:
    """A loader that gives None is not called again."""
    assert store.get_or_load("a", lambda key: None) is None
    assert store.get_or_load("a", lambda key: "again") is None


def test_a_loaded_value_lives_as_long_as_told(virtual_clock: VirtualClock) -> None:
    """Its ttl counts from the end of the load, and the caps of the layers hold as well."""
    memory, primary = MemoryStore(clock=virtual_clock), FakeStore(virtual_clock)
    store = DelegatedStore[str]([Layer(memory, ttl=5.0), primary], clock=virtual_clock)

    def slow(key: str) -> str:
        virtual_clock.advance(20.0)
        return "value"

    store.get_or_load("a", slow, ttl=10.0)
    assert [layer.store.get("a").left for layer in store.layers] == [5.0, 10.0]  # type: ignore[union-attr]
    virtual_clock.advance(11.0)
    assert store.get_or_load("a", lambda key: "again") == "again"


def test_sixty_four_threads_on_a_cold_key_load_once(store: DelegatedStore[Any]) -> None:
    """All of them get the value of the one load, and the layers were asked by the leader only."""
    loader = GatedLoader()
    assert joining(store, loader, 63) == ["loaded"] * 64
    assert loader.calls == ["a"] and store.stats().loads == 1 and store.stats().joins == 63
    primary = store.layers[1].store
    assert isinstance(primary, FakeStore) and [call for call, _ in primary.calls].count("get") == 1


def test_who_comes_while_the_value_is_stored_joins_too() -> None:
    """Between the end of the load and its arrival in the layers, nobody loads again or waits for the layers."""
    primary = FakeStore()
    store = DelegatedStore[str]([primary])
    gate = primary.before["set"] = Gate()
    leader = threading.Thread(target=store.get_or_load, args=("a", lambda key: "value"))
    leader.start()
    assert gate.reached.wait(10)
    assert store.get_or_load("a", lambda key: "again") == "value" and store.stats().loads == 1
    gate.open()
    leader.join(10)


def test_a_failed_load_rejects_exactly_those_who_joined(store: DelegatedStore[Any]) -> None:
    """They get the loader's own exception; the next caller loads afresh; nothing is stored."""
    error = BrokenError("no data")
    results = joining(store, GatedLoader(error), 7)
    assert len(results) == 8 and all(result is error for result in results)
    assert store.get("a", None) is None
    assert store.get_or_load("a", lambda key: "fine") == "fine"


def test_a_shared_error_does_not_collect_traces(store: DelegatedStore[Any]) -> None:
    """However many callers it is raised to, the exception's trace stays that of the load."""
    error = BrokenError("no data")
    joining(store, GatedLoader(error), 20)
    length, trace = 0, error.__traceback__
    while trace is not None:
        length, trace = length + 1, trace.tb_next
    assert length < 15


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_an_interrupted_leader_poisons_nobody(store: DelegatedStore[Any], interrupt: BaseException) -> None:
    """An interrupt belongs to the leader's thread; of those who waited one takes over and loads."""
    loader = GatedLoader(interrupt)

    def lead() -> Any:
        try:
            return store.get_or_load("a", loader)
        finally:
            loader.result = "second try"

    assert joining(store, loader, 5, lead) == [interrupt, *["second try"] * 5]
    assert loader.calls == ["a", "a"]


def test_nobody_waits_for_ever(store: DelegatedStore[Any]) -> None:
    """A caller who joins waits as long as it said; the load goes on for the others."""
    loader = GatedLoader()
    leader = threading.Thread(target=store.get_or_load, args=("a", loader))
    leader.start()
    assert loader.gate.reached.wait(10)
    with pytest.raises(StoreTimeoutError, match=r"longer than 0\.01 s"):
        store.get_or_load("a", loader, timeout=0.01)
    impatient = DelegatedStore[Any]([MemoryStore()], patience=0.02)
    other = threading.Thread(target=impatient.get_or_load, args=("a", loader))
    other.start()
    while not impatient.stats().loads:
        threading.Event().wait(0.001)
    with pytest.raises(TimeoutError):
        impatient.get_or_load("a", loader)
    loader.gate.open()
    leader.join(10)
    other.join(10)
    assert store.get("a") == impatient.get("a") == "loaded"


def test_a_loader_that_asks_for_its_own_key_is_told(store: DelegatedStore[Any]) -> None:
    """That would wait for itself; it is an error, and the next caller is not concerned."""
    with pytest.raises(StoreError, match="would never end"):
        store.get_or_load("a", lambda key: store.get_or_load(key, str))
    assert store.get_or_load("a", lambda key: store.get_or_load("b", lambda key: "b") + "a") == "ba"


@pytest.mark.parametrize("make", [MemoryStore, FakeStore, FencedFake])
@pytest.mark.parametrize("deleted", [False, True])
def test_a_write_during_a_load_wins(make: Callable[[], Any], deleted: bool) -> None:
    """What was loaded goes to those who asked before the write, and replaces neither the new value nor the deletion."""
    primary = make()
    store = DelegatedStore[Any]([MemoryStore(), primary])
    loader = GatedLoader("old")
    results: list[Any] = []
    leader = threading.Thread(target=lambda: results.append(store.get_or_load("a", loader)))
    leader.start()
    assert loader.gate.reached.wait(10)
    store.delete("a") if deleted else store.set("a", "new")
    loader.gate.open()
    leader.join(10)
    assert results == ["old"] and store.get("a", None) == (None if deleted else "new")
    assert primary.has("a") is not deleted


def test_who_comes_after_a_delete_joins_no_older_load(store: DelegatedStore[Any]) -> None:
    """A load that began before a write does not answer somebody who asks after it."""
    loader = GatedLoader("old")
    leader = threading.Thread(target=store.get_or_load, args=("a", loader))
    leader.start()
    assert loader.gate.reached.wait(10)
    store.delete("a")
    assert store.get_or_load("a", lambda key: "new") == "new"
    loader.gate.open()
    leader.join(10)
    assert store.get("a") == "new" and store.stats().joins == 0


def test_everybody_gets_a_value_of_their_own(store: DelegatedStore[Any]) -> None:
    """Leader, followers and the layers have copies of their own of a value that can be changed."""
    original = ["x"]
    results = joining(store, GatedLoader(original), 4)
    for result in results:
        assert result == ["x"]
        result.append("mine")
    assert store.get("a") == ["x"]
    assert len({id(result) for result in results}) == 5


def test_a_layer_that_shares_shares_loads_too() -> None:
    """Where the first layer hands out one object to all, a load does so too."""
    store = DelegatedStore[Any]([MemoryStore(share=True)])
    results = joining(store, GatedLoader(["x"]), 4)
    assert len({id(result) for result in [*results, store.get("a")]}) == 1


def test_a_value_that_cannot_be_copied_is_loaded_by_each() -> None:
    """What can be neither shared nor copied is loaded for each caller, and nobody hangs."""
    store = DelegatedStore[Any]([MemoryStore()])
    results = joining(store, GatedLoader([threading.Lock()]), 3)  # a lock cannot be copied
    assert [len(result) for result in results] == [1] * 4 and store.stats().loads == 4


def test_a_failing_layer_does_not_fail_a_load() -> None:
    """If the value cannot be stored, it is given all the same, and the failure is counted."""
    primary = FakeStore()
    store = DelegatedStore[str]([MemoryStore(), primary])
    primary.fail.add("set")
    assert store.get_or_load("a", lambda key: "value") == "value"
    assert store.stats().layers[1].failures == 1


def test_loads_are_told_as_back_fills(store: DelegatedStore[Any]) -> None:
    """Each layer that a loaded value reached is one event; its source is the loader."""
    events: list[BackFill] = []
    store.on_back_fill(events.append)
    store.get_or_load("a", lambda key: "value")
    store.flush(10)
    assert [(event.layer_index, event.source, event.source_index, event.is_primary) for event in events] == [
        (1, "loader", 2, True),
        (0, "loader", 2, False),
    ]


def test_a_get_set_waits_for_the_one_before_it() -> None:
    """While one call has read and not yet written, another of the same key does not read."""
    primary = FakeStore()
    store = DelegatedStore[int]([primary])
    store.set("a", 0)
    gate = primary.after["get"] = Gate()
    old: list[Any] = []
    calls = [threading.Thread(target=lambda number=number: old.append(store.get_set("a", number))) for number in (1, 2)]
    calls[0].start()
    assert gate.reached.wait(10)
    again = threading.Event()
    primary.before["get"] = again.set
    calls[1].start()
    assert not again.wait(0.05)
    gate.open()
    for call in calls:
        call.join(10)
    assert old == [0, 1] and store.get("a") == 2


def test_no_two_get_sets_get_the_same_old_value() -> None:
    """In this process the calls for one key take turns: every value comes back exactly once, and the last one stays."""
    store = DelegatedStore[int]([MemoryStore(), FakeStore()])
    store.set("a", 0)
    old = in_threads(*[partial(store.get_set, "a", number) for number in range(1, 33)])
    assert sorted([*old, store.get("a")]) == list(range(33))
