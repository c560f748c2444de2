"""What the frameworks' caches keep of a value: an int as it is, and a pickle of everything else.

Those frameworks promise that a cache takes whatever can be pickled, so the pickle is made here, and a store and its
codec see nothing but ints and bytes. An int stays one, so that counting needs no pickle and a count can be read in
Redis.

Reading a pickle runs what its bytes say. **Whoever can write to a shared layer of the store can run code in every
process that reads it**, just as with the frameworks' own Redis caches, unless the store has signing keys
(``WELLWIRED__STORES__<NAME>__SIGNING_KEYS``): then its layers verify every value before anybody unpickles it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, Final

import structlog

from wellwired.clock import SYSTEM, Clock

__all__ = ["CacheValues", "is_plain"]

# Of every Python that is supported, so that workers of two versions can share a cache while one replaces the other.
_PROTOCOL: Final = 5
# What MessagePack has ints for.
_LEAST, _MOST = -(2**63), 2**64 - 1
_QUIET_SECONDS: Final = 60.0

_log = structlog.get_logger("wellwired.caches")
_loads, _dumps = pickle.loads, pickle.dumps


def is_plain(value: Any) -> bool:
    """Whether a value is stored as it is: an int that MessagePack has a form for; a bool is no int here."""
    return type(value) is int and _LEAST <= value <= _MOST


class CacheValues:
    """Packs the values of one cache, and unpacks them; safe for threads.

    Args:
        cache: what the cache is called in logs.
        clock: what repeated log lines are held back by.
    """

    __slots__ = ("_clock", "_quiet_until", "cache", "unreadable")

    def __init__(self, cache: str, clock: Clock = SYSTEM) -> None:
        self.cache = cache
        self.unreadable = 0
        """How many values could not be unpacked; under many threads a few may be missing."""
        self._clock = clock
        self._quiet_until = float("-inf")

    def pack(self, value: Any) -> int | bytes:
        """What is to be stored.

        Args:
            value: whatever can be pickled.

        Raises:
            Exception: what pickle, or the value's own class, raises if it cannot.
        """
        if is_plain(value):
            return value  # type: ignore[no-any-return]
        return _dumps(value, _PROTOCOL)

    def unpack(self, packed: Any, default: Any, loads: Callable[[bytes], Any] = _loads) -> Any:
        """The value again; the default if it cannot be had.

        What cannot be read, because it is damaged, was stored by somebody else, or is of a class that this version of
        the program does not have, is left where it is: another version may know it.

        Args:
            packed: what was stored.
            default: what to give instead.
            loads: what makes a value of bytes, if not pickle.
        """
        if type(packed) is bytes:
            try:
                return loads(packed)
            except Exception as error:  # noqa: BLE001 - a pickle may raise whatever a class can
                self._tell(type(error).__qualname__)
                return default
        if type(packed) is int:
            return packed
        self._tell("foreign")
        return default

    def _tell(self, reason: str) -> None:
        """Counts a value that could not be read, and logs it, at most once a minute."""
        self.unreadable += 1
        now = self._clock.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            _log.warning("cache.value_unreadable", cache=self.cache, reason=reason, unreadable=self.unreadable)
