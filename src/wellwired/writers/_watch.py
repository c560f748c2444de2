"""Ends what has gone on past its deadline, from outside the thread that waits for it.

A thread that waits for a server cannot look at a clock. Server-side timers would need another round trip in every
transaction (measured: a quarter to a half more time on loopback), MySQL has none for writes, and a dead server keeps
none. So one thread per writer looks, every few milliseconds and only while writes are under way, whether one of them
is late, and then cuts its connection: the waiting thread gets an error at once, whatever the state of the server.

Starting a watch and ending it are a dict entry and an uncontended lock: no wake-up, no system call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from wellwired.writers._forks import renew_in_child

__all__ = ["Guard", "Watch"]

_TICK = 0.01
"""Seconds between looks, and so the most by which a cut comes late."""
_IDLE = 2.0
"""Seconds without a guard after which the thread ends; the next guard starts another."""


class Guard:
    """One write under watch. Made by `Watch.guard`; `move` and `end` belong to the thread that does the write.

    Args:
        at: when to cut, in seconds of `time.monotonic`.
        cut: called at most once, on the watching thread, while the guard cannot be moved or ended; must not block.
    """

    __slots__ = ("_cut", "_lock", "at", "fired")

    def __init__(self, at: float, cut: Callable[[], None]) -> None:
        self.at = at
        self.fired = False
        self._cut: Callable[[], None] | None = cut
        self._lock = threading.Lock()

    def move(self, at: float, cut: Callable[[], None]) -> bool:
        """Gives it another moment and another way to cut.

        Returns:
            Whether that was in time; False if it has fired.
        """
        with self._lock:
            if self.fired:
                return False
            self.at, self._cut = at, cut
            return True

    def close(self) -> bool:
        """Makes it harmless: after this nothing is cut any more.

        Returns:
            Whether it had fired.
        """
        with self._lock:
            self._cut = None
            return self.fired

    def look(self, now: float) -> None:
        """Fires if its moment has come; called by the watching thread."""
        if now < self.at:
            return
        with self._lock:
            cut = self._cut
            if cut is not None and now >= self.at:
                self.fired, self._cut = True, None
                cut()


class Watch:
    """Watches over the writes of one writer; its thread runs only while there are some.

    Args:
        name: the writer's name, for the thread.
    """

    __slots__ = ("__weakref__", "_guards", "_lock", "_name", "_running")

    def __init__(self, name: str) -> None:
        self._name = name
        self._guards: dict[int, Guard] = {}
        self._running = False
        self._lock = threading.Lock()
        renew_in_child(self)

    def guard(self, seconds: float, cut: Callable[[], None]) -> Guard:
        """Begins to watch.

        Args:
            seconds: after how many to cut.
            cut: see `Guard`.

        Returns:
            The guard, to be handed to `end`.
        """
        guard = Guard(time.monotonic() + seconds, cut)
        self._guards[id(guard)] = guard
        if not self._running:
            self._start()
        return guard

    def end(self, guard: Guard) -> bool:
        """Ends a guard; after this nothing is cut any more.

        Returns:
            Whether it had fired.
        """
        self._guards.pop(id(guard), None)
        return guard.close()

    def renew(self) -> None:
        """Begins anew in a forked child, where the thread is missing and the writes under way are not ours."""
        self._guards = {}
        self._running = False
        self._lock = threading.Lock()

    def _start(self) -> None:
        with self._lock:
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name=f"wellwired-watch-{self._name}", daemon=True).start()

    def _run(self) -> None:
        idle_since = time.monotonic()
        while True:
            time.sleep(_TICK)
            now = time.monotonic()
            if self._guards:
                idle_since = now
                for guard in list(self._guards.values()):
                    guard.look(now)
            elif now - idle_since > _IDLE and self._stop():
                return

    def _stop(self) -> bool:
        with self._lock:
            # `guard` files first and looks at the flag after: one of the two sees the other.
            self._running = bool(self._guards)
            return not self._running
