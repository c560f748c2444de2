"""How a delegated store loads what is not there: a policy, and what a loader may answer instead of a plain value.

A loader returns the value, None included; an `Entry`, which says for itself how long the value is fresh and how long it
may be served stale; or `MISSING`, or raises `NotFound`, if there is nothing under the key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from wellwired.stores._plans import shorter
from wellwired.stores.loader import Missing
from wellwired.stores.protocols import Entry

__all__ = ["LoadPolicy", "entry_of"]


@dataclass(frozen=True, slots=True)
class LoadPolicy:
    """How values are loaded, refreshed and missed; immutable.

    Args:
        refresh_ahead: seconds before the end of its fresh life from which on a value that is asked for by `get_or_load`
            is loaded anew in the background, while everybody goes on getting it; 0 never does.
        jitter: the share, from 0 to below 1, by which a loaded value's ttl is shortened at most, at random, so that
            what was loaded together does not end together.
        absent_ttl: seconds for which it is remembered, in this process, that there is nothing under a key; None does
            not remember it. A write of the key by this store ends it; one by another process does not. `lookup` then
            answers `Absent`. A loader is asked all the same, unless it was a loader that found nothing.
        failed_ttl: seconds for which a failed load is not tried again, and its error raised instead; None tries again.
            A batch that failed is remembered for each of its keys.
        lease: seconds for which a process that loads a key keeps the others of a fleet from loading it as well, where a
            layer can (`Leases`, such as Redis): as long as a load may take. They wait for what it stores, for the
            call's `timeout` or the store's `patience` at most. Who takes longer returns the value to its callers and
            stores it nowhere that others see. A value that is refreshed ahead is so by one process for all, which the
            others take over. None lets every process load for itself.
        workers: how many threads load in the background at most.
        waiting: how many loads may wait for one of them; beyond it a refresh is left out.
    """

    refresh_ahead: float = 0.0
    jitter: float = 0.0
    absent_ttl: float | None = None
    failed_ttl: float | None = None
    lease: float | None = None
    workers: int = 4
    waiting: int = 64

    def __post_init__(self) -> None:
        for name in ("absent_ttl", "failed_ttl", "lease"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise ValueError(f"{name} of a load policy is more than 0 seconds, or None to remember nothing")
        if not 0 <= self.refresh_ahead < math.inf or not 0 <= self.jitter < 1:
            raise ValueError("refresh_ahead of a load policy is a number of seconds, and jitter a share below 1")
        if self.workers < 1 or self.waiting < 0:
            raise ValueError("workers of a load policy are at least 1, and waiting is at least 0")


def entry_of(loaded: Any, ttl: float | None, shorten: float) -> Entry[Any] | None:
    """What a loader's answer means: the value with its lives, or None if there is nothing.

    Args:
        loaded: what it returned.
        ttl: seconds of fresh life that the caller grants at most.
        shorten: the share by which the fresh life is shortened.
    """
    if isinstance(loaded, Missing):
        return None
    # How long a plain value may be stale is left to the layers.
    entry: Entry[Any] = loaded if isinstance(loaded, Entry) else Entry(loaded, None, math.inf)
    left = shorter(entry.left, ttl)
    if left is not None and left <= 0:
        return None
    return Entry(entry.value, None if left is None else left * (1.0 - shorten), entry.stale, entry.tags)
