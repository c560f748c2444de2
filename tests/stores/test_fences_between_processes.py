"""A fill that another process has overtaken is refused: the race that every cache with two processes has.

The schedule is forced: this process reads, the other one writes, this one fills. The same schedule runs against a store
that fills without looking, and must bring the old value back there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.stores.other_process import OtherProcess, open_store
from wellwired.stores.protocols import Entry
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore

pytestmark = [pytest.mark.timeout(120)]

WRITES: dict[str, tuple[Any, ...]] = {
    "delete": ("delete", "a"),
    "delete_many": ("delete_many", ["a", "b"]),
    "set": ("set", "a", "new"),
    "set_many": ("set_many", {"a": "new", "b": "new"}),
    "put_many": ("put_many", {"a": "new"}),
    "clear": ("clear",),
}


@pytest.fixture(
    params=[
        pytest.param("redis", marks=pytest.mark.redis),
        "sqlite",
        pytest.param("mariadb", marks=pytest.mark.mariadb),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ]
)
def url(request: pytest.FixtureRequest, fresh_redis: Callable[[str], str], fresh_database: Callable[[str], str]) -> str:
    """An empty backend of each kind that two processes can share."""
    return fresh_redis("redis") if request.param == "redis" else fresh_database(request.param)


@pytest.fixture
def store(url: str) -> Iterator[Any]:
    """This process's store on it."""
    store = open_store(url)
    if isinstance(store, SQLStore):
        store.create_table()
    yield store
    if isinstance(store, SQLStore):
        store._engine.dispose()
    else:
        store._client.close()


@pytest.fixture
def other(url: str, store: Any) -> Iterator[OtherProcess]:
    """The other process, with its store on the same backend."""
    with OtherProcess(url) as process:
        yield process


def blindly(store: Any) -> None:
    """Makes the store fill without looking at the token."""

    def fill(key: str, entry: Entry[Any], token: Any, /) -> bool:
        store.set(key, entry.value, entry.left)
        return True

    store.fill = fill


def overtaken(store: Any, other: OtherProcess, write: tuple[Any, ...], start: Any) -> tuple[bool, Any]:
    """A read here, a write there, the fill of the read here: whether it was let in, and what is there afterwards."""
    if start is not None:
        store.set("a", start)
    _, token = store.read("a")
    other.do(*write)
    filled = store.fill("a", Entry("old", 60.0), token)
    return filled, other.do("get", "a")


@pytest.mark.parametrize("start", [None, "old"], ids=["nothing there", "old there"])
def test_a_fill_that_another_process_has_overtaken_is_refused(store: Any, other: OtherProcess, start: Any) -> None:
    """Whatever the other process did to the key, what it did stands, for both."""
    for name, write in WRITES.items():
        filled, after = overtaken(store, other, write, start)
        expected = "new" if name in {"set", "set_many", "put_many"} else None
        entry = store.get("a")
        assert (filled, after, entry and entry.value) == (False, expected, expected), name
        store.delete("a")


def test_the_schedule_finds_a_store_that_does_not_look(store: Any, other: OtherProcess) -> None:
    """Without the fence the old value comes back after another process's delete: the test can fail."""
    blindly(store)
    for name, write in WRITES.items():
        assert overtaken(store, other, write, None) == (True, "old"), name
        store.delete("a")


def test_a_fill_that_nobody_has_overtaken_is_let_in(store: Any, other: OtherProcess) -> None:
    """Reads, and writes of other keys, refuse nobody; both processes see the fill."""
    _, token = store.read("a")
    assert other.do("get", "a") is None and other.do("has", "a") is False
    other.do("set", "unrelated", 1)
    assert store.fill("a", Entry("loaded", 60.0), token) is True
    assert other.do("get", "a") == "loaded" and other.do("has", "a") is True


def test_of_two_writers_one_is_let_in(store: Any, other: OtherProcess) -> None:
    """A put whose tokens another process's put has overtaken changes nothing."""
    tokens = store.tokens(["a", "b"])
    assert other.do("put_many", {"a": "theirs"}) == ["a"]
    stored = store.put_many({key: (Entry("ours"), tokens[key]) for key in ("a", "b")})
    assert set(stored) == {"b"} and other.do("get", "a") == "theirs" and other.do("get", "b") == "ours"


def test_stores_are_what_they_seem(store: Any) -> None:
    """The schedules above ran on the real stores."""
    assert isinstance(store, RedisStore | SQLStore)
