"""What a change of a value may be: the rules of `DelegatedStore.update`, without threads, clocks or layers.

A change is a function that is given the value there is, or `MISSING`, and returns the one that there is to be: a plain
value, an `Entry`, which says for itself how long it is good and what it may be invalidated by, or `MISSING`, to leave
everything as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from wellwired.stores._plans import shorter
from wellwired.stores.loader import Missing
from wellwired.stores.protocols import Entry

__all__ = ["KEEP", "Keep", "Wanted", "pause", "wanted_of"]

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.1


class Keep(Enum):
    """The type of `KEEP`."""

    KEEP = "keep"

    def __repr__(self) -> str:
        return "KEEP"


KEEP: Final = Keep.KEEP
"""As a ttl: the value keeps the life that its predecessor has left."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be stored.

    Args:
        value: the value.
        left: seconds of fresh life, or None for ever; 0 or less removes what is there.
        stale: seconds after those for which it may be served as stale.
        tags: what it may be invalidated by.
        aging: whether these lives have been running since its predecessor was looked at.
    """

    value: Any
    left: float | None = None
    stale: float = 0.0
    tags: tuple[str, ...] = ()
    aging: bool = False


def wanted_of(current: Entry[Any] | None, answer: Any, ttl: float | Keep | None) -> Wanted | None:
    """What the answer of a change means; None if all is to stay as it is.

    Args:
        current: what is there.
        answer: what the change returned.
        ttl: seconds that the new value is fresh at most, None for ever, or `KEEP`.
    """
    if isinstance(answer, Missing):
        return None
    if isinstance(answer, Entry):
        left = answer.left if isinstance(ttl, Keep) else shorter(answer.left, ttl)
        return Wanted(answer.value, left, answer.stale, answer.tags)
    tags = () if current is None else current.tags
    if not isinstance(ttl, Keep):
        return Wanted(answer, ttl, 0.0, tags)
    if current is None:
        return Wanted(answer)
    return Wanted(answer, current.left, current.stale, tags, aging=True)


def pause(attempt: int, draw: float) -> float:
    """Seconds to wait before another attempt: full jitter, so that those who met once do not meet again.

    Args:
        attempt: how many attempts others have overtaken, from 1.
        draw: a random number from 0 to 1.
    """
    return draw * min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(attempt - 1, 10))
