"""The rules of a stack, worked out once when it is built: who is filled from whom, for how long, in which order.

Pure data and arithmetic. Whoever acts, be it with threads or with an event loop, reads the tables made here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from wellwired.stores.layer import Layer
from wellwired.stores.protocols import Entry

__all__ = ["WAITING_SHARE", "StackPlan", "older", "shorter", "stale_life"]


WAITING_SHARE: Final = 0.8
"""The part of the time left that waiting may take. The rest is for being woken up, on a busy machine, and answering."""


def shorter(one: float | None, other: float | None) -> float | None:
    """The shorter of two lives in seconds, None being for ever."""
    if one is None:
        return other
    return one if other is None else min(one, other)


def older(entry: Entry[Any], seconds: float) -> Entry[Any] | None:
    """The entry after some time on its way to a layer; None if its time has passed.

    Args:
        entry: the entry.
        seconds: how long it was on its way.
    """
    if entry.left is None or seconds <= 0:
        return entry
    if entry.left <= seconds:
        return None
    return Entry(entry.value, entry.left - seconds, entry.stale, entry.tags)


def stale_life(spare: float, fresh: float | None, end: float) -> float:
    """Seconds that a value may be served beyond its fresh life.

    Args:
        spare: what the layer grants at most.
        fresh: the fresh life in that layer; None for ever, which nothing comes after.
        end: seconds until the value ends in every sense, in the layers below.
    """
    return 0.0 if fresh is None else max(0.0, min(spare, end - fresh))


@dataclass(frozen=True, slots=True)
class StackPlan:
    """What follows from the layers of a stack.

    Args:
        primaries: the primary layers from the bottom up, which is the order in which they are written.
        others: the other layers from the bottom up, which is the order in which they are written afterwards.
        caps: for each layer, the seconds that it may keep a value at most: its own ttl or that of any layer below it.
        targets: for each layer in which a value may be found, the layers to fill from the bottom up; the last entry is
            for values that a loader gave.
        inline: for each such layer, whether all of its targets are filled by the reading thread.
        truth: the first primary. From there down every layer may know what the others do not.
        spares: for each layer, the seconds that it keeps a value beyond its fresh life at most.
    """

    primaries: tuple[int, ...]
    others: tuple[int, ...]
    caps: tuple[float | None, ...]
    targets: tuple[tuple[int, ...], ...]
    inline: tuple[bool, ...]
    truth: int
    spares: tuple[float, ...]

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> StackPlan:
        """Works out the plan of a stack.

        Args:
            layers: from the first to be read to the last, at least one of them primary.
        """
        upwards = range(len(layers) - 1, -1, -1)
        primaries = tuple(index for index in upwards if layers[index].primary)
        caps = tuple(accumulate((layers[index].ttl for index in upwards), shorter))[::-1]
        targets = tuple(
            tuple(index for index in upwards if index < source and layers[index].writable)
            for source in range(len(layers) + 1)
        )
        return cls(
            primaries=primaries,
            others=tuple(index for index in upwards if not layers[index].primary),
            caps=caps,
            targets=targets,
            inline=tuple(all(layers[index].fills_inline for index in above) for above in targets),
            truth=primaries[-1],
            spares=tuple(layer.stale for layer in layers),
        )

    def lives(self, ttl: float | None, afterwards: float = 0.0) -> list[tuple[float | None, float]]:
        """For each layer, the seconds for which a value is fresh there and those for which it is stale afterwards.

        Neither life ends later in a layer than in one below it, and no stale life after the value's own.

        Args:
            ttl: seconds that the value is fresh at most, or None for ever.
            afterwards: seconds that it may be served as stale then, as far as the layers keep it.
        """
        fresh = [shorter(cap, ttl) for cap in self.caps]
        if not any(self.spares):
            return [(life, 0.0) for life in fresh]
        end, lives = math.inf if ttl is None else ttl + afterwards, []
        for life, spare in zip(reversed(fresh), reversed(self.spares), strict=True):
            stale = stale_life(spare, life, end)
            end = end if life is None else life + stale
            lives.append((life, stale))
        return lives[::-1]

    @property
    def serial(self) -> bool:
        """Whether writes of a key must take turns, lest two primaries keep the values of two writers."""
        return len(self.primaries) > 1

    def decisive(self, failed: Iterable[int]) -> int | None:
        """Which failure makes "nothing found" no answer.

        A layer above the first primary holds copies only, so its failure hides nothing. Any other might have had it.

        Args:
            failed: the layers that failed.

        Returns:
            The first of them that might have had the value, or None if a miss is a miss.
        """
        return min((index for index in failed if index >= self.truth), default=None)
