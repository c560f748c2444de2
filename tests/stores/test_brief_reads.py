"""Many values of a first layer that has them all: the same answers and counts as the long way gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.stores.fakes import FakeStore
from wellwired.errors import KeyFormatError, LayerError
from wellwired.stores import DelegatedStore, Entry, Layer, LoadPolicy, MemoryStore
from wellwired.stores.damage import Reason
from wellwired.stores.redis import RedisStore
from wellwired.stores.signing import Signer

Make = Callable[..., DelegatedStore[Any]]


@pytest.fixture
def shared(redis_client: Any) -> RedisStore:
    """A Redis store in an empty Redis."""
    return RedisStore(redis_client, namespace="users")


@pytest.fixture(params=["short", "long"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a store whose reads of many go the way that is wanted; all else is the same."""
    made: list[DelegatedStore[Any]] = []

    def make(*layers: Any) -> DelegatedStore[Any]:
        made.append(DelegatedStore[Any](layers))
        top = made[-1]._stack.rungs[0]
        assert top.brief is not None
        if request.param == "long":
            top.brief = None
        return made[-1]

    yield make
    for store in made:
        store.close()


def counts(store: DelegatedStore[Any]) -> list[tuple[int, ...]]:
    """What was counted for each layer."""
    return [(one.hits, one.misses, one.fills, one.failures) for one in store.stats().layers]


def test_all_that_is_there_is_given_in_order(make: Make, shared: RedisStore) -> None:
    """Every value, the falsy ones too, each once, and with no entry for a key that was not asked for."""
    store = make(shared)
    values = {"a": None, "b": 0, "c": "", "d": [], "e": {"x": [1]}, "f": b"\r\n", "ż": 1.5}
    store.set_many(values, ttl=60.0)
    assert list(store.get_many(["ż", *values, "a"]).items()) == [("ż", 1.5), *list(values.items())[:-1]]
    assert store.get_many([]) == {} and counts(store) == [(7, 0, 0, 0)]


@pytest.mark.parametrize("left", [None, 60.0])
def test_what_is_not_there_is_looked_for_below(make: Make, shared: RedisStore, left: float | None) -> None:
    """The keys that are there are not asked for again, and the others fill the layer."""
    truth = FakeStore()
    store = make(shared, Layer(truth, primary=True))
    shared.set("a", 1, left)
    truth.data.update(a=(1, None), b=(2, None))
    assert store.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}
    assert [call for call in truth.calls if call[0] == "get"] == [("get", "b"), ("get", "c")]
    store.flush(10)
    assert shared.get("b") == Entry(2) and counts(store) == [(1, 2, 1, 0), (1, 1, 0, 0)]


def test_a_write_that_comes_meanwhile_is_not_undone(make: Make, shared: RedisStore) -> None:
    """The tickets are from before the first layer was asked."""
    truth = FakeStore()
    store = make(shared, Layer(truth, primary=True))
    truth.data["a"] = ("old", None)
    truth.after["get"] = lambda: (truth.after.clear(), store.delete("a"))
    assert store.get_many(["a"]) == {"a": "old"}
    store.flush(10)
    assert shared.get("a") is None and store.get_many(["a"]) == {}


def test_what_cannot_be_read_is_a_miss_and_told(make: Make, shared: RedisStore, redis_client: Any) -> None:
    """One damaged value costs the others nothing; neither does one of another key, or one that a tag has removed."""
    store = make(shared)
    store.set_many(dict.fromkeys("abcd", 1), ttl=60.0)
    store.set("e", 1, ttl=60.0, tags=("t",))
    redis_client.set("users:a", redis_client.get("users:a")[:-1] + b"x")  # which would be another number
    assert store.get_many("acd") == {"c": 1, "d": 1} and store.get_many("ce") == {"c": 1, "e": 1}
    redis_client.set("users:b", redis_client.get("users:c"))
    assert store.get_many("bcd") == {"c": 1, "d": 1}
    assert shared.damage.counts == {Reason.CHECKSUM: 1, Reason.KEY: 1}
    store.invalidate_tags(["t"])
    assert store.get_many("cde") == {"c": 1, "d": 1}
    store.clear()
    assert store.get_many("cd") == {}


def test_what_was_not_signed_is_not_served(make: Make, shared: RedisStore, redis_client: Any) -> None:
    """Where values are signed every one of them is looked at closely."""
    shared.set("a", 1, 60.0)
    signed = RedisStore(redis_client, namespace="users", signer=Signer(b"k" * 32))
    signed.set("b", 2, 60.0)
    store = make(signed)
    assert store.get_many(["a", "b"]) == {"b": 2} and signed.damage.counts == {Reason.SIGNATURE: 1}
    assert store.get_many(["a"]) == {}


def test_a_key_that_is_none_is_refused(make: Make, shared: RedisStore) -> None:
    """By its own error, whichever way."""
    with pytest.raises(KeyFormatError):
        make(shared).get_many(["a", ""])


def test_a_layer_that_fails_is_passed_or_told(make: Make, shared: RedisStore, mocker: Any) -> None:
    """Where there is a layer below it answers; where there is none the error says which layer failed."""
    truth = FakeStore()
    truth.data["a"] = (1, None)
    over, alone = make(shared, Layer(truth, primary=True)), make(shared)
    mocker.patch.object(shared, "_execute", side_effect=ConnectionError)
    assert over.get_many(["a", "b"]) == {"a": 1} and counts(over)[0] == (0, 0, 0, 1)
    with pytest.raises(LayerError):
        alone.get_many(["a"])


@pytest.mark.parametrize(
    ("layers", "loads"),
    [
        (lambda store: [MemoryStore(), store], LoadPolicy()),
        (lambda store: [Layer(store, time_limit=1.0)], LoadPolicy()),
        (lambda store: [Layer(store, soft_limit=1.0)], LoadPolicy()),
        (lambda store: [Layer(store, stale=5.0)], LoadPolicy()),
    ],
)
def test_what_needs_the_long_way_takes_it(shared: RedisStore, layers: Any, loads: LoadPolicy) -> None:
    """Another first layer, limits and stale lives."""
    assert DelegatedStore[Any](layers(shared), loads=loads)._stack.rungs[0].brief is None


def test_a_remembered_absence_spares_the_layer(shared: RedisStore, mocker: Any) -> None:
    """Where absences are remembered every key is looked up among them first."""
    store = DelegatedStore[Any]([shared], loads=LoadPolicy(absent_ttl=60.0))
    shared.set("a", 1)
    assert store.get_many(["a", "b"]) == {"a": 1}
    spy = mocker.spy(shared, "_execute")
    assert store.get_many(["b"]) == {} and spy.call_count == 0
