"""What a delegated store has counted, as values to be read when somebody asks.

Counting costs a hit next to nothing: hits of a memory layer are counted on its entries and added up when somebody asks.
Counts are taken without locks, so under many threads a few may be missing; those of what was dropped are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LayerStats", "StoreStats"]


@dataclass(frozen=True, slots=True)
class LayerStats:
    """What was counted for one layer.

    Args:
        layer: its name.
        index: its place.
        is_primary: whether it is a primary one.
        fenced: whether its fills are safe against writes of other processes.
        hits: reads that it answered.
        misses: reads that it had nothing for.
        failures: calls that raised.
        fills: values that it was given by back-fill.
        refused: fills that were not made because a write had overtaken them, or their time had passed.
        doubtful: keys that are not read from it because a write could not reach it.
        doubted: whether that holds for all of its keys.
        failing: whether its last call raised.
        timeouts: calls that were given up because their time had passed.
        skipped: calls that were not made because its breaker was open.
        stale: values beyond their fresh life that were served from it.
        breaker: the state of its breaker, or "" if it has none.
    """

    layer: str
    index: int
    is_primary: bool
    fenced: bool
    hits: int
    misses: int
    failures: int
    fills: int
    refused: int
    doubtful: int
    doubted: bool
    failing: bool
    timeouts: int = 0
    skipped: int = 0
    stale: int = 0
    breaker: str = ""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """What was counted since the store was made.

    Args:
        store: its name.
        layers: the counts of each layer, from the first to be read.
        loads: loaders called by `get_or_load`.
        joins: calls of `get_or_load` that waited for somebody else's load.
        pending: keys that wait to be filled in the background.
        dropped: fills that were given up before they were tried.
        untold: events that were not told because too many were waiting.
        listener_errors: calls of callbacks that raised.
        refreshes: loads in the background of values that were about to end.
        refreshes_left_out: such loads that were not begun because too many were waiting.
        failed_in_background: loads in the background that failed, refreshes or others.
        overtaken: attempts of an update, add or touch that were made again because another writer was faster.
    """

    store: str
    layers: tuple[LayerStats, ...]
    loads: int
    joins: int
    pending: int
    dropped: int
    untold: int
    listener_errors: int
    refreshes: int = 0
    refreshes_left_out: int = 0
    failed_in_background: int = 0
    overtaken: int = 0
