"""What a stack can promise, worked out from what its layers are able to do; plain rules, without layers or threads.

Every promise holds within a process, whatever the layers can: the store sees to that itself. Between processes it takes
layers that can refuse what was overtaken; what is promised then is what lies in the layers that the processes share. A
memory of a process's own knows of the others' writes when its ttl has passed, and `Guarantees.behind` is about that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["LACKS", "Guarantees", "Lack", "LayerFacts", "LayerGuarantees", "Reach", "worked_out"]

LACKS: Final[Mapping[str, str]] = {
    "Fenced": "its fills are fenced in this process only. A fill or load that another process's write has overtaken "
    "may bring an older value back, until its ttl. A slow fill holds back writes of its keys.",
    "Ordered": "it is written only by a writer that crossed no other in this process. Of writers in two processes the "
    "older may be kept, until its ttl.",
    "Atomic": "as the primary that decides, it makes `add`, `update` and `touch` raise `AbilityError`.",
    "Adds": "`add` looks first and then exchanges: two round trips instead of one.",
    "Many": "it is asked and written key by key, and a batch may end half way.",
    "FencedMany": "if it is `Fenced`, `get_many` asks it key by key.",
    "Tagged": "as a copy it gets no value with tags; as a primary it is not asked by `invalidate_tags`.",
    "KeepsStale": "nothing of it stands in for a source that fails; `Layer(stale=...)` is refused.",
    "Leases": "every process loads for itself.",
    "LeasesMany": "if it `Leases`, it does so key by key, and every process refreshes ahead for itself.",
    "Timed": "what has a limit is called by a thread of the layer's own, `Layer(callers=...)` of them at most.",
}
"""What follows if a layer lacks an ability, by the name of its protocol."""


class Reach(StrEnum):
    """How far a promise reaches."""

    PROCESSES = "between processes"
    PROCESS = "in one process"
    NOWHERE = "not at all"


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """What the rules have to know about a layer.

    Args:
        name: its name.
        primary: whether it holds the truth.
        writable: whether it takes writes.
        local: whether what it keeps lies in the memory of this process, where no other sees it.
        cap: seconds that it may keep a value at most, or None.
        stale: seconds that it keeps a value beyond its fresh life.
        limited: whether calls of it have a limit of time.
        abilities: the names of the protocols that it has.
    """

    name: str
    primary: bool = False
    writable: bool = True
    local: bool = False
    cap: float | None = None
    stale: float = 0.0
    limited: bool = False
    abilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lack:
    """An ability that a layer lacks in the place where it is.

    Args:
        ability: the name of the protocol.
        why: what follows from that.
    """

    ability: str
    why: str


@dataclass(frozen=True, slots=True)
class LayerGuarantees:
    """What one layer lacks, of what matters in its place.

    Args:
        layer: its name.
        is_primary: whether it is a primary one.
        lacks: the abilities, and why they matter.
    """

    layer: str
    is_primary: bool
    lacks: tuple[Lack, ...] = ()


@dataclass(frozen=True, slots=True)
class Guarantees:
    """What a stack promises. Its text is for people.

    Args:
        store: the store's name.
        fills: how far it reaches that no fill of a copy brings back a value older than a write that has returned (S1).
        loads: the same for loaded values, which are stored in the primaries as well.
        lives: how far it reaches that no layer outlives those below it (S2). Every stack sees to that.
        writes: how far it reaches that the layers keep the value of the same one of two crossing writers (S3).
        changes: how far `add`, `update` and `touch` are atomic; NOWHERE if they raise `AbilityError`.
        single_load: how far it reaches that a key is loaded once at a time (S4).
        tags: whether `invalidate_tags` removes every value with the tag, those of the primaries included.
        stand_ins: the layers whose stale values may stand in for a source that fails (S8).
        behind: seconds by which a fresh read here may be behind what another process has written by such a store;
            infinite without a bound. What a killed process or an unreachable layer has left is not counted.
        because: the layers that `behind` comes from.
        layers: what each layer lacks, from the first to be read.
    """

    store: str
    fills: Reach
    loads: Reach
    lives: Reach
    writes: Reach
    changes: Reach
    single_load: Reach
    tags: bool
    stand_ins: tuple[str, ...]
    behind: float
    because: tuple[str, ...]
    layers: tuple[LayerGuarantees, ...]

    @property
    def summary(self) -> str:
        """The same in one line, without the layers."""
        return (
            f"fills fenced {self.fills}, loads {self.loads}, writes ordered {self.writes}, changes atomic "
            f"{self.changes}, {self._late()}"
        )

    def __str__(self) -> str:
        stand_ins = f"by {', '.join(self.stand_ins)}" if self.stand_ins else "by nothing"
        lines = [
            f"{self.store} promises",
            f"  no fill of a copy brings back what was overwritten: {self.fills}",
            f"  no load does: {self.loads}",
            f"  no layer outlives those below it: {self.lives}",
            f"  of two crossing writers all layers keep the same: {self.writes}",
            f"  add, update and touch are atomic: {self.changes}",
            f"  a key is loaded once at a time: {self.single_load}",
            f"  invalidated tags remove all that bears them: {'yes' if self.tags else 'from the copies only'}",
            f"  a source that fails is stood in for: {stand_ins}",
            f"  a read is {self._late()}",
        ]
        for layer in self.layers:
            place = f"{layer.layer}{'!' if layer.is_primary else ''}"
            lines += [f"  {place} without {lack.ability}: {lack.why}" for lack in layer.lacks]
        return "\n".join(lines)

    def _late(self) -> str:
        if not self.behind:
            return "behind other processes by nothing"
        bound = "without a bound" if math.isinf(self.behind) else f"by {self.behind:g} s at most"
        return f"behind other processes {bound} ({', '.join(self.because)})"


def worked_out(store: str, layers: Sequence[LayerFacts], *, leasing: bool = False) -> Guarantees:
    """Works out what a stack of such layers promises.

    Args:
        store: the store's name.
        layers: its layers, from the first to be read; at least one of them primary.
        leasing: whether the store was asked to lease loads.
    """
    primaries = [layer for layer in layers if layer.primary and layer.writable]
    copies = [layer for layer in layers if not layer.primary and layer.writable]
    deciding = primaries[-1] if primaries else None
    # The lowest primary is filled by loads only; those above it are filled from it, as copies are.
    filled = [*copies, *primaries[:-1]]
    # What no other process can write to is not written by one.
    alone = bool(primaries) and all(layer.local for layer in primaries)
    able = [layer for layer in copies if not layer.local and {"Fenced", "Ordered"} <= layer.abilities]
    late = [] if alone else [layer for layer in copies if layer not in able]
    can_lease = any("Leases" in layer.abilities and layer.writable for layer in layers)
    return Guarantees(
        store=store,
        fills=_reach(filled, "Fenced"),
        loads=_reach([*copies, *primaries], "Fenced"),
        lives=Reach.PROCESSES,
        # Two primaries are written one after the other, and only writers in this process wait for each other.
        writes=Reach.PROCESS if len(primaries) > 1 else _reach(copies, "Ordered"),
        changes=_changes(deciding),
        single_load=Reach.PROCESSES if leasing and can_lease else Reach.PROCESS,
        tags=all("Tagged" in layer.abilities for layer in primaries),
        stand_ins=tuple(layer.name for layer in layers if layer.stale),
        behind=max((math.inf if layer.cap is None else layer.cap for layer in late), default=0.0),
        because=tuple(layer.name for layer in late),
        layers=tuple(
            LayerGuarantees(
                layer.name, layer.primary, tuple(_lacks(layer, deciding, leasing=leasing and not can_lease))
            )
            for layer in layers
        ),
    )


def _reach(layers: Iterable[LayerFacts], ability: str) -> Reach:
    """How far a promise reaches that shared layers need an ability for."""
    return Reach.PROCESSES if all(ability in layer.abilities or layer.local for layer in layers) else Reach.PROCESS


def _changes(deciding: LayerFacts | None) -> Reach:
    if deciding is None or "Atomic" not in deciding.abilities:
        return Reach.NOWHERE
    return Reach.PROCESS if deciding.local else Reach.PROCESSES


def _lacks(layer: LayerFacts, deciding: LayerFacts | None, leasing: bool) -> Iterable[Lack]:
    """What a layer lacks of what matters in its place, in the order of `LACKS`.

    Args:
        layer: the layer.
        deciding: the primary that decides about changes.
        leasing: whether leases are wanted, and no layer has them.
    """
    has, decides = layer.abilities, layer is deciding
    matters = {
        "Fenced": layer.writable,
        "Ordered": layer.writable and not decides,
        "Atomic": decides,
        "Adds": decides and "Atomic" in has and not layer.local,
        "Many": True,
        "FencedMany": "Fenced" in has and not layer.local,
        "Tagged": layer.writable,
        "KeepsStale": not layer.primary,
        "Leases": leasing and layer.writable,
        "LeasesMany": "Leases" in has,
        "Timed": layer.limited and not layer.local,
    }
    return [Lack(ability, LACKS[ability]) for ability, wanted in matters.items() if wanted and ability not in has]
