"""`get_or_load` and `get_set`: operations that read, think and write.

A loaded value travels up the stack like one that was found, primaries included, and every step is fenced: a write that
came during the load wins. The load counts as under way until the value has been stored, so that nobody who comes in
between loads again.

A load in the background is led by a thread of the store's own, and who asked waits for it like somebody who joined. So
a caller who is out of time leaves, and the load goes on to its end, whose result is kept.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from wellwired.clock import Deadline
from wellwired.errors import NotFound, StoreTimeoutError
from wellwired.operations import StoreVerb
from wellwired.stores._callers import Callers
from wellwired.stores._fills import make_fills
from wellwired.stores._flights import Flight, Flights, Landing
from wellwired.stores._forks import renew_in_child
from wellwired.stores._leases import Leasing
from wellwired.stores._memos import Memos, Nothing
from wellwired.stores._plans import WAITING_SHARE, shorter
from wellwired.stores._reads import Reads
from wellwired.stores._refreshes import Refreshes
from wellwired.stores._rungs import Failure
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores._writes import Writes
from wellwired.stores.events import LoadFailed
from wellwired.stores.loading import LoadPolicy, entry_of
from wellwired.stores.protocols import Entry

__all__ = ["Loads"]

Loader: TypeAlias = Callable[[str], Any]


class Loads:
    """The operations of a delegated store that read and write; safe for threads.

    Args:
        stack: the layers.
        reads: how to read them.
        writes: how to write them.
        patience: seconds that somebody waits for a load by somebody else, unless the call says otherwise.
        policy: how values are loaded.
    """

    def __init__(self, stack: Stack, reads: Reads, writes: Writes, patience: float | None, policy: LoadPolicy) -> None:
        self._stack, self._reads, self._writes = stack, reads, writes
        self._patience, self._policy = patience, policy
        self.flights = Flights(stack.fence, share=stack.sharing, now=stack.now)
        self.workers = Callers(f"wellwired-loads-{stack.name}", policy.workers)
        self.loads = self.refreshes = self.refreshes_left_out = self.failed_in_background = 0
        seconds = policy.failed_ttl
        self._failed = None if seconds is None else Memos[Exception](seconds, stack.fence, stack.clock)
        self.leasing = Leasing(stack, policy.lease)
        self._ahead = Refreshes(stack, reads, writes, self, policy)
        renew_in_child(self)

    def get_or_load(
        self,
        key: str,
        loader: Loader,
        ttl: float | None,
        timeout: float | None = None,
        until: Deadline | None = None,
    ) -> Any:
        """The value under the key, loaded and stored if there is none.

        Args:
            key: the key, which the loader is given.
            loader: called at most once at a time for a key.
            ttl: seconds that a loaded value may be served at most.
            timeout: seconds to wait for a load by somebody else; None takes the store's.
            until: when there has to be an answer; then the load is made in the background.
        """
        if self._policy.refresh_ahead:
            walk = self._known(key, until)
            if walk.entry is not None:
                self._ahead.consider(walk, loader, ttl)
                return walk.entry.value
        patience = self.patience(timeout)
        while True:
            self._raise_remembered(key)
            flight, leading = self.flights.board(key)
            if leading and until is None:
                return self._lead(flight, key, loader, ttl, patience)
            if leading:
                self._lead_elsewhere(flight, key, loader, ttl, patience)
            landing = self._wait(flight, patience, until)
            if landing is not Landing.ABANDONED:
                return flight.value() if landing is not None else self._stale(key, until)

    def get_set(self, key: str, value: Any, ttl: float | None) -> Entry[Any] | None:
        """Stores the value and gives what the primaries had before.

        Calls for the same key take turns in this process; nothing keeps other processes from writing in between.
        """
        with self._stack.turns.taken((key,)):
            old = self._reads.walk_primaries(key)
            self._writes.set({key: value}, ttl, StoreVerb.GET_SET)
            return old

    def patience(self, timeout: float | None) -> float | None:
        """Seconds to wait for a load by somebody else, for a call that says so much about it."""
        return self._patience if timeout is None else timeout

    def after_fork(self) -> None:
        """Forgets the loads of the parent's threads."""
        self.flights.after_fork()
        self.workers.after_fork()
        self._ahead.after_fork()
        if self._failed is not None:
            self._failed.after_fork()

    # --- for those who load in other ways

    def made(self, walk: Walk, loader: Loader, ttl: float | None, *, ahead: bool = False) -> Entry[Any]:
        """What a loader makes of the key of a walk, which is given it; if it fails, that is remembered as asked for.

        Args:
            walk: from before the load.
            loader: the loader.
            ttl: seconds that its value may be served at most.
            ahead: whether there still is a value.

        Raises:
            NotFound: it says that there is nothing.
            Exception: what it raised.
        """
        self.loads += 1
        try:
            entry = entry_of(loader(walk.key), ttl, self.shortening())
            if entry is None:
                raise NotFound(walk.key)
        except NotFound:
            self.absent((walk,), Nothing.AHEAD if ahead else Nothing.LOADED)
            raise
        except Exception as error:
            self.failed((walk,), error)
            raise
        walk.find(entry, len(self._stack.rungs), self._stack.now())
        return entry

    def shortening(self) -> float:
        """The share by which the next loaded value's life is shortened."""
        return self._policy.jitter * random.random() if self._policy.jitter else 0.0

    def absent(self, walks: Sequence[Walk], why: Nothing = Nothing.LOADED) -> None:
        """Remembers that a loader finds nothing, in the store's one book of that, if the policy says so."""
        if self._stack.absences is not None:
            for walk in walks:
                self._stack.absences.note(walk.key, walk.ticket, why)

    def failed(self, walks: Sequence[Walk], error: Exception) -> None:
        """Remembers that a load failed, if the policy says so."""
        if self._failed is not None:
            for walk in walks:
                self._failed.note(walk.key, walk.ticket, error)

    def not_again(self, key: str) -> bool:
        """Whether a loader is not to be asked now, because of what one has said or raised."""
        absences = self._stack.absences
        if absences is not None and absences.loader_said_so(key):
            return True
        return self._failed is not None and self._failed.find(key) is not None

    def raise_failed(self, key: str) -> None:
        """Raises what a load of the key has raised, as long as that is remembered."""
        memo = None if self._failed is None else self._failed.find(key)
        if memo is not None:
            raise memo.value.with_traceback(None)  # every `raise` of a shared error would lengthen its trace

    def end_stale(self, walks: Sequence[Walk]) -> None:
        """Removes what is kept of keys that their loader finds nothing under, unless a write has come since."""
        stack, keys = self._stack, [walk.key for walk in walks]
        for rung in stack.stale_rungs if keys else ():
            if not rung.is_primary:
                gone = stack.ask_in_time(rung, "delete", None, None, rung.forget_stale, keys)
                if isinstance(gone, Failure):
                    rung.doubts.add(keys)
            elif rung.local:
                with stack.fence.holding(keys):
                    valid = [walk.key for walk in walks if stack.fence.admits(walk.key, walk.ticket)]
                    stack.ask(rung, "delete", rung.forget_stale, valid)

    # --- within

    def _lead(self, flight: Flight, key: str, loader: Loader, ttl: float | None, patience: float | None) -> Any:
        """Makes the load that the flight stands for, and ends it whatever comes."""
        flight.leader = threading.get_ident()
        walk: Walk | None = None
        try:
            walk = self._known(key)
            leased = walk.entry is None and self.leasing.take(walk, patience)
            try:
                if walk.entry is None:
                    self._load(flight, walk, loader, ttl)
            finally:
                if leased:
                    self.leasing.give_back((walk,))
            assert walk.entry is not None
            flight.land(walk.entry.value, walk.expires)
            return walk.entry.value
        except Exception as error:
            if walk is not None and self._stands_in(walk, error):
                assert walk.entry is not None
                flight.land(walk.entry.value, walk.expires)
                return walk.entry.value
            flight.fail(error)
            raise
        finally:
            self.flights.leave(key, flight)

    def _known(self, key: str, until: Deadline | None = None) -> Walk:
        walk = self._reads.walk(key, until, loading=True)
        self._stack.noticed((walk,))
        return walk

    def _load(self, flight: Flight, walk: Walk, loader: Loader, ttl: float | None) -> None:
        stack, entry = self._stack, self.made(walk, loader, ttl)
        flight.land(entry.value, walk.expires)
        if stack.listeners.want_any:
            stack.tell_planned(walk.source, (walk,))
        make_fills(stack, walk.source, (walk,))
        stack.present(walk.key)

    def _stands_in(self, walk: Walk, error: Exception) -> bool:
        """Whether something stale can be served for a load that failed; if there is nothing, nothing is."""
        if isinstance(error, NotFound):
            self.end_stale((walk,))
            return False
        return bool(self._stack.stale_rungs) and walk.entry is None and self._reads.stand_in((walk,), error)

    def _stale(self, key: str, until: Deadline | None) -> Any:
        """What can be served stale to somebody who is out of time."""
        error = StoreTimeoutError("the load that was waited for took longer than there was time; it goes on")
        walk = Walk(key, self._stack.fence.ticket(key))
        if not self._reads.stand_in((walk,), error, until) or walk.entry is None:
            raise error
        return walk.entry.value

    def _wait(self, flight: Flight, patience: float | None, until: Deadline | None) -> Landing | None:
        """How the load ended; None if the deadline came before."""
        if until is None:
            return flight.wait(patience)
        try:
            return flight.wait(shorter(patience, until.left() * WAITING_SHARE))
        except StoreTimeoutError:
            return None

    def _lead_elsewhere(
        self, flight: Flight, key: str, loader: Loader, ttl: float | None, patience: float | None
    ) -> None:
        flight.leader = 0  # not this thread any more
        lead = partial(self._lead, flight, key, loader, ttl, patience)
        if not self.workers.start(partial(self.quietly, key, lead), self._policy.waiting):
            flight.fail(StoreTimeoutError("too many loads are under way in the background; raise workers or waiting"))
            self.flights.leave(key, flight)

    def quietly(self, key: str, load: Callable[[], object]) -> None:
        """Makes a load in the background; what it raises is told to listeners, and by its flight to those who wait."""
        try:
            load()
        except Exception as error:  # noqa: BLE001 - told to those who wait for the flight, and to listeners
            self.failed_in_background += 1
            self._stack.background.announce(LoadFailed(key, type(error).__qualname__, self._stack.name))

    def _raise_remembered(self, key: str) -> None:
        absences = self._stack.absences
        if absences is not None and absences.loader_said_so(key):
            raise NotFound(key)
        self.raise_failed(key)
