"""A cachelib cache on a layered store: what it does beyond cachelib's contract."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from cachelib.serializers import BaseSerializer, JSONSerializer
from flask import Flask

from tests.servers import PrivateServer
from wellwired.errors import LayerError, StateError, StoreError
from wellwired.integrations.cachelib import StoreCache
from wellwired.stores import DelegatedStore, Layer, MemoryStore
from wellwired.stores.redis import RedisStore
from wellwired.stores.signing import Signer
from wellwired.testing.clock import VirtualClock


@pytest.fixture
def store(virtual_clock: VirtualClock) -> Iterator[DelegatedStore[Any]]:
    """A store of one layer of memory."""
    with DelegatedStore[Any]([MemoryStore(clock=virtual_clock)], name="stores.memory", clock=virtual_clock) as made:
        yield made


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def shared(request: pytest.FixtureRequest, fresh_redis: Callable[[str], str]) -> Iterator[StoreCache]:
    """A cache over memory, or over memory and Redis."""
    layers, closes = [Layer(MemoryStore())], []
    if request.param == "redis":
        client = redis.Redis.from_url(fresh_redis("redis"))
        layers.append(Layer(RedisStore(client, namespace="cache")))
        closes.append(client.close)
    with DelegatedStore[Any](layers) as made:
        yield StoreCache(made)
    for close in closes:
        close()


class TestLives:
    """How long values stay."""

    @pytest.mark.parametrize("method", ["set", "add", "set_many"])
    def test_a_negative_timeout_leaves_nothing(self, store: DelegatedStore[Any], method: str) -> None:
        """As in cachelib's cache in memory; what was there is gone as well, but for an add."""
        cache = StoreCache(store)
        cache.set("key", "old")
        done = cache.set_many({"key": 1}, -1) if method == "set_many" else getattr(cache, method)("key", 1, -1)
        assert bool(done) is (method != "add")
        assert cache.get("key") == ("old" if method == "add" else None)
        assert cache.add("missing", 1, -1) is True and not cache.has("missing")

    def test_counting_leaves_the_life_as_it_is(self, store: DelegatedStore[Any], virtual_clock: VirtualClock) -> None:
        """A counter for a minute ends after that minute; one that begins by counting has the default."""
        cache = StoreCache(store, default_timeout=100)
        cache.set("minute", 1, 60)
        cache.set("ever", 1, 0)
        virtual_clock.advance(50)
        assert (cache.inc("minute"), cache.inc("ever"), cache.dec("fresh")) == (2, 2, -1)
        virtual_clock.advance(11)
        assert cache.get_many("minute", "ever", "fresh") == [None, 2, -1]
        virtual_clock.advance(90)
        assert cache.get_many("ever", "fresh") == [2, None]

    def test_a_default_for_no_time_keeps_no_count(self, store: DelegatedStore[Any]) -> None:
        """The number is told all the same."""
        assert StoreCache(store, default_timeout=-1).inc("n", 3) == 3
        assert list(store.keys()) == []


class TestAtomicity:
    """What many threads do to one key."""

    def test_no_count_is_lost(self, shared: StoreCache) -> None:
        """Also the first one, which begins."""
        with ThreadPoolExecutor(8) as threads:
            totals = list(threads.map(lambda _: shared.inc("n"), range(400)))
        assert shared.get("n") == 400 and sorted(totals) == list(range(1, 401))

    def test_one_of_many_adds(self, shared: StoreCache) -> None:
        """The others are told."""
        with ThreadPoolExecutor(8) as threads:
            added = list(threads.map(lambda number: shared.add("lock", number), range(64)))
        assert added.count(True) == 1 and shared.get("lock") == added.index(True)


@pytest.mark.redis
class TestServers:
    """A cache on a server of its own."""

    def test_many_keys_are_one_command(self, private_redis: Callable[..., PrivateServer]) -> None:
        """A hundred are set, read and removed by one each."""
        client = redis.Redis.from_url(private_redis().url)
        with DelegatedStore[Any]([RedisStore(client, namespace="cache")]) as store:
            cache = StoreCache(store, key_prefix="pages/")
            cache.set("warm", 1)
            values = {f"key{number}": [number] for number in range(100)}

            def spent(work: Callable[[], Any]) -> int:
                client.config_resetstat()
                work()
                stats: Any = client.info("commandstats")
                return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("mget", "evalsha", "eval"))

            found: list[Any] = []
            assert spent(lambda: cache.set_many(values)) <= 2
            assert spent(lambda: found.extend(cache.get_many(*values))) == 1
            assert spent(lambda: found.append(cache.get_dict(*values))) == 1
            assert found == [*values.values(), values]
            assert spent(lambda: cache.delete_many(*values)) <= 2
        client.close()

    def test_a_write_that_was_lost_is_told(self, private_redis: Callable[..., PrivateServer]) -> None:
        """By an error, as cachelib's own Redis cache does, and never by silence."""
        server = private_redis()
        client = redis.Redis.from_url(server.url)
        with DelegatedStore[Any]([RedisStore(client, namespace="cache")]) as store:
            cache = StoreCache(store)
            cache.set("key", 1)
            server.stop()
            for lost in (lambda: cache.set("key", 2), lambda: cache.get("key"), lambda: cache.delete_many("key")):
                with pytest.raises((LayerError, StoreError)):
                    lost()
        client.close()


