"""What a delegated store does to a value in one step with having looked at it: add, update, touch, get and set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from wellwired.clock import Deadline
from wellwired.errors import NotFound
from wellwired.operations import StoreVerb
from wellwired.stores.changing import KEEP, Keep
from wellwired.stores.loader import Missing
from wellwired.stores.protocols import Entry

__all__ = ["Changeable"]

V = TypeVar("V")


class Changeable(Generic[V]):
    """The part of a delegated store that changes values atomically; safe for threads.

    What follows holds between processes as well, by the ability `Atomic` of the primary layer; a primary without it is
    an `AbilityError`, and never a read followed by a write. After the primary has accepted, the copies are written as
    by `set`. Of several primaries the lowest that takes values decides; one above it that another writer has crossed
    drops the key and is filled from below, if it is `Ordered`, and is written like by `set` if it is not. If an answer
    of the primary is lost, the operation raises `LayerError`, is not tried again, and may have happened.
    """

    def add(self, key: str, value: V, *, ttl: float | None = None) -> bool:
        """Stores the value if there is nothing; of all who try at the same time, in whichever process, one succeeds.

        Nothing there is what the primary says: a stored None is something, and a remembered absence is nothing. It
        costs Redis one round trip, and two if a value with tags is in the way; SQL one SELECT and one transaction.

        Args:
            key: the key.
            value: the value, None included.
            ttl: seconds that it may be served at most, or None for ever; the caps of the layers hold as well.

        Returns:
            Whether it was stored.

        Raises:
            AbilityError: the primary cannot.
            LayerError: a primary failed; no copy has the new value.
            ReadOnlyError: every primary is read-only.
        """
        added: bool = self._do(StoreVerb.ADD, (key,), value, ttl)
        return added

    def update(
        self,
        key: str,
        change: Callable[[V | Missing], V | Entry[V] | Missing],
        *,
        ttl: float | Keep | None = KEEP,
        deadline: float | Deadline | None = None,
    ) -> V:
        """Replaces the value by what a function makes of it; no change of anybody else's is lost.

        The function sees what the primary has and no copy. If the value was written, deleted or evicted meanwhile, or
        has ended, the function is called again with what there is now; so it should do nothing else. Changes of a key
        take turns in this process, and try again after a short random wait if another process was faster. An attempt
        costs Redis two round trips, and one or two more if the value has tags; SQL one SELECT and one transaction.

        Args:
            key: the key.
            change: given the value, or `MISSING` if there is none; returns the new one, or an `Entry` with a life and
                tags of its own, or `MISSING` to leave all as it is. What it raises is raised here, and nothing changes.
            ttl: seconds that the new value may be served at most, None for ever, or `KEEP` for the life, fresh and
                stale, that the old one has left. An `Entry` keeps its own; a ttl here can only shorten that. A plain
                value keeps the tags that there are.
            deadline: seconds, or by when the primary has to be asked for the last time; without one it is tried again
                for the store's `patience`, from when it was first overtaken.

        Returns:
            The value that is there afterwards.

        Raises:
            NotFound: there was nothing, and the function returned `MISSING`.
            AbilityError: the primary cannot.
            LayerError: a primary failed; no copy has the new value.
            ReadOnlyError: every primary is read-only.
            StoreTimeoutError: others were faster for all of the time; nothing was changed.
        """
        options: dict[str, Any] = {"change": change, **self._by(deadline)}
        if isinstance(ttl, Keep):
            return self._do(StoreVerb.UPDATE, (key,), keep=True, **options)  # type: ignore[no-any-return]
        return self._do(StoreVerb.UPDATE, (key,), ttl=ttl, **options)  # type: ignore[no-any-return]

    def touch(self, key: str, ttl: float | None) -> bool:
        """Gives the value a new life, in every layer: no copy outlives a life that was shortened.

        It costs Redis two round trips, one or two more if the value has tags, and one if the life is over; SQL one
        SELECT and one transaction. The stale life that goes with it is the one that `set` would give.

        Args:
            key: the key.
            ttl: seconds from now that it may be served at most, None for ever; 0 or less ends it at once, as `delete`.

        Returns:
            Whether there was something.

        Raises:
            AbilityError: the primary cannot.
            LayerError: a primary failed; no copy has kept the value.
            ReadOnlyError: every primary is read-only.
            StoreTimeoutError: others were faster for all of the store's `patience`; nothing was changed.
        """
        there: bool = self._do(StoreVerb.TOUCH, (key,), ttl=ttl)
        return there

    def get_set(self, key: str, value: V, default: Any = None, *, ttl: float | None = None) -> V | Any:
        """Stores the value and gives the one that the primaries had before; no two calls get the same old value.

        That holds between processes if the store has a single primary that is `Atomic`. With any other, calls for one
        key take turns in this process, and writes by other processes may come in between.

        Args:
            key: the key.
            value: the new value.
            default: what to give if there was nothing.
            ttl: seconds that the new value may be served at most.
        """
        try:
            return self._do(StoreVerb.GET_SET, (key,), value, ttl)
        except NotFound:
            return default

    def _by(self, deadline: float | Deadline | None) -> dict[str, Any]:
        """The option of an operation that says by when to answer, if there is a deadline."""
        raise NotImplementedError("a delegated store says how")

    def _do(
        self, verb: StoreVerb, keys: Sequence[str], value: Any = None, ttl: float | None = None, **options: Any
    ) -> Any:
        """Sends an operation through the middleware."""
        raise NotImplementedError("a delegated store says how")
