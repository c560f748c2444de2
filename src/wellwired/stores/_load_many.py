"""`get_or_load_many`: one call of a loader for all keys that lack a value and that nobody else is loading.

Every key keeps its own single-flight: a key that somebody else is loading is waited for, and whoever asks for one of
ours meanwhile waits for us. We load our own before we wait for others, so that no two can wait for each other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from wellwired.errors import NotFound
from wellwired.stores._fills import make_fills
from wellwired.stores._flights import Flight, Landing
from wellwired.stores._loads import Loads
from wellwired.stores._reads import Reads
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores.loader import MISSING
from wellwired.stores.loading import LoadPolicy, entry_of

__all__ = ["ManyLoads"]

ManyLoader: TypeAlias = Callable[[Sequence[str]], Mapping[str, Any]]


class ManyLoads:
    """Loads of many keys at once; safe for threads.

    Args:
        stack: the layers.
        reads: how to read them.
        loads: how single keys are loaded; it knows what is under way.
        policy: how values are loaded.
    """

    def __init__(self, stack: Stack, reads: Reads, loads: Loads, policy: LoadPolicy) -> None:
        self._stack, self._reads, self._loads, self._policy = stack, reads, loads, policy

    def get_or_load_many(
        self, keys: Sequence[str], loader: ManyLoader, ttl: float | None, timeout: float | None
    ) -> dict[str, Any]:
        """The values of those keys that have one, what lacks loaded together and stored.

        Args:
            keys: the keys, each once.
            loader: is given the keys that lack a value, and gives the values of those that have one.
            ttl: seconds that a loaded value may be served at most.
            timeout: seconds to wait for a load by somebody else; None takes the store's.
        """
        walks = self._known(keys)
        found = {key: walk.entry.value for key, walk in walks.items() if walk.entry is not None}
        led: dict[str, Flight] = {}
        joined: dict[str, Flight] = {}
        try:
            for key in keys:
                if key not in found:
                    flight, leading = self._loads.flights.board(key)
                    (led if leading else joined)[key] = flight
            if led:
                found |= self._lead(led, loader, ttl)
        finally:
            for key, flight in led.items():
                self._loads.flights.leave(key, flight)
        for key, flight in joined.items():
            found |= self._joined(key, flight, loader, ttl, timeout)
        return {key: found[key] for key in keys if key in found}

    def _known(self, keys: Sequence[str]) -> dict[str, Walk]:
        walks, error = self._reads.walk_many(keys, loading=True)
        if error is not None:
            raise error
        return walks

    def _lead(self, led: Mapping[str, Flight], loader: ManyLoader, ttl: float | None) -> dict[str, Any]:
        try:
            walks = self._known(list(led))  # once more: somebody may have loaded them since
            for key, walk in walks.items():
                if walk.entry is not None:  # what has been found does not fail with the rest
                    led[key].land(walk.entry.value, walk.expires)
            wanted = [walk for walk in walks.values() if walk.entry is None]
            if wanted:
                self._loads.loads += 1
                self._store(wanted, loader([walk.key for walk in wanted]), ttl, led)
        except Exception as error:
            for flight in led.values():
                flight.fail(error)
            raise
        for key, flight in led.items():
            if walks[key].entry is None:
                flight.fail(NotFound(key))
        return {key: walk.entry.value for key, walk in walks.items() if walk.entry is not None}

    def _store(
        self, walks: Sequence[Walk], loaded: Mapping[str, Any], ttl: float | None, led: Mapping[str, Flight]
    ) -> None:
        stack, jitter, now = self._stack, self._policy.jitter, self._stack.now()
        for walk in walks:
            entry = entry_of(loaded.get(walk.key, MISSING), ttl, jitter * random.random() if jitter else 0.0)
            if entry is not None:
                walk.find(entry, len(stack.rungs), now)
                led[walk.key].land(entry.value, walk.expires)
        filled = [walk for walk in walks if walk.entry is not None]
        if stack.listeners.want_any:
            stack.tell_planned(len(stack.rungs), filled)
        make_fills(stack, len(stack.rungs), filled)
        for walk in filled:
            stack.present(walk.key)

    def _joined(
        self, key: str, flight: Flight, loader: ManyLoader, ttl: float | None, timeout: float | None
    ) -> dict[str, Any]:
        """The value that somebody else loads; loaded by ourselves if they were interrupted."""
        try:
            if flight.wait(self._loads.patience(timeout)) is not Landing.ABANDONED:
                return {key: flight.value()}
            return {
                key: self._loads.get_or_load(key, lambda one: loader([one]).get(one, MISSING), ttl, timeout),
            }
        except NotFound:
            return {}
