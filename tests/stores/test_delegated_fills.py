"""Fills in the background and what is told of them: never in the reader's way, bounded, coalesced, drained, forked."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref
from typing import Any

import pytest
from pytest_mock import MockerFixture

from tests.stores.fakes import FakeStore, FencedFake, Gate
from wellwired.errors import StoreError, StoreTimeoutError
from wellwired.stores import (
    BackFill,
    DelegatedStore,
    FillDropped,
    FillPlanned,
    FillPolicy,
    Layer,
    LayerFailed,
    MemoryStore,
    Overflow,
    StoreEvent,
)
from wellwired.testing.clock import VirtualClock


def filled(*keys: str) -> FakeStore:
    """A primary that has the keys."""
    primary = FakeStore()
    primary.data.update({key: (f"value of {key}", None) for key in keys})
    return primary


# --- who is told


def test_one_event_for_each_layer_filled() -> None:
    """From the bottom up, each with the layer, its place and role, the source and the time that is left."""
    clock = VirtualClock()
    primary = FakeStore(clock)
    primary._set("a", "value", 100.0)
    store = DelegatedStore[str](
        [
            Layer(MemoryStore(clock=clock), ttl=60.0),
            Layer(FakeStore(clock), primary=True, name="redis.cache"),
            Layer(primary, primary=True, name="sql.main"),
        ],
        name="users",
        clock=clock,
    )
    events: list[BackFill] = []
    store.on_back_fill(events.append)
    store.get("a")
    store.flush(10)
    assert events == [
        BackFill("a", "value", 1, True, "redis.cache", "sql.main", 2, 100.0, "users"),
        BackFill("a", "value", 0, False, "memory", "sql.main", 2, 60.0, "users"),
    ]


def test_callbacks_are_called_in_the_order_of_registration() -> None:
    """Those of the constructor first, then the later ones; cleared ones are called no more."""
    order: list[str] = []
    store = DelegatedStore[str](
        [MemoryStore(), filled("a", "b")], [lambda event: order.append("one"), lambda event: order.append("two")]
    )
    store.on_back_fill(lambda event: order.append("three"))
    store.get("a")
    store.flush(10)
    assert order == ["one", "two", "three"]
    store.clear_back_fill_callbacks()
    store.get("b")
    store.flush(10)
    assert len(order) == 3


def test_an_error_in_a_callback_changes_nothing(mocker: MockerFixture) -> None:
    """The other callbacks are called, the read and the fill are as they were; it is counted, and logged once."""
    log = mocker.patch("wellwired.stores._listeners._log")
    called: list[str] = []

    def bad(event: BackFill) -> None:
        raise ValueError("secret")

    store = DelegatedStore[str]([MemoryStore(), filled("a", "b")], [bad, lambda event: called.append(event.key)])
    assert store.get("a") == "value of a" and store.get("b") == "value of b"
    store.flush(10)
    assert called == ["a", "b"] and store.stats().listener_errors == 2 and store.layers[0].store.has("a")
    assert log.error.call_count == 1 and "secret" not in str(log.error.call_args)


def test_what_is_no_callback_is_refused() -> None:
    """Something that cannot be called is refused when it is registered."""
    store = DelegatedStore[str]([MemoryStore()])
    with pytest.raises(TypeError, match="must be callable"):
        store.on_back_fill(None)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="must be callable"):
        DelegatedStore([MemoryStore()], ["no"])  # type: ignore[list-item]


def test_a_decorated_callback_stays_a_function() -> None:
    """`on_back_fill` and `on_event` give back what they were given."""
    store = DelegatedStore[str]([MemoryStore()])

    @store.on_back_fill
    def told(event: BackFill) -> str:
        return event.key

    @store.on_event
    def told_all(event: StoreEvent) -> str:
        return event.store

    event = BackFill("a", 1, 0, False)
    assert told(event) == "a" and told_all(event) == ""


def test_a_callback_cannot_change_what_others_see() -> None:
    """Each callback has the value for itself, as far as it can be changed at all."""
    primary = FakeStore()
    primary.data["a"] = (["x"], None)
    seen: list[Any] = []

    def spoil(event: BackFill) -> None:
        event.value.append("spoiled")

    store = DelegatedStore[Any]([MemoryStore(), primary], [spoil, lambda event: seen.append(event.value)])
    mine = store.get("a")
    store.flush(10)
    assert seen == [["x"]] and store.get("a") == ["x"] and mine == ["x"]


def test_every_event_is_told_to_those_who_want_all() -> None:
    """A layer's failure is told with its type; fills are told to them too, planned and made."""
    copy, primary = FakeStore(), filled("a")
    copy.fail.add("get")
    store = DelegatedStore[str]([MemoryStore(), copy, primary])
    events: list[StoreEvent] = []
    store.on_event(events.append)
    store.get("a")
    store.flush(10)
    assert events == [
        LayerFailed(1, "fake", "get", "BrokenError", "store"),
        FillPlanned("a", ("memory",), "fake-2", "store"),
        BackFill("a", "value of a", 0, False, "memory", "fake-2", 2, None, "store"),
    ]


