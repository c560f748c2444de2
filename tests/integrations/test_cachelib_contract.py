"""What cachelib promises of a cache, tried on cachelib's own as controls, and on ours over several stacks."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from cachelib import RedisCache, SimpleCache
from cachelib.base import BaseCache

from wellwired.integrations.cachelib import StoreCache
from wellwired.stores import DelegatedStore, Layer, MemoryStore
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore

Make = Callable[..., Any]

_redis = pytest.mark.redis
KINDS = [
    "SimpleCache",
    pytest.param("RedisCache", marks=_redis),
    "memory",
    pytest.param("redis", marks=_redis),
    pytest.param("memory,redis", marks=_redis),
    "sqlite",
    pytest.param("memory,postgresql", marks=pytest.mark.postgresql),
]


class Tried:
    """One kind of cache: makes it, and knows how long a value has left to live, in seconds; None for ever."""

    def __init__(self, make: Make, left: Callable[[Any, str], float | None], close: Callable[[], object]) -> None:
        self.make, self.left, self.close = make, left, close
        self.cache = make()


def simple() -> Tried:
    """cachelib's cache in memory."""

    def left(cache: Any, key: str) -> float | None:
        expires = cache._cache[key][0]
        return None if expires == 0 else expires - time.time()

    return Tried(SimpleCache, left, lambda: None)


def in_redis(url: str) -> Tried:
    """cachelib's cache in Redis."""
    client: Any = redis.Redis.from_url(url)

    def left(cache: Any, key: str) -> float | None:
        found = client.pttl(key)
        return None if found == -1 else found / 1000

    return Tried(lambda **options: RedisCache(client, **options), left, client.close)


def ours(*layers: Layer) -> Tried:
    """Ours on a stack of layers."""
    store = DelegatedStore[Any](layers, name="stores.tried")

    def left(cache: Any, key: str) -> float | None:
        lives = [entry.left for layer in layers if (entry := layer.store.get(key)) is not None]
        assert len({None if life is None else round(life, -1) for life in lives}) == 1, "the layers disagree"
        return lives[0]

    return Tried(lambda **options: StoreCache(store, **options), left, store.close)


@pytest.fixture(params=KINDS)
def tried(
    request: pytest.FixtureRequest, fresh_redis: Callable[[str], str], fresh_database: Callable[[str], str]
) -> Iterator[Tried]:
    """A kind of cache, empty."""
    closes: list[Callable[[], object]] = []

    def layer(name: str) -> Layer:
        if name == "memory":
            return Layer(MemoryStore())
        if name == "redis":
            client = redis.Redis.from_url(fresh_redis("redis"))
            closes.append(client.close)
            return Layer(RedisStore(client, namespace="cache"))
        engine = sa.create_engine(fresh_database(name))
        closes.append(engine.dispose)
        table = SQLStore(engine, namespace="cache")
        table.create_table()
        return Layer(table)

    if request.param == "SimpleCache":
        kind = simple()
    elif request.param == "RedisCache":
        kind = in_redis(fresh_redis("redis"))
    else:
        kind = ours(*map(layer, request.param.split(",")))
    yield kind
    for close in (kind.close, *closes):
        close()


@pytest.fixture
def cache(tried: Tried) -> Any:
    """A cache with the usual settings."""
    return tried.cache


@pytest.fixture
def left(tried: Tried) -> Callable[[str], float | None]:
    """The seconds that a value has left to live."""
    return lambda key: tried.left(tried.cache, key)


