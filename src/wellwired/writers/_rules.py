"""What a backend's own error code means, before anyone asks how far the write had come.

A rule is a fact about one code: that it is a deadlock, that the connection is gone, that the data is bad. What
follows from it (may it be sent again, is it applied) also depends on the phase; `classification` decides that.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

__all__ = ["Kind", "Native", "Rule"]

Native = str | int
"""A code as the backend gives it: errno, SQLSTATE, SQLite's extended code, or the first word of a Redis error."""


class Kind(StrEnum):
    """What happened, as far as the code alone can tell."""

    CONFLICT = "conflict"
    """Another transaction was in the way; the whole transaction may be run again at once."""
    TIMER = "timer"
    """A timer or a cancel ended the statement."""
    LOST = "lost"
    """The connection or the session is gone; what it last sent may or may not have been done."""
    UNAVAILABLE = "unavailable"
    """The server refuses for now: starting, stopping, read-only; another connection may do."""
    CAPACITY = "capacity"
    """The server has no room: connections, memory, disk."""
    UNSURE = "unsure"
    """The server itself does not know whether a COMMIT took effect."""
    PERMANENT = "permanent"
    """It will fail the same way every time."""


class Rule(NamedTuple):
    """One code's meaning.

    Args:
        kind: what happened.
        reason: the word for `WriteError.reason`.
        ends: whether the transaction is gone when the code is seen, so that going on would commit a tail without
            its head.
    """

    kind: Kind
    reason: str
    ends: bool = False
