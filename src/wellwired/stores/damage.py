"""What is told when a stored value cannot be read: it is a miss for the caller, and a `Damage` for whoever listens.

A value may be damaged, foreign, written by a newer version or under another key. The caller goes on as if nothing were
there. Each case is counted by its reason and told to the listeners, so that a format change gone wrong shows up as a
number and not as a slow cache.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Damage", "DamageLog", "Reason"]

_logger = logging.getLogger("wellwired.stores")


class Reason(StrEnum):
    """Why a stored value could not be read."""

    FOREIGN = "foreign"
    """It is no envelope of this library."""
    VERSION = "version"
    """It is of a version that this one cannot read."""
    CODEC = "codec"
    """Another codec wrote it."""
    KEY = "key"
    """It was written under another key or namespace."""
    TRUNCATED = "truncated"
    """Its end is missing."""
    CHECKSUM = "checksum"
    """Its bytes have changed."""
    SIGNATURE = "signature"
    """It is not signed, or not by one of the store's keys."""
    SIZE = "size"
    """It would take more memory than it may, or does not say how much."""
    VALUE = "value"
    """The codec cannot read it, for instance because the type has changed."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One stored value that could not be read and was treated as not there.

    Args:
        namespace: the store's namespace.
        key: the key under which it lies.
        reason: why.
    """

    namespace: str
    key: str
    reason: Reason


class DamageLog:
    """Counts damages and tells them; safe for threads.

    Args:
        namespace: whose damages.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._counts: Counter[Reason] = Counter()
        self._listeners: tuple[Callable[[Damage], object], ...] = ()
        self._lock = threading.Lock()

    @property
    def counts(self) -> Mapping[Reason, int]:
        """How many there were, by reason; a copy."""
        with self._lock:
            return dict(self._counts)

    @property
    def total(self) -> int:
        """How many there were."""
        with self._lock:
            return self._counts.total()

    def listen(self, listener: Callable[[Damage], object]) -> None:
        """Has a function called with every later `Damage`, in the reading thread; what it raises is logged."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def note(self, key: str, reason: Reason) -> None:
        """Counts one and tells the listeners."""
        with self._lock:
            self._counts[reason] += 1
        damage = Damage(self._namespace, key, reason)
        for listener in self._listeners:
            try:
                listener(damage)
            except Exception:
                _logger.exception("a damage listener of the store %s failed", self._namespace)