# --- not in the reader's way


def test_a_read_does_not_wait_for_a_slow_layer_to_be_filled() -> None:
    """The value is there although the layer above is stuck being filled; afterwards it has it."""
    upper = FakeStore()
    gate = upper.before["set"] = Gate()
    store = DelegatedStore[str]([upper, filled("a", "b")])
    assert store.get("a") == "value of a" and gate.reached.wait(10)
    assert store.get("b") == "value of b" and upper.data == {}
    gate.open()
    store.flush(10)
    assert set(upper.data) == {"a", "b"}


def test_a_read_does_not_wait_for_a_slow_callback() -> None:
    """Callbacks run beside the reader, also when the layer itself is filled by the reader."""
    gate = Gate()
    store = DelegatedStore[str]([MemoryStore(), filled("a", "b")], [lambda event: gate()])
    assert store.get("a") == "value of a" and store.get("b") == "value of b"
    gate.open()
    store.flush(10)


def test_memory_is_filled_before_the_read_returns() -> None:
    """Filling memory waits for nothing, so the very next read hits; no thread is started for it."""
    store = DelegatedStore[str]([MemoryStore(), filled("a")])
    before = threading.active_count()
    store.get("a")
    assert store.layers[0].store.has("a") and threading.active_count() == before


def test_the_worker_starts_with_the_first_need_and_ends_without() -> None:
    """No thread before the first fill; none after a while without; the next fill starts another."""
    upper = FakeStore()
    store = DelegatedStore[str]([upper, filled("a", "b")], name="idle", fills=FillPolicy(idle=0.01))

    def workers() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "wellwired-fills-idle"]

    assert workers() == []
    for key in ("a", "b"):
        store.get(key)
        for thread in workers():
            assert thread.daemon
            thread.join(10)
        assert workers() == [] and key in upper.data


def test_a_store_that_nobody_holds_goes_away() -> None:
    """Neither the worker nor the fork hook keeps a store alive."""
    store = DelegatedStore[str]([FakeStore(), filled("a")], fills=FillPolicy(idle=0.01), name="gone")
    store.get("a")
    for thread in threading.enumerate():
        if thread.name == "wellwired-fills-gone":
            thread.join(10)
    gone = weakref.ref(store._stack)
    del store
    gc.collect()
    assert gone() is None


def test_the_caller_may_change_a_value_that_waits() -> None:
    """What is filled is the value as it was read, whatever the reader does to its own."""
    upper, primary = FakeStore(), FakeStore()
    primary.data["a"] = (["x"], None)
    gate = upper.before["set"] = Gate()
    store = DelegatedStore[Any]([upper, primary])
    store.get("a").append("changed")
    primary.data["a"] = (["x"], None)
    gate.open()
    store.flush(10)
    assert upper.data["a"] == (["x"], None)


def test_a_value_that_cannot_be_copied_is_not_filled() -> None:
    """It is read as ever; the fill is dropped, counted and told."""
    primary = FakeStore()
    primary.data["a"] = ([threading.Lock()], None)
    store = DelegatedStore[Any]([FakeStore(), primary])
    events: list[StoreEvent] = []
    store.on_event(events.append)
    assert len(store.get("a")) == 1
    store.flush(10)
    planned = FillPlanned("a", ("fake",), "fake-2", "store")
    assert store.stats().dropped == 1 and events == [planned, FillDropped("a", "uncopyable", "store")]


