"""How a value that was found, or loaded, gets into the layers above: from the bottom up, each step fenced.

A layer that can refuse a fill itself (`Fenced`) is asked to, with the token of the read; that holds between processes.
Any other is filled while writes of the key are kept waiting, which holds within this process. A layer that refuses
keeps the ones above it from being filled too: what is too old for one is too old for them. One that fails does not.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wellwired.stores._plans import older, shorter, stale_life
from wellwired.stores._rungs import UNASKED, Failure, Rung
from wellwired.stores._walk import Walk
from wellwired.stores.events import BackFill, FillRefused
from wellwired.stores.protocols import Entry

if TYPE_CHECKING:
    from wellwired.stores._stack import Stack

__all__ = ["make_fills"]

Offers = Mapping[str, tuple[Entry[Any], Any]]
Refusals = dict[str, str]


def make_fills(stack: Stack, source: int, walks: Sequence[Walk]) -> None:
    """Fills what the plan says; never raises for what a layer does.

    Args:
        stack: the layers.
        source: where the values were found.
        walks: of which keys, all of them found there; no key twice.
    """
    targets = stack.plan.targets[source]
    quick = len(targets) == 1 == len(walks) and stack.rungs[targets[0]].quick and not stack.listeners.want_back_fill
    if quick and _fill_quickly(stack, stack.rungs[targets[0]], walks[0]):
        return
    for index in targets:
        if walks:
            walks = _fill_rung(stack, stack.rungs[index], walks)


def _fill_quickly(stack: Stack, rung: Rung, walk: Walk) -> bool:
    """Fills one memory for one key, which is what most reads end with; False if there is anything to be told."""
    entry = walk.entry
    if entry is None or not stack.fence.admits(walk.key, walk.ticket):
        return False
    life = rung.cap
    if walk.expires is not None:
        left = walk.expires - stack.now()
        life = left if life is None or left < life else life
    try:
        stored = rung.refill(walk.key, Entry(entry.value, life, 0.0, entry.tags), walk.tokens[rung.index])
    except Exception:  # noqa: BLE001 - it is tried again where a failure is noted
        return False
    rung.fills += stored
    return stored


def _fill_rung(stack: Stack, rung: Rung, walks: Sequence[Walk]) -> Sequence[Walk]:
    """Fills one layer; what may go further up."""
    if not rung.writable:
        return walks
    now = stack.now()
    offers, refused = _judge(stack, rung, walks, now)
    stored = _offer(stack, rung, offers, walks, now) if offers else ()
    if not isinstance(stored, Failure):
        rung.fills += len(stored)
        if len(stored) < len(offers):
            refused.update(dict.fromkeys(offers.keys() - set(stored), "overtaken"))
        if stack.listeners.want_back_fill:
            _tell_filled(stack, rung, offers, [walk for walk in walks if walk.key in stored])
    if not refused:
        return walks
    rung.refused += len(refused)
    if stack.listeners.want_any:
        for key, reason in refused.items():
            stack.background.announce(FillRefused(key, rung.index, rung.name, reason, stack.name))
    return [walk for walk in walks if walk.key not in refused]


def _judge(stack: Stack, rung: Rung, walks: Sequence[Walk], now: float) -> tuple[Offers, Refusals]:
    """What to offer the layer, with its token, and what is refused already, with the reason."""
    admits, cap = stack.fence.admits, rung.cap
    offers: dict[str, tuple[Entry[Any], Any]] = {}
    refused: Refusals = {}
    for walk in walks:
        token = walk.tokens[rung.index]
        left = None if walk.expires is None else walk.expires - now
        if left is not None and left <= 0:
            refused[walk.key] = "expired"
        elif not admits(walk.key, walk.ticket):
            refused[walk.key] = "overtaken"
        elif walk.entry is not None and token is not UNASKED and _may_bear(rung, walk.entry.tags):
            life, entry = shorter(cap, left), walk.entry
            stale = _stale(rung, walk, life, now) if stack.stale_rungs else 0.0
            if life is not None:
                walk.expires = now + life  # however long this fill takes, those above may keep it no longer
            offers[walk.key] = Entry(entry.value, life, stale, entry.tags), token
    return offers, refused


def _may_bear(rung: Rung, tags: Sequence[str]) -> bool:
    """Whether the layer may have a value with these tags: a copy that nobody could invalidate is worse than none."""
    return not tags or rung.tagged or rung.is_primary


def _stale(rung: Rung, walk: Walk, life: float | None, now: float) -> float:
    """The stale life of a value in a layer, which no layer above may exceed."""
    stale = stale_life(rung.spare, life, math.inf if walk.spent is None else walk.spent - now)
    if life is not None:
        walk.spent = now + life + stale
    return stale


def _offer(stack: Stack, rung: Rung, offers: Offers, walks: Sequence[Walk], now: float) -> Collection[str] | Failure:
    if not rung.fenced:
        return stack.ask(rung, "fill", _store, stack, rung, offers, walks, now)
    if rung.local and rung.limit is None:  # nothing is waited for on the way to it
        return stack.ask(rung, "fill", rung.fill, offers)
    return stack.ask_in_time(rung, "fill", None, None, _fill, stack, rung, offers, now)


def _fill(stack: Stack, rung: Rung, offers: Offers, judged: float) -> Collection[str]:
    spent = stack.now() - judged
    aged = {key: (old, token) for key, (entry, token) in offers.items() if (old := older(entry, spent)) is not None}
    return rung.fill(aged) if aged else ()


def _store(stack: Stack, rung: Rung, offers: Offers, walks: Sequence[Walk], judged: float) -> Collection[str]:
    with stack.fence.holding(walk.key for walk in walks):
        overtaken = {walk.key for walk in walks if not stack.fence.admits(walk.key, walk.ticket)}
        spent = stack.now() - judged
        aged = {key: older(entry, spent) for key, (entry, _) in offers.items() if key not in overtaken}
        entries = {key: entry for key, entry in aged.items() if entry is not None}
        if entries:
            rung.write(entries)
        return entries.keys()


def _tell_filled(stack: Stack, rung: Rung, offers: Offers, walks: Sequence[Walk]) -> None:
    for walk in walks:
        entry, source = offers[walk.key][0], walk.source
        try:
            value = stack.isolated(entry.value)
        except Exception:  # noqa: BLE001 - a type may raise anything when it is copied, and the fill is made
            stack.background.untold += 1
            continue
        event = BackFill(
            key=walk.key,
            value=value,
            layer_index=rung.index,
            is_primary=rung.is_primary,
            layer=rung.name,
            source=stack.rungs[source].name if source < len(stack.rungs) else "loader",
            source_index=source,
            left=entry.left,
            store=stack.name,
        )
        stack.background.announce(event)
