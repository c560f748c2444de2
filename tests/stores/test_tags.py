"""Tags through a stack: what bears one disappears from every layer, and nothing on its way brings it back."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.stores.fakes import BrokenError, FakeStore, Gate, ManyFake, in_threads
from wellwired.errors import KeyFormatError, LayerError, NotFound
from wellwired.stores import DelegatedStore, Entry, Layer, LayerState, MemoryStore, Store
from wellwired.stores.loader import MISSING, LoaderStore
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore
from wellwired.stores.table import TableStore


@pytest.fixture
def layers(redis_client: Any, sqlite_url: str) -> Any:
    """Memory over Redis over SQL, each with its tags."""
    engine = sa.create_engine(sqlite_url)
    table = SQLStore(engine, namespace="users")
    table.create_table()
    yield [Layer(MemoryStore()), Layer(RedisStore(redis_client, namespace="users")), Layer(table, primary=True)]
    engine.dispose()


def test_an_invalidation_reaches_every_layer(layers: list[Layer]) -> None:
    """After it, no layer has what bore the tag, all have the rest, and the receipt says so."""
    with DelegatedStore[str](layers) as store:
        store.set("a", "1", tags=("t", "u"))
        store.set_many({"b": "2", "c": "3"}, tags=["u"])
        store.set("d", "4")
        receipt = store.invalidate_tags(["t"])
        assert [outcome.state for outcome in receipt.layers] == [LayerState.DONE] * 3
        assert [layer.store.has("a") for layer in layers] == [False] * 3
        assert store.get_many(["a", "b", "c", "d"]) == {"b": "2", "c": "3", "d": "4"}
        store.invalidate_tags(["u"])
        assert sorted(store.keys()) == ["d"] and [layer.store.has("b") for layer in layers] == [False] * 3


def test_tags_go_up_with_a_value(layers: list[Layer]) -> None:
    """A back-filled copy bears the tags of what it was filled from."""
    with DelegatedStore[str](layers) as store:
        store.set("a", "1", tags=("t",))
        for layer in layers[:2]:
            layer.store.delete("a")
        assert store.get("a") == "1"
        store.flush(10)
        entries = [layer.store.get("a") for layer in layers]
        assert [entry and entry.tags for entry in entries] == [("t",)] * 3
        store.invalidate_tags(("t",))
        with pytest.raises(NotFound):
            store.get("a")


def test_a_load_that_was_under_way_does_not_come_back(layers: list[Layer]) -> None:
    """A value with the tag that was loaded before the invalidation, and ready after it, is stored nowhere."""
    gate = Gate()

    def load(key: str) -> Entry[str]:
        gate()
        return Entry("old", tags=("t",))

    with DelegatedStore[str](layers) as store:

        def invalidate() -> None:
            assert gate.reached.wait(10)
            store.invalidate_tags(["t"])
            gate.open()

        loaded, _ = in_threads(lambda: store.get_or_load("a", load), invalidate)
        store.flush(10)
        assert loaded == "old" and [layer.store.has("a") for layer in layers] == [False] * 3


def test_a_copy_that_keeps_no_tags_gets_no_value_with_tags() -> None:
    """Nobody could invalidate it there: neither a write nor a fill puts it there."""
    plain, bottom = FakeStore(), MemoryStore()
    with DelegatedStore[str]([Layer(plain), Layer(bottom, primary=True)]) as store:
        plain._set("a", "before", None)
        receipt = store.set("a", "1", tags=("t",))
        assert receipt.layers[0].state is LayerState.DROPPED and plain.data == {}
        assert store.get("a") == "1"
        store.flush(10)
        assert plain.data == {}
        store.set("b", "2")
        assert "b" in plain.data
        assert store.invalidate_tags(["t"]).layers[0].state is LayerState.SKIPPED
        assert store.get("a", None) is None


def test_a_copy_that_could_not_be_told_is_not_read() -> None:
    """A layer in which the invalidation failed is in doubt as a whole until it was cleared."""

    class Deaf(MemoryStore):
        deaf = True

        def invalidate_tags(self, tags: Any, /) -> None:
            if self.deaf:
                raise BrokenError
            super().invalidate_tags(tags)

    copy = Deaf()
    with DelegatedStore[str]([Layer(copy, inline=True), Layer(MemoryStore(), primary=True)]) as store:
        store.set("a", "1", tags=("t",))
        assert store.invalidate_tags(["t"]).layers[0].state is LayerState.FAILED
        assert store.get("a", None) is None


def test_a_primary_that_refuses_is_an_error_and_the_copies_are_told() -> None:
    """As with a clear: what the truth is, nobody knows, so no copy keeps it."""

    class Refusing(MemoryStore):
        def invalidate_tags(self, tags: Any, /) -> None:
            raise BrokenError

    copy = MemoryStore()
    with DelegatedStore[str]([Layer(copy), Layer(Refusing(), primary=True)]) as store:
        store.set("a", "1", tags=("t",))
        with pytest.raises(LayerError, match="invalidate_tags"):
            store.invalidate_tags(["t"])
        assert copy.get("a") is None


def test_a_truth_without_tags_is_asked_again() -> None:
    """Over a loader the copies disappear and the value is loaded anew; its tags come from what it returns."""
    loads: list[str] = []

    def load(key: str) -> Any:
        loads.append(key)
        return Entry(f"{key}{len(loads)}", tags=(f"tenant:{key}",)) if key != "none" else MISSING

    with DelegatedStore[str]([Layer(MemoryStore()), Layer(LoaderStore(load), primary=True)]) as store:
        assert (store.get("a"), store.get("b"), store.get("a")) == ("a1", "b2", "a1")
        assert store.invalidate_tags(["tenant:a"]).layers[1].state is LayerState.SKIPPED
        assert (store.get("a"), store.get("b")) == ("a3", "b2")


@pytest.mark.parametrize("tags", ["tenant:1", ["a", 1]])
def test_tags_are_several_texts(tags: Any) -> None:
    """A single text would be taken for its letters."""
    with DelegatedStore[str]([MemoryStore()]) as store:
        with pytest.raises(KeyFormatError):
            store.set("a", "1", tags=tags)
        with pytest.raises(KeyFormatError):
            store.invalidate_tags(tags)


def test_which_stores_keep_tags() -> None:
    """The three that have room for them do, and an application's own table does not."""
    kept: list[type[Store]] = [MemoryStore, RedisStore, SQLStore]
    assert [hasattr(kind, "invalidate_tags") for kind in (*kept, TableStore, LoaderStore, ManyFake)] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
