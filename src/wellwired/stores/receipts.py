"""What a write to a delegated store reports: the outcome in each layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from wellwired.operations import StoreVerb

__all__ = ["LayerOutcome", "LayerState", "Receipt"]


class LayerState(StrEnum):
    """What became of a write in one layer."""

    DONE = "done"
    """It has what was written."""
    DROPPED = "dropped"
    """It holds nothing under some of the keys: another write was under way, or the primaries refused."""
    FAILED = "failed"
    """It failed, and may hold an older value, which this store will not read; other processes may, until its ttl."""
    SKIPPED = "skipped"
    """It was not asked: it is read-only, or a primary before it had refused."""


@dataclass(frozen=True, slots=True)
class LayerOutcome:
    """The outcome of a write in one layer.

    Args:
        layer: its name.
        index: its place.
        is_primary: whether it is a primary one.
        state: what became of the write.
        error: the type of the error if it failed.
    """

    layer: str
    index: int
    is_primary: bool
    state: LayerState
    error: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `set`, `delete`, `clear` and their many-twins report. A write that a primary refused raises instead.

    True in a condition, unless it is that of a delete that found nothing.

    Args:
        verb: which operation.
        layers: the outcome in each layer, from the first to be read to the last.
        removed: for a delete: how many of the keys were there, as the primaries say.
    """

    verb: StoreVerb
    layers: tuple[LayerOutcome, ...] = field(default=())
    removed: int = 0

    @property
    def complete(self) -> bool:
        """Whether no layer failed."""
        return all(outcome.state is not LayerState.FAILED for outcome in self.layers)

    def __bool__(self) -> bool:
        return self.removed > 0 if self.verb in (StoreVerb.DELETE, StoreVerb.DELETE_MANY) else True
