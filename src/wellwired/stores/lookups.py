"""The four answers of a lookup, each a type of its own.

Something is there, it is remembered that nothing is, nothing was found, a layer failed. A stored None is a `Hit`.
Made for `match`::

    match store.lookup("user:1"):
        case Hit(value=user, layer=layer):
            ...
        case Absent() | Miss():
            ...
        case Failed(error=error):
            ...
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from wellwired._frozen import refusing_changes
from wellwired.errors import StoreError

__all__ = ["Absent", "Failed", "Hit", "Lookup", "Miss"]

V = TypeVar("V")


@refusing_changes
@dataclass(frozen=True, slots=True)
class Hit(Generic[V]):
    """Something is there.

    Args:
        value: what.
        layer: the name of the layer that answered.
        layer_index: its place.
        left: seconds that it may still be served, or None for ever.
        stale: whether its fresh life has ended, and it is served because nothing better could be had.
    """

    value: V = field(repr=False)
    layer: str
    layer_index: int
    left: float | None = None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing is there, as is remembered from an earlier read; no layer was asked now.

    Only a store whose `LoadPolicy` has an `absent_ttl` remembers that. For `get` it is the same as a `Miss`.

    Args:
        key: the key.
        layer: the name of the layer that was the last to say so then: the lowest one.
        layer_index: its place.
        left: seconds for which it is still remembered, unless the key is written before.
    """

    key: str
    layer: str
    layer_index: int
    left: float


@dataclass(frozen=True, slots=True)
class Miss:
    """Nothing was found: every layer that could hold the truth was asked now and said so.

    Args:
        key: the key.
    """

    key: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nobody knows: a layer that could hold the truth failed, and no other had an answer.

    Args:
        key: the key.
        error: what `get` would have raised.
    """

    key: str
    error: StoreError


Lookup: TypeAlias = Hit[V] | Absent | Miss | Failed
"""What a lookup answers."""
