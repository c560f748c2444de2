"""What a store must do to be a layer, and what it may be able to do besides.

A layer implements `Store`. The other protocols are abilities: the delegated store looks once, when it is built, which
of them a layer has, and what the stack can promise follows from that. Ages travel as *seconds left*, never as a time
of day, so that no two clocks are ever compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, runtime_checkable

from wellwired._frozen import refusing_changes

__all__ = [
    "Adds",
    "Atomic",
    "Entry",
    "Fenced",
    "FencedMany",
    "KeepsStale",
    "Leases",
    "LeasesMany",
    "Many",
    "Ordered",
    "Store",
    "Tagged",
    "Timed",
]

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


@refusing_changes
@dataclass(frozen=True, slots=True, init=False)
class Entry(Generic[V]):
    """A value that is there, None included, and how long it may still be used.

    Args:
        value: the value.
        left: seconds that the value may still be served as fresh, or None for ever.
        stale: seconds after those for which it may still be served, marked as stale, where nothing better can be had;
            0 without an end to its fresh life.
        tags: the names by which it may be invalidated together with others (`Tagged`).
    """

    value: V = field(repr=False)
    left: float | None = None
    stale: float = 0.0
    tags: tuple[str, ...] = ()

    # One is made for every value read: a frozen dataclass's own constructor takes nearly twice as long.
    def __init__(self, value: V, left: float | None = None, stale: float = 0.0, tags: tuple[str, ...] = ()) -> None:
        _set_value(self, value)
        _set_left(self, left)
        _set_stale(self, stale)
        _set_tags(self, tags)


_set_value = vars(Entry)["value"].__set__
_set_left = vars(Entry)["left"].__set__
_set_stale = vars(Entry)["stale"].__set__
_set_tags = vars(Entry)["tags"].__set__


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
    never admit one. The token that comes with an entry may be one that lets nothing in: what is there needs no filling.
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


@runtime_checkable
class Atomic(Protocol):
    """The ability to replace a value only if it is still the one that was looked at (compare-and-exchange).

    A token of `witness` stands for what it came with and for nothing else: an exchange with it is refused if another
    value is there by now, or the same one no longer, in whichever way that came about, be it a write, a fill, a delete,
    a clear, an invalidated tag, the end of its life or an eviction. That the very same value was away in between does
    not matter. An exchange may be refused without need, which costs another look, but never let in wrongly.
    """

    def witness(self, key: str, /) -> tuple[Entry[Any] | None, Any]:
        """The entry under the key, as `get` gives it, or None; and the token for an exchange of it."""
        ...

    def swap(self, key: str, entry: Entry[Any], token: Any, /) -> bool:
        """Stores the entry as a write, in one atomic step, if what the token stands for holds; whether it did.

        An entry with no time left removes the key. Tokens of `Fenced` and `Ordered` become stale as by any write.
        """
        ...


@runtime_checkable
class Adds(Protocol):
    """The ability to store a value only if nothing is there, in one round trip; for layers that are `Atomic`."""

    def add(self, key: str, entry: Entry[Any], /) -> bool:
        """Stores the entry as a write, in one atomic step, if `get` would find nothing; whether it did."""
        ...


@runtime_checkable
class KeepsStale(Protocol):
    """The ability to keep a value beyond its fresh life, for as long as its entry's `stale` says.

    Such a layer keeps the `stale` of the entries that `set_many`, `fill`, `fill_many` and `put_many` give it, and gives
    it back. Nothing but `read_stale` ever shows a value whose fresh life has ended: for `get`, `has`, `keys`, `delete`
    and all the others it is not there. Whatever removes or replaces the fresh value removes the stale one.
    """

    def read_stale(self, keys: Sequence[str], /) -> Mapping[str, Entry[Any]]:
        """What is kept under the keys, stale or fresh; `left` is 0 if the fresh life has ended, and `stale` above 0."""
        ...


@runtime_checkable
class Tagged(Protocol):
    """The ability to make every value that bears a tag disappear at once.

    Such a layer keeps the `tags` of the entries that `set_many`, `fill`, `fill_many` and `put_many` give it, and gives
    them back.
    """

    def invalidate_tags(self, tags: Sequence[str], /) -> None:
        """Removes every value that bears one of the tags, stale ones too; in all processes, if the layer is shared.

        Once it returns, no fill of a value with tags that was read before it began is let in: its token is stale.
        `delete` may still count a key that was removed so.
        """
        ...


@runtime_checkable
class Timed(Protocol):
    """The ability to stop waiting by itself, so that no further thread has to wait in the caller's place."""

    def within(self, seconds: float, call: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Makes one call of a method of this store's.

        Args:
            seconds: how long it may take, connecting included.
            call: the method.
            *args: what to call it with.
            **kwargs: what to call it with.

        Returns:
            What it returned.

        Raises:
            TimeoutError: it took longer. What a read would have brought is lost; a write may have happened.
        """
        ...


@runtime_checkable
class Leases(Protocol):
    """The ability to let one of all processes load a key that is not there, while the others wait for what it stores.

    It saves work and is never what correctness stands on. A lease ends by itself; whoever has lost it cannot fill the
    layer any more, because the token that came with it is stale from then on.
    """

    def lease(self, key: str, seconds: float, /) -> tuple[bool, Entry[Any] | None, Any]:
        """Tries to become the one that loads, in one atomic step.

        Returns:
            Whether the caller is it; the entry, if there is one by now (then it is not); and the token for its fill.
        """
        ...

    def release(self, key: str, token: Any, /) -> None:
        """Gives the lease back that came with the token, if it is still held; filled or not."""
        ...


@runtime_checkable
class LeasesMany(Leases, Protocol):
    """What `Leases` does, for many keys in one round trip, and for a value that is to be loaded anew before it ends."""

    def lease_many(
        self, keys: Sequence[str], seconds: float, ahead: float = 0.0, /
    ) -> Mapping[str, tuple[bool, Entry[Any] | None, Any]]:
        """Tries to become the one that loads, for each key in one atomic step.

        Args:
            keys: the keys.
            seconds: how long the leases last if they are not given back.
            ahead: seconds; a value that has no more of them left counts as not there.

        Returns:
            For each key what `lease` would return.
        """
        ...

    def release_many(self, tokens: Mapping[str, Any], /) -> None:
        """Gives the leases back that came with the tokens, as far as they are still held."""
        ...