class Point:
    """A value of a class of one's own."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.x == other.x

    def __hash__(self) -> int:
        return hash(self.x)

    def __repr__(self) -> str:
        return f"Point({self.x})"


class TestGetAndSet:
    """One key."""

    def test_a_value_comes_back_as_it_is(self, cache: Any) -> None:
        """Whatever can be pickled, of the same type, everything false included."""
        texts, numbers = ["text", "ü☃", "", b"\x00bytes", b"12"], [0, -7, 2**70, 1.5, True, False]
        for value in [*texts, *numbers, [1, [2]], {"a": (1,)}, {1}, Point(3)]:
            assert cache.set("key", value)
            found = cache.get("key")
            assert (found, type(found)) == (value, type(value))
            assert cache.get_many("key") == [value] and cache.get_dict("key") == {"key": value}
            assert cache.has("key")

    def test_none_is_a_value_that_has_tells_of(self, cache: Any) -> None:
        """`get` gives None for what is missing as well; Flask-Caching asks `has` then."""
        assert cache.get("key") is None and not cache.has("key")
        cache.set("key", None)
        assert cache.get("key") is None and cache.has("key")

    def test_a_value_is_replaced(self, cache: Any) -> None:
        """By one of another type too."""
        cache.set("key", 1)
        cache.set("key", "two")
        assert cache.get("key") == "two"

    def test_a_value_is_nobody_elses(self, cache: Any) -> None:
        """Who changes what was given or found changes nothing in the cache."""
        given = [1]
        cache.set("key", given)
        given.append(2)
        cache.get("key").append(3)
        assert cache.get("key") == [1]

    def test_add_never_replaces(self, cache: Any) -> None:
        """It says whether it stored."""
        assert cache.add("key", "one")
        assert not cache.add("key", "two")
        assert cache.get("key") == "one"

    def test_delete_says_whether_it_was_there(self, cache: Any) -> None:
        """And it is gone."""
        cache.set("key", 1)
        assert cache.delete("key") is True and cache.get("key") is None
        assert cache.delete("key") is False

    def test_clear_leaves_nothing(self, cache: Any) -> None:
        """And says that it did."""
        cache.set_many({"a": 1, "b": 2})
        assert cache.clear()
        assert cache.get_many("a", "b") == [None, None] and not cache.has("a")


class TestTimeouts:
    """How long a value stays."""

    @pytest.mark.parametrize("method", ["set", "add", "set_many"])
    @pytest.mark.parametrize(
        ("timeout", "expected"),
        [(None, 300), (0, None), (60, 60), (dt.timedelta(hours=1), 3600), (90 * 86400, 90 * 86400)],
    )
    def test_a_call_has_a_timeout(self, cache: Any, left: Any, method: str, timeout: Any, expected: Any) -> None:
        """Seconds or a timedelta; 0 is for ever, and None is the default of five minutes."""
        cache.set_many({"key": 1}, timeout) if method == "set_many" else getattr(cache, method)("key", 1, timeout)
        assert left("key") == (None if expected is None else pytest.approx(expected, abs=2))
        assert cache.get("key") == 1

    @pytest.mark.parametrize(("default", "expected"), [(60, 60), (0, None), (dt.timedelta(minutes=2), 120)])
    def test_a_cache_has_a_default(self, tried: Tried, default: Any, expected: Any) -> None:
        """For every way to store."""
        tried.cache = tried.make(default_timeout=default)
        tried.cache.set("a", 1)
        tried.cache.set_many({"b": 1})
        tried.cache.add("c", 1)
        for key in "abc":
            life = tried.left(tried.cache, key)
            assert life == (None if expected is None else pytest.approx(expected, abs=2))

    def test_a_part_of_a_second_is_one(self, cache: Any, left: Any) -> None:
        """It is never rounded down to for ever."""
        cache.set("key", 1, dt.timedelta(milliseconds=200))
        life = left("key")
        assert life is not None and life <= 1

    def test_a_timeout_that_is_none_is_a_mistake(self, cache: Any) -> None:
        """It raises."""
        with pytest.raises(TypeError, match="timeout must be"):
            cache.set("key", 1, "soon")


class TestMany:
    """Many keys at once."""

    def test_values_come_in_the_order_of_their_keys(self, cache: Any) -> None:
        """With None for what is missing, and twice for a key that is asked for twice."""
        assert list(cache.set_many({"a": 1, "b": [2], "c": 3})) == ["a", "b", "c"]
        assert cache.get_many("c", "missing", "a", "a", "b") == [3, None, 1, 1, [2]]
        assert cache.get_dict("b", "missing") == {"b": [2], "missing": None}

    def test_delete_many_tells_what_is_gone(self, cache: Any) -> None:
        """Those too that were not there."""
        cache.set_many({"a": 1, "b": 2, "c": 3})
        assert cache.delete_many("a", "missing", "b") == ["a", "missing", "b"]
        assert cache.get_many("a", "b", "c") == [None, None, 3]
        assert cache.delete_many() == []

    def test_nothing_to_set(self, cache: Any) -> None:
        """Does nothing."""
        assert list(cache.set_many({})) == []


class TestCounting:
    """Numbers."""

    def test_a_number_goes_up_and_down(self, cache: Any) -> None:
        """By one or by a delta, below zero too; the call gives the new number."""
        cache.set("n", 40)
        assert cache.inc("n") == 41 and cache.inc("n", 9) == 50 and cache.get("n") == 50
        assert cache.dec("n") == 49 and cache.dec("n", 60) == -11 and cache.get("n") == -11

    def test_counting_begins_where_there_is_nothing(self, cache: Any) -> None:
        """With the delta, or what is below zero by it."""
        assert cache.inc("up") == 1 and cache.inc("more", 5) == 5
        assert cache.dec("down") == -1 and cache.dec("less", 5) == -5
        assert cache.get_many("up", "more", "down", "less") == [1, 5, -1, -5]

    def test_what_is_no_number_is_left_alone(self, cache: Any) -> None:
        """Counting it is an error."""
        cache.set("key", "text")
        with pytest.raises((TypeError, redis.ResponseError)):
            cache.inc("key")
        assert cache.get("key") == "text"


def test_it_is_a_cache_of_cachelibs(cache: Any) -> None:
    """Who asks for one takes it."""
    assert isinstance(cache, BaseCache)
