"""Loads of many keys: one call of the loader, single-flight for each key, bounded waits, and what is remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.stores.fakes import BrokenError, Gate, ManyFake, in_threads
from tests.stores.test_loading import stack
from wellwired.errors import NotFound, StoreTimeoutError
from wellwired.stores import Entry, Layer, MemoryStore, Miss
from wellwired.testing.clock import VirtualClock


def test_many_are_loaded_in_one_call_and_stored_in_one_go(virtual_clock: VirtualClock) -> None:
    """The loader is given what lacks, each once; what it leaves out is not there."""
    upper, primary = ManyFake(virtual_clock), ManyFake(virtual_clock)
    store, asked = stack(virtual_clock, upper, primary), list[Sequence[str]]()
    store.set("there", 0)

    def load(keys: Sequence[str]) -> Mapping[str, Any]:
        asked.append(list(keys))
        return {"a": 1, "b": None}

    assert store.get_or_load_many(["a", "there", "b", "a", "gone"], load) == {"a": 1, "there": 0, "b": None}
    assert asked == [["a", "b", "gone"]]
    assert [call for call in primary.calls if call[0] == "set_many"] == [("set_many", ["a", "b"])]
    assert upper.data["a"] == (1, None) and primary.data["b"] == (None, None)
    assert store.get_or_load_many([], load) == {} and len(asked) == 1
    store.close()


def test_a_batch_that_fails_rejects_those_who_joined(virtual_clock: VirtualClock) -> None:
    """Nobody waits for ever; the next one loads again."""
    store, gate = stack(virtual_clock, MemoryStore()), Gate()

    def load(keys: Sequence[str]) -> Mapping[str, Any]:
        gate()
        raise BrokenError(keys)

    def join() -> Any:
        assert gate.reached.wait(10)
        gate.open()
        return store.get_or_load("a", lambda _: "mine")

    results = in_threads(lambda: store.get_or_load_many(["a", "b"], load), join)
    assert isinstance(results[0], BrokenError) and (isinstance(results[1], BrokenError) or results[1] == "mine")
    assert store.get_or_load_many(["b"], lambda keys: dict.fromkeys(keys, 1)) == {"b": 1}
    assert len(store._endpoint.loads.flights) == 0


@pytest.mark.parametrize("first", ["batch", "key"])
def test_a_key_and_a_batch_that_has_it_load_it_once(first: str, virtual_clock: VirtualClock) -> None:
    """Whichever comes first loads it for both."""
    store, gate, loaded = stack(virtual_clock, MemoryStore()), Gate(), list[str]()

    def load(keys: Sequence[str]) -> Mapping[str, Any]:
        loaded.extend(keys)
        if "a" in keys:
            gate()
        return {key: key.upper() for key in keys}

    def batch() -> Any:
        return store.get_or_load_many(["a", "b"], load)

    def key() -> Any:
        return store.get_or_load("a", lambda one: load([one])[one])

    def second() -> Any:
        assert gate.reached.wait(10)
        threading.Timer(0.05, gate.open).start()
        return (key if first == "batch" else batch)()

    answers = in_threads(batch if first == "batch" else key, second)
    assert answers == [{"a": "A", "b": "B"}, "A"][:: 1 if first == "batch" else -1]
    assert sorted(loaded) == ["a", "b"]


def test_a_batch_waits_for_others_no_longer_than_for_one(virtual_clock: VirtualClock) -> None:
    """However many loads it joins, its patience is for all of them together."""
    store, gates = stack(virtual_clock, MemoryStore()), {key: Gate() for key in "ab"}

    def load(key: str) -> str:
        gates[key]()
        return key.upper()

    loads = [threading.Thread(target=store.get_or_load, args=(key, load)) for key in "ab"]
    for one in loads:
        one.start()
    assert all(gate.reached.wait(10) for gate in gates.values())

    def let_one_go() -> None:
        while store.stats().joins < 2:
            threading.Event().wait(0.001)
        virtual_clock.advance(9.5)
        gates["a"].open()

    began = time.monotonic()
    results = in_threads(lambda: store.get_or_load_many(["a", "b"], lambda _: {}, timeout=10.0), let_one_go)
    assert isinstance(results[0], StoreTimeoutError) and time.monotonic() - began < 8.0
    gates["b"].open()
    for one in loads:
        one.join(10)


def test_a_failed_batch_is_remembered_only_if_asked(virtual_clock: VirtualClock) -> None:
    """Then its error is raised for each of its keys for a while, to batches and to single keys."""
    for seconds, calls in ((None, 2), (5.0, 1)):
        store = stack(virtual_clock, MemoryStore(clock=virtual_clock), failed_ttl=seconds, absent_ttl=5.0)
        asked: list[Sequence[str]] = []

        def load(keys: Sequence[str], asked: list[Sequence[str]] = asked) -> Mapping[str, Any]:
            asked.append(keys)
            raise NotFound("something else") if len(asked) > 1 else BrokenError("source")

        with pytest.raises(BrokenError):
            store.get_or_load_many(["a", "b"], load)
        with pytest.raises((BrokenError, NotFound)):
            store.get_or_load_many(["b"], load)
        assert len(asked) == calls and store.lookup("b") == Miss("b")
        virtual_clock.advance(5.0)
        assert store.get_or_load("a", lambda _: 1) == 1


def test_a_batch_whose_loader_fails_is_served_what_is_stale(virtual_clock: VirtualClock) -> None:
    """As a single key is, if there is something for every key; else it fails, and who joined gets what there is."""
    store = stack(virtual_clock, Layer(MemoryStore(clock=virtual_clock), stale=60.0))

    def fail(keys: Sequence[str]) -> Mapping[str, Any]:
        raise BrokenError(keys)

    store.get_or_load_many(["a", "b"], lambda keys: {key: Entry(key, 10.0, 60.0) for key in keys})
    virtual_clock.advance(11.0)
    assert store.get_or_load_many(["a", "b"], fail) == {"a": "a", "b": "b"}
    assert store.stats().layers[0].stale == 2
    with pytest.raises(BrokenError):
        store.get_or_load_many(["a", "c"], fail)
    assert store.get_or_load_many(["a", "b"], lambda _: {"b": 1}) == {"b": 1}
    with pytest.raises(BrokenError):
        store.get_or_load_many(["a"], fail)  # its loader has said that there is nothing: nothing stale is served
