"""`get_or_load` and `get_set`: operations that read, think and write.

A loaded value travels up the stack like one that was found, primaries included, and every step is fenced: a write that
came during the load wins. The load counts as under way until the value has been stored, so that nobody who comes in
between loads again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wellwired.operations import StoreVerb
from wellwired.stores._fills import make_fills
from wellwired.stores._flights import Flight, Flights, Landing
from wellwired.stores._reads import Reads
from wellwired.stores._stack import Stack
from wellwired.stores._writes import Writes
from wellwired.stores.protocols import Entry

__all__ = ["Loads"]


class Loads:
    """The operations of a delegated store that read and write; safe for threads.

    Args:
        stack: the layers.
        reads: how to read them.
        writes: how to write them.
        patience: seconds that somebody waits for a load by somebody else, unless the call says otherwise.
    """

    def __init__(self, stack: Stack, reads: Reads, writes: Writes, patience: float | None) -> None:
        self._stack, self._reads, self._writes, self._patience = stack, reads, writes, patience
        self.flights = Flights(stack.fence, share=stack.shares)
        self.loads = 0

    def get_or_load(
        self, key: str, loader: Callable[[str], Any], ttl: float | None, timeout: float | None = None
    ) -> Any:
        """The value under the key, loaded and stored if there is none.

        Args:
            key: the key, which the loader is given.
            loader: called at most once at a time for a key.
            ttl: seconds that a loaded value may be served at most.
            timeout: seconds to wait for a load by somebody else; None takes the store's.
        """
        patience = self._patience if timeout is None else timeout
        while True:
            flight, leading = self.flights.board(key)
            if leading:
                return self._lead(flight, key, loader, ttl)
            if flight.wait(patience) is not Landing.ABANDONED:
                return flight.value()

    def get_set(self, key: str, value: Any, ttl: float | None) -> Entry[Any] | None:
        """Stores the value and gives what the primaries had before.

        Calls for the same key take turns in this process; nothing keeps other processes from writing in between.
        """
        with self._stack.turns.taken((key,)):
            old = self._reads.walk_primaries(key)
            self._writes.set({key: value}, ttl, StoreVerb.GET_SET)
            return old

    def _lead(self, flight: Flight, key: str, loader: Callable[[str], Any], ttl: float | None) -> Any:
        try:
            walk = self._reads.walk(key)
            if walk.entry is not None:
                value = walk.entry.value
                flight.land(value)
                return value
            self.loads += 1
            value = loader(key)
            flight.land(value)
            walk.find(Entry(value, ttl), len(self._stack.rungs), self._stack.now())
            make_fills(self._stack, walk.source, (walk,))
            return value
        except Exception as error:
            flight.fail(error)
            raise
        finally:
            self.flights.leave(key, flight)
