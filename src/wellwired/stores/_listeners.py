"""Who is told of what happens in a delegated store, and what becomes of their errors.

Listeners are called one after another in the order of their registration. One that raises is counted, logged at most
once a minute, and changes nothing for the others.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace

import structlog

from wellwired.clock import Clock
from wellwired.stores._isolation import copied
from wellwired.stores.events import BackFill, Listener, StoreEvent

__all__ = ["Listeners"]

_log = structlog.get_logger("wellwired.stores")
_QUIET_SECONDS = 60.0


class Listeners:
    """The callbacks of one delegated store; safe for threads.

    Args:
        store: the store's name.
        back_fill: the first callbacks for `BackFill` events.
        clock: what repeated log lines are held back by.
    """

    def __init__(self, store: str, back_fill: Iterable[Listener], clock: Clock) -> None:
        self._store = store
        self._now = clock.monotonic
        self._lock = threading.Lock()
        # Replaced as a whole, so that telling needs no lock.
        self._back_fill: tuple[Listener, ...] = ()
        self._any: tuple[Listener, ...] = ()
        self._quiet_until = float("-inf")
        self.errors = 0
        for callback in back_fill:
            self.add_back_fill(callback)

    def add_back_fill(self, callback: Listener) -> None:
        """Registers a callback for `BackFill` events."""
        with self._lock:
            self._back_fill = (*self._back_fill, _checked(callback))

    def add_any(self, callback: Listener) -> None:
        """Registers a callback for every event."""
        with self._lock:
            self._any = (*self._any, _checked(callback))

    def clear_back_fill(self) -> None:
        """Removes every callback for `BackFill` events, whenever it was registered."""
        with self._lock:
            self._back_fill = ()

    @property
    def want_back_fill(self) -> bool:
        """Whether anybody listens to `BackFill` events."""
        return bool(self._back_fill or self._any)

    @property
    def want_any(self) -> bool:
        """Whether anybody listens to the other events."""
        return bool(self._any)

    def tell(self, event: StoreEvent) -> None:
        """Calls those who are registered for the event now."""
        back_fill = isinstance(event, BackFill)
        for callback in (*self._back_fill, *self._any) if back_fill else self._any:
            try:
                callback(_own(event))
            except Exception as error:  # noqa: BLE001 - what a callback raises is its own affair
                self._note(callback, event, error)

    def after_fork(self) -> None:
        """Replaces the lock, which a thread of the parent may hold; the callbacks remain."""
        self._lock = threading.Lock()

    def _note(self, callback: Listener, event: StoreEvent, error: Exception) -> None:
        self.errors += 1
        now = self._now()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET_SECONDS
            _log.error(
                "store.callback_failed",
                store=self._store,
                callback=getattr(callback, "__qualname__", type(callback).__qualname__),
                event_type=type(event).__name__,
                error=type(error).__qualname__,
                errors=self.errors,
            )


def _checked(callback: Listener) -> Listener:
    if not callable(callback):
        raise TypeError(f"a callback must be callable; {type(callback).__qualname__} is not")
    return callback


def _own(event: StoreEvent) -> StoreEvent:
    """The event with a value that this listener may change without anybody noticing."""
    if not isinstance(event, BackFill):
        return event
    value = copied(event.value)
    return event if value is event.value else replace(event, value=value)
