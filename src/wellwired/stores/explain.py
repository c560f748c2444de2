"""What a delegated store would do with a key, and how well it is: values to be read by people and by probes.

`Explanation` shows a key as each layer has it, without filling, counting or repairing anything. `StoreHealth` is made
of what is known already, and asks nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from wellwired.clock import Deadline
from wellwired.middleware.breaker import BreakerState
from wellwired.stores._rungs import Failure, Rung

if TYPE_CHECKING:
    from wellwired.stores._loads import Loads
    from wellwired.stores._stack import Stack

__all__ = ["Explanation", "KeyState", "LayerHealth", "LayerView", "StoreHealth", "StoreState", "explained", "health_of"]


class KeyState(StrEnum):
    """What a layer has under a key."""

    FRESH = "fresh"
    STALE = "stale"
    NOTHING = "nothing"
    DOUBTFUL = "doubtful"
    """A write could not reach it; it is not read before the key has been removed there."""
    LEFT_ALONE = "left alone"
    """Its breaker is open."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LayerView:
    """A key as one layer has it.

    Args:
        layer: the layer's name.
        index: its place.
        is_primary: whether it is a primary one.
        state: what it has.
        left: seconds that its value is fresh, or None for ever.
        stale: seconds that it may be served beyond that.
        version: the layer's token of this moment, which a fill has to bring along; "" if it has none.
        error: the type of the error if it failed.
    """

    layer: str
    index: int
    is_primary: bool
    state: KeyState
    left: float | None = None
    stale: float = 0.0
    version: str = ""
    error: str = ""

    def __str__(self) -> str:
        about = [f"{self.layer}{'!' if self.is_primary else ''}: {self.state}"]
        if self.state is KeyState.FRESH:
            about.append("for ever" if self.left is None else f"for {self.left:.3f} s")
        if self.stale:
            about.append(f"and stale for {self.stale:.3f} s")
        about += [f"version {self.version}"] if self.version else []
        return " ".join([*about, *([f"({self.error})"] if self.error else [])])


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a key is, and what a read of it would do now. Its text is for people.

    Args:
        store: the store's name.
        key: the key.
        layers: the key as each layer has it, from the first to be read.
        generation: how often a write of its stripe has begun or ended in this process.
        writing: whether one is under way.
        loading: whether a load of it is, which a `get_or_load` would join.
        absent: whether it is remembered that there is nothing, so that no layer would be asked.
        verdict: what `get` would do.
        promised: what the stack promises, in one line; see `Guarantees`.
    """

    store: str
    key: str
    layers: tuple[LayerView, ...]
    generation: int
    writing: bool
    loading: bool
    absent: bool
    verdict: str
    promised: str = ""

    def __str__(self) -> str:
        now = [word for word, holds in (("a write", self.writing), ("a load", self.loading)) if holds]
        under_way = f"; under way: {' and '.join(now)}" if now else ""
        head = f"{self.key} in {self.store}: get {self.verdict} (generation {self.generation}{under_way})"
        promised = [f"  promised: {self.promised}"] if self.promised else []
        return "\n".join([head, *(f"  {view}" for view in self.layers), *promised])


class StoreState(StrEnum):
    """How well a store can answer."""

    READY = "ready"
    DEGRADED = "degraded"
    """Some copy does not work; every read can still be answered."""
    STALE_ONLY = "stale-only"
    """A layer that holds the truth does not work; what is kept stale can be served."""
    DOWN = "down"
    """A layer that holds the truth does not work, and nothing stands in for it but fresh copies."""


@dataclass(frozen=True, slots=True)
class LayerHealth:
    """How well a layer works, as far as its last calls tell.

    Args:
        layer: its name.
        is_primary: whether it is a primary one.
        works: whether it is asked, and its last call was answered.
        reason: why not, or what else is to be known; "" if nothing.
    """

    layer: str
    is_primary: bool
    works: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """How well a store works.

    Args:
        store: its name.
        state: in one word.
        layers: layer by layer, from the first to be read.
    """

    store: str
    state: StoreState
    layers: tuple[LayerHealth, ...]

    @property
    def ok(self) -> bool:
        """Whether it can answer from the truth."""
        return self.state in (StoreState.READY, StoreState.DEGRADED)

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        layers = {one.layer: {"works": one.works, "reason": one.reason} for one in self.layers}
        return {"state": str(self.state), "layers": layers}


def explained(stack: Stack, loads: Loads, key: str, until: Deadline | None) -> Explanation:
    """Looks at a key in every layer; raises nothing for what a layer does.

    Args:
        stack: the layers.
        loads: what is being loaded.
        key: the key.
        until: when there has to be an answer.
    """
    ticket = stack.fence.ticket(key)
    views = tuple(_view(stack, rung, key, until) for rung in stack.rungs)
    absent = stack.absences is not None and stack.absences.find(key) is not None
    return Explanation(
        store=stack.name,
        key=key,
        layers=views,
        generation=max(ticket, ~ticket),
        writing=ticket < 0,
        loading=loads.flights.under_way(key),
        absent=absent,
        verdict="finds nothing, as it remembers" if absent else _verdict(stack, views),
    )


def health_of(stack: Stack) -> StoreHealth:
    """What is known about the layers, in one value; asks nobody."""
    layers = tuple(_health(rung) for rung in stack.rungs)
    truth = [one.works for one, rung in zip(layers, stack.rungs, strict=True) if rung.index >= stack.plan.truth]
    if not all(truth):
        kept = any(rung.index < stack.plan.truth or rung.local for rung in stack.stale_rungs)
        state = StoreState.STALE_ONLY if kept else StoreState.DOWN
    else:
        state = StoreState.READY if all(one.works for one in layers) else StoreState.DEGRADED
    return StoreHealth(stack.name, state, layers)


def _view(stack: Stack, rung: Rung, key: str, until: Deadline | None) -> LayerView:
    place = (rung.name, rung.index, rung.is_primary)
    if rung.doubts.any and (rung.doubts.everything is not None or rung.doubts.marks((key,))):
        return LayerView(*place, KeyState.DOUBTFUL)
    if rung.breaker is not None and rung.breaker.state is BreakerState.OPEN:
        return LayerView(*place, KeyState.LEFT_ALONE)
    left = None if until is None else until.left() * stack.shares[rung.index]
    answer = stack.ask_in_time(rung, "explain", left, None, rung.look, key)
    if isinstance(answer, Failure):
        return LayerView(*place, KeyState.FAILED, error=type(answer.error).__qualname__)
    entry, token = answer
    version = token.hex() if isinstance(token, bytes) else "" if token is None else str(token)
    if entry is None:
        return LayerView(*place, KeyState.NOTHING, version=version)
    ended = entry.left is not None and entry.left <= 0
    return LayerView(*place, KeyState.STALE if ended else KeyState.FRESH, entry.left, entry.stale, version)


def _verdict(stack: Stack, views: Sequence[LayerView]) -> str:
    fresh = next((view for view in views if view.state is KeyState.FRESH), None)
    if fresh is not None:
        above = [stack.rungs[index].name for index in stack.plan.targets[fresh.index] if stack.rungs[index].writable]
        return f"finds it in {fresh.layer}" + (f" and fills {', '.join(above)}" if above else "")
    unknown = {KeyState.FAILED, KeyState.LEFT_ALONE}
    missing = stack.plan.decisive(view.index for view in views if view.state in unknown)
    if missing is None:
        return "finds nothing"
    stale = next((view for view in views if view.state is KeyState.STALE), None)
    if stale is not None:
        return f"serves what {stale.layer} keeps stale, for {stack.rungs[missing].name} does not answer"
    return f"fails, for {stack.rungs[missing].name} does not answer"


def _health(rung: Rung) -> LayerHealth:
    breaker = None if rung.breaker is None else rung.breaker.state
    if breaker is BreakerState.OPEN:
        return LayerHealth(rung.name, rung.is_primary, works=False, reason="its breaker is open")
    if rung.failing:
        return LayerHealth(rung.name, rung.is_primary, works=False, reason=rung.last_error)
    if rung.doubts.everything is not None:
        return LayerHealth(rung.name, rung.is_primary, works=False, reason="it has to be cleared before it is read")
    doubtful = len(rung.doubts)
    return LayerHealth(rung.name, rung.is_primary, works=True, reason=f"{doubtful} keys in doubt" if doubtful else "")
