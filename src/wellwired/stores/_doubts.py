"""Which keys of a layer may be out of date because a write could not reach it.

A doubtful key is not read from its layer before it has been removed there; whoever wants to read it tries that first.
The book is bounded: when too many keys are in doubt, the whole layer is, and is not read before it has been cleared.
Doubts live in this process; other processes do not know of them. So it ends them by itself, too (`_mending`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from itertools import islice

__all__ = ["Doubts"]


class Doubts:
    """The doubts about one layer; safe for threads.

    Args:
        limit: how many keys may be in doubt before everything is.
        patience: seconds between two attempts to clear a layer of which everything is in doubt.
    """

    __slots__ = ("_everything", "_keys", "_limit", "_lock", "_patience", "_tried", "any")

    def __init__(self, limit: int = 10_000, patience: float = 1.0) -> None:
        self._limit = limit
        self._patience = patience
        self._keys: dict[str, object] = {}
        self._everything: object | None = None
        self._tried = float("-inf")
        self._lock = threading.Lock()
        self.any = False

    def __len__(self) -> int:
        """How many keys are in doubt one by one."""
        return len(self._keys)

    @property
    def everything(self) -> object | None:
        """The mark of the doubt about the whole layer, or None."""
        return self._everything

    def marks(self, keys: Iterable[str]) -> dict[str, object]:
        """The marks of those keys that are in doubt; a new doubt has a new mark."""
        if not self._keys:
            return {}
        return {key: mark for key in keys if (mark := self._keys.get(key)) is not None}

    def some(self, limit: int) -> list[str]:
        """Keys that are in doubt one by one, so many at most."""
        with self._lock:
            return list(islice(self._keys, limit))

    def add(self, keys: Iterable[str]) -> None:
        """Puts keys in doubt."""
        with self._lock:
            for key in keys:
                self._keys[key] = object()
            self._sum_up()
            if len(self._keys) > self._limit:
                self._put_everything()

    def add_everything(self) -> None:
        """Puts the whole layer in doubt."""
        with self._lock:
            self._put_everything()

    def resolve(self, keys: Iterable[str], marks: Mapping[str, object]) -> None:
        """Ends the doubts about keys, except those that have come up since the marks were taken."""
        if not marks:
            return
        with self._lock:
            for key in keys:
                if key in marks and self._keys.get(key) is marks[key]:
                    del self._keys[key]
            self._sum_up()

    def resolve_everything(self, mark: object | None) -> None:
        """Ends the doubt about the whole layer, unless a newer one has come up since the mark was taken."""
        with self._lock:
            if mark is not None and self._everything is mark:
                self._everything = None
            self._sum_up()

    def worth_a_try(self, now: float) -> bool:
        """Whether it is time to try to clear the layer again; at most one asker is told yes in a while.

        Args:
            now: the monotonic time, in seconds.
        """
        with self._lock:
            if now - self._tried < self._patience:
                return False
            self._tried = now
            return True

    def after_fork(self) -> None:
        """Replaces the lock, which a thread of the parent may hold; the doubts remain."""
        self._lock = threading.Lock()

    def _put_everything(self) -> None:
        self._everything = object()
        self._keys.clear()
        self.any = True

    def _sum_up(self) -> None:
        self.any = bool(self._keys) or self._everything is not None
