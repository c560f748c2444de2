"""Which requests of a batch go together, and which of them are the same request twice: rules about positions alone.

A request's position in what the caller gave is its name here. A group is what one writer can do with one handler under
one deadline: requests of one target, type and timeout. Within a group the order is the caller's. Groups are done in
the order of their first request, so a request may overtake one of another group; `ordered` forbids it, by grouping
neighbours only. A group is done in chunks, because a transaction holds its locks until it ends.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple

__all__ = ["Repeats", "chunked", "grouped", "repeats_in"]


def grouped(keys: Iterable[Hashable], *, ordered: bool = False) -> list[list[int]]:
    """Puts positions with equal keys together.

    Args:
        keys: one for each position, in order.
        ordered: whether only neighbours may be put together, so that nothing overtakes anything.

    Returns:
        The groups, in the order of their first position; each holds its positions in order.
    """
    groups: list[list[int]] = []
    known: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        group = known.get(key)
        if group is None:
            if ordered:
                known.clear()
            group = known[key] = []
            groups.append(group)
        group.append(position)
    return groups


def chunked(positions: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cuts positions into chunks, in order.

    Args:
        positions: what to cut.
        size: how many a chunk has at most.
    """
    if len(positions) <= size:
        if positions:
            yield positions
        return
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


class Repeats(NamedTuple):
    """What is to be done with requests of one chunk that may have the same idempotency key.

    Args:
        first: positions to do: those without a key, and the first with each key.
        same: positions that get another's answer, and whose: the same key and the same payload.
        reused: positions to refuse: the same key with another payload.
    """

    first: list[int]
    same: dict[int, int]
    reused: list[int]


def repeats_in(keys: Sequence[tuple[str, str] | None]) -> Repeats:
    """Finds the requests of a chunk that are there twice.

    Args:
        keys: for each position the idempotency key and the payload's fingerprint, or None if it has no key.
    """
    first: list[int] = []
    same: dict[int, int] = {}
    reused: list[int] = []
    known: dict[str, int] = {}
    for position, key in enumerate(keys):
        earlier = None if key is None else known.setdefault(key[0], position)
        if earlier is None or earlier == position:
            first.append(position)
        elif keys[earlier] == key:
            same[position] = earlier
        else:
            reused.append(position)
    return Repeats(first, same, reused)
