"""`get_or_load_many`: one call of a loader for all keys that lack a value and that nobody else is loading.

Every key keeps its own single-flight: a key that somebody else is loading is waited for, and whoever asks for one of
ours meanwhile waits for us. We load our own before we wait for others, so that no two can wait for each other; the same
goes for the leases of a fleet. However many keys somebody else has, they are waited for together, no longer than there
is patience for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from wellwired.errors import NotFound, StoreTimeoutError
from wellwired.stores._fills import make_fills
from wellwired.stores._flights import Flight, Landing
from wellwired.stores._leases import Taken
from wellwired.stores._loads import Loads
from wellwired.stores._reads import Reads
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores.loader import MISSING
from wellwired.stores.loading import entry_of

__all__ = ["ManyLoads"]

ManyLoader: TypeAlias = Callable[[Sequence[str]], Mapping[str, Any]]


class ManyLoads:
    """Loads of many keys at once; safe for threads.

    Args:
        stack: the layers.
        reads: how to read them.
        loads: how single keys are loaded; it knows what is under way, and what has been.
    """

    def __init__(self, stack: Stack, reads: Reads, loads: Loads) -> None:
        self._stack, self._reads, self._loads = stack, reads, loads

    def get_or_load_many(
        self, keys: Sequence[str], loader: ManyLoader, ttl: float | None, timeout: float | None
    ) -> dict[str, Any]:
        """The values of those keys that have one, what lacks loaded together and stored.

        Args:
            keys: the keys, each once.
            loader: is given the keys that lack a value, and gives the values of those that have one.
            ttl: seconds that a loaded value may be served at most.
            timeout: seconds to wait for loads by somebody else, for all of them together; None takes the store's.
        """
        found = _values(self._known(self._worth_asking(keys)))
        lacking = [key for key in keys if key not in found and not self._absent(key)]
        for key in lacking:
            self._loads.raise_failed(key)
        patience = self._loads.patience(timeout)
        end = None if patience is None else self._stack.now() + patience
        led: dict[str, Flight] = {}
        joined: dict[str, Flight] = {}
        try:
            for key in lacking:
                flight, leading = self._loads.flights.board(key)
                (led if leading else joined)[key] = flight
            if led:
                found |= self._lead(led, loader, ttl, end)
        finally:
            for key, flight in led.items():
                self._loads.flights.leave(key, flight)
        for key, flight in joined.items():
            found |= self._joined(key, flight, loader, ttl, end)
        return {key: found[key] for key in keys if key in found}

    def _worth_asking(self, keys: Sequence[str]) -> Sequence[str]:
        """The keys for which the layers are asked: a loader's word that there is nothing spares that."""
        absences = self._stack.absences
        if absences is None:
            return keys
        return [key for key in keys if absences.find(key) is None or not absences.loader_said_so(key)]

    def _absent(self, key: str) -> bool:
        absences = self._stack.absences
        return absences is not None and absences.loader_said_so(key)

    def _known(self, keys: Sequence[str]) -> dict[str, Walk]:
        walks, error = self._reads.walk_many(keys, loading=True)
        if error is not None:
            raise error
        self._stack.noticed(walks.values())
        return walks

    def _lead(
        self, led: Mapping[str, Flight], loader: ManyLoader, ttl: float | None, end: float | None
    ) -> dict[str, Any]:
        """Makes the loads that the flights stand for: of all keys at once, but for those that another process loads."""
        try:
            walks = self._known(list(led))  # once more: somebody may have loaded them since
        except Exception as error:
            for flight in led.values():
                flight.fail(error)
            raise
        _land(walks.values(), led)  # what has been found does not fail with the rest
        leasing = self._loads.leasing
        taken = leasing.take_many([walk for walk in walks.values() if walk.entry is None])
        while True:
            _land(taken.found, led)
            try:
                if taken.due:
                    self._load(taken, loader, ttl, led)
            finally:
                leasing.give_back(taken.leased)
            if not taken.others:
                return _values(walks)
            taken = leasing.wait_many(taken.others, end)

    def _load(self, taken: Taken, loader: ManyLoader, ttl: float | None, led: Mapping[str, Flight]) -> None:
        walks, loads = taken.due, self._loads
        loads.loads += 1
        try:
            loaded = loader([walk.key for walk in walks])
            entries = {key: entry_of(loaded.get(key, MISSING), ttl, loads.shortening()) for key in _keys(walks)}
        except Exception as error:
            loads.failed(walks, error)
            served = bool(self._stack.stale_rungs) and self._reads.stand_in(walks, error)
            _land(walks, led)
            if served:
                return
            for walk in walks:
                led[walk.key].fail(error)
            raise
        now, source = self._stack.now(), len(self._stack.rungs)
        for walk in walks:
            if (entry := entries[walk.key]) is not None:
                walk.find(entry, source, now)
        self._keep([walk for walk in walks if walk.entry is not None], led)
        self._miss([walk for walk in walks if walk.entry is None], led)

    def _keep(self, walks: Sequence[Walk], led: Mapping[str, Flight]) -> None:
        """Hands out what was loaded, and stores it."""
        stack, source = self._stack, len(self._stack.rungs)
        _land(walks, led)
        if stack.listeners.want_any:
            stack.tell_planned(source, walks)
        make_fills(stack, source, walks)
        for walk in walks:
            stack.present(walk.key)

    def _miss(self, walks: Sequence[Walk], led: Mapping[str, Flight]) -> None:
        """Remembers and tells under which keys there is nothing."""
        self._loads.absent(walks)
        self._loads.end_stale(walks)
        for walk in walks:
            led[walk.key].fail(NotFound(walk.key))

    def _joined(
        self, key: str, flight: Flight, loader: ManyLoader, ttl: float | None, end: float | None
    ) -> dict[str, Any]:
        """The value that somebody else loads; loaded by ourselves if they were interrupted."""
        try:
            landing = flight.wait(self._left(end))
        except StoreTimeoutError:
            raise StoreTimeoutError(
                "loads by others that a batch waited for took longer than it had patience"
            ) from None
        try:
            if landing is not Landing.ABANDONED:
                return {key: flight.value()}
            return {
                key: self._loads.get_or_load(key, lambda one: loader([one]).get(one, MISSING), ttl, self._left(end)),
            }
        except NotFound:
            return {}

    def _left(self, end: float | None) -> float | None:
        return None if end is None else max(0.0, end - self._stack.now())


def _keys(walks: Sequence[Walk]) -> list[str]:
    return [walk.key for walk in walks]


def _values(walks: Mapping[str, Walk]) -> dict[str, Any]:
    return {key: walk.entry.value for key, walk in walks.items() if walk.entry is not None}


def _land(walks: Sequence[Walk] | Any, led: Mapping[str, Flight]) -> None:
    """Hands what was found to those who wait for it."""
    for walk in walks:
        if walk.entry is not None:
            led[walk.key].land(walk.entry.value, walk.expires)
