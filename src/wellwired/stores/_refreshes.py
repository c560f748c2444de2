"""Refreshing ahead: a value that is about to end is loaded anew in the background, while everybody goes on getting it.

With leases one process of a fleet does so for all. Who finds another at it leaves it alone for a moment; who finds that
another has done it takes the newer value over from the layer that they share, and loads nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from wellwired.stores._flights import Flight
from wellwired.stores._memos import Memos
from wellwired.stores._reads import Reads
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores._writes import Writes
from wellwired.stores.loading import LoadPolicy

if TYPE_CHECKING:
    from wellwired.stores._loads import Loads

__all__ = ["Refreshes"]

_ELSEWHERE_SECONDS: Final = 0.1
"""How long a refresh is left alone that another process makes, before that is looked at again."""


class Refreshes:
    """The refreshes of one delegated store; safe for threads.

    Args:
        stack: the layers.
        reads: how to read them.
        writes: how to write them.
        loads: how values are loaded; it knows what is under way, and counts.
        policy: how values are loaded.
    """

    def __init__(self, stack: Stack, reads: Reads, writes: Writes, loads: Loads, policy: LoadPolicy) -> None:
        self._stack, self._reads, self._writes = stack, reads, writes
        self._loads, self._policy = loads, policy
        self._elsewhere = Memos[None](_ELSEWHERE_SECONDS, stack.fence, stack.clock)

    def consider(self, walk: Walk, loader: Callable[[str], Any], ttl: float | None) -> None:
        """Has a value that is about to end loaded anew, unless somebody is at it.

        Args:
            walk: has found the value.
            loader: makes the next one.
            ttl: seconds that the next one may be served at most.
        """
        entry, loads, key = walk.entry, self._loads, walk.key
        if entry is None or entry.left is None or entry.left > self._policy.refresh_ahead or walk.stale:
            return
        if loads.flights.under_way(key) or loads.not_again(key) or self._elsewhere.find(key) is not None:
            return
        flight, leading = loads.flights.board(key)
        if not leading:
            return
        flight.leader = 0
        lead = partial(self._lead, flight, key, loader, ttl)
        if loads.workers.start(partial(loads.quietly, key, lead), self._policy.waiting):
            loads.refreshes += 1
        else:
            loads.refreshes_left_out += 1
            loads.flights.leave(key, flight)

    def after_fork(self) -> None:
        """Forgets what other processes were at."""
        self._elsewhere.after_fork()

    def _lead(self, flight: Flight, key: str, loader: Callable[[str], Any], ttl: float | None) -> None:
        """Makes the refresh that the flight stands for, and ends it whatever comes."""
        loads = self._loads
        flight.leader = threading.get_ident()
        try:
            walk = self._reads.ground(key)
            leased = loads.leasing.take_ahead(walk, self._policy.refresh_ahead)
            if leased is None:
                self._elsewhere.note(key, walk.ticket, None)
                return
            try:
                if walk.entry is None:
                    self._refresh(flight, walk, loader, ttl)
                else:
                    flight.land(walk.entry.value, walk.expires)
            finally:
                if leased:
                    loads.leasing.give_back((walk,))
        except Exception as error:
            flight.fail(error)
            raise
        finally:
            loads.flights.leave(key, flight)

    def _refresh(self, flight: Flight, walk: Walk, loader: Callable[[str], Any], ttl: float | None) -> None:
        entry = self._loads.made(walk, loader, ttl, ahead=True)
        flight.land(entry.value, walk.expires)
        self._writes.renew(walk, entry)
