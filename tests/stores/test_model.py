"""The stores beside a perfect model, under random operations: they agree after every one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import fakeredis
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from wellwired.stores import MemoryStore
from wellwired.stores.protocols import Entry
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore

KEYS: tuple[str, ...] = ("a", "A", "a:b")
VALUES: st.SearchStrategy[Any] = st.sampled_from([None, 0, False, "", [], "x", 1])

one = st.sampled_from(KEYS)
some = st.lists(one, max_size=3, unique=True)
OPERATIONS = st.one_of(
    st.tuples(st.just("set"), one, VALUES),
    st.tuples(st.just("set for no time"), one),
    st.tuples(st.just("delete"), one),
    st.tuples(st.just("clear")),
    st.tuples(st.just("set_many"), st.dictionaries(one, VALUES, max_size=3)),
    st.tuples(st.just("delete_many"), some),
    st.tuples(st.just("read"), one),
    st.tuples(st.just("read"), one),
    st.tuples(st.just("fill"), one, VALUES),
    st.tuples(st.just("fill"), one, VALUES),
    st.tuples(st.just("fill_many"), st.dictionaries(one, VALUES, max_size=3)),
    st.tuples(st.just("tokens"), some),
    st.tuples(st.just("put"), one, VALUES),
)


class Model:
    """What a store ought to hold, and which tokens ought to be good."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.writes = dict.fromkeys(KEYS, 0)
        self.fills = dict.fromkeys(KEYS, 0)
        self.tokens: dict[str, tuple[Any, int, int]] = {}

    def note(self, key: str, token: Any) -> None:
        """Keeps a token with the moment that it is of."""
        self.tokens[key] = (token, self.writes[key], self.fills[key])

    def write(self, *keys: str) -> None:
        """Makes the tokens of the keys stale."""
        for key in keys:
            self.writes[key] += 1

    def judge(self, key: str, admitted: bool) -> None:
        """A stale token admits nothing; a good one does, unless another fill came first, which may refuse it."""
        _, writes, fills = self.tokens[key]
        if admitted:
            assert writes == self.writes[key], f"a write of {key!r} was overtaken"
        else:
            assert (writes, fills) != (self.writes[key], self.fills[key]), f"a good token of {key!r} was refused"


@contextmanager
def memory_store() -> Iterator[MemoryStore]:
    """A memory store."""
    yield MemoryStore()


@contextmanager
def redis_store() -> Iterator[RedisStore]:
    """A Redis store on a server of its own."""
    with fakeredis.FakeRedis(server=fakeredis.FakeServer()) as client:
        yield RedisStore(client, namespace="users")


@contextmanager
def sql_store() -> Iterator[SQLStore]:
    """An SQL store in memory."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    store = SQLStore(engine, namespace="users")
    store.create_table()
    yield store
    engine.dispose()


STORES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "memory": memory_store,
    "redis": redis_store,
    "sql": sql_store,
}


def perform(store: Any, model: Model, verb: str, *facts: Any) -> None:  # noqa: C901, PLR0912 - one branch for each verb
    """Does one operation to both."""
    match verb, *facts:
        case "set", key, value:
            store.set(key, value, 500.0 if value == 1 else None)
            model.values[key] = value
            model.write(key)
        case "set for no time", key:
            store.set(key, "gone", 0)
            model.values.pop(key, None)
            model.write(key)
        case "delete", key:
            assert store.delete(key) is (key in model.values)
            model.values.pop(key, None)
            model.write(key)
        case ("clear",):
            store.clear()
            model.values.clear()
            model.write(*KEYS)
        case "set_many", values:
            store.set_many({key: Entry(value) for key, value in values.items()})
            model.values |= values
            model.write(*values)
        case "delete_many", keys:
            assert store.delete_many(keys) == len(model.values.keys() & set(keys))
            model.values = {key: value for key, value in model.values.items() if key not in keys}
            model.write(*keys)
        case "read", key:
            entry, token = store.read(key)
            assert (entry is not None) is (key in model.values)
            if entry is None:  # what is there needs no filling: its token may be one that lets nothing in
                model.note(key, token)
        case "tokens", keys:
            for key, token in store.tokens(keys).items():
                model.note(key, token)
        case "fill", key, value if key in model.tokens:
            admitted = store.fill(key, Entry(value, 500.0), model.tokens[key][0])
            model.judge(key, admitted)
            if admitted:
                model.values[key] = value
                model.fills[key] += 1
        case "fill_many", values:
            items = {key: (Entry(value), model.tokens[key][0]) for key, value in values.items() if key in model.tokens}
            admitted_keys = store.fill_many(items)
            for key in items:
                model.judge(key, key in admitted_keys)
                if key in admitted_keys:
                    model.values[key] = values[key]
                    model.fills[key] += 1
        case "put", key, value if key in model.tokens:
            admitted = key in store.put_many({key: (Entry(value), model.tokens[key][0])})
            model.judge(key, admitted)
            if admitted:
                model.values[key] = value
                model.write(key)


@pytest.mark.parametrize("kind", STORES)
@settings(max_examples=150, deadline=None)
@given(operations=st.lists(OPERATIONS, min_size=8, max_size=30))
def test_a_store_agrees_with_the_model(kind: str, operations: list[tuple[Any, ...]]) -> None:
    """After each operation the store holds exactly what the model does, and its tokens are good exactly as there."""
    with STORES[kind]() as store:
        model = Model()
        for operation in operations:
            perform(store, model, *operation)
            agree(store, model)


def agree(store: Any, model: Model) -> None:
    """Compares what both hold."""
    found = {key: entry.value for key, entry in store.get_many(KEYS).items()}
    assert found == model.values
    assert {key: type(value) for key, value in found.items()} == {key: type(v) for key, v in model.values.items()}
    assert sorted(store.keys()) == sorted(model.values)
    assert [store.has(key) for key in KEYS] == [key in model.values for key in KEYS]
