"""The caches that the contract is tried on: ours over several stacks of layers, and Django's own as controls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import redis
import sqlalchemy as sa
from asgiref.sync import async_to_sync
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache

from wellwired.integrations.django.cache import StoreCache
from wellwired.stores import DelegatedStore, Layer
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore

__all__ = ["Awaited", "Locmem", "Ours", "Redis", "Tried", "cache_on", "redis_layer", "sql_layer"]


def cache_on(store: DelegatedStore[Any], **params: Any) -> StoreCache:
    """A cache of ours on a store that no container has."""

    class Given(StoreCache):
        def finder(self, location: str) -> Callable[[], DelegatedStore[Any]]:
            return lambda: store

    return Given(store.name, params)


def redis_layer(url: str) -> Layer:
    """A layer in Redis."""
    return Layer(RedisStore(redis.Redis.from_url(url), namespace="cache"))


def sql_layer(url: str) -> Layer:
    """A layer in a table of a fresh database."""
    store = SQLStore(sa.create_engine(url), namespace="cache")
    store.create_table()
    return Layer(store)


class Tried:
    """One kind of cache: makes caches over the same data, and knows how long a value has left to live."""

    def __call__(self, **params: Any) -> BaseCache:
        """A cache with these settings."""
        raise NotImplementedError

    def left(self, cache: BaseCache, key: str, version: int | None = None) -> float | None:
        """The seconds that a value has left, or None for ever; it has to be there."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends what was opened."""


class Locmem(Tried):
    """Django's cache in memory."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, **params: Any) -> BaseCache:
        """See `Tried`."""
        return LocMemCache(self._name, params)

    def left(self, cache: Any, key: str, version: int | None = None) -> float | None:
        """See `Tried`."""
        expires = cache._expire_info[cache.make_key(key, version)]
        return None if expires is None else expires - time.time()

    def close(self) -> None:
        """See `Tried`."""
        self().clear()


class Redis(Tried):
    """Django's cache in Redis."""

    def __init__(self, url: str) -> None:
        self._url, self._client = url, redis.Redis.from_url(url)
        self._made: list[Any] = []

    def __call__(self, **params: Any) -> BaseCache:
        """See `Tried`."""
        cache = RedisCache(self._url, params)
        self._made.append(cache)
        return cache

    def left(self, cache: BaseCache, key: str, version: int | None = None) -> float | None:
        """See `Tried`."""
        left = int(self._client.pttl(cache.make_key(key, version)))
        return None if left == -1 else left / 1000

    def close(self) -> None:
        """See `Tried`."""
        self._client.close()
        for cache in self._made:
            for pool in cache._cache._pools.values():
                pool.disconnect()


class Ours(Tried):
    """Ours on a stack of layers."""

    def __init__(self, *layers: Layer) -> None:
        self.store = DelegatedStore[Any](layers, name="stores.tried")

    def __call__(self, **params: Any) -> BaseCache:
        """See `Tried`."""
        return cache_on(self.store, **params)

    def left(self, cache: BaseCache, key: str, version: int | None = None) -> float | None:
        """See `Tried`; what each layer says has to agree."""
        entries = [layer.store.get(cache.make_key(key, version)) for layer in self.store.layers]
        lives = {math.inf if entry.left is None else round(entry.left, 1) for entry in entries if entry is not None}
        assert max(lives) - min(lives) < 1 if math.inf not in lives else lives == {math.inf}
        return None if lives == {math.inf} else max(lives)

    def close(self) -> None:
        """See `Tried`."""
        self.store.close()
        for layer in self.store.layers:
            for held in ("_client", "_engine"):
                pool: Any = getattr(layer.store, held, None)
                if pool is not None:
                    pool.dispose() if held == "_engine" else pool.close()


class Awaited:
    """A cache that is used by its asynchronous twins, with the names of the plain methods."""

    def __init__(self, cache: BaseCache) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        """The twin, for code that waits for it; what has no twin is the cache's own."""
        twin = getattr(self._cache, f"a{name}", None)
        return getattr(self._cache, name) if twin is None else async_to_sync(twin)

    def __contains__(self, key: object) -> bool:
        return key in self._cache
