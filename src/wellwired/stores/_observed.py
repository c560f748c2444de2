"""What a delegated store tells about itself: to listeners while it works, and to whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from wellwired.clock import Deadline
from wellwired.stores._abilities import facts_of
from wellwired.stores._endpoint import Endpoint, checked_key
from wellwired.stores._stack import Stack
from wellwired.stores.events import BackFill, Listener
from wellwired.stores.explain import Explanation, StoreHealth, explained, health_of
from wellwired.stores.guarantees import Guarantees, worked_out
from wellwired.stores.stats import StoreStats

__all__ = ["Observed"]

BackFillCallback = TypeVar("BackFillCallback", bound=Callable[[BackFill], object])
EventCallback = TypeVar("EventCallback", bound=Listener)


class Observed:
    """The part of a delegated store that others look at; safe for threads."""

    name: str
    _stack: Stack
    _endpoint: Endpoint

    def on_back_fill(self, callback: BackFillCallback) -> BackFillCallback:
        """Has the callback called for every layer filled, after those already registered.

        It runs on the store's worker thread; an error in it is counted and logged, and changes nothing.

        Returns:
            The callback, so that this can decorate it.
        """
        self._stack.listeners.add_back_fill(callback)
        return callback

    def clear_back_fill_callbacks(self) -> None:
        """Removes every back-fill callback, whenever it was registered; `on_event` callbacks stay."""
        self._stack.listeners.clear_back_fill()

    def on_event(self, callback: EventCallback) -> EventCallback:
        """Has the callback called for every event: fills made, refused and dropped, and layers that failed.

        Returns:
            The callback, so that this can decorate it.
        """
        self._stack.listeners.add_any(callback)
        return callback

    def stats(self) -> StoreStats:
        """What was counted since the store was made."""
        stack, loads = self._stack, self._endpoint.loads
        return StoreStats(
            store=self.name,
            layers=tuple(rung.stats() for rung in stack.rungs),
            loads=loads.loads,
            joins=loads.flights.joins,
            pending=stack.background.pending,
            dropped=stack.background.dropped,
            untold=stack.background.untold,
            listener_errors=stack.listeners.errors,
            refreshes=loads.refreshes,
            refreshes_left_out=loads.refreshes_left_out,
            failed_in_background=loads.failed_in_background,
            overtaken=self._endpoint.changes.overtaken,
        )

    def explain(self, key: str, *, deadline: float | Deadline | None = None) -> Explanation:
        """Says where a key is, in which version and for how long, and what a read would do; changes nothing.

        Args:
            key: the key.
            deadline: seconds in which to answer, or by when; a layer that is out of time is shown as failed.
        """
        until = None if deadline is None else self._moment(deadline)
        told = explained(self._stack, self._endpoint.loads, checked_key(key), until)
        return replace(told, promised=self.guarantees.summary)

    @property
    def guarantees(self) -> Guarantees:
        """What this stack promises, as follows from what its layers are able to do; asks nobody."""
        facts = [facts_of(rung) for rung in self._stack.rungs]
        return worked_out(self.name, facts, leasing=self._endpoint.leasing)

    def health(self) -> StoreHealth:
        """How well each layer works, as far as its last calls tell, and what that means for the store; asks nobody."""
        return health_of(self._stack)

    def _moment(self, deadline: float | Deadline) -> Deadline:
        """A deadline as a moment on the store's clock."""
        return deadline if isinstance(deadline, Deadline) else Deadline.after(deadline, self._stack.clock)
