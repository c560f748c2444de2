"""The delegated store beside a perfect model: random operations, expiries and failing layers, answer by answer.

The model is one dictionary: what the last write left in the primary, until its time has passed. Each of three layers
may fail at any operation, and may do what it was asked and fail to say so. Whatever happens, a read must give what the
model has, or raise because the primary failed; it must never give anything else, nor "nothing" for something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.stores.fakes import BrokenError, FakeStore, FencedFake, ManyFake
from wellwired.errors import AbilityError, LayerError, NotFound
from wellwired.stores import MISSING, Atomic, DelegatedStore, Hit, Layer, MemoryStore
from wellwired.stores.protocols import Entry
from wellwired.testing.clock import VirtualClock

KEYS = st.sampled_from(["a", "b"])
VALUES = st.sampled_from([None, 0, "", "x", "y", ["z"]])
TTLS = st.sampled_from([None, None, 5.0, 60.0])
OPERATIONS = st.sampled_from(
    ["get", "set", "delete", "clear", "has", "fill", "get_many", "set_many", "witness", "swap"]
)

ABSENT: Any = object()


def memory(clock: VirtualClock) -> MemoryStore:
    """A memory store that does not fail."""
    return MemoryStore(clock=clock)


class Frail(MemoryStore):
    """A memory store that fails on demand, before or after it has done what it was asked."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self.fail: set[str] = set()
        self.lose_reply: set[str] = set()


def _frail(name: str) -> Callable[..., Any]:
    plain = getattr(MemoryStore, name)

    def call(self: Frail, *args: Any, **kwargs: Any) -> Any:
        if name in self.fail or "all" in self.fail:
            raise BrokenError(name)
        result = plain(self, *args, **kwargs)
        if name in self.lose_reply:
            raise BrokenError(f"{name}: done, and the answer was lost")
        return result

    return call


_ABILITIES = ("fill", "fill_many", "get_many", "set_many", "tokens", "put_many", "witness", "swap")
for _name in ("get", "set", "delete", "clear", "has", *_ABILITIES):
    setattr(Frail, _name, _frail(_name))


def raw(store: Any, key: str) -> Entry[Any] | None:
    """What a store really has, whatever it would say."""
    return MemoryStore.get(store, key) if isinstance(store, MemoryStore) else store._get(key)


