"""What Django promises of a cache, tried on Django's own backends as controls, and on ours over several stacks.

Each promise is tried with the plain methods and with their asynchronous twins.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.core.cache.backends.base import DEFAULT_TIMEOUT, CacheKeyWarning

from tests.integrations.django.caches import Awaited, Locmem, Ours, Redis, Tried, redis_layer, sql_layer
from wellwired.stores import Layer, MemoryStore

Make = Callable[..., Any]
DAY = 24 * 60 * 60

_redis = pytest.mark.redis
KINDS = [
    "LocMemCache",
    pytest.param("RedisCache", marks=_redis),
    "memory",
    pytest.param("redis", marks=_redis),
    pytest.param("memory,redis", marks=_redis),
    "sqlite",
    pytest.param("memory,postgresql", marks=pytest.mark.postgresql),
]


@pytest.fixture(params=KINDS)
def tried(
    request: pytest.FixtureRequest, fresh_redis: Callable[[str], str], fresh_database: Callable[[str], str]
) -> Iterator[Tried]:
    """A kind of cache, empty."""
    kind: Tried
    if request.param == "LocMemCache":
        kind = Locmem(request.node.name)
    elif request.param == "RedisCache":
        kind = Redis(fresh_redis("redis"))
    else:
        kind = Ours(*[layer(name, fresh_redis, fresh_database) for name in request.param.split(",")])
    yield kind
    kind.close()


def layer(name: str, fresh_redis: Callable[[str], str], fresh_database: Callable[[str], str]) -> Layer:
    """A layer of a stack."""
    if name == "memory":
        return Layer(MemoryStore())
    return redis_layer(fresh_redis("redis")) if name == "redis" else sql_layer(fresh_database(name))


@pytest.fixture(params=["plain", "twins"])
def make(request: pytest.FixtureRequest, tried: Tried) -> Make:
    """Makes caches with some settings over the same data, used by one colour of methods."""
    return tried if request.param == "plain" else lambda **params: Awaited(tried(**params))


@pytest.fixture
def cache(make: Make) -> Any:
    """A cache with the usual settings."""
    return make()


@pytest.fixture
def left(tried: Tried) -> Callable[..., float | None]:
    """The seconds that a value has left to live."""
    return lambda key, cache=None, version=None: tried.left(cache or tried(), key, version)


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


class Unpicklable:
    """A value that refuses to be pickled."""

    def __getstate__(self) -> Any:
        raise pickle.PickleError("not me")


VALUES = [
    "text",
    "ünïcödé ☃",
    "",
    0,
    -1,
    2**40,
    2**200,
    -(2**70),
    1.5,
    True,
    False,
    None,
    b"bytes \x00\xff",
    b"12",
    [],
    [1, [2]],
    {"a": {"b": (1, 2)}},
    (1, "two"),
    {1, 2},
    Decimal("1.10"),
    Point(3),
    Point,
    len,
]


class TestGetAndSet:
    """One key."""

    def test_a_value_comes_back_as_it_is(self, cache: Any) -> None:
        """Whatever can be pickled, of the same type, None and everything false included."""
        for value in VALUES:
            cache.set("key", value)
            found = cache.get("key", "default")
            assert (found, type(found)) == (value, type(value))
            assert cache.get_many(["key"]) == {"key": value}
            assert cache.has_key("key") and "key" in cache

    def test_what_is_not_there_is_the_default(self, cache: Any) -> None:
        """None, or what the caller says."""
        assert cache.get("missing") is None
        assert cache.get("missing", "default") == "default"
        assert not cache.has_key("missing") and "missing" not in cache

    def test_a_value_is_replaced(self, cache: Any) -> None:
        """By one of another type too."""
        assert cache.set("key", 1) is None
        cache.set("key", "two")
        assert cache.get("key") == "two"

    def test_a_value_is_nobody_elses(self, cache: Any) -> None:
        """Who changes what was given or found changes nothing in the cache."""
        given = [1]
        cache.set("key", given)
        given.append(2)
        cache.get("key").append(3)
        assert cache.get("key") == [1]

    def test_delete_says_whether_it_was_there(self, cache: Any) -> None:
        """And it is gone."""
        cache.set("key", 1)
        assert cache.delete("key") is True
        assert cache.get("key") is None
        assert cache.delete("key") is False

    def test_add_never_replaces(self, cache: Any) -> None:
        """It says whether it stored; a stored None is there."""
        assert cache.add("key", None) is True
        assert cache.add("key", 2) is False
        assert cache.get("key", "default") is None

    @pytest.mark.parametrize("method", ["set", "add", "set_many"])
    def test_what_cannot_be_pickled_is_an_error(self, cache: Any, method: str) -> None:
        """The one that its class raises; nothing is stored."""
        with pytest.raises(pickle.PickleError):
            cache.set_many({"key": Unpicklable()}) if method == "set_many" else getattr(cache, method)(
                "key", Unpicklable()
            )
        assert not cache.has_key("key")

    def test_clear_leaves_nothing(self, cache: Any) -> None:
        """Of any version."""
        cache.set_many({"a": 1, "b": 2})
        cache.set("a", 3, version=2)
        cache.clear()
        assert cache.get_many(["a", "b"]) == {} and cache.get("a", version=2) is None

    def test_close_closes_nothing_that_is_needed(self, cache: Any) -> None:
        """Django calls it after each request."""
        cache.set("key", 1)
        cache.close()
        assert cache.get("key") == 1


class TestTimeouts:
    """How long a value stays."""

    def test_the_default_is_five_minutes(self, make: Make, left: Any) -> None:
        """Also when it is asked for by its name."""
        make().set("a", 1)
        make().set("b", 1, DEFAULT_TIMEOUT)
        assert left("a") == pytest.approx(300, abs=2) and left("b") == pytest.approx(300, abs=2)

    def test_a_cache_has_a_default_of_its_own(self, make: Make, left: Any) -> None:
        """Seconds, or None for ever; what is no number is five minutes."""
        for number, (timeout, expected) in enumerate([(60, 60), ("60", 60), ("soon", 300), (None, None)]):
            make(TIMEOUT=timeout).set(f"key{number}", 1)
            assert left(f"key{number}") == (None if expected is None else pytest.approx(expected, abs=2))

    @pytest.mark.parametrize("method", ["set", "add", "set_many", "get_or_set", "touch"])
    @pytest.mark.parametrize("timeout", [1000, 60 * DAY, None])
    def test_a_call_has_a_timeout_of_its_own(self, cache: Any, left: Any, method: str, timeout: Any) -> None:
        """Seconds, more than thirty days too, or None for ever."""
        if method == "set_many":
            cache.set_many({"key": 1}, timeout)
        elif method == "touch":
            cache.set("key", 1, 10)
            assert cache.touch("key", timeout) is True
        else:
            getattr(cache, method)("key", 1, timeout)
        assert left("key") == (None if timeout is None else pytest.approx(timeout, abs=2))
        assert cache.get("key") == 1

    @pytest.mark.parametrize("timeout", [0, -1, -1000])
    def test_nothing_stays_for_no_time(self, cache: Any, timeout: int) -> None:
        """Zero and less leave nothing there, of what was there before neither."""
        cache.set("key", 1)
        cache.set("key", 2, timeout)
        assert cache.get("key") is None
        cache.set("a", 1)
        assert cache.set_many({"a": 2, "b": 3}, timeout) == []
        assert cache.get_many(["a", "b"]) == {}
        assert cache.get_or_set("key", lambda: 4, timeout) == 4
        assert cache.get("key") is None

    @pytest.mark.parametrize("timeout", [0, -1])
    def test_adding_for_no_time_says_whether_there_was_nothing(self, cache: Any, timeout: int) -> None:
        """And stores nothing either way."""
        assert cache.add("key", 1, timeout) is True
        assert cache.get("key") is None
        cache.set("key", 2)
        assert cache.add("key", 3, timeout) is False
        assert cache.get("key") == 2

    def test_a_default_of_zero_keeps_nothing(self, make: Make) -> None:
        """A cache can be switched off by its settings."""
        make(TIMEOUT=0).set("key", 1)
        assert make().get("key") is None

    def test_touch_says_whether_there_is_something(self, cache: Any, left: Any) -> None:
        """It gives the default life if none is named, and leaves the value as it is."""
        assert cache.touch("missing") is False
        cache.set("key", {"a": 1}, 1000)
        assert cache.touch("key") is True
        assert left("key") == pytest.approx(300, abs=2) and cache.get("key") == {"a": 1}
        assert cache.touch("missing", None) is False and not cache.has_key("missing")

    def test_touch_for_no_time_removes(self, cache: Any) -> None:
        """As a set would."""
        cache.set("key", 1)
        assert cache.touch("key", 0) is True
        assert cache.get("key") is None
        assert cache.touch("key", -1) is False


class TestCounting:
    """Numbers."""

    def test_a_number_goes_up_and_down(self, cache: Any) -> None:
        """By one or by a delta, below zero too; the call gives the new number."""
        cache.set("n", 41)
        assert cache.incr("n") == 42 and cache.get("n") == 42
        assert cache.incr("n", 10) == 52 and cache.incr("n", -10) == 42
        assert cache.decr("n") == 41 and cache.decr("n", 50) == -9 and cache.decr("n", -9) == 0
        assert cache.get("n") == 0

    @pytest.mark.parametrize("method", ["incr", "decr"])
    def test_nothing_cannot_be_counted(self, cache: Any, method: str) -> None:
        """A missing key is a ValueError, and stays missing."""
        with pytest.raises(ValueError, match="not found"):
            getattr(cache, method)("missing")
        assert not cache.has_key("missing")

    def test_counting_leaves_the_life_as_it_is(self, tried: Tried, left: Any) -> None:
        """A counter for a minute ends after that minute, however often it is counted."""
        cache = tried()  # the base class's own twin of it gives a new life
        cache.set("minute", 1, 60)
        cache.set("ever", 1, None)
        assert cache.incr("minute") == 2 and cache.incr("ever") == 2
        assert left("minute") == pytest.approx(60, abs=2) and left("ever") is None

    def test_what_is_no_number_is_left_alone(self, cache: Any) -> None:
        """Counting it is an error."""
        cache.set("key", "text")
        with pytest.raises((TypeError, redis.ResponseError)):
            cache.incr("key")
        assert cache.get("key") == "text"

    def test_numbers_that_were_added_count(self, cache: Any) -> None:
        """As rate limits do it."""
        assert cache.add("hits", 0, 60)
        assert [cache.incr("hits") for _ in range(3)] == [1, 2, 3]


class TestMany:
    """Many keys at once."""

    def test_get_many_gives_what_is_there(self, cache: Any) -> None:
        """Stored None included, nothing for what is missing; any iterable of keys will do."""
        assert cache.set_many({"a": 1, "b": None, "c": [3]}) == []
        assert cache.get_many(["a", "b", "missing", "c"]) == {"a": 1, "b": None, "c": [3]}
        assert cache.get_many(iter(("c", "a"))) == {"c": [3], "a": 1}
        assert cache.get_many({"a": 1}.keys()) == {"a": 1}

    def test_delete_many_removes_them(self, cache: Any) -> None:
        """Those that are there, and no others; nothing is told."""
        cache.set_many({"a": 1, "b": 2, "c": 3})
        assert cache.delete_many(["a", "b", "missing"]) is None
        assert cache.get_many(["a", "b", "c"]) == {"c": 3}

    def test_none_at_all(self, cache: Any) -> None:
        """Sets and deletes of no keys do nothing."""
        assert cache.set_many({}) == []
        assert cache.delete_many([]) is None


class TestGetOrSet:
    """What is made when it is missing."""

    def test_the_default_is_stored(self, cache: Any) -> None:
        """Once; the next caller finds it."""
        assert cache.get_or_set("key", 1) == 1
        assert cache.get_or_set("key", 2) == 1
        assert cache.get("key") == 1

    def test_a_callable_default_is_called_when_it_is_needed(self, cache: Any) -> None:
        """And not otherwise."""
        calls: list[int] = []

        def default() -> list[int]:
            calls.append(1)
            return [7]

        assert [cache.get_or_set("key", default) for _ in range(3)] == [[7]] * 3
        assert len(calls) == 1

    @pytest.mark.parametrize("default", [None, lambda: None])
    def test_a_stored_none_is_there(self, cache: Any, default: Any) -> None:
        """It is kept like any value, and no other default takes its place."""
        assert cache.get_or_set("key", default) is None
        assert cache.get("key", "default") is None
        assert cache.get_or_set("key", "other") is None

    def test_who_was_faster_wins(self, cache: Any) -> None:
        """A value that came while the default was made is given, and stays."""

        def default() -> str:
            plain = getattr(cache, "_cache", cache) if isinstance(cache, Awaited) else cache
            plain.set("key", "faster")
            return "slower"

        assert cache.get_or_set("key", default) == "faster"
        assert cache.get("key") == "faster"

    def test_what_the_default_raises_is_raised(self, cache: Any) -> None:
        """Nothing is stored then."""

        def default() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            cache.get_or_set("key", default)
        assert not cache.has_key("key")

    def test_it_has_versions(self, cache: Any) -> None:
        """As all methods have."""
        assert cache.get_or_set("key", 1, version=2) == 1
        assert cache.get("key") is None and cache.get("key", version=2) == 1


class TestVersions:
    """One key in many versions, and caches that share a store."""

    def test_each_method_has_a_version(self, make: Make) -> None:
        """What is done to one version does nothing to another; a cache has one by default."""
        one, two = make(), make(VERSION=2)
        one.set("key", 1)
        assert two.get("key") is None and one.get("key", version=2) is None and two.get("key", version=1) == 1
        assert two.add("key", 20) is True and one.add("key", 30, version=2) is False
        assert one.incr("key", version=2) == 21 and one.decr("key", 10, version=2) == 11 and one.get("key") == 1
        assert one.has_key("key", version=2) and not one.has_key("key", version=3)
        assert one.touch("key", version=2) and not one.touch("key", version=3)
        one.set_many({"a": 1, "b": 2}, version=2)
        assert two.get_many(["a", "b", "key"]) == {"a": 1, "b": 2, "key": 11} and one.get_many(["a"]) == {}
        one.delete_many(["a"], version=2)
        assert two.get_many(["a", "b"]) == {"b": 2}
        assert one.delete("key", version=2) is True and one.get("key") == 1

    def test_a_value_can_change_its_version(self, make: Make) -> None:
        """Up and down, by any delta; the call gives the new version, and the old one is gone."""
        cache, two = make(), make(VERSION=2)
        cache.set("key", [1], version=2)
        assert cache.incr_version("key", version=2) == 3
        assert cache.get("key", version=2) is None and cache.get("key", version=3) == [1]
        assert cache.decr_version("key", 2, version=3) == 1 and cache.get("key") == [1]
        two.set("other", None)
        assert two.incr_version("other") == 3 and cache.get("other", 0, version=3) is None
        assert two.incr_version("other", 4, version=3) == 7 and two.has_key("other", version=7)

    @pytest.mark.parametrize("method", ["incr_version", "decr_version"])
    def test_nothing_has_no_version_to_change(self, cache: Any, method: str) -> None:
        """A missing key is a ValueError."""
        with pytest.raises(ValueError, match="not found"):
            getattr(cache, method)("missing")

    def test_a_prefix_keeps_caches_apart(self, make: Make) -> None:
        """Two applications in one store."""
        plain, shop = make(), make(KEY_PREFIX="shop")
        plain.set("key", 1)
        assert not shop.has_key("key") and shop.add("key", 2)
        assert (plain.get("key"), shop.get("key")) == (1, 2)

    @pytest.mark.parametrize("function", [lambda *parts: "-".join(map(str, reversed(parts))), "operator.concat"])
    def test_a_function_may_make_the_keys(self, make: Make, function: Any) -> None:
        """Given itself or by its place, with key, prefix and version."""
        if isinstance(function, str):
            function = f"{__name__}.joined"
        odd, plain = make(KEY_FUNCTION=function, KEY_PREFIX="p"), make(KEY_PREFIX="p")
        odd.set("key", 1)
        assert odd.get("key") == 1 and plain.get("key") is None
        assert odd.make_key("key", 2) in ("2-p-key", "CUSTOM-p-2-key")


def joined(key: str, prefix: str, version: int) -> str:
    """A key function."""
    return f"CUSTOM-{prefix}-{version}-{key}"


_WITH_A_KEY: dict[str, Callable[[Any, str], Any]] = {
    "get": lambda cache, key: cache.get(key),
    "set": lambda cache, key: cache.set(key, 1),
    "add": lambda cache, key: cache.add(key, 1),
    "touch": lambda cache, key: cache.touch(key),
    "delete": lambda cache, key: cache.delete(key),
    "has_key": lambda cache, key: cache.has_key(key),
    "incr": lambda cache, key: cache.incr(key),
    "decr": lambda cache, key: cache.decr(key),
    "get_or_set": lambda cache, key: cache.get_or_set(key, 1),
    "get_many": lambda cache, key: cache.get_many([key, "b"]),
    "set_many": lambda cache, key: cache.set_many({key: 1, "b": 2}),
    "delete_many": lambda cache, key: cache.delete_many([key, "b"]),
    "incr_version": lambda cache, key: cache.incr_version(key),
}


class TestKeys:
    """Keys that other backends would not take."""

    @pytest.mark.parametrize("key", ["key with spaces and 清", "a" * 250], ids=["characters", "length"])
    def test_an_unusual_key_is_warned_of(self, cache: Any, key: str) -> None:
        """By every method, in Django's words, naming the whole key; prefix and version count too."""
        reason = "longer than 250" if len(key) == 250 else "contains characters"
        for method, call in _WITH_A_KEY.items():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                cache.set(key, 1)
                caught.clear()
                call(cache, key)
            told = [str(warning.message) for warning in caught if warning.category is CacheKeyWarning]
            assert told, method
            assert repr(cache.make_key(key)) in told[0] and reason in told[0] and "memcached" in told[0], method

    @pytest.mark.filterwarnings("ignore::django.core.cache.backends.base.CacheKeyWarning")
    @pytest.mark.parametrize("key", ["with spaces", "ctrl\x01\n\x7f", "ü" * 200, "a" * 300, "é" * 5000, "%s %d", "~s~"])
    def test_any_text_is_a_key(self, cache: Any, key: str) -> None:
        """Whatever is warned of works all the same, and no two keys are one."""
        cache.set_many({key: 1, f"{key}2": 2, f"{key[:-1]}3": 3})
        assert cache.get_many([key, f"{key}2", f"{key[:-1]}3"]) == {key: 1, f"{key}2": 2, f"{key[:-1]}3": 3}
        assert cache.incr(key) == 2 and cache.delete(key) and not cache.has_key(key)

    def test_a_key_need_not_be_text(self, cache: Any) -> None:
        """The usual key function makes text of it."""
        cache.set(1, "one")
        assert cache.get(1) == "one" and cache.get_many([1]) == {1: "one"}
