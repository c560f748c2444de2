"""One key on its way down a stack, and the value that it finds there on its way up again.

Plain data: what was learned on the way, which is what every fill on the way back is judged by.
"""

from __future__ import annotations

from typing import Any

from wellwired.stores._fence import Ticket
from wellwired.stores.protocols import Entry

__all__ = ["Walk"]


class Walk:
    """A walk for one key; used by one thread at a time.

    Args:
        key: the key.
        ticket: the state of the key's stripe before the walk.

    Attributes:
        tokens: what each layer asked so far gave with its answer.
        entry: what was found, or None.
        source: the place of the layer that had it; the number of layers if a loader gave it.
        expires: the moment at which its fresh life ends, on the store's monotonic clock; None: never. Without an entry
            the moment until which it is remembered that there is nothing; None: it is not.
        spent: the moment at which its stale life ends, in the lowest layer that it was offered so far; None: never.
        stale: whether its fresh life has ended, and it stands in for what could not be had.
    """

    # Made for every read that goes below the first layer; a frozen dataclass would cost twice as much.
    __slots__ = ("entry", "expires", "key", "source", "spent", "stale", "ticket", "tokens")

    def __init__(self, key: str, ticket: Ticket) -> None:
        self.key = key
        self.ticket = ticket
        self.tokens: list[Any] = []
        self.entry: Entry[Any] | None = None
        self.source = -1
        self.expires: float | None = None
        self.spent: float | None = None
        self.stale = False

    def find(self, entry: Entry[Any], source: int, before: float) -> None:
        """Notes what was found.

        Args:
            entry: the value and the seconds that it has left.
            source: where.
            before: a moment not later than the one from which those seconds count. From then on they are less, and they
                must never become more.
        """
        self.entry = entry
        self.source = source
        if entry.left is not None:
            self.expires = before + entry.left
            self.spent = self.expires + entry.stale

    def carrying(self, value: Any) -> Walk:
        """A walk that has found another value, in the same place and with the same life."""
        other = Walk(self.key, self.ticket)
        other.tokens, other.source = self.tokens, self.source
        other.expires, other.spent = self.expires, self.spent
        other.entry = Entry(value, tags=() if self.entry is None else self.entry.tags)
        return other
