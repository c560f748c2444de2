"""Layered reads beside a dict, the usual caches, and redis-py by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import cachebox
import cachetools
import msgspec
import pytest
import redis
import theine
from dogpile.cache import make_region

from wellwired import DelegatedStore, Layer, MemoryStore
from wellwired.containers.pools import open_redis
from wellwired.settings import RedisSettings
from wellwired.stores.redis import RedisStore

Benchmark = Callable[..., Any]
VALUE = {"user_id": "u1", "name": "Ada", "email": "ada@example.org"}
KEYS = [f"k{n:03d}" for n in range(100)]


class PlainCache:
    """What one would write by hand: a dict and a time."""

    def __init__(self) -> None:
        self.entries: dict[str, tuple[Any, float]] = {}

    def set(self, key: str, value: Any, ttl: float) -> None:
        """Stores a value."""
        self.entries[key] = (value, time.monotonic() + ttl)

    def get(self, key: str) -> Any:
        """Gives it, if its time has not passed."""
        value, expires = self.entries[key]
        if expires > time.monotonic():
            return value
        raise KeyError(key)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A pooled client."""
    if redis_url.startswith("memory"):
        pytest.skip("measured on a server only")
    made = open_redis("redis.bench", RedisSettings(url=redis_url))  # type: ignore[arg-type]
    yield made
    made.close()


@pytest.mark.benchmark(group="L1 hit")
def test_hit_ours(benchmark: Benchmark) -> None:
    """Three layers, the value in the first, shared."""
    layers = [Layer(MemoryStore(share=True), ttl=60), Layer(MemoryStore()), Layer(MemoryStore(), primary=True)]
    store: DelegatedStore[Any] = DelegatedStore(layers)
    store.set("u1", VALUE)
    assert benchmark(store.get, "u1") == VALUE
    store.close()


@pytest.mark.benchmark(group="L1 hit")
def test_hit_plain(benchmark: Benchmark) -> None:
    """A plain method with a dict and a TTL check."""
    cache = PlainCache()
    cache.set("u1", VALUE, 60)
    assert benchmark(cache.get, "u1") == VALUE


@pytest.mark.benchmark(group="L1 hit")
def test_hit_dogpile(benchmark: Benchmark) -> None:
    """dogpile.cache over its memory backend."""
    region = make_region().configure("dogpile.cache.memory", expiration_time=60)
    region.set("u1", VALUE)
    assert benchmark(region.get, "u1") == VALUE


@pytest.mark.benchmark(group="L1 hit")
def test_hit_cachetools(benchmark: Benchmark) -> None:
    """cachetools' TTLCache under an RLock, as its documentation has it."""
    cache, lock = cachetools.TTLCache[str, Any](10_000, 60), threading.RLock()
    cache["u1"] = VALUE

    def get(key: str) -> Any:
        with lock:
            return cache[key]

    assert benchmark(get, "u1") == VALUE


@pytest.mark.benchmark(group="L1 hit")
def test_hit_theine(benchmark: Benchmark) -> None:
    """theine, which is bounded by W-TinyLFU and has a time for each entry."""
    cache = theine.Cache[str, Any](10_000)
    cache.set("u1", VALUE, timedelta(seconds=60))
    assert benchmark(cache.get, "u1")[0] == VALUE
    cache.close()


@pytest.mark.benchmark(group="L1 hit")
def test_hit_cachebox(benchmark: Benchmark) -> None:
    """cachebox's VTTLCache, in Rust, with a lock and a time for each entry."""
    cache: Any = cachebox.VTTLCache(10_000)
    cache.insert("u1", VALUE, 60)
    assert benchmark(cache.get, "u1") == VALUE


def rounds(benchmark: Benchmark, read: Callable[[], Any], before: Callable[[], object]) -> Any:
    """Measures reads one by one, each after something that is not measured."""
    pedantic: Any = getattr(benchmark, "pedantic")  # noqa: B009 - the plugin has no types
    return pedantic(read, setup=lambda: before() and None, rounds=5_000, warmup_rounds=200)


