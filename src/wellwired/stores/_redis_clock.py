"""What the clock of a Redis server says, without a command for every question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from wellwired.stores._life import Reading

__all__ = ["ServerClock"]

_SECONDS: Final = 10.0


class ServerClock:
    """The clock of a server, asked at most every ten seconds; safe for threads.

    Args:
        command: sends a command to the server.
        now: the monotonic clock, in seconds.
    """

    __slots__ = ("_command", "_now", "reading")

    def __init__(self, command: Callable[..., Any], now: Callable[[], float]) -> None:
        self._command, self._now = command, now
        self.reading: Reading | None = None
        """What it said last; None if that counts no more."""

    def latest(self) -> int:
        """A moment, in its milliseconds, that it has not passed yet."""
        now = self._now()
        reading = self.reading
        if reading is None or not 0 <= now - reading.before <= _SECONDS:
            reading, now = self.ask(), self._now()
        return reading.latest(now)

    def earliest(self) -> int:
        """A moment, in its milliseconds, that it has passed already."""
        now = self._now()
        reading = self.reading
        if reading is None or not 0 <= now - reading.before <= _SECONDS:
            reading, now = self.ask(), self._now()
        return reading.earliest(now)

    def forget(self) -> None:
        """Has it asked again: it was set, or another server may answer."""
        self.reading = None

    def ask(self) -> Reading:
        """Asks it."""
        before = self._now()
        seconds, micros = self._command("TIME")
        self.reading = reading = Reading(int(seconds) * 1000 + int(micros) // 1000, before, self._now())
        return reading