def test_a_fill_of_a_value_that_cannot_be_copied_is_not_told() -> None:
    """A layer filled by the reader itself may take it; there is just nothing safe to hand to a callback."""
    upper, primary = FakeStore(), FakeStore()
    primary.data["a"] = ([threading.Lock()], None)
    store = DelegatedStore[Any]([Layer(upper, inline=True), primary], [lambda event: None])
    assert len(store.get("a")) == 1 and "a" in upper.data
    assert store.stats().untold == 1 and store.stats().listener_errors == 0


# --- bounded


@pytest.mark.parametrize("overflow", Overflow)
def test_what_waits_is_bounded(overflow: Overflow) -> None:
    """Beyond the limit the policy says which fill goes; what went is counted and told."""
    upper = FakeStore()
    store = DelegatedStore[str](
        [upper, filled("first", "a", "b", "c")], fills=FillPolicy(limit=2, batch=1, overflow=overflow)
    )
    events: list[StoreEvent] = []
    store.on_event(lambda event: events.append(event) if isinstance(event, FillDropped) else None)
    gate = upper.before["set"] = Gate()
    store.get("first")
    assert gate.reached.wait(10)
    for key in ("a", "b", "c"):
        store.get(key)
    dropped, kept = ("c", {"a", "b"}) if overflow is Overflow.DROP_NEWEST else ("a", {"b", "c"})
    assert store.stats().pending == 2 and store.stats().dropped == 1
    gate.open()
    store.flush(10)
    assert set(upper.data) == {"first", *kept} and FillDropped(dropped, "overflow", "store") in events


def test_a_key_waits_once() -> None:
    """Many reads of one key are one fill, with the latest value."""
    upper, primary = FakeStore(), filled("first", "a")
    store = DelegatedStore[str]([upper, primary])
    gate = upper.before["set"] = Gate()
    store.get("first")
    assert gate.reached.wait(10)
    for number in range(10):
        primary.data["a"] = (f"version {number}", None)
        store.get("a")
    assert store.stats().pending == 1
    gate.open()
    store.flush(10)
    assert [about for call, about in upper.calls if call == "set"] == ["first", "a"]
    assert upper.data["a"] == ("version 9", None)


def test_events_that_nobody_hears_in_time_are_counted() -> None:
    """Telling is bounded as well: what does not fit is not told, and never delays a read."""
    gate = Gate()
    keys = [f"k{number}" for number in range(20)]
    store = DelegatedStore[str]([MemoryStore(), filled(*keys)], [lambda event: gate()], fills=FillPolicy(events=5))
    store.get("k0")
    assert gate.reached.wait(10)
    store.get_many(keys[1:])
    assert store.stats().untold == 14
    gate.open()
    store.flush(10)


def test_a_fill_that_comes_too_late_is_counted() -> None:
    """A read that was under way when the store was closed gives its value, and its fill is dropped."""
    upper, primary = FakeStore(), filled("a")
    store = DelegatedStore[str]([upper, primary])
    gate = primary.after["get"] = Gate()
    results: list[str] = []
    reader = threading.Thread(target=lambda: results.append(store.get("a")))
    reader.start()
    assert gate.reached.wait(10)
    store.close()
    gate.open()
    reader.join(10)
    assert results == ["value of a"] and store.stats().dropped == 1 and upper.data == {}


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"events": 0}, {"batch": 0}, {"idle": 0.0}, {"idle": float("nan")}])
def test_a_policy_allows_something(wrong: dict[str, Any]) -> None:
    """A policy under which nothing could ever be filled is refused."""
    with pytest.raises(ValueError, match="fill policy"):
        FillPolicy(**wrong)


# --- drained


def test_flush_waits_no_longer_than_told() -> None:
    """It raises if there is still work when its time has passed, and gives nothing up."""
    upper = FakeStore()
    gate = upper.before["set"] = Gate()
    store = DelegatedStore[str]([upper, filled("a")])
    store.get("a")
    assert gate.reached.wait(10)
    with pytest.raises(StoreTimeoutError, match="store store"):
        store.flush(0.01)
    gate.open()
    store.flush()
    assert "a" in upper.data


