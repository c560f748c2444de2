"""What a layer in its place is able to do, as plain facts for the rules of `guarantees`."""

from __future__ import annotations

from typing import Final

from wellwired.stores import protocols
from wellwired.stores._rungs import Rung
from wellwired.stores.guarantees import LACKS, LayerFacts

__all__ = ["facts_of"]

_ABILITIES: Final[dict[str, type]] = {name: getattr(protocols, name) for name in LACKS}


def facts_of(rung: Rung) -> LayerFacts:
    """What the rules have to know about a layer; asks its store nothing but what it is.

    Args:
        rung: the layer in its place.
    """
    store = rung.store
    return LayerFacts(
        name=rung.name,
        primary=rung.is_primary,
        writable=rung.writable,
        local=rung.local,
        cap=rung.cap,
        stale=rung.spare,
        limited=rung.limit is not None or rung.soft_limit is not None,
        abilities=frozenset(name for name, ability in _ABILITIES.items() if isinstance(store, ability)),
    )
