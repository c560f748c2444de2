"""Lets no more writes through than there are connections, and lets nobody wait past its own deadline.

A pool's own waiting time is one number for everyone: neither SQLAlchemy's pool nor redis-py's can be told how long
this caller may wait. So the writer counts its writes itself, and asks the pool only when it has room. Others may take
connections from the same pool, so the gate also looks whether the pool really has one left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import get_ident

from wellwired.clock import Deadline
from wellwired.writers._forks import renew_in_child

__all__ = ["Gate"]

_LONGEST_NAP = 0.02


def _always() -> bool:
    return True


class Gate:
    """A counted entrance; safe to use from many threads.

    Args:
        places: how many may be inside at once; None for any number.
        room: whether the pool has a connection left, asked by whoever has a place already.
    """

    __slots__ = ("__weakref__", "_holder", "_room", "_slots", "places")

    def __init__(self, places: int | None, room: Callable[[], bool] = _always) -> None:
        self.places = places
        self._room = room
        self.renew()
        renew_in_child(self)

    def enter(self, deadline: Deadline) -> bool:
        """Waits for a place, not longer than the deadline; whoever is let in must `leave`.

        Args:
            deadline: until when to wait.

        Returns:
            Whether there was a place in time.
        """
        if self._slots is not None and not _take(self._slots, deadline):
            return False
        self._holder = get_ident()
        if self._room() or self._wait_for_room(deadline):
            return True
        self.leave()
        return False

    @property
    def shut_here(self) -> bool:
        """Whether this thread would wait for itself: there is one place, and it has it already."""
        return self.places == 1 and self._holder == get_ident()

    def leave(self) -> None:
        """Gives the place back."""
        self._holder = 0
        if self._slots is not None:
            self._slots.put(None)

    def renew(self) -> None:
        """Begins anew in a forked child: places that the parent's threads held are free here."""
        self._holder = 0  # only of use where there is one place
        # A queue written in C: half the price of a semaphore.
        self._slots: SimpleQueue[None] | None = None if self.places is None else SimpleQueue()
        for _ in range(self.places or 0):
            self.leave()

    def _wait_for_room(self, deadline: Deadline) -> bool:
        nap = 0.0005
        while not deadline.passed:
            deadline.clock.sleep(min(nap, deadline.left()))
            if self._room():
                return True
            nap = min(nap * 2, _LONGEST_NAP)
        return False


def _take(slots: SimpleQueue[None], deadline: Deadline) -> bool:
    try:
        slots.get_nowait()
    except Empty:
        try:
            slots.get(timeout=min(deadline.left(), threading.TIMEOUT_MAX))
        except Empty:
            return False
    return True
