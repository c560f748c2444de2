"""One load for a whole fleet: the first to find nothing is given a lease, and the others wait for what it stores.

It rests on a layer that `Leases`, the first one that can. Who waits looks again and again, with pauses that grow, never
longer than it has patience. A layer that does not answer is not waited for: then every process loads for itself, as it
would without leases. Who has waited in vain loads as well, and leaves that layer alone.

Leases of many keys take one round trip each time if the layer `LeasesMany`, and otherwise one for each key that lacks a
value. A value that is to be loaded anew before it ends needs that ability too; without it every process refreshes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from wellwired.stores._rungs import UNASKED, Failure, Rung
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores.protocols import Entry, Leases, LeasesMany

__all__ = ["Leasing", "Taken"]

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.1
_GROWTH: Final = 1.6

_Answer = tuple[bool, Entry[Any] | None, Any]


class Taken(NamedTuple):
    """What became of the wish to load several keys.

    Args:
        due: those that the caller has to load.
        leased: those of them whose lease has to be given back.
        found: those that somebody else has stored meanwhile; their walks have been given the entries.
        others: those that somebody else is loading.
    """

    due: Sequence[Walk]
    leased: Sequence[Walk] = ()
    found: Sequence[Walk] = ()
    others: Sequence[Walk] = ()


class Leasing:
    """The leases of one delegated store; safe for threads.

    Args:
        stack: the layers.
        seconds: how long a lease lasts if it is not given back; None for no leases.
    """

    def __init__(self, stack: Stack, seconds: float | None) -> None:
        self._stack, self._seconds = stack, 0.0 if seconds is None else seconds
        able = [rung for rung in stack.rungs if isinstance(rung.store, Leases) and rung.writable]
        self._rung: Rung | None = able[0] if able and seconds is not None else None
        self._many = None if self._rung is None or not isinstance(self._rung.store, LeasesMany) else self._rung.store
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
        if self._rung is None:
            return False
        end = None if patience is None else self._stack.now() + patience
        taken = self.take_many((walk,))
        if taken.others:
            taken = self.wait_many(taken.others, end)
        return bool(taken.leased)

    def take_many(self, walks: Sequence[Walk]) -> Taken:
        """Asks for the leases of keys that nothing was found under, once, and waits for nobody.

        Args:
            walks: the walks that found nothing; as for `take`.
        """
        rung, stack = self._rung, self._stack
        asked = [] if rung is None else [walk for walk in walks if walk.tokens[rung.index] is not UNASKED]
        if rung is None or not asked:
            return Taken(walks)
        before = stack.now()
        late = partial(self._too_late, rung)
        answers = stack.ask_in_time(rung, "lease", None, late, self._ask, rung, [walk.key for walk in asked])
        if isinstance(answers, Failure):
            return Taken(walks)
        leased: list[Walk] = []
        found: list[Walk] = []
        others: list[Walk] = []
        for walk in asked:
            granted, entry, token = answers[walk.key]
            if entry is not None:
                walk.find(entry, rung.index, before)
                found.append(walk)
            elif granted:
                walk.tokens[rung.index] = token
                leased.append(walk)
            else:
                others.append(walk)
        if found:
            stack.send_up(rung.index, found)
            stack.noticed(found)
        if len(asked) == len(walks):
            return Taken(leased, leased, found, others)
        return Taken([walk for walk in walks if walk.tokens[rung.index] is UNASKED] + leased, leased, found, others)

    def wait_many(self, walks: Sequence[Walk], end: float | None) -> Taken:
        """Waits for those who load some keys, until something has become of at least one of them.

        Args:
            walks: those that somebody else is loading.
            end: the moment until which to wait, on the store's clock; then all of them are due, and are not stored in
                the layer that gives the leases. None waits as long as it takes.
        """
        rung, stack, pause = self._rung, self._stack, _FIRST_PAUSE
        assert rung is not None
        self.waited += len(walks)
        while True:
            left = pause if end is None else end - stack.now()
            if left <= 0 or stack.background.closed:
                self.in_vain += len(walks)
                for walk in walks:
                    walk.tokens[rung.index] = UNASKED
                return Taken(walks)
            stack.clock.sleep(min(left, pause * random.uniform(0.5, 1.0)))
            pause = min(_LONGEST_PAUSE, pause * _GROWTH)
            taken = self.take_many(walks)
            if len(taken.others) < len(walks):
                return taken

    def take_ahead(self, walk: Walk, ahead: float) -> bool | None:
        """Gets the lease of a key whose value is about to end, or the newer value that somebody else has stored.

        Args:
            walk: the ground that the refresh stands on; it is given the newer value, which goes to the layers above as
                well, or the token that comes with the lease.
            ahead: seconds; a value with more of them left is a newer one.

        Returns:
            Whether there is a lease, to be given back; None if somebody else has it.
        """
        rung, many, stack = self._rung, self._many, self._stack
        if rung is None or many is None or walk.tokens[rung.index] is UNASKED or rung.doubts.any:
            return False  # what is in doubt there must not be taken for newer
        before = stack.now()
        late = partial(self._too_late, rung)
        answers = stack.ask_in_time(rung, "lease", None, late, self._ask_ahead, many, walk.key, ahead)
        if isinstance(answers, Failure):
            return False
        granted, entry, token = answers[walk.key]
        if entry is not None:
            walk.find(entry, rung.index, before)
            stack.send_up(rung.index, (walk,))
            return False
        if not granted:
            return None
        walk.tokens[rung.index] = token
        return True

    def give_back(self, walks: Sequence[Walk]) -> None:
        """Gives back the leases that were got for these keys, filled or not."""
        rung = self._rung
        if rung is not None and walks:
            tokens = {walk.key: walk.tokens[rung.index] for walk in walks}
            self._stack.ask_in_time(rung, "release", None, None, self._release, rung, tokens)

    def _ask(self, rung: Rung, keys: Sequence[str]) -> Mapping[str, _Answer]:
        if self._many is not None and len(keys) > 1:
            return self._many.lease_many(keys, self._seconds)
        assert isinstance(rung.store, Leases)
        return {key: rung.store.lease(key, self._seconds) for key in keys}

    def _ask_ahead(self, many: LeasesMany, key: str, ahead: float) -> Mapping[str, _Answer]:
        return many.lease_many((key,), self._seconds, ahead)

    def _release(self, rung: Rung, tokens: Mapping[str, Any]) -> None:
        if self._many is not None and len(tokens) > 1:
            self._many.release_many(tokens)
            return
        assert isinstance(rung.store, Leases)
        for key, token in tokens.items():
            rung.store.release(key, token)

    def _too_late(self, rung: Rung, answers: Mapping[str, _Answer]) -> None:
        """Leases that came when nobody waited for them any more are given back."""
        granted = {key: token for key, (given, _, token) in answers.items() if given}
        if granted:
            self._release(rung, granted)