class TestPrefixes:
    """Caches that share a store."""

    def test_a_prefix_keeps_caches_apart(self, store: DelegatedStore[Any]) -> None:
        """And so does what clears one of them."""
        plain, shop, blog = StoreCache(store), StoreCache(store, key_prefix="shop/"), StoreCache(store, key_prefix="b/")
        shop.set_many({f"key{number}": number for number in range(2500)})
        blog.set("key1", "blog")
        assert plain.get("shop/key7") == 7 and blog.get("key7") is None
        assert shop.clear() is True
        assert shop.get_many("key1", "key2499") == [None, None] and list(store.keys()) == ["b/key1"]
        assert plain.clear() is True and blog.get("key1") is None

    def test_a_prefix_may_be_a_function(self, store: DelegatedStore[Any]) -> None:
        """Asked at every use, as for tenants."""
        tenant = ["a"]
        cache = StoreCache(store, key_prefix=lambda: f"{tenant[0]}/")
        cache.set("key", 1)
        tenant[0] = "b"
        assert cache.get("key") is None and not cache.has("key")
        cache.inc("key", 2)
        assert sorted(store.keys()) == ["a/key", "b/key"]

    def test_a_long_key_is_a_key(self, store: DelegatedStore[Any]) -> None:
        """However long, and no two are one."""
        cache = StoreCache(store)
        cache.set_many({"k" * 5000: 1, "k" * 5001: 2})
        assert cache.get_many("k" * 5000, "k" * 5001) == [1, 2]
        assert max(len(key.encode()) for key in store.keys()) <= 1024  # noqa: SIM118 - a store is no mapping


class TestValues:
    """What a store sees of a value."""

    @pytest.mark.parametrize("packed", [b"", b"\x80\x05garbage", "text", 1.5, None])
    def test_what_cannot_be_read_is_a_miss(self, store: DelegatedStore[Any], packed: Any) -> None:
        """And counting begins anew."""
        cache = StoreCache(store)
        store.set("key", packed)
        assert cache.get("key") is None and cache.get_many("key") == [None]
        assert cache.inc("key") == 1 and cache.get("key") == 1

    def test_an_int_is_an_int(self, store: DelegatedStore[Any]) -> None:
        """And everything else is a pickle."""
        StoreCache(store).set_many({"int": 7, "bool": True})
        assert store.get_many(["int", "bool"]) == {"int": 7, "bool": pickle.dumps(True, 5)}

    def test_a_serializer_takes_the_place_of_pickle(self, store: DelegatedStore[Any]) -> None:
        """Any of cachelib's; what it cannot take is not stored, and said so."""
        cache = StoreCache(store)
        cache.serializer = JSONSerializer()
        assert cache.set("key", {"a": [1]}) and store.get("key") == b'{"a": [1]}'
        assert cache.get("key") == {"a": [1]} and cache.inc("n") == 1 and store.get("n") == 1
        assert cache.set("key", {1, 2}) is False and cache.add("other", {1}) is False
        assert cache.set_many({"a": 1, "b": {1}, "c": [2]}) == ["a", "c"]
        assert cache.get_dict("key", "a", "b", "c") == {"key": {"a": [1]}, "a": 1, "b": None, "c": [2]}

    def test_a_serializer_has_ints_that_are_too_large_for_a_layer(self, store: DelegatedStore[Any]) -> None:
        """So that counting goes on past what MessagePack has ints for."""
        cache = StoreCache(store)
        cache.serializer = JSONSerializer()
        cache.set("n", 2**64 - 1)
        assert [cache.inc("n"), cache.inc("n"), cache.get("n")] == [2**64, 2**64 + 1, 2**64 + 1]
        assert cache.set("big", -(2**70)) and cache.get("big") == -(2**70)

    def test_what_a_serializer_cannot_read_is_a_miss(self, store: DelegatedStore[Any]) -> None:
        """Whatever it raises."""
        cache = StoreCache(store)
        cache.serializer = BaseSerializer()
        for packed in (b"", b"garbage", b"cno.such.module\nName\n."):
            store.set("key", packed)
            assert cache.get("key") is None
        cache.set("key", [1])
        assert cache.get("key") == [1]

    @pytest.mark.redis
    def test_a_signed_store_runs_nothing_that_others_wrote(self, real_redis_url: str) -> None:
        """Without signing keys it does: a pickle is a program, whoever wrote it."""
        client = redis.Redis.from_url(real_redis_url)
        unsigned = RedisStore(client, namespace="cache")
        signed = RedisStore(client, namespace="cache", signer=Signer("a key of sixteen bytes"))
        for trapped, expected in ((signed, []), (unsigned, [1])):
            unsigned.set("key", pickle.dumps(Trap()))
            sprung.clear()
            with DelegatedStore[Any]([trapped]) as store:
                StoreCache(store).get("key")
            assert sprung == expected
        client.close()


class Trap:
    """What somebody who can write to Redis would store: reading it calls a function."""

    def __reduce__(self) -> Any:
        return spring, ()


def spring() -> None:
    """Tells that it was called."""
    sprung.append(1)


sprung: list[int] = []


class TestWhoseStore:
    """How a cache comes to its store."""

    def test_a_store_may_be_found_later(self, store: DelegatedStore[Any]) -> None:
        """By a function, asked at each use."""
        asked: list[int] = []

        def find() -> DelegatedStore[Any]:
            asked.append(1)
            return store

        cache = StoreCache(find)
        assert asked == []
        cache.set("key", 1)
        assert cache.get("key") == 1 and cache.store is store and len(asked) == 3

    @pytest.mark.parametrize("given", ["stores.pages", None])
    def test_a_name_needs_an_application(self, given: str | None) -> None:
        """The text says what to do."""
        cache = StoreCache(given)
        with pytest.raises(StateError, match=r"application context.*flask_caching\.store_cache"):
            cache.get("key")
        with Flask("bare").app_context(), pytest.raises(StateError, match=r"CACHE_STORE|has no container"):
            cache.get("key")
