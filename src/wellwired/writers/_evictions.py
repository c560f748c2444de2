"""Removes what writes changed from the layered stores, after the commit.

The primary layer of such a store is the database that was written to; its copies, in memory and in Redis, are not,
and are removed here, fenced, so that no reader fills them again with what it read before. What fails is told and
counted, and never raised: the write is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from wellwired.errors import InvalidRequestError, WellwiredError
from wellwired.middleware.notices import EvictionFailed, NoticeObserver
from wellwired.middleware.observe import notify
from wellwired.operations import WriteRequest

__all__ = ["Evictions", "Evicts", "Stores"]


@runtime_checkable
class Evicts(Protocol):
    """A layered store, as far as a write needs it; safe to use from many threads at once."""

    def evict(self, keys: tuple[str, ...], /) -> object:
        """Removes the copies under these keys from every layer that is no primary, and lets no older value back in.

        Returns:
            Anything; if it has an attribute `complete` that is false, a layer failed.
        """
        ...


Stores: TypeAlias = Mapping[str, Evicts] | Callable[[str], Evicts]
"""Stores by dotted name, or a function that gives the store of a name and raises `LookupError` for an unknown one."""


class Evictions:
    """Evicts keys from stores by name; safe to share by threads.

    Args:
        stores: the stores; a function is asked at each write that names one, and may build it.
        observers: told of every eviction that fails.
    """

    def __init__(self, stores: Stores, observers: tuple[NoticeObserver, ...] = ()) -> None:
        self._known = tuple(sorted(stores)) if isinstance(stores, Mapping) else ()
        self._find: Callable[[str], Evicts] = stores.__getitem__ if isinstance(stores, Mapping) else stores
        self._observers = observers

    def check(self, changes: Mapping[str, tuple[str, ...]], request: WriteRequest) -> None:
        """Finds every store that is named.

        Args:
            changes: keys by store.
            request: for the error.

        Raises:
            InvalidRequestError: there is no store of a name.
        """
        for name in changes:
            try:
                self._find(name)
            except LookupError as error:
                raise unknown_store(name, request, self._known, error) from error

    def evict(self, changes: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """Evicts, store by store; never raises.

        Args:
            changes: keys by store.

        Returns:
            A line for each store that could not do it, with its name.
        """
        warnings: tuple[str, ...] = ()
        for name, keys in changes.items():
            failure = self._failure(name, keys) if keys else ""
            if failure:
                warnings += (f"{len(keys)} keys could not be evicted from {name}: {failure}",)
                warnings += notify(self._observers, EvictionFailed(name, len(keys), failure))
        return warnings

    def _failure(self, name: str, keys: tuple[str, ...]) -> str:
        try:
            receipt = self._find(name).evict(keys)
        except Exception as error:  # noqa: BLE001 - told to the caller by the warning it becomes
            return type(error).__name__
        return "" if getattr(receipt, "complete", True) else f"a layer failed ({_failed_layers(receipt)})"


def unknown_store(
    name: str, request: WriteRequest, known: tuple[str, ...] = (), error: Exception | None = None
) -> InvalidRequestError:
    """The error for a store that a write names and nobody knows.

    Args:
        name: the store's name.
        request: what names it.
        known: the names that are known, as far as they are.
        error: what the search for it ended with; the library's own errors say more.
    """
    hint = f"known: {', '.join(known)}" if known else "give the manager its stores=, or mend the name"
    hint = str(error) if isinstance(error, WellwiredError) else hint
    what = f"changes names the store {name!r}, which is not known; {hint}"
    return InvalidRequestError(what, target=request.target, type=request.type, reason="changes")


def _failed_layers(receipt: object) -> str:
    outcomes = getattr(receipt, "layers", ())
    return ", ".join(f"{one.layer}: {one.error}" for one in outcomes if getattr(one, "error", ""))