def test_closing_makes_what_waits() -> None:
    """`close` fills what waits, tells of it, and then closes the layers."""
    upper = FakeStore()
    told: list[str] = []
    store = DelegatedStore[str]([upper, filled("a", "b", "c")], [lambda event: told.append(event.key)])
    store.get_many(["a", "b", "c"])
    assert store.close() == 0
    assert set(upper.data) == {"a", "b", "c"} and sorted(told) == ["a", "b", "c"]
    assert upper.calls[-1] == ("close", None)


def test_closing_gives_up_when_its_time_has_passed(mocker: MockerFixture) -> None:
    """What could not be filled in time is given up, counted, and said."""
    mocker.patch("wellwired.stores._background._log")
    upper = FakeStore()
    gate = upper.before["set"] = Gate()
    store = DelegatedStore[str]([upper, filled("a", "b", "c")], fills=FillPolicy(batch=1))
    store.get_many(["a", "b", "c"])
    assert gate.reached.wait(10)
    assert store.close(0.01) == 2
    gate.open()
    assert store.stats().dropped == 2 and store.stats().pending == 0


def test_a_callback_cannot_wait_for_itself() -> None:
    """Flushing or closing from a callback is an error there, not a deadlock."""
    raised: list[Exception] = []
    store = DelegatedStore[str]([MemoryStore(), filled("a")])

    def flush(event: BackFill) -> None:
        with pytest.raises(StoreError, match="wait for itself") as caught:
            store.flush(10)
        raised.append(caught.value)

    store.on_back_fill(flush)
    store.get("a")
    store.flush(10)
    assert len(raised) == 1


def test_a_worker_that_cannot_start_loses_nothing(mocker: MockerFixture) -> None:
    """Out of threads: the read is answered, flushing says that work is left, and the next attempt makes it."""
    upper = FakeStore()
    store = DelegatedStore[str]([upper, filled("a")])
    start = mocker.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread"))
    assert store.get("a") == "value of a"
    with pytest.raises(StoreTimeoutError):
        store.flush()
    mocker.stop(start)
    store.flush(10)
    assert "a" in upper.data


def test_the_worker_outlives_what_a_layer_raises(mocker: MockerFixture) -> None:
    """Whatever escapes a fill is logged, and the next fill is made."""
    log = mocker.patch("wellwired.stores._background._log")
    upper = FakeStore()

    def leave() -> None:
        raise SystemExit

    upper.before["set"] = leave
    store = DelegatedStore[str]([upper, filled("a", "b")])
    store.get("a")
    store.flush(10)
    upper.before.clear()
    store.get("b")
    store.flush(10)
    assert set(upper.data) == {"b"} and log.error.call_count == 1


# --- processes


def test_a_child_begins_with_a_worker_of_its_own() -> None:
    """Forked while the parent fills, writes and loads: the child waits for none of that, and fills by itself."""
    upper, primary = FencedFake(), filled("a", "b")
    memory = MemoryStore()
    store = DelegatedStore[str]([memory, upper, primary])
    gate = upper.before["fill"] = Gate()
    store.get("a")
    assert gate.reached.wait(10)
    memory.set("b", "a copy that a write of the parent's may be about to remove")
    with store._stack.fence.writing(["a"]), store._stack.turns.taken(["a"]):
        pid = os.fork()
        if pid == 0:
            upper.before.clear()
            good = store.stats().pending == 0 and len(memory) == 0
            store.flush(5)
            good = good and store.get("b") == "value of b"
            store.flush(5)
            good = good and store.get_or_load("c", lambda key: key) == "c" and set(upper.data) == {"b", "c"}
            store.set("a", "child")
            os._exit(0 if good and store.get("a") == "child" and store.close(5) == 0 else 1)
    gate.open()
    store.flush(10)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert set(upper.data) == {"a"} and memory.has("b")


def test_a_process_ends_cleanly_in_the_middle_of_it() -> None:
    """A program that ends without closing its store ends at once and says nothing."""
    program = (
        "from tests.stores.fakes import FakeStore\n"
        "from wellwired.stores.delegated import DelegatedStore\n"
        "import threading\n"
        "upper, primary = FakeStore(), FakeStore()\n"
        "upper.before['set'] = threading.Event().wait\n"
        "primary.data['a'] = (1, None)\n"
        "store = DelegatedStore([upper, primary])\n"
        "print(store.get('a'))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "1", "")
