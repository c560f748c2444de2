"""A layer in its place in a stack: one way to call it, whatever it is able to do, and what was counted about it.

A call uses the best ability that the store has, so nothing above here asks what a store can do. Errors pass through as
the store raised them; who called notes them with `failed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, Protocol, TypeVar, runtime_checkable

import structlog

from wellwired.clock import Clock
from wellwired.errors import (
    CodecError,
    KeyFormatError,
    LayerTimeoutError,
    NotFound,
    ReadOnlyError,
    TTLNotSupportedError,
)
from wellwired.middleware.breaker import Breaker, BreakerState
from wellwired.stores._callers import Callers, NoAnswer
from wellwired.stores._doubts import Doubts
from wellwired.stores._plans import older
from wellwired.stores.layer import Layer
from wellwired.stores.memory import MemoryStore
from wellwired.stores.protocols import (
    Adds,
    Atomic,
    Entry,
    Fenced,
    FencedMany,
    KeepsStale,
    Many,
    Ordered,
    Tagged,
    Timed,
)
from wellwired.stores.receipts import LayerOutcome, LayerState
from wellwired.stores.stats import LayerStats

__all__ = ["NO_TOKEN", "UNASKED", "Answer", "Failure", "Rung"]

NO_TOKEN: Any = object()
"""Stands for the token of a layer that has none, because it is not `Fenced`."""

UNASKED: Any = object()
"""Stands for the token of a layer that failed or was not asked; it is not filled either."""

Answer = tuple[Entry[Any] | None, Any]
"""What a layer had, and its token of that moment."""

P = ParamSpec("P")
R = TypeVar("R")

_CALLERS_OWN: Final = (CodecError, KeyFormatError, NotFound, ReadOnlyError, TTLNotSupportedError)
"""Errors that say something about a key, a value or a question, and nothing about the health of a layer."""

_log = structlog.get_logger("wellwired.stores")
_QUIET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands for the answer of a layer that raised."""

    error: Exception


@runtime_checkable
class _Brief(Protocol):
    """The ability to give the values of many keys without an entry for each."""

    def read_values(self, keys: Sequence[str], /) -> tuple[list[Any] | None, Mapping[str, Answer]]:
        """The values of all keys in order, if nothing else is to be said of any; otherwise None, and all there is."""
        ...


def _plain(layer: Layer) -> bool:
    """Whether a layer has no limits, no breaker and no stale lives."""
    return layer.time_limit is None and layer.breaker is None and not layer.stale


