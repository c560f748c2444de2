"""What is remembered for a short while about keys that have no value: that there is nothing, or that a load failed.

A memo holds until its time has passed, and not beyond the next write of its key in this process: it was noted with the
ticket of the read before it, and counts only as long as a fill with that ticket would be admitted. What other processes
write it cannot know, so its time should be short. The number of memos is bounded; the oldest goes first.
"""

from __future__ import annotations

import threading
from typing import Generic, NamedTuple, TypeVar

from wellwired.clock import Clock
from wellwired.stores._fence import Fence, Ticket

__all__ = ["Memo", "Memos"]

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
        """Forgets what is remembered about a key."""
        with self._lock:
            self._memos.pop(key, None)

    def after_fork(self) -> None:
        """Forgets everything: the child's fence has begun anew."""
        self._lock = threading.Lock()
        self._memos: dict[str, Memo[T]] = {}
