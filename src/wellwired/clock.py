"""Clock and Deadline: time is always an argument.

Everything in this library that waits, expires or retries is handed a `Clock`, so that a test can hand it a virtual
one and never sleep. A `Deadline` is an absolute moment on the monotonic clock: it can be passed down a call chain
without growing, which a duration cannot.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

__all__ = ["SYSTEM", "Clock", "Deadline", "SystemClock"]


@runtime_checkable
class Clock(Protocol):
    """Where time comes from. Implementations are safe to use from many threads."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back. For ages, expiry and deadlines within a process."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch; may step. Only for stamps that leave the process."""
        ...

    def sleep(self, seconds: float) -> None:
        """Waits for `seconds`; zero or less returns at once."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    # Bound straight to the C functions: a Python frame would double the cost of a read.
    monotonic = staticmethod(time.monotonic)
    wall = staticmethod(time.time)

    def sleep(self, seconds: float) -> None:
        """Waits for `seconds`; zero or less returns at once."""
        if seconds > 0:
            time.sleep(seconds)

    def __repr__(self) -> str:
        return "SystemClock()"


SYSTEM: Clock = SystemClock()
"""The clock that everything uses unless it is handed another."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment by which something must have happened; immutable and free to share.

    Args:
        at: the moment, in seconds of `clock.monotonic()`; infinity means never.
        clock: the clock that the moment is on.
    """

    at: float
    clock: Clock = SYSTEM

    @classmethod
    def after(cls, seconds: float, clock: Clock = SYSTEM) -> Deadline:
        """The deadline `seconds` from now."""
        return cls(clock.monotonic() + seconds, clock)

    @classmethod
    def never(cls, clock: Clock = SYSTEM) -> Deadline:
        """A deadline that does not come."""
        return cls(math.inf, clock)

    def left(self) -> float:
        """Seconds until it, not less than zero; infinity if it never comes."""
        return max(0.0, self.at - self.clock.monotonic())

    @property
    def passed(self) -> bool:
        """Whether it has come."""
        return self.clock.monotonic() >= self.at

    def sooner(self, seconds: float | None) -> Deadline:
        """This deadline, or the one `seconds` from now if that comes first; None changes nothing."""
        if seconds is None:
            return self
        at = self.clock.monotonic() + seconds
        return self if self.at <= at else Deadline(at, self.clock)
