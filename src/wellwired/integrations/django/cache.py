"""Django's cache on a layered store: sessions, the page cache, fragments, and what an application keeps itself.

::

    CACHES = {"default": {"BACKEND": "wellwired.integrations.django.cache.StoreCache", "LOCATION": "stores.cache"}}

The store is the container's, one for all threads. The objects that Django makes, one for each thread, are views of it:
making one connects to nothing, and closing one, as Django does after each request, closes nothing.

Counting and adding are atomic between processes, and several keys are one round trip to each layer. Other processes
see a write at once in the layers that they share, and in a memory layer when the copy's time there is over.

Values are pickled, as by Django's own backends. Whoever can write to a shared layer can therefore run code in every
process that reads it, unless the store has signing keys; see `wellwired.integrations._cache_values`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NoReturn

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, MEMCACHE_MAX_KEY_LENGTH, InvalidCacheBackendError

from wellwired.errors import StoreTimeoutError
from wellwired.integrations._cache_keys import ALWAYS_FITS, fitted
from wellwired.integrations._cache_stores import StoreInContainer
from wellwired.integrations._cache_values import CacheValues
from wellwired.integrations.django import container
from wellwired.integrations.django._cache_twins import Twins
from wellwired.stores import MISSING, DelegatedStore

__all__ = ["StoreCache"]

# Django's own is wrapped to be compiled late, which each use pays for.
_unfit = re.compile(r"[\x00-\x20\x7f]").search

_AT_ONCE: Final = 0.0

_ELSEWHERE: Final = {
    "MAX_ENTRIES": "the capacity of the store's memory layer (WELLWIRED__STORES__<NAME>__LAYERS, as JSON) bounds it",
    "CULL_FREQUENCY": "a memory layer gives up one entry at a time, the one least worth keeping",
}


class StoreCache(Twins):
    """A cache backend of Django on a layered store of the container; safe for threads.

    Args:
        location: the store's id in the container, such as ``stores.sessions``.
        params: the other settings of the cache. ``OPTIONS`` has to be empty.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._location = location
        self.fault = _fault_of(location, {*params.get("OPTIONS", {}), *_SPELLED.intersection(params)})
        """Why the cache cannot be used, or nothing; told by ``manage.py check``, and raised at the first use."""
        self._find = self._refused if self.fault else self.finder(location)
        self._ready = self._find.ready if isinstance(self._find, StoreInContainer) else self._find
        self._values = _values_of(location)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._location}>"

    def finder(self, location: str) -> Callable[[], DelegatedStore[Any]]:
        """What finds the store at each use; a subclass may look elsewhere than in the container.

        Args:
            location: ``LOCATION`` of the cache's settings.
        """
        return _store_of(location)

    @property
    def in_container(self) -> bool:
        """Whether its store is the container's, and not one that a subclass finds elsewhere."""
        return isinstance(self._find, StoreInContainer)

    @property
    def store(self) -> DelegatedStore[Any]:
        """The layered store; the container is started by the first use in a process.

        Raises:
            InvalidCacheBackendError: there is no location, or there are options, which belong to the store's settings.
            ImproperlyConfigured: the project has no container.
            UnknownProviderError: the container has no such store.
            ExceptionGroup: the container cannot be started.
        """
        return self._find()

    # --- keys and timeouts

    def validate_key(self, key: str) -> None:
        """Warns of a key that memcached would not take, with Django's `CacheKeyWarning`."""
        if len(key) > MEMCACHE_MAX_KEY_LENGTH or _unfit(key):
            super().validate_key(key)

    def make_and_validate_key(self, key: Any, version: int | None = None) -> str:
        """The store's key: prefix, version and key as Django puts them together, a very long one with a digest."""
        made = self.make_key(key, version)
        self.validate_key(made)
        return made if len(made) <= ALWAYS_FITS else fitted(made)

    def get_backend_timeout(self, timeout: float | None = DEFAULT_TIMEOUT) -> float | None:
        """The seconds to keep a value; None for ever, and 0 for a value that is gone at once."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return None if timeout is None else max(_AT_ONCE, timeout)

    # --- one key

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """The value under the key, a stored None included; the default if there is none, or it cannot be read.

        Raises:
            LayerError: a layer failed that might have had it.
        """
        found = self._find().get(self.make_and_validate_key(key, version), MISSING)
        return default if found is MISSING else self._values.unpack(found, default)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Stores the value in every layer.

        Raises:
            LayerError: a primary layer refused.
            Exception: what pickle raises for a value that it cannot take.
        """
        made, packed = self.make_and_validate_key(key, version), self._values.pack(value)
        life = self.get_backend_timeout(timeout)
        if life == _AT_ONCE:
            self._find().delete(made)
        else:
            self._find().set(made, packed, ttl=life)

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Stores the value if there is nothing under the key, in one atomic step; whether it did."""
        made, packed = self.make_and_validate_key(key, version), self._values.pack(value)
        life = self.get_backend_timeout(timeout)
        if life == _AT_ONCE:
            return not self._find().has(made)
        return self._find().add(made, packed, ttl=life)

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Gives the value a new life, and leaves it as it is; whether there is one."""
        made, life = self.make_and_validate_key(key, version), self.get_backend_timeout(timeout)
        return bool(self._find().delete(made)) if life == _AT_ONCE else self._find().touch(made, life)

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Removes the key from every layer; whether it was there."""
        return bool(self._find().delete(self.make_and_validate_key(key, version)))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Whether there is something under the key, None included."""
        return self._find().has(self.make_and_validate_key(key, version))

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Adds to the number under the key, in one atomic step; its life goes on as it was.

        Raises:
            ValueError: there is nothing under the key.
            TypeError: what is there is no number.
        """
        values = self._values

        def add(packed: Any) -> int | bytes:
            value = packed if packed is MISSING else values.unpack(packed, MISSING)
            if value is MISSING:
                raise ValueError(f"Key {key!r} not found")
            return values.pack(value + delta)

        total: int = values.unpack(self._find().update(self.make_and_validate_key(key, version), add), None)
        return total

    def get_or_set(self, key: Any, default: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> Any:
        """The value under the key; if there is none, the default, called if it can be, is stored and given.

        The threads of this process that miss a key together have it made once.
        """
        life, mine = self.get_backend_timeout(timeout), _Made(default)
        if life == _AT_ONCE:
            found = self.get(key, MISSING, version)
            return mine() if found is MISSING else found
        made, values, store = self.make_and_validate_key(key, version), self._values, self._find()
        try:
            packed = store.get_or_load(made, lambda _: values.pack(mine()), ttl=life)
        except StoreTimeoutError:
            if mine.called:
                raise
            return mine()  # somebody has been making it for longer than the store's patience
        if mine.called:
            # Somebody may have stored another value meanwhile, which then is the one.
            packed = store.get(made, packed)
        found = values.unpack(packed, MISSING)
        return mine() if found is MISSING else found

    async def aget(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """See `get`; what lies in this process's memory is given at once, and only the rest by a thread."""
        made = self.make_and_validate_key(key, version)
        found = self._at_hand(made)
        if found is not MISSING:
            return self._values.unpack(found, default)
        return await sync_to_async(self._read, thread_sensitive=False)(made, default)

    async def ahas_key(self, key: Any, version: int | None = None) -> bool:
        """See `has_key`; what lies in this process's memory needs no thread."""
        made = self.make_and_validate_key(key, version)
        if self._at_hand(made) is not MISSING:
            return True
        return await sync_to_async(self._has, thread_sensitive=False)(made)

    # --- many keys

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """The values of those keys that have one, in one round trip to each layer."""
        wanted = {self.make_and_validate_key(key, version): key for key in keys}
        return self._read_many(wanted) if wanted else {}

    async def aget_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """See `get_many`; without a thread if all of them lie in this process's memory."""
        wanted = {self.make_and_validate_key(key, version): key for key in keys}
        found = {made: packed for made in wanted if (packed := self._at_hand(made)) is not MISSING}
        if len(found) == len(wanted):
            return self._unpacked(wanted, found)
        return await sync_to_async(self._read_many, thread_sensitive=False)(wanted)

    def set_many(self, data: dict[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> list[Any]:
        """Stores many values, in one round trip to each layer: all of them, or it raises.

        Returns:
            The keys that were not stored, of which there are none.

        Raises:
            LayerError: a primary layer refused.
            Exception: what pickle raises for a value that it cannot take; then nothing was stored.
        """
        made = {self.make_and_validate_key(key, version): self._values.pack(value) for key, value in data.items()}
        life = self.get_backend_timeout(timeout)
        if made and life == _AT_ONCE:
            self._find().delete_many(made)
        elif made:
            self._find().set_many(made, ttl=life)
        return []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Removes many keys, in one round trip to each layer."""
        if made := [self.make_and_validate_key(key, version) for key in keys]:
            self._find().delete_many(made)

    def clear(self) -> None:
        """Removes every key of the store, whatever its prefix and version, and nothing of any other store."""
        self._find().clear()

    def close(self, **kwargs: Any) -> None:
        """Does nothing: Django calls it after each request, and the store is everybody's until the container stops."""

    # --- within

    def _refused(self) -> NoReturn:
        raise InvalidCacheBackendError(self.fault)

    def _at_hand(self, made: str) -> Any:
        """What lies in this process's memory, packed, or `MISSING`; waits for nothing."""
        store = self._ready()
        return MISSING if store is None else store.at_hand(made, MISSING)

    def _read(self, made: str, default: Any) -> Any:
        found = self._find().get(made, MISSING)
        return default if found is MISSING else self._values.unpack(found, default)

    def _has(self, made: str) -> bool:
        return self._find().has(made)

    def _read_many(self, wanted: Mapping[str, Any]) -> dict[Any, Any]:
        return self._unpacked(wanted, self._find().get_many(wanted))

    def _unpacked(self, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[Any, Any]:
        """The values by the callers' own keys, without those that cannot be read."""
        unpack = self._values.unpack
        values = {wanted[made]: unpack(packed, MISSING) for made, packed in found.items()}
        return {key: value for key, value in values.items() if value is not MISSING}


@lru_cache(None)
def _store_of(location: str) -> StoreInContainer:
    """What finds a store, one for all views: under ASGI each request has views of its own."""
    return StoreInContainer(location, container)


@lru_cache(None)
def _values_of(location: str) -> CacheValues:
    return CacheValues(location)


_SPELLED: Final = {"MAX_ENTRIES", "CULL_FREQUENCY", "max_entries", "cull_frequency"}


def _fault_of(location: str, options: set[str]) -> str:
    """What is wrong with a cache's settings; what another backend is told in options must not look as if it held."""
    if not location:
        return 'a StoreCache needs a store of the container, as in LOCATION: "stores.cache"'
    if not options:
        return ""
    reasons = [f"{name}: {_ELSEWHERE.get(name.upper(), 'unknown')}" for name in sorted(options)]
    return f"a StoreCache takes no options, because {location} has settings of its own; remove {'; '.join(reasons)}"


class _Made:
    """A default, called once if it can be called and is needed."""

    __slots__ = ("_default", "called")

    def __init__(self, default: Any) -> None:
        self._default, self.called = default, False

    def __call__(self) -> Any:
        if not self.called:
            self.called = True
            if callable(self._default):
                self._default = self._default()
        return self._default
