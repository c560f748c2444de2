"""What the clocks of Redis servers say, so that a deadline can be told in a server's own time.

A reading bounds a server's clock from both sides: when the answer came, the server had looked after the question was
sent and before the answer was read. A deadline is told as the earliest the server's clock can show at that moment, so
whatever is not known (the round trip, how the two clocks drift apart since) makes it sooner and never later.

Every answer of a fenced script brings a new reading, so a busy connection asks nothing extra; one that was idle asks
once with TIME. A reading belongs to one socket: what answers on another may be another server.

A clock that is set back after it was read makes a deadline later by as much, until the next reading, at most ten
seconds. Beyond steps, two clocks are believed to keep the same second within a thousandth.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from wellwired.clock import Clock, Deadline

__all__ = ["NO_LIMIT", "Limit", "Reading", "ServerClocks"]

_DRIFT: Final = 1e-3
_OLDEST: Final = 10.0
_MICRO: Final = 1_000_000


class Reading(NamedTuple):
    """What a server's clock showed at some moment between two of ours.

    Args:
        shown: microseconds since the Unix epoch, by the server.
        before: a moment before it looked, in seconds of our monotonic clock.
        after: a moment after it had looked.
    """

    shown: int
    before: float
    after: float

    def earliest(self, moment: float) -> int:
        """What the server's clock shows at least, at a moment of ours after the reading, in microseconds."""
        return self.shown + int((moment - self.after) * (1 - _DRIFT) * _MICRO)

    def latest(self, moment: float) -> int:
        """What it shows at most."""
        return self.shown + int((moment - self.before) * (1 + _DRIFT) * _MICRO) + 1

    def doubt(self, moment: float) -> float:
        """How far it may be off at a moment of ours, in seconds."""
        return (self.latest(moment) - self.earliest(moment)) / _MICRO

    def sharper(self, newer: Reading) -> Reading:
        """This one or a newer one: the one that says more, or the newer if the clock was set between them."""
        now = newer.after
        contradicted = not newer.earliest(now) <= self.latest(now) or not self.earliest(now) <= newer.latest(now)
        if contradicted or now - self.after > _OLDEST / 2 or newer.doubt(now) <= self.doubt(now):
            return newer
        return self


class Limit(NamedTuple):
    """A deadline as a server is told it.

    Args:
        at: microseconds since the Unix epoch, by its clock; "" for a deadline that never comes.
        doubt: how many seconds before the deadline that may be.
    """

    at: int | str
    doubt: float


NO_LIMIT: Final = Limit("", 0.0)
"""A deadline that never comes."""


class _Known(NamedTuple):
    socket: Any
    clock: Clock
    reading: Reading


class ServerClocks:
    """The readings for the connections of a pool; safe for threads, as a connection is used by one at a time."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()

    def limit(self, connection: Any, deadline: Deadline) -> Limit:
        """A deadline by the clock of the server that a connection leads to.

        Args:
            connection: a lane's; the server is asked for the time if nothing recent is known.
            deadline: ours.

        Raises:
            LateError: the deadline passed before the server could be asked.
            redis.RedisError: it did not answer.
        """
        if deadline.at == math.inf:
            return NO_LIMIT
        clock = deadline.clock
        now = clock.monotonic()
        known = self._known.get(connection.inner)
        if known is not None and self._serves(known, connection, clock, now, deadline.at):
            reading = known.reading
        else:
            connection.send_command("TIME")
            seconds, micros = connection.read_response()
            reading = self.note(connection, clock, now, int(seconds) * _MICRO + int(micros))
        return Limit(reading.earliest(deadline.at), reading.doubt(deadline.at))

    def note(self, connection: Any, clock: Clock, began: float, shown: int) -> Reading:
        """Keeps what an answer said about the server's clock.

        Args:
            connection: the lane's connection that it came on.
            clock: ours.
            began: when the question was sent, in seconds of `clock.monotonic()`.
            shown: microseconds since the Unix epoch, by the server.

        Returns:
            The reading that counts from now on.
        """
        reading = Reading(shown, began, clock.monotonic())
        known = self._known.get(connection.inner)
        socket = connection.socket
        if known is not None and known.socket is socket and known.clock is clock:
            reading = known.reading.sharper(reading)
        self._known[connection.inner] = _Known(socket, clock, reading)
        return reading

    def _serves(self, known: _Known, connection: Any, clock: Clock, now: float, at: float) -> bool:
        reading = known.reading
        return (
            known.socket is connection.socket
            and known.clock is clock
            and 0 <= now - reading.after <= _OLDEST
            # A reading of a slow moment would cost a short deadline much of its time.
            and reading.doubt(now) <= max(0.0, at - now) / 4
        )
