"""Layered stores: what keeps values, in which order it is read, and what is promised about it.

The layers that need a driver are not exported here: `wellwired.stores.redis`, `wellwired.stores.sql` and
`wellwired.stores.table` are imported by who uses them.
"""

from wellwired.stores.caching import Cached, cached
from wellwired.stores.changing import KEEP
from wellwired.stores.delegated import DelegatedStore
from wellwired.stores.events import (
    BackFill,
    FillDropped,
    FillPlanned,
    FillRefused,
    LayerFailed,
    LayerTurned,
    LoadFailed,
    ServedStale,
    StoreEvent,
    ValueDamaged,
)
from wellwired.stores.explain import Explanation, KeyState, LayerHealth, LayerView, StoreHealth, StoreState
from wellwired.stores.guarantees import Guarantees, Lack, LayerGuarantees, Reach
from wellwired.stores.layer import FillPolicy, Layer, Overflow
from wellwired.stores.loader import MISSING
from wellwired.stores.loading import LoadPolicy
from wellwired.stores.lookups import Absent, Failed, Hit, Lookup, Miss
from wellwired.stores.memory import MemoryStats, MemoryStore
from wellwired.stores.protocols import (
    Adds,
    Atomic,
    Entry,
    Fenced,
    FencedMany,
    KeepsStale,
    Leases,
    LeasesMany,
    Many,
    Ordered,
    Store,
    Tagged,
    Timed,
)
from wellwired.stores.receipts import LayerOutcome, LayerState, Receipt
from wellwired.stores.stats import LayerStats, StoreStats

__all__ = [
    "KEEP",
    "MISSING",
    "Absent",
    "Adds",
    "Atomic",
    "BackFill",
    "Cached",
    "DelegatedStore",
    "Entry",
    "Explanation",
    "Failed",
    "Fenced",
    "FencedMany",
    "FillDropped",
    "FillPlanned",
    "FillPolicy",
    "FillRefused",
    "Guarantees",
    "Hit",
    "KeepsStale",
    "KeyState",
    "Lack",
    "Layer",
    "LayerFailed",
    "LayerGuarantees",
    "LayerHealth",
    "LayerOutcome",
    "LayerState",
    "LayerStats",
    "LayerTurned",
    "LayerView",
    "Leases",
    "LeasesMany",
    "LoadFailed",
    "LoadPolicy",
    "Lookup",
    "Many",
    "MemoryStats",
    "MemoryStore",
    "Miss",
    "Ordered",
    "Overflow",
    "Reach",
    "Receipt",
    "ServedStale",
    "Store",
    "StoreEvent",
    "StoreHealth",
    "StoreState",
    "StoreStats",
    "Tagged",
    "Timed",
    "ValueDamaged",
    "cached",
]
