"""A layer in its place in a stack: one way to call it, whatever it is able to do, and what was counted about it.

A call uses the best ability that the store has, so nothing above here asks what a store can do. Errors pass through as
the store raised them; who called notes them with `failed`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from wellwired.clock import Clock
from wellwired.errors import ReadOnlyError, StoreError
from wellwired.stores._doubts import Doubts
from wellwired.stores.layer import Layer
from wellwired.stores.memory import MemoryStore
from wellwired.stores.protocols import Entry, Fenced, FencedMany, Many, Ordered
from wellwired.stores.receipts import LayerOutcome, LayerState
from wellwired.stores.stats import LayerStats

__all__ = ["NO_TOKEN", "UNASKED", "Answer", "Failure", "Rung"]

NO_TOKEN: Any = object()
"""Stands for the token of a layer that has none, because it is not `Fenced`."""

UNASKED: Any = object()
"""Stands for the token of a layer that failed or was not asked; it is not filled either."""

Answer = tuple[Entry[Any] | None, Any]
"""What a layer had, and its token of that moment."""

_log = structlog.get_logger("wellwired.stores")
_QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands for the answer of a layer that raised."""

    error: Exception


class Rung:
    """A layer of one delegated store; safe for threads.

    Args:
        store: the name of the delegated store.
        index: the place of the layer.
        layer: the layer, named.
        cap: seconds that it may keep a value at most, or None.
        clock: what repeated log lines are held back by.
    """

    def __init__(self, store: str, index: int, layer: Layer, cap: float | None, clock: Clock) -> None:
        self.store_name, self.index, self.name = store, index, layer.name
        self.store = layer.store
        self.is_primary = layer.primary
        self.writable = layer.writable
        self.cap = cap
        self.doubts = Doubts()
        # The outcomes without an error are few and immutable: each is made once.
        self.outcomes: dict[LayerState, LayerOutcome] = {}
        # Looked at once: asking for a protocol costs microseconds.
        self._many = layer.store if isinstance(layer.store, Many) else None
        self._fenced = layer.store if isinstance(layer.store, Fenced) else None
        self._fenced_many = layer.store if isinstance(layer.store, FencedMany) else None
        self._ordered = layer.store if isinstance(layer.store, Ordered) else None
        self.fenced, self.ordered = self._fenced is not None, self._ordered is not None
        self._now = clock.monotonic
        self.hits = self.misses = self.failures = self.fills = self.refused = 0
        self._failing = self._told = False
        self._quiet_until = float("-inf")

    # --- calls

    def read(self, key: str) -> Answer:
        """What the layer has, with a token if it is `Fenced`."""
        if self.doubts.any and not self._settle([key]):
            return None, UNASKED
        return (self.store.get(key), NO_TOKEN) if self._fenced is None else self._fenced.read(key)

    def read_many(self, keys: Sequence[str]) -> Mapping[str, Answer]:
        """What the layer has for every key asked, in one round trip if it can."""
        if self.doubts.any and not self._settle(keys):
            return dict.fromkeys(keys, (None, UNASKED))
        if self._fenced_many is not None:
            return self._fenced_many.read_many(keys)
        if self._many is not None and self._fenced is None:
            found = self._many.get_many(keys)
            return {key: (found.get(key), NO_TOKEN) for key in keys}
        return {key: self.read(key) for key in keys}

    def has(self, key: str) -> bool:
        """Whether the layer has something under the key."""
        return not (self.doubts.any and not self._settle([key])) and self.store.has(key)

    def fill(self, items: Mapping[str, tuple[Entry[Any], Any]]) -> Collection[str]:
        """Fills a `Fenced` layer; the keys that it did store."""
        if len(items) > 1 and self._fenced_many is not None:
            return self._fenced_many.fill_many(items)
        assert self._fenced is not None
        return [key for key, (entry, token) in items.items() if self._fenced.fill(key, entry, token)]

    def tokens(self, keys: Sequence[str]) -> Mapping[str, Any]:
        """The tokens that an `Ordered` layer wants back with a write."""
        assert self._ordered is not None
        return self._ordered.tokens(keys)

    def put(self, items: Mapping[str, tuple[Entry[Any], Any]]) -> Collection[str]:
        """Writes to an `Ordered` layer; the keys that it did store."""
        assert self._ordered is not None
        marks = self.doubts.marks(items)
        stored = self._ordered.put_many(items)
        self.doubts.resolve(stored, marks)
        return stored

    def write(self, items: Mapping[str, Entry[Any]]) -> None:
        """Stores every value, in one round trip if the layer can."""
        marks = self.doubts.marks(items)
        if len(items) > 1 and self._many is not None:
            self._many.set_many(items)
        else:
            for key, entry in items.items():
                self.store.set(key, entry.value, entry.left)
        self.doubts.resolve(items, marks)

    def drop(self, keys: Sequence[str]) -> int:
        """Removes the keys, in one round trip if the layer can; how many were there."""
        marks = self.doubts.marks(keys)
        if len(keys) > 1 and self._many is not None:
            removed = self._many.delete_many(keys)
        else:
            removed = sum([bool(self.store.delete(key)) for key in keys])
        self.doubts.resolve(keys, marks)
        return removed

    def clear(self) -> None:
        """Removes everything, doubts included."""
        mark = self.doubts.everything
        self.store.clear()
        self.doubts.resolve_everything(mark)

    # --- what is known about it

    def failed(self, operation: str, error: BaseException) -> None:
        """Notes that a call raised; logs it once and then at most once a minute."""
        if isinstance(error, ReadOnlyError):
            self.writable = False  # it did not say so before; it is not asked again
            return
        self.failures += 1
        if isinstance(error, StoreError):
            return  # it says something about a key, a value or a question, and nothing about the health of the layer
        self._failing = True
        now = self._now()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            self._told = True
            facts = {"store": self.store_name, "layer": self.name, "operation": operation}
            _log.warning("store.layer_failing", **facts, error=type(error).__qualname__, failures=self.failures)

    def works(self) -> None:
        """Notes that a call was answered; logs it if a failure was logged before."""
        if not self._failing:
            return
        self._failing = False
        if self._told:
            self._told = False
            _log.info("store.layer_recovered", store=self.store_name, layer=self.name, failures=self.failures)

    def stats(self) -> LayerStats:
        """What was counted."""
        hits = self.store.stats().hits if isinstance(self.store, MemoryStore) else self.hits
        return LayerStats(
            layer=self.name,
            index=self.index,
            is_primary=self.is_primary,
            fenced=self.fenced,
            hits=hits,
            misses=self.misses,
            failures=self.failures,
            fills=self.fills,
            refused=self.refused,
            doubtful=len(self.doubts),
            doubted=self.doubts.everything is not None,
            failing=self._failing,
        )

    def _settle(self, keys: Sequence[str]) -> bool:
        """Removes what is in doubt among the keys; False if the layer must not be read at all."""
        doubts = self.doubts
        if doubts.everything is not None:
            if not doubts.worth_a_try(self._now()):
                return False
            self.clear()
        doubtful = doubts.marks(keys)
        if doubtful:
            self.drop(list(doubtful))
        return True
