"""Rings in a graph: every node that lies on one is shown on one, by the shortest way round.

Pure graph theory over a mapping from a node to the nodes that it needs. What cannot lie on a ring is peeled off first,
from both ends, so that the usual graph without rings costs one pass; whatever stays is searched breadth-first, so that
the reader gets the shortest way round and not the one that a search happened to take. Nothing recurses: a chain of
providers may be deeper than Python's stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

__all__ = ["path_to", "rings", "spread"]

N = TypeVar("N", bound=Hashable)


def rings(needs: Mapping[N, Iterable[N]]) -> list[tuple[N, ...]]:
    """Finds rings that together cover every node which lies on one.

    Args:
        needs: from a node to the nodes that it needs; a node that is no key needs nothing.

    Returns:
        Paths whose last node is the first again, in the order of the mapping.
    """
    left = _peeled(_peeled({node: set(targets) & needs.keys() for node, targets in needs.items()}))
    ordered = {node: [target for target in needs[node] if target in left] for node in needs if node in left}
    found: list[tuple[N, ...]] = []
    covered: set[N] = set()
    for node in ordered:
        if node not in covered and node in (before := spread(node, ordered.__getitem__)):
            found.append(path_to(node, node, before))
            covered.update(found[-1])
    return found


def spread(start: N, needs: Callable[[N], Iterable[N]]) -> dict[N, N]:
    """Walks everything that can be reached, nearest first.

    Args:
        start: where to begin; it is in the answer only if a ring leads back to it.
        needs: the nodes that a node leads to.

    Returns:
        From each node reached to the one before it on the shortest path, nearest first.
    """
    before: dict[N, N] = {}
    queue = deque([start])
    while queue:
        node = queue.popleft()
        for target in needs(node):
            if target not in before:
                before[target] = node
                queue.append(target)
    return before


def path_to(end: N, start: N, before: Mapping[N, N]) -> tuple[N, ...]:
    """Reads a path out of what `spread()` found.

    Args:
        end: where the path ends.
        start: where the walk began; the same as `end` for a ring.
        before: the answer of `spread()`.

    Returns:
        The path with both ends.
    """
    path = [end, before[end]]
    while path[-1] != start:
        path.append(before[path[-1]])
    return tuple(reversed(path))


def _peeled(needs: dict[N, set[N]]) -> dict[N, set[N]]:
    """The same graph turned round, without the nodes from which no ring can be reached."""
    count = {node: len(targets) for node, targets in needs.items()}
    needed_by: dict[N, set[N]] = {node: set() for node in needs}
    for node, targets in needs.items():
        for target in targets:
            needed_by[target].add(node)
    bare = [node for node, targets in count.items() if not targets]
    for node in bare:
        for parent in needed_by[node]:
            count[parent] -= 1
            if not count[parent]:
                bare.append(parent)
    gone = set(bare)
    return {node: parents - gone for node, parents in needed_by.items() if node not in gone}
