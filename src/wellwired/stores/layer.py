"""A layer: a store and the part that it plays in a stack.

Index 0 is read first. A **primary** layer holds the truth: a write must reach every primary to succeed. The other
layers hold copies. A stack in which no layer is declared primary has the lowest as its primary, because that is where
a read that found nothing above ends anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from wellwired.middleware.breaker import BreakerPolicy
from wellwired.stores.memory import MemoryStore
from wellwired.stores.protocols import KeepsStale, Store

__all__ = ["FillPolicy", "Layer", "Overflow", "named_layers"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A store in a stack; immutable.

    Args:
        store: what keeps the values.
        primary: whether it holds the truth.
        ttl: seconds that it may keep a value at most, or None for no limit of its own. It is a cap: a value that has
            less time left below is kept for that long only, and no layer keeps one longer than a layer below may.
        name: what it is called in events, errors, counters and logs, such as ``redis.cache``; by default after its
            class.
        inline: whether the reading thread fills it itself, which is right for what never waits; None: a `MemoryStore`
            is filled so, and everything else in the background.
        read_only: whether it refuses writes; None asks the store's attribute `read_only`, if it has one.
        time_limit: seconds after which a read goes on without it. A call that may happen late without harm is made by
            a thread of the layer's own then; a write that may not is bounded by the driver's own limits only.
        soft_limit: the same, for a read that has a stale value at hand to answer with.
        callers: how many calls with a limit may be under way at once.
        stale: seconds that it keeps values beyond their fresh life, to be served, marked, when what is below fails or
            is out of time. Its store has to be able to (`KeepsStale`).
        breaker: when to leave it alone for a while because its calls fail; None: never.
    """

    store: Store = field(repr=False)
    primary: bool = False
    ttl: float | None = None
    name: str = ""
    inline: bool | None = None
    read_only: bool | None = None
    time_limit: float | None = None
    soft_limit: float | None = None
    callers: int = 16
    stale: float = 0.0
    breaker: BreakerPolicy | None = None

    def __post_init__(self) -> None:
        for name, seconds in (("time_limit", self.time_limit), ("soft_limit", self.soft_limit)):
            if seconds is not None and not seconds > 0:
                raise ValueError(f"the {name} of a layer is more than 0 seconds, or None for none; it is {seconds}")
        if self.callers < 1 or not 0 <= self.stale < math.inf:
            raise ValueError("callers of a layer are at least 1, and stale is a number of seconds, 0 for none")
        if self.stale and not isinstance(self.store, KeepsStale):
            raise ValueError(f"{type(self.store).__qualname__} cannot keep stale values; leave stale= out")
        if self.ttl is not None and not self.ttl > 0:
            raise ValueError(f"the ttl of a layer is more than 0 seconds, or None for no limit; it is {self.ttl}")

    @property
    def fills_inline(self) -> bool:
        """Whether the reading thread fills it itself."""
        return type(self.store) is MemoryStore if self.inline is None else self.inline

    @property
    def writable(self) -> bool:
        """Whether it takes writes, as far as it says."""
        refuses = self.read_only
        return not (getattr(self.store, "read_only", False) if refuses is None else refuses)


class Overflow(StrEnum):
    """What gives way when too many background fills are waiting."""

    DROP_NEWEST = "newest"
    DROP_OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class FillPolicy:
    """How fills in the background are bounded; immutable.

    Args:
        limit: how many keys may wait to be filled.
        events: how many events may wait to be told; what does not fit is counted as untold.
        batch: how many keys are filled in one go.
        overflow: which fill is dropped, and counted, when the limit is reached.
        idle: seconds without work after which the worker thread ends; the next fill starts another.
        mend: seconds before the first attempt to remove from a layer what a write could not reach there.
    """

    limit: int = 10_000
    events: int = 10_000
    batch: int = 256
    overflow: Overflow = Overflow.DROP_NEWEST
    idle: float = 5.0
    mend: float = 0.5

    def __post_init__(self) -> None:
        if min(self.limit, self.events, self.batch) < 1 or not (self.idle > 0 and self.mend > 0):
            raise ValueError(
                "limit, events and batch of a fill policy are at least 1; idle and mend more than 0 seconds"
            )


def named_layers(layers: Sequence[Layer | Store]) -> tuple[Layer, ...]:
    """Gives every layer a name of its own and the stack a primary.

    Args:
        layers: from the first to be read to the last; a bare store is a layer with default options.

    Returns:
        The same layers, each with a name that no other has, at least one of them primary.

    Raises:
        ValueError: there is no layer, or two were given the same name.
    """
    if not layers:
        raise ValueError("a delegated store needs at least one layer")
    given = [layer if isinstance(layer, Layer) else Layer(layer) for layer in layers]
    explicit = [layer.name for layer in given if layer.name]
    if twice := {name for name in explicit if explicit.count(name) > 1}:
        raise ValueError(f"two layers are called {', '.join(sorted(twice))}; give each layer a name of its own")
    taken = set(explicit)
    truth = any(layer.primary for layer in given)
    last = len(given) - 1
    return tuple(
        replace(
            layer,
            primary=layer.primary or (not truth and index == last),
            name=layer.name or _free_name(layer.store, taken),
        )
        for index, layer in enumerate(given)
    )


def _free_name(store: Store, taken: set[str]) -> str:
    plain = type(store).__name__.removesuffix("Store").lower() or "store"
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    taken.add(name)
    return name
