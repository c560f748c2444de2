"""In which order to open and to close, and who depends on whom: plain graph theory, without providers.

Nodes are anything hashable; ``needs(node)`` gives what a node needs, in the order of declaration, which is also the
order that decides wherever dependencies leave a choice. Nothing here recurses, so a graph may be deeper than
Python's stack, and rings are broken rather than followed for ever (finding them is the business of `check()`).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

__all__ = ["closing_order", "dependents", "opening_order", "reachable"]

N = TypeVar("N", bound=Hashable)


def opening_order(roots: Iterable[N], needs: Callable[[N], Iterable[N]]) -> list[N]:
    """Every node that the roots lead to, each after all that it needs.

    Args:
        roots: where to begin, in the order of declaration.
        needs: from a node to what it needs directly.

    Returns:
        The nodes, those needed first; the same for the same input, whatever the hashes.
    """
    ordered: list[N] = []
    entered: set[N] = set()
    for root in roots:
        stack: list[tuple[N, Iterator[N]]] = []
        if root not in entered:
            entered.add(root)
            stack.append((root, iter(tuple(needs(root)))))
        while stack:
            node, remaining = stack[-1]
            following = next((one for one in remaining if one not in entered), None)
            if following is None:
                ordered.append(node)
                stack.pop()
            else:
                entered.add(following)
                stack.append((following, iter(tuple(needs(following)))))
    return ordered


def reachable(start: Iterable[N], needs: Callable[[N], Iterable[N]]) -> dict[N, None]:
    """The nodes that `start` leads to, itself included, nearest first; a dict for its order."""
    found = dict.fromkeys(start)
    queue = list(found)
    for node in queue:
        for one in needs(node):
            if one not in found:
                found[one] = None
                queue.append(one)
    return found


def dependents(targets: Iterable[N], nodes: Iterable[N], needs: Callable[[N], Iterable[N]]) -> dict[N, None]:
    """The nodes that need one of the targets, directly or through others.

    Args:
        targets: what is needed; not part of the answer unless one needs another.
        nodes: all nodes there are.
        needs: from a node to what it needs directly.

    Returns:
        Those nodes as the keys of a dict, nearest first.
    """
    users: dict[N, list[N]] = {}
    for node in nodes:
        for one in needs(node):
            users.setdefault(one, []).append(node)
    beginning = list(targets)
    found: dict[N, None] = {}
    queue = list(beginning)
    for node in queue:
        for user in users.get(node, ()):
            if user not in found:
                found[user] = None
                queue.append(user)
    return found


def closing_order(opened: Sequence[N], nodes: Collection[N], needs: Callable[[N], Iterable[N]]) -> list[N]:
    """The last opened first, except that nothing is closed before all that need it.

    The two agree unless something was opened at first use by an object that was built before it.

    Args:
        opened: what to close, in the order of opening.
        nodes: all nodes there are, through which the opened ones need each other.
        needs: from a node to what it needs directly.

    Returns:
        All of `opened`, in the order of closing; members of a ring in the reverse order of opening.
    """
    rank = {node: -index for index, node in enumerate(opened)}
    every = dict.fromkeys((*nodes, *opened))
    waiting = dict.fromkeys(every, 0)
    for node in every:
        for one in needs(node):
            if one in waiting:
                waiting[one] += 1
    return list(_released(every, waiting, rank, needs))


def _released(
    every: Iterable[N], waiting: dict[N, int], rank: dict[N, int], needs: Callable[[N], Iterable[N]]
) -> Iterator[N]:
    """Kahn's algorithm from the users down; nodes that are not open are let go at once."""
    number = {node: index for index, node in enumerate(every)}
    first = -len(number) - 1

    def entry(node: N) -> tuple[int, int, N]:
        return rank.get(node, first), number[node], node

    ready = [entry(node) for node, users in waiting.items() if not users]
    heapq.heapify(ready)
    left = dict(waiting)
    while left:
        if not ready:
            # A ring: the most recently opened of what is left gives way.
            heapq.heappush(ready, min((entry(node) for node in left if node in rank), default=entry(next(iter(left)))))
        _, _, node = heapq.heappop(ready)
        if node not in left:
            continue
        del left[node]
        if node in rank:
            yield node
        for one in needs(node):
            if one in left:
                waiting[one] -= 1
                if not waiting[one]:
                    heapq.heappush(ready, entry(one))
