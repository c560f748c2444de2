"""One load for a whole fleet: the first to find nothing is given a lease, and the others wait for what it stores.

It rests on a layer that `Leases`, the first one that can. Who waits looks again and again, with pauses that grow, never
longer than it has patience. A layer that does not answer is not waited for: then every process loads for itself, as it
would without leases. Who has waited in vain loads as well, and leaves that layer alone.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any, Final

from wellwired.stores._rungs import UNASKED, Failure, Rung
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores.protocols import Entry, Leases

__all__ = ["Leasing"]

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.1
_GROWTH: Final = 1.6

_Answer = tuple[bool, Entry[Any] | None, Any]


class Leasing:
    """The leases of one delegated store; safe for threads.

    Args:
        stack: the layers.
        seconds: how long a lease lasts if it is not given back; None for no leases.
    """

    def __init__(self, stack: Stack, seconds: float | None) -> None:
        self._stack, self._seconds = stack, seconds
        able = [rung for rung in stack.rungs if isinstance(rung.store, Leases) and rung.writable]
        self._rung: Rung | None = able[0] if able and seconds is not None else None
        self.waited = self.in_vain = 0

    def take(self, walk: Walk, patience: float | None) -> bool:
        """Gets the lease of a key that nothing was found under, or what somebody else has stored meanwhile.

        Args:
            walk: the walk that found nothing. It is given the entry that somebody else has stored, or the token that
                comes with the lease.
            patience: seconds to wait for somebody else at most; None for as long as it takes.

        Returns:
            Whether there is a lease, to be given back.
        """
        rung, stack = self._rung, self._stack
        if rung is None or walk.tokens[rung.index] is UNASKED:
            return False
        end = None if patience is None else stack.now() + patience
        pause, waited = _FIRST_PAUSE, False
        while True:
            before = stack.now()
            late = partial(self._too_late, rung, walk.key)
            answer = stack.ask_in_time(rung, "lease", None, late, self._ask, rung, walk.key)
            if isinstance(answer, Failure):
                return False
            granted, entry, token = answer
            if entry is not None:
                walk.find(entry, rung.index, before)
                stack.send_up(rung.index, (walk,))
                return False
            if granted:
                walk.tokens[rung.index] = token
                return True
            left = pause if end is None else end - stack.now()
            if left <= 0 or stack.background.closed:
                self.in_vain += 1
                walk.tokens[rung.index] = UNASKED
                return False
            self.waited += not waited
            waited = True
            stack.clock.sleep(min(left, pause * random.uniform(0.5, 1.0)))
            pause = min(_LONGEST_PAUSE, pause * _GROWTH)

    def give_back(self, walk: Walk) -> None:
        """Gives back the lease that `take` got, filled or not."""
        rung = self._rung
        assert rung is not None
        self._stack.ask_in_time(rung, "release", None, None, self._release, rung, walk.key, walk.tokens[rung.index])

    def _ask(self, rung: Rung, key: str) -> _Answer:
        assert isinstance(rung.store, Leases) and self._seconds is not None
        return rung.store.lease(key, self._seconds)

    def _release(self, rung: Rung, key: str, token: Any) -> None:
        assert isinstance(rung.store, Leases)
        rung.store.release(key, token)

    def _too_late(self, rung: Rung, key: str, answer: _Answer) -> None:
        """A lease that came when nobody waited for it any more is given back."""
        if answer[0]:
            self._release(rung, key, answer[2])
