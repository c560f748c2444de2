"""What a delegated store tells those who listen: one frozen value for each thing that happened.

Events are told on the store's worker thread, after the fact and in the order in which things happened; a listener can
neither delay nor change an operation. `key` and `value` are the caller's data: who logs an event decides about them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "BackFill",
    "FillDropped",
    "FillPlanned",
    "FillRefused",
    "LayerFailed",
    "LayerTurned",
    "Listener",
    "LoadFailed",
    "ServedStale",
    "StoreEvent",
    "ValueDamaged",
]


@dataclass(frozen=True, slots=True)
class BackFill:
    """A layer was given a value that was found below it, or loaded; one event for each layer filled.

    Args:
        key: the key.
        value: the value; the listener's own, as far as it can be changed at all.
        layer_index: the place of the layer that was filled, 0 being the first to be read.
        is_primary: whether that layer is a primary one.
        layer: its name.
        source: the name of the layer in which the value was found; ``loader`` if a loader gave it.
        source_index: the place of that layer; the number of layers if a loader gave it.
        left: seconds that the filled layer may keep it, or None for ever.
        store: the name of the delegated store.
    """

    key: str
    value: Any = field(repr=False)
    layer_index: int
    is_primary: bool
    layer: str = ""
    source: str = ""
    source_index: int = 0
    left: float | None = None
    store: str = ""


@dataclass(frozen=True, slots=True)
class FillPlanned:
    """A value was found, or loaded, and the layers above it are to be filled: what becomes of it is told for each.

    Args:
        key: the key.
        layers: the names of the layers to be filled, from the bottom up.
        source: the name of the layer in which the value was found; ``loader`` if a loader gave it.
        store: the name of the delegated store.
    """

    key: str
    layers: tuple[str, ...]
    source: str
    store: str = ""


@dataclass(frozen=True, slots=True)
class FillRefused:
    """A fill was not made, because a write had overtaken it or its time had passed; nothing is wrong.

    Args:
        key: the key.
        layer_index: the place of the layer that was not filled; those above it were not filled either.
        layer: its name.
        reason: ``overtaken`` or ``expired``.
        store: the name of the delegated store.
    """

    key: str
    layer_index: int
    layer: str
    reason: str
    store: str = ""


@dataclass(frozen=True, slots=True)
class FillDropped:
    """A fill was given up before it was tried.

    Args:
        key: the key.
        reason: ``overflow``, ``closed`` or ``uncopyable``.
        store: the name of the delegated store.
    """

    key: str
    reason: str
    store: str = ""


@dataclass(frozen=True, slots=True)
class LayerFailed:
    """A layer raised an error.

    Args:
        layer_index: its place.
        layer: its name.
        operation: what was asked of it.
        error: the type of the error; its text may quote data and is left out.
        store: the name of the delegated store.
    """

    layer_index: int
    layer: str
    operation: str
    error: str
    store: str = ""


@dataclass(frozen=True, slots=True)
class ValueDamaged:
    """A layer had something under a key that could not be read, and that was treated as not there.

    Args:
        key: the key.
        layer_index: the layer's place.
        layer: its name.
        reason: why, in a word; see `damage.Reason`.
        store: the name of the delegated store.
    """

    key: str
    layer_index: int
    layer: str
    reason: str
    store: str = ""


@dataclass(frozen=True, slots=True)
class LayerTurned:
    """The breaker of a layer has opened, and it is left alone for a while, or closed.

    Args:
        layer_index: its place.
        layer: its name.
        state: ``open`` or ``closed``.
        store: the name of the delegated store.
    """

    layer_index: int
    layer: str
    state: str
    store: str = ""


@dataclass(frozen=True, slots=True)
class ServedStale:
    """A value beyond its fresh life was served, because its source failed or was out of time.

    Args:
        key: the key.
        layer_index: the place of the layer that had it.
        layer: its name.
        left: seconds that it may still be served so.
        error: the type of what kept the source from answering.
        store: the name of the delegated store.
    """

    key: str
    layer_index: int
    layer: str
    left: float
    error: str
    store: str = ""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A load in the background has failed; a caller's own load raises instead, for those who wait for it.

    Args:
        key: the key.
        error: the type of the error; its text may quote data and is left out.
        store: the name of the delegated store.
    """

    key: str
    error: str
    store: str = ""


StoreEvent: TypeAlias = (
    BackFill
    | FillPlanned
    | FillRefused
    | FillDropped
    | LayerFailed
    | LayerTurned
    | LoadFailed
    | ServedStale
    | ValueDamaged
)
"""Anything of this module that listeners are told of."""

Listener: TypeAlias = Callable[[Any], object]
"""A function of one event; what it returns is not looked at."""
