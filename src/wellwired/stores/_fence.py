"""Fences in this process: a fill is admitted only if no write of its key began or ended since the value was read.

Keys share a bounded number of stripes. A stripe counts the moments at which a write began or ended (its generation) and
the writes that are under way. A reader takes a ticket before it reads; the fill is admitted if the ticket was taken
while no write was under way and the generation is still the same. A collision of two keys can therefore refuse a fill,
and never admit one. What other processes do is the business of the layers' own tokens (`Fenced`, `Ordered`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self, TypeAlias

__all__ = ["Fence", "Ticket", "Turns", "Writing"]

Ticket: TypeAlias = int
"""The generation of a key's stripe when a read began; its complement (a negative number) if a write was under way."""

_CROSSED = -1


class Fence:
    """The stripes of one delegated store; safe for threads.

    Args:
        stripes: how many; a power of two.
    """

    def __init__(self, stripes: int = 1024) -> None:
        self._mask = stripes - 1
        self._generations = [0] * stripes
        self.after_fork()

    def ticket(self, key: str) -> Ticket:
        """The ticket of a read that is about to begin; takes no lock."""
        stripe = hash(key) & self._mask
        # The generation first. A writer counts itself in before it raises the generation and out after it has raised it
        # again, so whoever crosses a writer here sees it at work, or gets a generation that has passed already.
        generation = self._generations[stripe]
        return ~generation if self._writers[stripe] else generation

    def admits(self, key: str, ticket: Ticket) -> bool:
        """Whether a fill with this ticket may be made now; certain only within `holding`."""
        return self._generations[hash(key) & self._mask] == ticket

    def same(self, key: str, ticket: Ticket) -> bool:
        """Whether no write began or ended since, even if one was under way all the time."""
        generation = self._generations[hash(key) & self._mask]
        return ticket in (generation, ~generation)

    @contextmanager
    def holding(self, keys: Iterable[str]) -> Iterator[None]:
        """Keeps writes of these keys from beginning and ending for as long as it is held."""
        held: list[threading.Lock] = []
        try:
            for stripe in self._stripes(keys):
                self._locks[stripe].acquire()
                held.append(self._locks[stripe])
            yield
        finally:
            for lock in held:
                lock.release()

    def writing(self, keys: Iterable[str] | None) -> Writing:
        """Closes the stripes of the keys to fills for as long as a write is under way.

        Args:
            keys: the keys that are written; None for all there are.
        """
        return Writing(self, range(self._mask + 1) if keys is None else self._stripes(keys))

    def begin(self, stripe: int) -> int:
        """Counts a writer in; the generation that it began with, or one that never is if it is not the only one."""
        with self._locks[stripe]:
            alone = self._writers[stripe] == 0
            self._writers[stripe] += 1
            self._generations[stripe] += 1
            return self._generations[stripe] if alone else _CROSSED

    def end(self, stripe: int) -> None:
        """Counts a writer out."""
        with self._locks[stripe]:
            self._generations[stripe] += 1
            self._writers[stripe] -= 1

    def undisturbed(self, key: str, began: Mapping[int, int]) -> bool:
        """Whether the generation is still the one that a write began with."""
        stripe = hash(key) & self._mask
        return self._generations[stripe] == began[stripe]

    def followed(self, key: str, ticket: Ticket, began: Mapping[int, int]) -> bool:
        """Whether the write that began so was the first after the ticket, which was taken while there was none."""
        return began[hash(key) & self._mask] == ticket + 1

    def after_fork(self) -> None:
        """Forgets the writes of threads that the child does not have, and the fills that they were to overtake."""
        self._generations = [generation + 1 for generation in self._generations]
        self._writers = [0] * len(self._generations)
        self._locks = [threading.Lock() for _ in self._generations]

    def _stripes(self, keys: Iterable[str]) -> list[int]:
        # In one order for all, or two who want several might wait for each other.
        return sorted({hash(key) & self._mask for key in keys})


class Writing:
    """A write, under way between entering and leaving it; used by one thread.

    Args:
        fence: the fence.
        stripes: the stripes that it closes.
    """

    __slots__ = ("_began", "_fence", "_stripes")

    def __init__(self, fence: Fence, stripes: Iterable[int]) -> None:
        self._fence = fence
        self._stripes = stripes
        self._began: dict[int, int] = {}

    def __enter__(self) -> Self:
        try:
            for stripe in self._stripes:
                self._began[stripe] = self._fence.begin(stripe)
        except BaseException:  # an interrupt must not leave a stripe closed for ever
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for stripe in self._began:
            self._fence.end(stripe)

    def follows(self, key: str, ticket: Ticket) -> bool:
        """Whether no other write of the key's stripe was under way at any moment since a ticket was taken."""
        return self.undisturbed(key) and self._fence.followed(key, ticket, self._began)

    def undisturbed(self, key: str) -> bool:
        """Whether no other write of the key's stripe was under way at any moment so far; certain within `holding`."""
        return self._fence.undisturbed(key, self._began)


class Turns:
    """Lets those who work on the same key in this process do so one after another; safe for threads.

    Args:
        stripes: how many keys at most can be worked on at once; a power of two.
    """

    def __init__(self, stripes: int = 256) -> None:
        self._mask = stripes - 1
        self.after_fork()

    @contextmanager
    def taken(self, keys: Iterable[str] | None) -> Iterator[None]:
        """Holds the turn of the keys; the same thread may take it again.

        Args:
            keys: the keys to work on; None for all there are.
        """
        stripes = range(self._mask + 1) if keys is None else sorted({hash(key) & self._mask for key in keys})
        held: list[threading.RLock] = []
        try:
            for stripe in stripes:
                self._locks[stripe].acquire()
                held.append(self._locks[stripe])
            yield
        finally:
            for lock in reversed(held):
                lock.release()

    @contextmanager
    def offered(self, key: str, seconds: float) -> Iterator[bool]:
        """Holds the turn of a key if it comes within some time, and goes on without it otherwise.

        For those who would be right without a turn, and only get on faster with one: whoever holds it may do anything,
        wait for another turn included.

        Args:
            key: the key to work on.
            seconds: how long to wait at most.
        """
        lock = self._locks[hash(key) & self._mask]
        held = lock.acquire(timeout=seconds)
        try:
            yield held
        finally:
            if held:
                lock.release()

    def after_fork(self) -> None:
        """Replaces the locks, which threads of the parent may hold."""
        self._locks = [threading.RLock() for _ in range(self._mask + 1)]
