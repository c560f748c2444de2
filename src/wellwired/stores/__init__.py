"""Layered stores: what keeps values, in which order it is read, and what is promised about it.

The layers that need a driver are not exported here: `wellwired.stores.redis`, `wellwired.stores.sql` and
`wellwired.stores.table` are imported by who uses them.
"""

from wellwired.stores.delegated import DelegatedStore
from wellwired.stores.events import (
    BackFill,
    FillDropped,
    FillRefused,
    LayerFailed,
    LayerTurned,
    ServedStale,
    StoreEvent,
)
from wellwired.stores.layer import FillPolicy, Layer, Overflow
from wellwired.stores.loader import MISSING
from wellwired.stores.loading import LoadPolicy
from wellwired.stores.lookups import Failed, Hit, Lookup, Miss
from wellwired.stores.memory import MemoryStats, MemoryStore
from wellwired.stores.protocols import Entry, Fenced, FencedMany, KeepsStale, Many, Ordered, Store, Tagged, Timed
from wellwired.stores.receipts import LayerOutcome, LayerState, Receipt
from wellwired.stores.stats import LayerStats, StoreStats

__all__ = [
    "MISSING",
    "BackFill",
    "DelegatedStore",
    "Entry",
    "Failed",
    "Fenced",
    "FencedMany",
    "FillDropped",
    "FillPolicy",
    "FillRefused",
    "Hit",
    "KeepsStale",
    "Layer",
    "LayerFailed",
    "LayerOutcome",
    "LayerState",
    "LayerStats",
    "LayerTurned",
    "LoadPolicy",
    "Lookup",
    "Many",
    "MemoryStats",
    "MemoryStore",
    "Miss",
    "Ordered",
    "Overflow",
    "Receipt",
    "ServedStale",
    "Store",
    "StoreEvent",
    "StoreStats",
    "Tagged",
    "Timed",
]
