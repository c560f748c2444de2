"""The loader store: a function as a layer that only reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from wellwired.errors import KeyFormatError, NotFound, ReadOnlyError, StoreError
from wellwired.stores import DelegatedStore, Layer, MemoryStore
from wellwired.stores.loader import MISSING, LoaderStore, Missing
from wellwired.stores.protocols import Entry, Fenced, Many, Store

FALSY: tuple[Any, ...] = (None, False, 0, 0.0, "", [], {}, ())


def absent(key: str) -> Any:
    """A loader that finds nothing, by an error."""
    raise NotFound(key)


@pytest.mark.parametrize("value", FALSY, ids=repr)
def test_whatever_the_function_returns_is_the_value(value: Any) -> None:
    """None and every other falsy value are values."""
    store = LoaderStore(lambda key: value)
    entry = store.get("a")
    assert entry is not None and entry.value is value and entry.left is None and store.has("a")
    assert store.get_many(["a", "b"]) == {"a": Entry(value), "b": Entry(value)}


@pytest.mark.parametrize("load", [lambda key: MISSING, absent], ids=["MISSING", "NotFound"])
def test_nothing_there_is_said_in_two_ways(load: Callable[[str], Any]) -> None:
    """Returning `MISSING` and raising `NotFound` both mean that there is nothing."""
    store = LoaderStore(load)
    assert store.get("a") is None and store.has("a") is False and store.get_many(["a"]) == {}


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), TimeoutError("x"), StoreError("x")], ids=repr)
def test_every_other_error_is_a_failure(error: Exception) -> None:
    """A KeyError is more often a mistake in the function than an answer, so it passes through like the rest."""

    def load(key: str) -> Any:
        raise error

    store = LoaderStore(load)
    for call in (lambda: store.get("a"), lambda: store.has("a"), lambda: store.get_many(["a"])):
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error


def test_the_function_may_say_how_long_a_value_is_good() -> None:
    """An `Entry` passes with its seconds; one whose time is over is nothing."""
    lives: dict[str, float | None] = {"long": 60.0, "for ever": None, "over": 0.0, "past": -1.0}
    store = LoaderStore(lambda key: Entry(None, lives[key]))
    assert store.get("long") == Entry(None, 60.0) and store.get("for ever") == Entry(None, None)
    assert store.get("over") is None and store.get("past") is None
    assert set(store.get_many(list(lives))) == {"long", "for ever"}


def test_many_keys_are_loaded_at_once() -> None:
    """The batch function is called once, with each key once, and what it leaves out is not there."""
    asked: list[list[str]] = []

    def many(keys: Sequence[str]) -> Mapping[str, Any]:
        asked.append(list(keys))
        return {"a": None, "b": Entry(2, 5.0), "c": MISSING, "other": 1}

    store = LoaderStore(absent, many=many)
    assert store.get_many(["b", "a", "b", "c", "d"]) == {"a": Entry(None), "b": Entry(2, 5.0)}
    assert asked == [["b", "a", "c", "d"]]
    assert store.get_many([]) == {} and len(asked) == 1


def test_it_only_reads() -> None:
    """Every write is refused, and the store says beforehand that it will."""
    store = LoaderStore(absent)
    assert store.read_only is True
    calls: list[Callable[[], Any]] = [
        lambda: store.set("a", 1),
        lambda: store.delete("a"),
        store.clear,
        lambda: store.set_many({"a": Entry(1)}),
        lambda: store.delete_many(["a"]),
    ]
    for call in calls:
        with pytest.raises(ReadOnlyError, match="LoaderStore\\(absent\\) only reads"):
            call()
    store.close()
    store.close()


def test_keys_are_listed_if_there_is_a_function_for_it() -> None:
    """Without one the error says what to give."""
    assert list(LoaderStore(absent, keys=lambda: ["a", "b"]).keys()) == ["a", "b"]
    with pytest.raises(StoreError, match="keys="):
        LoaderStore(absent).keys()


def test_what_is_no_key_never_reaches_the_function() -> None:
    """A key that other layers would refuse is refused here too."""
    store = LoaderStore(lambda key: 1)
    for call in (lambda: store.get(""), lambda: store.get_many(["a", ""])):
        with pytest.raises(KeyFormatError):
            call()


def test_it_is_a_store_without_a_fence() -> None:
    """It has the contract's methods and no ability that it could not keep."""
    store = LoaderStore(absent)
    assert [isinstance(store, ability) for ability in (Store, Many, Fenced)] == [True, True, False]
    assert repr(MISSING) == "MISSING" and isinstance(MISSING, Missing)


def test_it_is_the_bottom_of_a_stack() -> None:
    """A stack reads through it, keeps what it gave, and tells a stored None from nothing."""
    calls: list[str] = []

    def load(key: str) -> Any:
        calls.append(key)
        return None if key == "none" else MISSING

    stack: DelegatedStore[Any] = DelegatedStore([Layer(MemoryStore(), ttl=60.0), LoaderStore(load)])
    with stack:
        assert stack.get("none") is None and stack.get("none") is None
        assert stack.get("nothing", "default") == "default"
        assert calls == ["none", "nothing"]
        with pytest.raises(ReadOnlyError):
            stack.set("none", 1)
