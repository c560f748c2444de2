"""Which entry a full memory layer gives up: S3-FIFO (Yang et al., SOSP 2023), told of hits by a counter on each entry.

New keys wait in a small queue. Who was asked for meanwhile moves on to the main queue, who was not is given up, so a
scan passes through without touching what is in use. A key that comes back soon after it was given up goes to the main
queue at once. Reads change nothing but the entry's own `hits`, which is why they need no lock; the caller holds one
around everything here.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

from wellwired.stores._isolation import Thaw

__all__ = ["Cell", "Extra", "Node", "Queues"]

Cell = tuple[Any, float | None, Thaw | None]
"""A value, the moment at which it ends (None: never), and how to copy it for a reader (None: it may be shared)."""

Extra = tuple[Cell, float, tuple[str, ...]]
"""The cell that it belongs to, the seconds that its value may be served after its end, and its tags."""

_SMALL = 20  # the small queue is a twentieth of the entries: best for skewed traffic, see benchmarks
_CREDIT = 3  # how many rounds of the main queue a much used entry is spared


class Node:
    """A key's place in memory. `cell` is replaced as a whole, so that a reader never sees half a change.

    What few entries have besides, the seconds of their stale life and their tags, lies in `extra`, out of the way of
    the reads that need to be fast; the cell that it belongs to is named there.
    """

    __slots__ = ("alive", "cell", "credit", "extra", "hits", "key", "weight")

    def __init__(self, key: str, cell: Cell, weight: int = 0) -> None:
        self.key = key
        self.cell = cell
        self.extra: Extra | None = None
        self.weight = weight
        self.hits = 0
        self.credit = 0
        self.alive = True

    def ended(self, now: float) -> bool:
        """Whether its time has passed."""
        expires = self.cell[1]
        return expires is not None and expires <= now

    def gone(self, now: float) -> bool:
        """Whether its stale life has passed as well."""
        expires = self.cell[1]
        if expires is None or expires > now:
            return False
        return self.extra is None or expires + self.extra[1] <= now


class Queues:
    """The order in which entries are given up; not safe for threads without the caller's lock."""

    __slots__ = ("_dead", "_ghosts", "_main", "_small", "alive", "harvested")

    def __init__(self) -> None:
        self._small: deque[Node] = deque()
        self._main: deque[Node] = deque()
        self._ghosts: OrderedDict[int, None] = OrderedDict()  # a plain dict is slow to shed its oldest
        self._dead = 0
        self.alive = 0
        self.harvested = 0

    def admit(self, node: Node) -> None:
        """Lets a new key in."""
        mark = hash(node.key)
        if mark in self._ghosts:
            del self._ghosts[mark]
            self._main.append(node)
        else:
            self._small.append(node)
        self.alive += 1

    def remove(self, node: Node) -> None:
        """Takes note that a key was removed; its place is cleared away later."""
        if node.alive:
            self._bury(node)
            self._dead += 1
            if self._dead > 64 and self._dead > self.alive:
                self._compact()

    def evict(self, now: float) -> Node | None:
        """Gives up one entry: one whose time has passed if it comes by, otherwise the least useful.

        Args:
            now: the monotonic time, in seconds.

        Returns:
            The entry given up, or None if there is none.
        """
        while self._small or self._main:
            young = bool(self._small) and (not self._main or len(self._small) * _SMALL >= self.alive)
            node = (self._small if young else self._main).popleft()
            if not node.alive:
                self._dead -= 1
            elif node.gone(now):
                return self._bury(node)
            elif not self._spare(node, young=young):
                if young:
                    self._remember(node)
                return self._bury(node)
        return None

    def clear(self) -> None:
        """Forgets every entry and everything remembered about former ones."""
        for queue in (self._small, self._main):
            for node in queue:
                self.harvested += node.hits if node.alive else 0
                node.alive = False
            queue.clear()
        self._ghosts.clear()
        self._dead = self.alive = 0

    def _spare(self, node: Node, *, young: bool) -> bool:
        self.harvested += node.hits
        node.credit = min(_CREDIT, node.credit + node.hits)
        node.hits = 0
        if node.credit == 0:
            return False
        # Moving up uses the credit up; staying up costs one each round.
        node.credit = 0 if young else node.credit - 1
        self._main.append(node)
        return True

    def _bury(self, node: Node) -> Node:
        node.alive = False
        self.alive -= 1
        self.harvested += node.hits
        node.hits = 0
        return node

    def _remember(self, node: Node) -> None:
        self._ghosts[hash(node.key)] = None
        while len(self._ghosts) > max(16, self.alive):
            self._ghosts.popitem(last=False)

    def _compact(self) -> None:
        self._small = deque(node for node in self._small if node.alive)
        self._main = deque(node for node in self._main if node.alive)
        self._dead = 0
