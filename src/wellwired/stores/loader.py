"""A layer around a function: the bottom of a stack whose truth is computed, or lives behind somebody else's interface.

It only reads. What the function returns is the value, None included; that there is nothing under a key it says by
returning `MISSING` or by raising `NotFound`. A plain KeyError is a failure like any other, because it is far more often
a mistake in the function than an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final, NoReturn

from wellwired.errors import NotFound, ReadOnlyError, StoreError
from wellwired.stores.keys import encode_key, encode_keys
from wellwired.stores.protocols import Entry

__all__ = ["MISSING", "LoaderStore", "Missing"]


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING
"""What a loader returns if there is nothing under the key."""


class LoaderStore:
    """A read-only `Store` around a function; as safe for threads as the function is. Also `Many`.

    Whatever the function raises passes through, `NotFound` excepted. It has no time limit but its own.

    Args:
        load: gives the value of a key, or an `Entry` with the seconds that it may be kept, or `MISSING`.
        many: gives the values of many keys at once, or `Entry`s; keys that it leaves out have nothing under them.
            Without it many keys are loaded one by one.
        keys: gives all keys; without it they cannot be listed.
    """

    read_only: Final = True

    def __init__(
        self,
        load: Callable[[str], Any],
        *,
        many: Callable[[Sequence[str]], Mapping[str, Any]] | None = None,
        keys: Callable[[], Iterable[str]] | None = None,
    ) -> None:
        self._load, self._many, self._list = load, many, keys

    def __repr__(self) -> str:
        return f"LoaderStore({getattr(self._load, '__qualname__', type(self._load).__qualname__)})"

    # --- Store

    def get(self, key: str, /) -> Entry[Any] | None:
        """The entry of what the function returned, or None if it said that there is nothing."""
        encode_key(key)
        try:
            return _entry(self._load(key))
        except NotFound:
            return None

    def has(self, key: str, /) -> bool:
        """Whether there is something under the key; loads it to find out."""
        return self.get(key) is not None

    def keys(self) -> Iterator[str]:
        """All keys.

        Raises:
            StoreError: the store was made without a function that gives them.
        """
        if self._list is None:
            raise StoreError(f"{self!r} cannot list its keys; give it a function for that with keys=")
        return iter(self._list())

    def close(self) -> None:
        """Does nothing: there is nothing to let go of."""

    # --- Many

    def get_many(self, keys: Sequence[str], /) -> dict[str, Entry[Any]]:
        """The entries of those keys that have something under them."""
        encode_keys(keys)
        wanted = list(dict.fromkeys(keys))
        if self._many is None:
            return {key: entry for key in wanted if (entry := self.get(key)) is not None}
        loaded = self._many(wanted) if wanted else {}
        return {key: entry for key in wanted if key in loaded and (entry := _entry(loaded[key])) is not None}

    # --- writes

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> NoReturn:  # noqa: ARG002
        """Raises `ReadOnlyError`."""
        self._refuse()

    def delete(self, key: str, /) -> NoReturn:  # noqa: ARG002
        """Raises `ReadOnlyError`."""
        self._refuse()

    def clear(self) -> NoReturn:
        """Raises `ReadOnlyError`."""
        self._refuse()

    def set_many(self, items: Mapping[str, Entry[Any]], /) -> NoReturn:  # noqa: ARG002
        """Raises `ReadOnlyError`."""
        self._refuse()

    def delete_many(self, keys: Sequence[str], /) -> NoReturn:  # noqa: ARG002
        """Raises `ReadOnlyError`."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ReadOnlyError(f"{self!r} only reads: what a function gives cannot be changed through it")


def _entry(loaded: Any) -> Entry[Any] | None:
    if isinstance(loaded, Missing):
        return None
    entry: Entry[Any] = loaded if isinstance(loaded, Entry) else Entry(loaded)
    return None if entry.left is not None and entry.left <= 0 else entry
