"""What a store must do to be a layer, and what it may be able to do besides.

A layer implements `Store`. The other protocols are abilities: the delegated store looks once, when it is built, which
of them a layer has, and what the stack can promise follows from that. Ages travel as *seconds left*, never as a time
of day, so that no two clocks are ever compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

__all__ = ["Entry", "Fenced", "FencedMany", "Many", "Ordered", "Store"]

V = TypeVar("V")


@dataclass(frozen=True, slots=True, init=False)
class Entry(Generic[V]):
    """A value that is there, None included, and how long it may still be used.

    Args:
        value: the value.
        left: seconds that the value may still be served, or None for ever.
    """

    value: V = field(repr=False)
    left: float | None = None

    # One is made for every value read: a frozen dataclass's own constructor takes nearly twice as long.
    def __init__(self, value: V, left: float | None = None) -> None:
        _set_value(self, value)
        _set_left(self, left)


_set_value = vars(Entry)["value"].__set__
_set_left = vars(Entry)["left"].__set__


@runtime_checkable
class Store(Protocol):
    """The contract of a layer; safe to call from many threads at once.

    A failure is raised as the driver raised it: the delegated store names the layer and decides what follows. "Nothing
    there" is never an exception and never a value: it is the absence of an `Entry`.
    """

    def get(self, key: str, /) -> Entry[Any] | None:
        """The entry under the key, or None if there is nothing, or nothing any more."""
        ...

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
        """Stores the value for `ttl` seconds, or for ever; once it returns, a later `get` sees it or a newer one."""
        ...

    def delete(self, key: str, /) -> bool:
        """Removes the key; True if it was there. Once it returns, no later `get` sees the old value."""
        ...

    def has(self, key: str, /) -> bool:
        """Whether there is something under the key, None included."""
        ...

    def clear(self) -> None:
        """Removes every key of this store's namespace, and of no other."""
        ...

    def keys(self) -> Iterable[str]:
        """The keys that are there, in no particular order; not a snapshot."""
        ...

    def close(self) -> None:
        """Lets go of what the store itself opened; never of a pool or client that it was handed. Idempotent."""
        ...


@runtime_checkable
class Many(Protocol):
    """The ability to do many keys in one round trip."""

    def get_many(self, keys: Sequence[str], /) -> Mapping[str, Entry[Any]]:
        """The entries of those keys that are there."""
        ...

    def set_many(self, items: Mapping[str, Entry[Any]], /) -> None:
        """Stores each value for its own time left; all of them, or it raises."""
        ...

    def delete_many(self, keys: Sequence[str], /) -> int:
        """Removes the keys; how many of them were there."""
        ...


@runtime_checkable
class Fenced(Protocol):
    """The ability to refuse a fill that has been overtaken by a write (compare-and-fill).

    `read` hands out a token with the answer; `set`, `delete`, `clear` and their many-twins make the tokens of their
    keys stale, in whichever process they happen. A store may let keys share a token: that can only refuse a fill,
    never admit one.
    """

    def read(self, key: str, /) -> tuple[Entry[Any] | None, Any]:
        """The entry or None, and a token of the moment of this read, in one round trip."""
        ...

    def fill(self, key: str, entry: Entry[Any], token: Any, /) -> bool:
        """Stores the entry if the token is not stale, in one atomic step; whether it did."""
        ...


@runtime_checkable
class FencedMany(Protocol):
    """What `Fenced` does, for many keys in one round trip.

    A layer that has `Many` and `Fenced` should have this too: without it, `get_many` reads such a layer key by key,
    because a fill without a token would not be safe.
    """

    def read_many(self, keys: Sequence[str], /) -> Mapping[str, tuple[Entry[Any] | None, Any]]:
        """For every key asked, its entry or None and its token of the moment of this read."""
        ...

    def fill_many(self, items: Mapping[str, tuple[Entry[Any], Any]], /) -> Collection[str]:
        """Stores each entry whose token is not stale, each in one atomic step; the keys that it did store."""
        ...


@runtime_checkable
class Ordered(Protocol):
    """The ability to refuse a write that another write has overtaken (compare-and-set).

    A writer takes tokens, writes to the primaries, and then puts the value here: of two writers, in whichever
    processes, at most the first to arrive is let in, and the other one drops the key. So the layer never keeps the
    older of two values for which the primaries kept the newer. The tokens are those of `Fenced`.
    """

    def tokens(self, keys: Sequence[str], /) -> Mapping[str, Any]:
        """For every key asked, its token of this moment."""
        ...

    def put_many(self, items: Mapping[str, tuple[Entry[Any], Any]], /) -> Collection[str]:
        """Stores each entry whose token is not stale and makes the key's tokens stale; the keys that it did store."""
        ...
