"""A clock that a test moves by hand.

`VirtualClock` starts at a fixed moment and stands still until `advance()` is called or something sleeps on it: a
sleep is an advance, so code under test that backs off for a minute returns at once, and the test reads from `naps`
how long it would have waited.
"""

from __future__ import annotations

import threading

__all__ = ["VirtualClock"]


class VirtualClock:
    """A `wellwired.Clock` without real time; safe to use from many threads.

    Args:
        start: the first reading of `monotonic()`, in seconds.
        epoch: the first reading of `wall()`, in seconds since the Unix epoch.
    """

    def __init__(self, start: float = 1_000.0, epoch: float = 1_700_000_000.0) -> None:
        self._now = start
        self._skew = epoch - start
        self._lock = threading.Lock()
        self.naps: list[float] = []

    def monotonic(self) -> float:
        """The virtual monotonic time, in seconds."""
        return self._now

    def wall(self) -> float:
        """The virtual time of day, in seconds since the Unix epoch."""
        return self._now + self._skew

    def sleep(self, seconds: float) -> None:
        """Moves time on by `seconds` and notes it in `naps`; never blocks."""
        if seconds > 0:
            with self._lock:
                self.naps.append(seconds)
                self._now += seconds

    def advance(self, seconds: float) -> None:
        """Moves both clocks on.

        Args:
            seconds: how far; not negative, for monotonic time does not go back.
        """
        if seconds < 0:
            raise ValueError("monotonic time does not go back; use step_wall() to move the time of day")
        with self._lock:
            self._now += seconds

    def step_wall(self, seconds: float) -> None:
        """Moves the time of day only, as an administrator or NTP may; negative steps are allowed."""
        with self._lock:
            self._skew += seconds