def dogpile_redis(client: redis.Redis) -> Any:
    """A region of dogpile.cache on the same server."""
    options = client.connection_pool.connection_kwargs
    region = make_region(serializer=msgspec.json.encode, deserializer=msgspec.json.decode)
    arguments = {name: options[name] for name in ("host", "port", "db")}
    return region.configure("dogpile.cache.redis", arguments={**arguments, "redis_expiration_time": 600})


@pytest.mark.benchmark(group="L2 hit")
@pytest.mark.parametrize("redis_url", ["redis"], indirect=True, ids=[""])
def test_l2_ours(benchmark: Benchmark, client: redis.Redis) -> None:
    """Not in memory, found in Redis, memory filled."""
    memory = MemoryStore()
    store: DelegatedStore[Any] = DelegatedStore([Layer(memory, ttl=60), Layer(RedisStore(client, namespace="bench"))])
    store.set("u1", VALUE, ttl=600)
    # The removal from memory, which makes it a miss there, is not what is measured.
    assert rounds(benchmark, lambda: store.get("u1"), lambda: memory.delete("u1")) == VALUE
    store.close()


@pytest.mark.benchmark(group="L2 hit")
@pytest.mark.parametrize("redis_url", ["redis"], indirect=True, ids=[""])
def test_l2_plain(benchmark: Benchmark, client: redis.Redis) -> None:
    """GET and decode."""
    client.set("plain", msgspec.msgpack.encode(VALUE), ex=600)
    decode = msgspec.msgpack.Decoder().decode
    memory = MemoryStore()
    read = lambda: decode(client.get("plain"))  # type: ignore[arg-type]  # noqa: E731 - as short as ours
    assert rounds(benchmark, read, lambda: memory.delete("u1")) == VALUE


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # it passes what redis-py is about to give up
@pytest.mark.benchmark(group="L2 hit")
@pytest.mark.parametrize("redis_url", ["redis"], indirect=True, ids=[""])
def test_l2_dogpile(benchmark: Benchmark, client: redis.Redis) -> None:
    """dogpile.cache over Redis: one layer, decoded from JSON, nothing filled."""
    region = dogpile_redis(client)
    region.set("u1", VALUE)
    memory = MemoryStore()
    assert rounds(benchmark, lambda: region.get("u1"), lambda: memory.delete("u1")) == VALUE


@pytest.mark.benchmark(group="get_many of 100")
@pytest.mark.parametrize("redis_url", ["redis"], indirect=True, ids=[""])
def test_many_ours(benchmark: Benchmark, client: redis.Redis) -> None:
    """A hundred keys from Redis through the store."""
    store: DelegatedStore[Any] = DelegatedStore([Layer(RedisStore(client, namespace="bench"), primary=True)])
    store.set_many(dict.fromkeys(KEYS, VALUE))
    assert len(benchmark(store.get_many, KEYS)) == 100
    store.close()


@pytest.mark.benchmark(group="get_many of 100")
@pytest.mark.parametrize("redis_url", ["redis"], indirect=True, ids=[""])
def test_many_plain(benchmark: Benchmark, client: redis.Redis) -> None:
    """MGET and decode."""
    client.mset(dict.fromkeys(KEYS, msgspec.msgpack.encode(VALUE)))
    decode = msgspec.msgpack.Decoder().decode

    def read() -> dict[str, Any]:
        return {key: decode(data) for key, data in zip(KEYS, client.mget(KEYS), strict=True)}  # type: ignore[arg-type]

    assert len(benchmark(read)) == 100


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.benchmark(group="get_many of 100")
@pytest.mark.parametrize("redis_url", ["redis"], indirect=True, ids=[""])
def test_many_dogpile(benchmark: Benchmark, client: redis.Redis) -> None:
    """dogpile.cache over Redis."""
    region = dogpile_redis(client)
    region.set_multi(dict.fromkeys(KEYS, VALUE))
    assert len(benchmark(region.get_multi, KEYS)) == 100
