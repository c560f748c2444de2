"""One load per key at a time: who comes while a load is under way waits for its result instead of loading as well.

A load is shared only by those who came before the next write of the key: a load that began before a write must not
answer somebody who asks after it. Waiters are woken, never polling. A load that failed fails for exactly those who
joined it; one that was interrupted in its own thread fails for nobody else, and a waiter takes it over.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from wellwired.errors import StoreError, StoreTimeoutError
from wellwired.stores._fence import Fence, Ticket
from wellwired.stores._isolation import Thaw, keep

__all__ = ["Flight", "Flights", "Landing"]


class Landing(enum.Enum):
    """How a load ended for those who joined it."""

    VALUE = "value"
    ERROR = "error"
    ABANDONED = "abandoned"


class Flight:
    """One load, as its leader and those who joined it share it.

    Args:
        ticket: the state of the key's stripe before the load began.
        share: whether everybody gets the very same object.
        now: the store's monotonic clock.
    """

    __slots__ = (
        "_done",
        "_error",
        "_landing",
        "_now",
        "_share",
        "_thaw",
        "_trace",
        "_value",
        "expires",
        "leader",
        "ticket",
    )

    def __init__(self, ticket: Ticket, *, share: bool, now: Callable[[], float]) -> None:
        self.ticket = ticket
        self._now = now
        self.leader = threading.get_ident()
        self.expires: float | None = None
        self._share = share
        self._done = threading.Event()
        self._landing = Landing.ABANDONED
        self._value: Any = None
        self._thaw: Thaw | None = None
        self._error: Exception | None = None
        self._trace: TracebackType | None = None

    def land(self, value: Any, expires: float | None) -> None:
        """Hands the value to everybody who joined; called by the leader.

        Args:
            value: the value.
            expires: when its fresh life ends, on the store's clock: whoever comes later does not join any more, and if
                that is past already, those who joined begin again.
        """
        self.expires = expires
        if expires is not None and expires <= self._now():
            self.abandon()
            return
        try:
            self._value, self._thaw = (value, None) if self._share else keep(value)
            self._landing = Landing.VALUE
        except Exception:  # noqa: BLE001 - a type may raise anything when it is copied
            self._landing = Landing.ABANDONED  # not safe to share: everybody loads for themselves
        self._done.set()

    def fail(self, error: Exception) -> None:
        """Rejects everybody who joined; called by the leader, without effect if the value has been handed out."""
        if self._done.is_set():
            return
        self._error, self._trace, self._landing = error, error.__traceback__, Landing.ERROR
        self._done.set()

    def abandon(self) -> None:
        """Lets those who joined start again; called by the leader, without effect if it has landed or failed."""
        self._done.set()

    @property
    def in_vain(self) -> bool:
        """Whether it has ended without a value."""
        return self._done.is_set() and self._landing is not Landing.VALUE

    def wait(self, timeout: float | None) -> Landing:
        """Waits for the end of the load.

        Args:
            timeout: seconds to wait at most; None waits as long as the load takes.

        Raises:
            StoreTimeoutError: the load was still under way when the time had passed.
        """
        if not self._done.wait(timeout):
            raise StoreTimeoutError(f"the load that was joined took longer than {timeout} s")
        return self._landing

    def value(self) -> Any:
        """The value, in a copy of the caller's own if it can be changed; raises what the load raised."""
        if self._error is not None:
            # The load's own trace each time: every `raise` of a shared error would lengthen it.
            raise self._error.with_traceback(self._trace)
        return self._value if self._thaw is None else self._thaw(self._value)


class Flights:
    """The loads that are under way in one delegated store; safe for threads.

    Args:
        fence: tells whether a write has come in between.
        share: whether everybody who joins gets the very same object.
        now: the store's monotonic clock.
    """

    def __init__(self, fence: Fence, *, share: bool, now: Callable[[], float]) -> None:
        self._fence, self._now = fence, now
        self._share = share
        self.joins = 0
        self.after_fork()

    def __len__(self) -> int:
        """How many loads are under way."""
        return len(self._flights)

    def board(self, key: str) -> tuple[Flight, bool]:
        """Joins the load of a key, or starts one.

        Returns:
            The load, and whether the caller leads it: then it must end it, and `leave` afterwards.

        Raises:
            StoreError: the key's loader asks for the key itself.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and self._open(key, flight):
                if flight.leader == threading.get_ident():
                    raise StoreError("a loader asked its own store for the key that it is loading; it would never end")
                self.joins += 1
                return flight, False
            flight = self._flights[key] = Flight(self._fence.ticket(key), share=self._share, now=self._now)
            return flight, True

    def under_way(self, key: str) -> bool:
        """Whether a load of the key is, which somebody who comes now would join."""
        flight = self._flights.get(key)
        return flight is not None and self._open(key, flight)

    def leave(self, key: str, flight: Flight) -> None:
        """Takes a load that has ended off the list."""
        flight.abandon()
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]

    def _open(self, key: str, flight: Flight) -> bool:
        """Whether what a load brings is good for somebody who comes now."""
        if flight.in_vain or (flight.expires is not None and flight.expires <= self._now()):
            return False  # its leader is about to leave, or its value has ended while it is still being stored
        return self._fence.same(key, flight.ticket)

    def after_fork(self) -> None:
        """Forgets the loads of the parent's threads."""
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}
