"""One worker thread per delegated store, for what no reader must wait for: back-fills and telling about them.

The thread starts with the first work, never before, and ends when there has been none for a while. What waits is
bounded: a key waits once, its latest fill replacing an earlier one, and when too many wait the policy says which goes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import structlog

from wellwired.errors import StoreError, StoreTimeoutError
from wellwired.stores._walk import Walk
from wellwired.stores.events import StoreEvent
from wellwired.stores.layer import FillPolicy, Overflow

__all__ = ["Background"]

_log = structlog.get_logger("wellwired.stores")


class Background:
    """The waiting fills and events of one delegated store; safe for threads.

    Args:
        name: the store's name; the thread is named after it.
        fill: makes a batch of fills.
        tell: tells of one event.
        policy: how much may wait, and what goes when it is too much.
    """

    def __init__(
        self, name: str, fill: Callable[[Sequence[Walk]], None], tell: Callable[[StoreEvent], None], policy: FillPolicy
    ) -> None:
        self._name, self._fill, self._tell, self.policy = name, fill, tell, policy
        self.dropped = self.untold = 0
        # Closed takes no more fills; over tells no more either: the last fills are still told of.
        self.closed = self._over = False
        self.after_fork()

    def after_fork(self) -> None:
        """Starts empty: the worker and the work are the parent's."""
        self._changed = threading.Condition()
        self._fills: dict[str, Walk] = {}
        self._events: deque[StoreEvent] = deque()
        self._thread: threading.Thread | None = None
        self._busy = False

    @property
    def pending(self) -> int:
        """How many keys wait to be filled."""
        return len(self._fills)

    def submit(self, fills: Iterable[Walk]) -> list[str]:
        """Lets fills wait, all at once, so that the worker finds them together; the keys that were dropped."""
        with self._changed:
            dropped = [key for fill in fills if (key := self._enter(fill)) is not None]
            self.dropped += len(dropped)
            if self._fills:
                self._wake()
            return dropped

    def _enter(self, fill: Walk) -> str | None:
        """Lets one fill wait; the key of the fill that has to give way for want of room, or None."""
        dropped = None
        if self.closed:
            return fill.key
        if fill.key not in self._fills and len(self._fills) >= self.policy.limit:
            if self.policy.overflow is not Overflow.DROP_OLDEST:
                return fill.key
            dropped = next(iter(self._fills))
            del self._fills[dropped]
        self._fills[fill.key] = fill
        return dropped

    def announce(self, event: StoreEvent) -> None:
        """Lets an event wait to be told; counts it as untold if too many wait."""
        with self._changed:
            if self._over or len(self._events) >= self.policy.events:
                self.untold += 1
            else:
                self._events.append(event)
                self._wake()

    def flush(self, timeout: float | None) -> None:
        """Waits until nothing waits and nothing is being done.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            StoreTimeoutError: there was still work when the time had passed.
            StoreError: a callback asked, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            raise StoreError("a callback cannot flush or close the store that is calling it: it would wait for itself")
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._work_left():
                if self._thread is None:
                    self._wake()
                left = None if end is None else end - time.monotonic()
                if (left is not None and left <= 0) or self._thread is None:
                    raise StoreTimeoutError(f"store {self._name}: {len(self._fills)} fills still wait")
                self._changed.wait(left)

    def close(self, timeout: float | None) -> int:
        """Takes no more work, finishes what waits if there is time, and gives up the rest.

        Args:
            timeout: seconds to finish in at most; None takes as long as it takes.

        Returns:
            How many fills were given up.
        """
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        try:
            self.flush(timeout)
        except StoreTimeoutError:
            _log.warning("store.fills_given_up", store=self._name, pending=len(self._fills))
        with self._changed:
            self._over = True
            given_up = len(self._fills)
            self.dropped += given_up
            self.untold += len(self._events)
            self._fills.clear()
            self._events.clear()
            return given_up

    def _work_left(self) -> bool:
        return bool(self._fills or self._events or self._busy)

    def _wake(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=f"wellwired-fills-{self._name}", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending, or out of threads: the work waits for the next attempt
                self._thread = None
        elif not self._busy:
            self._changed.notify_all()

    def _run(self) -> None:
        changed = self._changed
        while (work := self._next(changed)) is not None:
            fills, events = work
            try:
                if fills:
                    self._fill(fills)
                for event in events:
                    self._tell(event)
            except BaseException as error:  # noqa: BLE001 - whatever it is, nobody else would start the worker again
                _log.error("store.worker_failed", store=self._name, error=type(error).__qualname__)
            finally:
                with changed:
                    self._busy = False
                    changed.notify_all()

    def _next(self, changed: threading.Condition) -> tuple[list[Walk], list[StoreEvent]] | None:
        with changed:
            while not (self._fills or self._events):
                idle = self.closed or not changed.wait(self.policy.idle)
                if idle and not (self._fills or self._events):
                    self._thread = None
                    return None
            keys = list(self._fills)[: self.policy.batch]
            events = list(self._events)
            self._events.clear()
            self._busy = True
            return [self._fills.pop(key) for key in keys], events