def _brief(layer: Layer) -> Callable[[Sequence[str]], tuple[list[Any] | None, Mapping[str, Answer]]] | None:
    """How a layer gives the values of many keys without an entry for each, if it can and is asked without a limit."""
    plain = _plain(layer) and layer.soft_limit is None
    return layer.store.read_values if plain and isinstance(layer.store, _Brief) else None


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
        self.is_primary, self.writable, self.cap = layer.primary, layer.writable, cap
        self.doubts = Doubts()
        # The outcomes without an error are few and immutable: each is made once.
        self.outcomes: dict[LayerState, LayerOutcome] = {}
        # Looked at once: asking for a protocol costs microseconds.
        self._many = layer.store if isinstance(layer.store, Many) else None
        self._fenced = layer.store if isinstance(layer.store, Fenced) else None
        self._fenced_many = layer.store if isinstance(layer.store, FencedMany) else None
        self._ordered = layer.store if isinstance(layer.store, Ordered) else None
        self.atomic, self.adds = isinstance(layer.store, Atomic), isinstance(layer.store, Adds)
        self._stale = layer.store if isinstance(layer.store, KeepsStale) else None
        self._timed = layer.store if isinstance(layer.store, Timed) else None
        # Tags travel with entries, and a single value is set without one.
        self.tagged = isinstance(layer.store, Tagged) and self._many is not None
        self.local = isinstance(layer.store, MemoryStore)
        # Nothing about its fills needs to be noted, limited or asked: what they cost is all that a fill costs.
        self.quick = type(layer.store) is MemoryStore and self.writable and _plain(layer)
        self.brief = _brief(layer) if index == 0 else None
        self.limit, self.soft_limit, self.spare = layer.time_limit, layer.soft_limit, layer.stale
        self.callers = Callers(f"wellwired-{store}-{layer.name}", layer.callers)
        self.breaker = None if layer.breaker is None else Breaker(layer.breaker)
        self.keeps_stale, self.fenced, self.ordered = (
            self._stale is not None,
            self._fenced is not None,
            self._ordered is not None,
        )
        self._now = clock.monotonic
        self.hits = self.misses = self.failures = self.fills = self.refused = 0
        self.timeouts = self.skipped = self.stale = 0
        self.failing, self._told, self.last_error = False, False, ""
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
        began, stored = self._now(), []
        for key, (young, token) in items.items():
            entry = older(young, self._now() - began)
            if entry is not None and self._fenced.fill(key, entry, token):
                stored.append(key)
        return stored

    def refill(self, key: str, entry: Entry[Any], token: Any) -> bool:
        """Fills a `Fenced` layer with one entry."""
        assert self._fenced is not None
        return self._fenced.fill(key, entry, token)

    def tokens(self, keys: Sequence[str]) -> Mapping[str, Any]:
        """The tokens that an `Ordered` layer wants back with a write."""
        assert self._ordered is not None
        return self._ordered.tokens(keys)

    def put(self, items: Mapping[str, tuple[Entry[Any], Any]], undisturbed: Callable[[str], bool]) -> Collection[str]:
        """Writes to an `Ordered` layer; the keys that it did store.

        A write that could not reach the layer has left its tokens as they were, and a doubt. So a doubt is ended only
        by a writer whom no other has crossed in this process.

        Args:
            items: the entries, each with its token.
            undisturbed: whether no other write of a key was under way at any moment so far.
        """
        assert self._ordered is not None
        marks = self.doubts.marks(items)  # first: whoever has left one of these is seen as a disturbance below
        alone = {key: item for key, item in items.items() if undisturbed(key)}
        stored = self._ordered.put_many(alone) if alone else ()
        self.doubts.resolve(stored, marks)
        return stored

    def witness(self, key: str) -> Answer:
        """What an `Atomic` layer has, and the token for an exchange of it."""
        store: Any = self.store  # `Atomic`, as was looked at once
        return store.witness(key)  # type: ignore[no-any-return]

    def swap(self, key: str, entry: Entry[Any], token: Any) -> bool:
        """Exchanges what an `Atomic` layer has, if that is still what the token stands for."""
        store: Any = self.store  # `Atomic`, as was looked at once
        return store.swap(key, entry, token)  # type: ignore[no-any-return]

    def add(self, key: str, entry: Entry[Any]) -> bool:
        """Stores an entry in a layer that `Adds`, if nothing is there."""
        store: Any = self.store  # `Adds`, as was looked at once
        return store.add(key, entry)  # type: ignore[no-any-return]

    def write(self, items: Mapping[str, Entry[Any]]) -> None:
        """Stores every value, in one round trip if the layer can."""
        marks = self.doubts.marks(items)
        if self._many is not None and (len(items) > 1 or self.keeps_stale or self.tagged):
            self._many.set_many(items)
        else:
            began = self._now()
            for key, young in items.items():
                entry = older(young, self._now() - began)  # one after another takes time, which is none of the next's
                if entry is None:
                    self.store.delete(key)
                else:
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

    def invalidate(self, tags: Sequence[str]) -> None:
        """Removes what bears one of the tags from a layer that keeps tags."""
        assert isinstance(self.store, Tagged)
        self.store.invalidate_tags(tags)

    def read_stale(self, keys: Sequence[str]) -> Mapping[str, Entry[Any]]:
        """What the layer keeps under the keys, stale or fresh, as far as nothing about it is in doubt."""
        if self._stale is None or self.doubts.everything is not None:
            return {}
        doubtful = self.doubts.marks(keys)
        return self._stale.read_stale([key for key in keys if key not in doubtful] if doubtful else keys)

    def look(self, key: str) -> tuple[Entry[Any] | None, Any]:
        """What the layer has under a key, stale or fresh, and its token, None if it has none; changes nothing."""
        token = None if self._ordered is None else self._ordered.tokens((key,))[key]
        return (self.store.get(key) if self._stale is None else self._stale.read_stale((key,)).get(key)), token

    def forget_stale(self, keys: Sequence[str]) -> None:
        """Removes what is kept of keys that there is nothing under any more; on a primary within `holding` only."""
        kept = [] if self._stale is None else list(self._stale.read_stale(keys))
        if len(kept) > 1 and self._many is not None:
            self._many.delete_many(kept)
            return
        for key in kept:
            self.store.delete(key)

    def waits(self, left: float | None) -> float | None:
        """Seconds to wait for an answer at most; None for as long as the driver waits.

        Args:
            left: seconds that the caller has for this layer; None for any number.
        """
        if self.local and self.limit is None:
            return None  # it answers at once
        if left is None or left == math.inf:
            return self.limit
        return left if self.limit is None else min(left, self.limit)

    def within(
        self,
        seconds: float,
        operation: str,
        late: Callable[[R], object] | None,
        call: Callable[P, R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Makes a call that may happen late, and waits for its answer.

        Args:
            seconds: how long to wait at most.
            operation: what to call it in errors.
            late: is given an answer that comes after all, if this layer cannot stop waiting by itself.
            call: a call of this layer.
            *args: what to call it with.
            **kwargs: what to call it with.

        Raises:
            LayerTimeoutError: no answer came in time.
        """
        try:
            if self._timed is None:
                return self.callers.call(seconds, call, late, *args, **kwargs)
            return self._timed.within(seconds, call, *args, **kwargs)
        except (NoAnswer, TimeoutError) as error:
            if isinstance(error, TimeoutError) and self._timed is None:
                raise
        self.timeouts += 1
        raise self.out_of_time(operation, seconds)

    def out_of_time(self, operation: str, seconds: float) -> LayerTimeoutError:
        """The error of a call that was given up after so many seconds, or not made for want of time."""
        reason = f"no answer within {seconds:.3g} s" if seconds > 0 else "no time was left for it"
        return LayerTimeoutError(self.name, operation, reason)

    # --- what is known about it

    def failed(self, operation: str, error: BaseException) -> None:
        """Notes that a call raised; logs it once and then at most once a minute."""
        if isinstance(error, ReadOnlyError):
            self.writable = False  # it did not say so before; it is not asked again
            return
        self.failures += 1
        if isinstance(error, _CALLERS_OWN):
            return
        self.failing, self.last_error = True, type(error).__qualname__
        now = self._now()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            self._told = True
            facts = {"store": self.store_name, "layer": self.name, "operation": operation}
            _log.warning("store.layer_failing", **facts, error=type(error).__qualname__, failures=self.failures)

    def works(self) -> None:
        """Notes that a call was answered; logs it if a failure was logged before."""
        if not self.failing:
            return
        self.failing = False
        if self._told:
            self._told = False
            _log.info("store.layer_recovered", store=self.store_name, layer=self.name, failures=self.failures)

    def turned(self, state: BreakerState) -> None:
        """Logs that its breaker has opened or closed."""
        tell = _log.warning if state is BreakerState.OPEN else _log.info
        tell("store.layer_breaker", store=self.store_name, layer=self.name, state=str(state))

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
            failing=self.failing,
            timeouts=self.timeouts,
            skipped=self.skipped,
            stale=self.stale,
            breaker="" if self.breaker is None else self.breaker.state,
        )

    def blames(self, error: BaseException, seconds: float) -> bool:
        """Whether a call that ended so after so many seconds says that the layer does not work.

        A caller who is in a greater hurry than the layer's own limit proves nothing.
        """
        if isinstance(error, LayerTimeoutError):
            return self.limit is None or seconds >= self.limit
        return not isinstance(error, _CALLERS_OWN)

    def after_fork(self) -> None:
        """Begins without the threads and calls of the parent."""
        self.doubts.after_fork()
        self.callers.after_fork()
        if self.breaker is not None:
            self.breaker.after_fork()

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
