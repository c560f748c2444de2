"""What is remembered for a short while about keys that have no value: that there is nothing, or that a load failed.

A memo holds until its time has passed, and not beyond the next write of its key in this process: it was noted with the
ticket of the read before it, and counts only as long as a fill with that ticket would be admitted. What other processes
write it cannot know, so its time should be short. The number of memos is bounded; the oldest goes first.
"""

from __future__ import annotations

import threading
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from wellwired.clock import Clock
from wellwired.stores._fence import Fence, Ticket

__all__ = ["Absences", "Memo", "Memos", "Nothing"]

T = TypeVar("T")


class Memo(NamedTuple, Generic[T]):
    """What is remembered about a key, until when on the monotonic clock, and the ticket that it depends on."""

    value: T
    until: float
    ticket: Ticket


class Memos(Generic[T]):
    """A bounded book of memos; safe for threads.

    Args:
        seconds: how long one holds.
        fence: tells whether a write has come in between.
        clock: what they age by.
        limit: how many there are at most.
    """

    def __init__(self, seconds: float, fence: Fence, clock: Clock, limit: int = 10_000) -> None:
        self._seconds, self._fence, self._now, self._limit = seconds, fence, clock.monotonic, limit
        self.after_fork()

    def __len__(self) -> int:
        """How many are kept, those whose time has passed included."""
        return len(self._memos)

    def find(self, key: str) -> Memo[T] | None:
        """What is remembered about the key; takes no lock unless it has to be forgotten."""
        memo = self._memos.get(key)
        if memo is None:
            return None
        if memo.until > self._now() and self._fence.admits(key, memo.ticket):
            return memo
        with self._lock:
            if self._memos.get(key) is memo:
                del self._memos[key]
        return None

    def note(self, key: str, ticket: Ticket, value: T, seconds: float | None = None) -> None:
        """Remembers something, unless a write has come since the ticket was taken.

        Args:
            key: about which key.
            ticket: of the read that it follows from.
            value: what.
            seconds: how long it holds; None for as long as memos of this book do.
        """
        if not self._fence.admits(key, ticket):
            return
        with self._lock:
            self._memos.pop(key, None)
            while len(self._memos) >= self._limit:
                del self._memos[next(iter(self._memos))]
            self._memos[key] = Memo(value, self._now() + (self._seconds if seconds is None else seconds), ticket)

    def forget(self, key: str) -> None:
        """Forgets what is remembered about a key; takes no lock if that is nothing."""
        if key in self._memos:
            with self._lock:
                self._memos.pop(key, None)

    def after_fork(self) -> None:
        """Forgets everything: the child's fence has begun anew."""
        self._lock = threading.Lock()
        self._memos: dict[str, Memo[T]] = {}


class Nothing(Enum):
    """Whose word it is that there is nothing under a key."""

    FOUND = "found"
    """That of every layer that could know."""
    LOADED = "loaded"
    """That of a loader, which was asked after them."""
    AHEAD = "ahead"
    """That of a loader that was asked while there still was a value; it counts once that has ended."""


class Absences(Memos[Nothing]):
    """The one book of keys that there is nothing under; safe for threads."""

    def find(self, key: str) -> Memo[Nothing] | None:
        """What is remembered for those who read; takes no lock unless it has to be forgotten."""
        memo = super().find(key)
        return None if memo is None or memo.value is Nothing.AHEAD else memo

    def loader_said_so(self, key: str) -> bool:
        """Whether it is remembered that a loader found nothing; it knows better than the layers that a reader asks."""
        memo = super().find(key)
        return memo is not None and memo.value is not Nothing.FOUND

    def found_nothing(self, key: str, ticket: Ticket) -> None:
        """Remembers that the layers have nothing; what a loader has said so far counts for those who read as well.

        Args:
            key: under which key.
            ticket: of the read that found nothing.
        """
        memo = super().find(key)
        if memo is None:
            self.note(key, ticket, Nothing.FOUND)
        elif memo.value is Nothing.AHEAD:
            self.note(key, ticket, Nothing.LOADED, memo.until - self._now())

    def found_something(self, key: str) -> None:
        """Forgets that there was nothing, for now there is; another process may have written it."""
        memo = super().find(key)
        if memo is not None and memo.value is not Nothing.AHEAD:
            self.forget(key)
