"""How long a value may live: durations in whole milliseconds, and what a server's clock says without asking it again.

Two machines never compare their clocks here. A store's server is the only authority on time: its answer to "what is
the time?" is kept as a `Reading`, between two readings of this process's own monotonic clock, and from it follow a
moment that the server's clock has certainly reached and one that it has certainly not passed. Whoever stamps a value
takes the first, whoever asks what is left of it takes the second, so every error shortens a life and none extends it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["Reading", "milliseconds"]

_LONGEST_MS: Final = 10**15
# Milliseconds in a second of a clock that goes wrong by ten times as much as quartz does: 5 ms in 10 s.
_FAST_SECOND: Final = 1000.5
_SLOW_SECOND: Final = 999.5


def milliseconds(ttl: float | None) -> int | None:
    """Turns seconds into whole milliseconds, rounding down.

    Args:
        ttl: seconds; None and infinity mean for ever.

    Returns:
        Milliseconds, 0 for a life that has ended before it began, or None for ever.

    Raises:
        ValueError: it is not a number.
    """
    if ttl is None or ttl == math.inf:
        return None
    if math.isnan(ttl):
        raise ValueError("a ttl is a number of seconds or None; it is nan")
    return max(0, min(int(ttl * 1000), _LONGEST_MS))


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server's clock said once; immutable and free to share.

    Args:
        server_ms: its answer, in whole milliseconds, rounded down.
        before: this process's monotonic clock, in seconds, before the question was sent.
        after: the same clock after the answer had come.
    """

    server_ms: int
    before: float
    after: float

    def earliest(self, now: float) -> int:
        """The moment, in the server's milliseconds, that its clock has reached at `now` at the least."""
        return self.server_ms + int((now - self.after) * _SLOW_SECOND)

    def latest(self, now: float) -> int:
        """The moment, in the server's milliseconds, that its clock has not passed at `now`."""
        return self.server_ms + 2 + int((now - self.before) * _FAST_SECOND)
