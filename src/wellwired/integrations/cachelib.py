"""A cachelib cache on a layered store: for Flask-Caching, Flask-Session, and whatever else takes one.

::

    cache = StoreCache(shop.stores["pages"](), default_timeout=60)

    app.config["CACHE_TYPE"] = "wellwired.integrations.cachelib.StoreCache"     # Flask-Caching
    app.config["CACHE_STORE"] = "stores.pages"

    app.config["SESSION_TYPE"] = "cachelib"                                     # Flask-Session
    app.config["SESSION_CACHELIB"] = StoreCache("stores.sessions")

A store that is named is that of the current Flask application's container, looked up at every use: nothing connects
when the cache is made, and it does not matter which extension is set up first.

cachelib's rules are not Django's: a timeout of 0 is for ever, None is the default, and counting begins where there was
nothing. Counting and adding are atomic between processes, and several keys are one round trip to each layer.

Values are pickled, as by cachelib's own caches. Whoever can write to a shared layer can therefore run code in every
process that reads it, unless the store has signing keys; see `wellwired.integrations._cache_values`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from wellwired.errors import MissingExtraError, StateError
from wellwired.integrations._cache_keys import fitted
from wellwired.integrations._cache_stores import StoreInContainer
from wellwired.integrations._cache_values import CacheValues, is_plain
from wellwired.stores import MISSING, DelegatedStore, Entry

try:
    from cachelib.base import BaseCache
except ImportError as error:
    raise MissingExtraError("cachelib", extra="cachelib", purpose="a cachelib cache on a layered store") from error

if TYPE_CHECKING:
    import datetime as dt

    from cachelib.serializers import BaseSerializer
    from flask import Flask

    from wellwired.containers.container import ContainerInstance

__all__ = ["StoreCache"]

_BATCH = 1_000


class StoreCache(BaseCache):
    """A cache of cachelib's kind on a layered store; safe for threads.

    What a layer raises is raised here too, as cachelib's own Redis cache does: no write is lost in silence.

    Args:
        store: the store; or a function that gives it; or its id in the container of the current Flask application,
            such as ``stores.pages``; or None for the id that this application's ``CACHE_STORE`` names.
        default_timeout: seconds that a value stays if a call says nothing else, or a timedelta; 0 for ever.
        key_prefix: what every key begins with, or a function that gives it.
        ignore_delete_many_errors: taken because cachelib's caches have it; a key that cannot be deleted always raises.
    """

    serializer: BaseSerializer | None = None
    """What makes bytes of values instead of pickle, if anything; Flask-Caching puts ``CACHE_SERIALIZER`` here."""

    def __init__(
        self,
        store: DelegatedStore[Any] | Callable[[], DelegatedStore[Any]] | str | None = None,
        default_timeout: int | dt.timedelta = 300,
        key_prefix: str | Callable[[], str] = "",
        ignore_delete_many_errors: bool = True,
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        self.key_prefix = key_prefix
        self._find = _finder(store)
        name = store if isinstance(store, str) else getattr(store, "name", "")
        self._values = CacheValues(str(name or "CACHE_STORE"))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self._values.cache}>"

    @classmethod
    def factory(cls, app: Flask, config: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> StoreCache:
        """Makes the cache of one Flask application, as Flask-Caching asks for it.

        Args:
            app: the application; its container is looked for at the first use.
            config: its settings: ``CACHE_STORE``, and ``CACHE_KEY_PREFIX`` unless that is Flask-Caching's usual one,
                for which a store has its namespace.
            args: what else to make it of, by position.
            kwargs: what else to make it of, by name.

        Raises:
            StateError: no store is named.
        """
        place = kwargs.pop("store", None) or config.get("CACHE_STORE")
        if not place:
            raise StateError(_NAME_ONE)
        prefix = config.get("CACHE_KEY_PREFIX") or ""
        if prefix and prefix != _USUAL_PREFIX:
            kwargs.setdefault("key_prefix", prefix)
        return cls(
            StoreInContainer(place, lambda: _container_of(app)) if isinstance(place, str) else place, *args, **kwargs
        )

    @property
    def store(self) -> DelegatedStore[Any]:
        """The layered store.

        Raises:
            StateError: it was named, and no Flask application is current, or the application has no container.
        """
        return self._find()

    # --- one key

    def get(self, key: str) -> Any:
        """The value under the key, or None."""
        found = self._find().get(self._key(key), MISSING)
        return None if found is MISSING else self._unpacked(found)

    def set(self, key: str, value: Any, timeout: int | dt.timedelta | None = None) -> bool:
        """Stores the value in every layer; False if the serializer has nothing for it."""
        packed, life = self._packed(value), self._life(timeout)
        if packed is None:
            return False
        if life is _GONE:
            self._find().delete(self._key(key))
        else:
            self._find().set(self._key(key), packed, ttl=life)
        return True

    def add(self, key: str, value: Any, timeout: int | dt.timedelta | None = None) -> bool:
        """Stores the value if there is nothing under the key, in one atomic step; whether it did."""
        packed, life = self._packed(value), self._life(timeout)
        if packed is None:
            return False
        if life is _GONE:
            return not self._find().has(self._key(key))
        return self._find().add(self._key(key), packed, ttl=life)

    def delete(self, key: str) -> bool:
        """Removes the key from every layer; whether it was there."""
        return bool(self._find().delete(self._key(key)))

    def has(self, key: str) -> bool:
        """Whether there is something under the key, None included."""
        return self._find().has(self._key(key))

    def inc(self, key: str, delta: int = 1) -> int:
        """Adds to the number under the key, in one atomic step; where there is nothing it begins with the delta.

        The life of what is there goes on as it was; what begins has the default timeout.

        Raises:
            TypeError: what is there is no number.
        """
        life = self._life(None)

        def add(packed: Any) -> Any:
            if packed is MISSING:
                return Entry(self._packed(delta), 0.0 if life is _GONE else life)
            return self._packed((self._unpacked(packed) or 0) + delta)

        total: int = self._unpacked(self._find().update(self._key(key), add))
        return total

    def dec(self, key: str, delta: int = 1) -> int:
        """Takes from the number under the key; see `inc`."""
        return self.inc(key, -delta)

    # --- many keys

    def get_many(self, *keys: str) -> list[Any]:
        """The value of each key, or None, in one round trip to each layer."""
        names = [self._key(key) for key in keys]
        found = self._find().get_many(names) if names else {}
        return [self._unpacked(found[name]) if name in found else None for name in names]

    def set_many(self, mapping: Mapping[str, Any], timeout: int | dt.timedelta | None = None) -> list[Any]:
        """Stores many values, in one round trip to each layer; the keys of those that the serializer has made."""
        packed = {key: made for key, value in mapping.items() if (made := self._packed(value)) is not None}
        values, life = {self._key(key): made for key, made in packed.items()}, self._life(timeout)
        if values and life is _GONE:
            self._find().delete_many(values)
        elif values:
            self._find().set_many(values, ttl=life)
        return list(packed)

    def delete_many(self, *keys: str) -> list[Any]:
        """Removes many keys, in one round trip to each layer; all of them, those included that were not there."""
        if keys:
            self._find().delete_many([self._key(key) for key in keys])
        return list(keys)

    def clear(self) -> bool:
        """Removes every key with this cache's prefix, or of the store if there is none.

        With a prefix every key of the store has to be looked at; a store of its own is cleared at once.
        """
        store, prefix = self._find(), self._prefix()
        if not prefix:
            store.clear()
            return True
        batch: list[str] = []
        for key in store.keys():  # noqa: SIM118 - a store is no mapping
            if key.startswith(prefix):
                batch.append(key)
            if len(batch) == _BATCH:
                store.delete_many(batch)
                batch = []
        if batch:
            store.delete_many(batch)
        return True

    # --- within

    def _prefix(self) -> str:
        return self.key_prefix if isinstance(self.key_prefix, str) else self.key_prefix()

    def _key(self, key: str) -> str:
        return fitted(f"{self._prefix()}{key}")

    def _life(self, timeout: int | dt.timedelta | None) -> Any:
        """The seconds to keep a value; None for ever, or `_GONE`."""
        seconds = self._normalize_timeout(timeout)
        return None if seconds == 0 else seconds if seconds > 0 else _GONE

    def _packed(self, value: Any) -> Any:
        if self.serializer is None or is_plain(value):
            return self._values.pack(value)
        return self.serializer.dumps(value)

    def _unpacked(self, packed: Any) -> Any:
        if self.serializer is None:
            return self._values.unpack(packed, None)
        return self._values.unpack(packed, None, self.serializer.loads)


_GONE: Any = object()
_USUAL_PREFIX = "flask_cache_"
_NAME_ONE = 'name the layered store of the cache in CACHE_STORE, such as "stores.pages"'


def _finder(
    store: DelegatedStore[Any] | Callable[[], DelegatedStore[Any]] | str | None,
) -> Callable[[], DelegatedStore[Any]]:
    """What gives the store at each use."""
    if isinstance(store, str):
        return _InCurrentApplication(store)
    if store is None:
        return _InCurrentApplication()
    if callable(store):
        return store
    return lambda: store


class _InCurrentApplication:
    """A store of the current Flask application's container: one that is named, or that its ``CACHE_STORE`` names."""

    def __init__(self, place: str = "") -> None:
        self._place = place
        self._known: dict[str, StoreInContainer] = {}

    def __call__(self) -> DelegatedStore[Any]:
        app = _current_application()
        place = self._place or app.config.get("CACHE_STORE")
        if not place:
            raise StateError(_NAME_ONE)
        known = self._known.get(place)
        if known is None:
            known = self._known.setdefault(
                place, StoreInContainer(place, lambda: _container_of(_current_application()))
            )
        return known.of(_container_of(app))


def _current_application() -> Flask:
    try:
        # The application itself: each look through its stand-in costs as much as the rest of a hit.
        app: Flask = _flask().current_app._get_current_object()
    except RuntimeError:
        raise StateError(
            "outside of an application context nobody knows whose store is meant; enter one, or for Flask-Caching "
            'set CACHE_TYPE to "wellwired.integrations.flask_caching.store_cache", which is told the application'
        ) from None
    return app


def _container_of(app: Flask) -> ContainerInstance:
    return _flask().container_of(app)  # type: ignore[no-any-return]


@lru_cache(None)
def _flask() -> Any:
    """Our part for Flask, which not every cachelib cache has to do with; an import at each use would cost a hit."""
    from wellwired.integrations import flask

    return flask