class Comparison(RuleBasedStateMachine):
    """A store, its model, and what may happen to them."""

    makers: tuple[Callable[[VirtualClock], Any], ...] = (memory, memory, FakeStore)

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.stores: list[Any] = [make(self.clock) for make in self.makers]
        caps = (7.0, 20.0, None)
        layers = [Layer(store, ttl=cap) for store, cap in zip(self.stores, caps, strict=True)]
        self.store = DelegatedStore[Any](layers, clock=self.clock)
        self.model: dict[str, tuple[Any, float | None]] = {}

    def expected(self, key: str) -> Any:
        """What a read must give."""
        value, end = self.model.get(key, (ABSENT, None))
        return ABSENT if end is not None and end <= self.clock.monotonic() else value

    def check(self, key: str, seen: Any) -> None:
        """The answer is the model's."""
        expected = self.expected(key)
        assert seen is expected or (seen == expected and type(seen) is type(expected)), (key, seen, expected)

    def primary_fails(self) -> bool:
        """Whether the primary has been told to fail."""
        return bool(getattr(self.stores[2], "fail", ()) or getattr(self.stores[2], "lose_reply", ()))

    def wrote(self, values: dict[str, Any], ttl: float | None, write: Callable[[], Any]) -> Any:
        """Does a write; the model has it if it returned, and else what the primary was left with."""
        try:
            answer = write()
        except LayerError:
            assert self.primary_fails()
            self.adopt(["a", "b"])
            return None
        end = None if ttl is None else self.clock.monotonic() + ttl
        self.model.update({key: (value, end) for key, value in values.items()})
        return answer

    def adopt(self, keys: list[str]) -> None:
        """Takes over what the primary really has."""
        now = self.clock.monotonic()
        for key in keys:
            entry = raw(self.stores[2], key)
            end = None if entry is None or entry.left is None else now + entry.left
            self.model[key] = (ABSENT, None) if entry is None else (entry.value, end)

    # --- what may happen

    @rule(key=KEYS, how=st.sampled_from(["get", "get", "lookup", "has", "get_many"]))
    def read(self, key: str, how: str) -> None:
        """A read gives what the model has, or says that the primary failed; never more time than is left."""
        if how == "lookup":
            found = self.store.lookup(key)
            if isinstance(found, Hit):
                self.check(key, found.value)
                end = self.model[key][1]
                assert end is None or (found.left is not None and found.left <= end - self.clock.monotonic())
            return
        try:
            if how == "has":
                assert self.store.has(key) is (self.expected(key) is not ABSENT)
            elif how == "get":
                self.check(key, self.store.get(key, ABSENT))
            else:
                found_many = self.store.get_many(["a", "b"])
                for each in ("a", "b"):
                    self.check(each, found_many.get(each, ABSENT))
        except LayerError:
            assert self.primary_fails()

    @rule(key=KEYS, value=VALUES, ttl=TTLS)
    def set_one(self, key: str, value: Any, ttl: float | None) -> None:
        """A write that returned has been done."""
        self.wrote({key: value}, ttl, lambda: self.store.set(key, value, ttl=ttl))

    @rule(value=VALUES, ttl=TTLS)
    def set_both(self, value: Any, ttl: float | None) -> None:
        """So has a batch."""
        values = {"a": value, "b": value}
        self.wrote(values, ttl, lambda: self.store.set_many(values, ttl=ttl))

    @rule(key=KEYS, how=st.sampled_from(["delete", "delete", "delete_many", "clear"]))
    def remove(self, key: str, how: str) -> None:
        """So has a delete, which says whether the key was there."""
        there = self.expected(key) is not ABSENT
        if how == "delete":
            receipt = self.wrote({key: ABSENT}, None, lambda: self.store.delete(key))
            assert receipt is None or bool(receipt) is there
        elif how == "delete_many":
            self.wrote({"a": ABSENT, "b": ABSENT}, None, lambda: self.store.delete_many(["a", "b"]))
        else:
            self.wrote({"a": ABSENT, "b": ABSENT}, None, self.store.clear)

    @rule(key=KEYS, value=VALUES, ttl=TTLS)
    def get_or_load(self, key: str, value: Any, ttl: float | None) -> None:
        """A load happens only if nothing is there; what it gave is there afterwards, if the primary could take it."""
        loaded: list[str] = []

        def load(key: str) -> Any:
            loaded.append(key)
            return value

        expected = self.expected(key)
        try:
            seen = self.store.get_or_load(key, load, ttl=ttl)
        except LayerError:
            assert self.primary_fails()
            return
        assert (expected is ABSENT) is bool(loaded)
        if not loaded:
            self.check(key, seen)
        elif self.primary_fails():
            self.adopt([key])
            # The copies above a primary that could not take it have it all the same: it is what was loaded.
            copy = raw(self.stores[0], key) or raw(self.stores[1], key)
            if self.expected(key) is ABSENT and copy is not None:
                self.model[key] = (value, None if copy.left is None else self.clock.monotonic() + copy.left)
        else:
            self.wrote({key: value}, ttl, lambda: None)

    @rule(key=KEYS, value=VALUES)
    def get_set(self, key: str, value: Any) -> None:
        """The old value is what the model had."""
        expected = self.expected(key)
        old = self.wrote({key: value}, None, lambda: (self.store.get_set(key, value, ABSENT),))
        assert old is None or old[0] is expected or old[0] == expected

    @rule(key=KEYS, value=VALUES, ttl=TTLS, how=st.sampled_from(["update", "keep", "leave", "add", "touch"]))
    def change(self, key: str, value: Any, ttl: float | None, how: str) -> None:
        """A change is given what the model has and does what it says; a primary that cannot is left as it is."""
        seen, expected = list[Any](), self.expected(key)

        def changed(current: Any) -> Any:
            seen.append(ABSENT if current is MISSING else current)
            return MISSING if how == "leave" else value

        calls: dict[str, Callable[[], Any]] = {
            "keep": lambda: self.store.update(key, changed),
            "leave": lambda: self.store.update(key, changed),
            "update": lambda: self.store.update(key, changed, ttl=ttl),
            "add": lambda: self.store.add(key, value, ttl=ttl),
            "touch": lambda: self.store.touch(key, ttl),
        }
        if not isinstance(self.stores[2], Atomic):
            with pytest.raises(AbilityError):
                calls[how]()
            return
        try:
            answer = calls[how]()
        except NotFound:
            assert expected is ABSENT and how == "leave"
            return
        except LayerError:
            assert self.primary_fails()
            self.adopt(["a", "b"])
            return
        now, there = self.clock.monotonic(), expected is not ABSENT
        if seen:
            self.check(key, seen[-1])
        if how in ("update", "keep"):
            kept = self.model[key][1] if there else None
            self.model[key] = (value, kept if how == "keep" else None if ttl is None else now + ttl)
        elif how != "leave":
            assert answer is (there if how == "touch" else not there)
            if answer:
                self.model[key] = (expected if there else value, None if ttl is None else now + ttl)

    @rule(seconds=st.sampled_from([1.0, 4.0, 15.0, 61.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    @rule(layer=st.integers(0, 2))
    def outage(self, layer: int) -> None:
        """A layer is down."""
        if hasattr(self.stores[layer], "fail"):
            self.stores[layer].fail.add("all")

    @rule(layer=st.integers(0, 2), key=KEYS, value=VALUES, how=st.sampled_from(["set", "delete", "clear"]))
    def blip(self, layer: int, key: str, value: Any, how: str) -> None:
        """A layer is down for the time of one write."""
        self.outage(layer=layer)
        self.set_one(key=key, value=value, ttl=None) if how == "set" else self.remove(key=key, how=how)
        self.mend()

    @rule(layer=st.integers(0, 2), operation=OPERATIONS, lost=st.booleans())
    def break_layer(self, layer: int, operation: str, lost: bool) -> None:
        """A layer begins to fail at an operation, before or after doing it."""
        store = self.stores[layer]
        if hasattr(store, "fail"):
            (store.lose_reply if lost else store.fail).add(operation)

    @rule()
    def mend(self) -> None:
        """Every layer works again."""
        for store in self.stores:
            if hasattr(store, "fail"):
                store.fail.clear()
                store.lose_reply.clear()

    @invariant()
    def background_work_is_done(self) -> None:
        """Between two steps nothing is under way, so that a failure can be repeated."""
        self.store.flush(10)

    def teardown(self) -> None:
        """Lets the worker go."""
        self.mend()
        self.store.close()


class MemoryOverMemory(Comparison):
    """Memory, frail memory with every ability, and a plain primary."""

    makers = (memory, Frail, FakeStore)


class PlainOverMany(Comparison):
    """Layers that know nothing of fences, filled in the background."""

    makers = (FakeStore, ManyFake, ManyFake)


class PlainOverMemory(Comparison):
    """A plain layer over memory that never fails, above frail memory: what changes are made in."""

    makers = (FakeStore, memory, Frail)


class FencedOverPlain(Comparison):
    """A layer with tokens over one without, in front of frail memory."""

    makers = (FencedFake, FakeStore, Frail)


@pytest.mark.parametrize("machine", [MemoryOverMemory, PlainOverMany, PlainOverMemory, FencedOverPlain])
def test_it_agrees_with_a_perfect_model(machine: Any) -> None:
    """Over three layers of several kinds, no sequence of operations, expiries and failures gives a wrong answer."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=100,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        ),
    )
