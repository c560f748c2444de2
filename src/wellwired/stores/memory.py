"""A layer in the process's own memory: bounded, with a life for each entry, read without a lock.

Values that can change are copied on the way in and on the way out, immutable ones are shared (`_isolation`). What to
give up when it is full is decided by S3-FIFO (`_eviction`), which a scan does not flush. Nothing runs in the
background: an entry whose time has passed is simply not there, and its memory is freed when it is met, or in a sweep
after many insertions.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wellwired.clock import SYSTEM, Clock
from wellwired.stores._eviction import Cell, Extra, Node, Queues
from wellwired.stores._forks import renew_in_child
from wellwired.stores._isolation import keep
from wellwired.stores._weights import weigh
from wellwired.stores.protocols import Entry

__all__ = ["MemoryStats", "MemoryStore"]

# Keys share generations: two keys of one slot can only refuse each other's fills.
_SLOTS = 1024
_SLOT = _SLOTS - 1
_SWEEP_EVERY = 1024

_Made = tuple[Cell, int, Extra | None]


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """What a memory store has counted; under many threads a few hits may be missing.

    Args:
        entries: how many are kept, those whose time has passed and that nobody has met included.
        bytes: their estimated size; None unless the store is bounded by bytes.
        hits: reads that found something.
        misses: reads that found nothing.
        evictions: entries given up because the store was full.
    """

    entries: int
    bytes: int | None
    hits: int
    misses: int
    evictions: int


class MemoryStore:
    """A `Store` in memory, safe for threads.

    It is also `Many`, `Fenced`, `FencedMany`, `Ordered`, `Atomic`, `KeepsStale` and `Tagged`.

    Args:
        max_entries: how many entries it keeps at most; None for any number. A full store gives up entries, so a memory
            store that is a primary layer must be as large as its data.
        max_bytes: how many bytes it keeps alive at most, by estimate; an entry that alone is larger is not kept.
        clock: what entries age by.
        share: hand out every value as it is, without copies: for callers that promise to change none.
    """

    def __init__(
        self,
        *,
        max_entries: int | None = 10_000,
        max_bytes: int | None = None,
        clock: Clock = SYSTEM,
        share: bool = False,
    ) -> None:
        for name, bound in (("max_entries", max_entries), ("max_bytes", max_bytes)):
            if bound is not None and bound < 1:
                raise ValueError(f"{name} must be at least 1, or None for no bound; it is {bound}")
        self.share = share
        self._max_entries = sys.maxsize if max_entries is None else max_entries
        self._max_bytes = sys.maxsize if max_bytes is None else max_bytes
        self._weighs = max_bytes is not None
        self.now = clock.monotonic
        # Never bound anew: readers hold on to it.
        self._nodes: dict[str, Node] = {}
        self._tagged: dict[str, set[str]] = {}
        self._queues = Queues()
        self._generations = [0] * _SLOTS
        # Reentrant, because a value's finaliser may run in here and use the store.
        self._lock = threading.RLock()
        self._bytes = self._misses = self._evictions = 0
        self._until_sweep = _SWEEP_EVERY
        renew_in_child(self)

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._nodes)} entries)"

    def __len__(self) -> int:
        """How many entries are kept, those whose time has passed included."""
        return len(self._nodes)

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The live table, for readers that know how to read a node; never to be changed."""
        return self._nodes

    # --- Store

    def get(self, key: str, /) -> Entry[Any] | None:
        """The entry under the key, or None; takes no lock."""
        node = self._nodes.get(key)
        if node is not None:
            cell = node.cell
            value, expires, thaw = cell
            left = None if expires is None else expires - self.now()
            if left is None or left > 0:
                node.hits += 1
                extra = node.extra
                if extra is None and node.cell is cell:
                    return Entry(value if thaw is None else thaw(value), left)
                return self._with_extra(key)
        self._misses += 1
        return None

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
        """Stores the value for `ttl` seconds, or for ever; zero or less leaves nothing there.

        Raises:
            Exception: what the value's type raises if it cannot be copied.
        """
        made = self._made(key, Entry(value, ttl))
        with self._lock:
            self._bump(key)
            self._store(key, made)

    def delete(self, key: str, /) -> bool:
        """Removes the key; True if it was there."""
        with self._lock:
            self._bump(key)
            return self._remove(key)

    def has(self, key: str, /) -> bool:
        """Whether there is something under the key; counts as no hit."""
        node = self._nodes.get(key)
        return node is not None and not node.ended(self.now())

    def clear(self) -> None:
        """Removes everything."""
        with self._lock:
            self._generations[:] = [generation + 1 for generation in self._generations]
            self._nodes.clear()
            self._tagged.clear()
            self._queues.clear()
            self._bytes = 0

    def keys(self) -> Iterator[str]:
        """The keys that are there now."""
        now = self.now()
        return iter([node.key for node in list(self._nodes.values()) if not node.ended(now)])

    def close(self) -> None:
        """Does nothing: memory holds no resource that needs closing."""

    # --- Many

    def get_many(self, keys: Sequence[str], /) -> dict[str, Entry[Any]]:
        """The entries of those keys that are there."""
        return {key: entry for key in keys if (entry := self.get(key)) is not None}

    def set_many(self, items: Mapping[str, Entry[Any]], /) -> None:
        """Stores each value for its own time left; if one cannot be copied, none is stored."""
        ready = {key: self._made(key, entry) for key, entry in items.items()}
        with self._lock:
            for key, made in ready.items():
                self._bump(key)
                self._store(key, made)

    def delete_many(self, keys: Sequence[str], /) -> int:
        """Removes the keys; how many of them were there."""
        return sum([self.delete(key) for key in keys])

    # --- Fenced, FencedMany, Ordered

    def read(self, key: str, /) -> tuple[Entry[Any] | None, int]:
        """The entry or None, and the token of this moment."""
        token = self._generations[hash(key) & _SLOT]  # before the entry: a write in between must make it stale
        return self.get(key), token

    def missed(self, key: str, /) -> int:
        """Counts a miss of somebody who has looked into `nodes` and found nothing; the token of this moment."""
        self._misses += 1
        return self._generations[hash(key) & _SLOT]

    def take(self, key: str, value: Any, life: float | None, token: int, /) -> bool:
        """What `fill` does, for a value without tags and stale life; raises nothing for one that cannot be copied."""
        try:
            private, thaw = (value, None) if self.share else keep(value)
        except Exception:  # noqa: BLE001 - a type may raise anything when it is copied
            return False
        cell = (private, None if life is None else self.now() + life, thaw)
        weight = weigh(key, private) if self._weighs else 0
        with self._lock:
            return self._generations[hash(key) & _SLOT] == token and self._store(key, (cell, weight, None))

    def fill(self, key: str, entry: Entry[Any], token: int, /) -> bool:
        """Stores the entry unless a write of the key has overtaken it; whether it did."""
        made = self._made(key, entry)
        with self._lock:
            return self._generations[hash(key) & _SLOT] == token and self._store(key, made)

    def read_many(self, keys: Sequence[str], /) -> dict[str, tuple[Entry[Any] | None, int]]:
        """For every key asked, its entry or None and its token."""
        return {key: self.read(key) for key in keys}

    def fill_many(self, items: Mapping[str, tuple[Entry[Any], int]], /) -> Collection[str]:
        """Stores the entries that no write has overtaken; their keys."""
        return self._admit(items, written=False)

    def tokens(self, keys: Sequence[str], /) -> dict[str, int]:
        """The tokens of this moment."""
        return {key: self._generations[hash(key) & _SLOT] for key in keys}

    def put_many(self, items: Mapping[str, tuple[Entry[Any], int]], /) -> Collection[str]:
        """Stores, as a write, the entries that no other write has overtaken; their keys."""
        return self._admit(items, written=True)

    # --- Atomic

    def witness(self, key: str, /) -> tuple[Entry[Any] | None, Cell | None]:
        """The entry or None, and the token for an exchange of it: the very cell that it lies in."""
        with self._lock:
            now, node = self.now(), self._nodes.get(key)
            if node is None or node.ended(now):
                self._misses += 1
                return None, None
            node.hits += 1
            return _entry(node, now), node.cell

    def swap(self, key: str, entry: Entry[Any], token: Cell | None, /) -> bool:
        """Stores the entry if its predecessor is still there, or still nothing; whether it did."""
        made = self._made(key, entry)
        with self._lock:
            node = self._nodes.get(key)
            there = None if node is None or node.ended(self.now()) else node.cell
            if there is not token:
                return False
            self._bump(key)
            self._store(key, made)
            return True

    # --- KeepsStale, Tagged

    def read_stale(self, keys: Sequence[str], /) -> dict[str, Entry[Any]]:
        """What is kept under the keys, stale or fresh; counts as no hit."""
        with self._lock:
            now = self.now()
            nodes = [node for key in keys if (node := self._nodes.get(key)) is not None and not node.gone(now)]
            return {node.key: _entry(node, now) for node in nodes}

    def invalidate_tags(self, tags: Sequence[str], /) -> None:
        """Removes every value that bears one of the tags, and refuses the fills of all values read before."""
        with self._lock:
            # Of every key: which tags a value that is on its way bears, nobody knows here.
            self._generations[:] = [generation + 1 for generation in self._generations]
            for key in {key for tag in tags for key in self._tagged.get(tag, ())}:
                self._remove(key)

    # --- what it tells

    def purge(self) -> int:
        """Frees the memory of entries whose time has passed; how many there were."""
        with self._lock:
            now = self.now()
            ended = [node.key for node in self._nodes.values() if node.gone(now)]
            for key in ended:
                self._remove(key)
            return len(ended)

    def stats(self) -> MemoryStats:
        """What was counted since the store was made; looks at every entry."""
        with self._lock:
            hits = self._queues.harvested + sum([node.hits for node in self._nodes.values()])
            kept = self._bytes if self._weighs else None
            return MemoryStats(len(self._nodes), kept, hits, self._misses, self._evictions)

    def after_fork(self) -> None:
        """Keeps the entries and puts the rest in order, for another thread may have been in the middle of a change."""
        self._lock = threading.RLock()
        self._queues, former = Queues(), self._queues
        self._queues.harvested = former.harvested
        self._bytes, self._tagged = 0, {}
        for node in self._nodes.values():
            node.alive = True
            self._tag(node)
            self._queues.admit(node)
            self._bytes += node.weight

    # --- within

    def _made(self, key: str, entry: Entry[Any]) -> _Made:
        """What is to be kept of an entry: its own copy, and its weight."""
        private, thaw = (entry.value, None) if self.share else keep(entry.value)
        expires = None if entry.left is None else self.now() + entry.left
        cell = (private, expires, thaw)
        extra = (cell, entry.stale, entry.tags) if entry.stale or entry.tags else None
        return cell, weigh(key, private) if self._weighs else 0, extra

    def _with_extra(self, key: str) -> Entry[Any] | None:
        with self._lock:
            now, node = self.now(), self._nodes.get(key)
            return None if node is None or node.ended(now) else _entry(node, now)

    def _bump(self, key: str) -> None:
        self._generations[hash(key) & _SLOT] += 1

    def _admit(self, items: Mapping[str, tuple[Entry[Any], int]], *, written: bool) -> list[str]:
        ready = [(key, token, self._made(key, entry)) for key, (entry, token) in items.items()]
        with self._lock:
            # All are judged before the first is stored: keys of one batch must not overtake one another.
            fresh = [(key, made) for key, token, made in ready if self._generations[hash(key) & _SLOT] == token]
            if written:
                for key, _ in fresh:
                    self._bump(key)
            return [key for key, made in fresh if self._store(key, made)]

    def _store(self, key: str, made: _Made) -> bool:
        cell, weight, _ = made
        expires = cell[1]
        if weight > self._max_bytes or (expires is not None and expires <= self.now()):
            self._remove(key)
            return False
        node = self._nodes.get(key)
        if node is None:
            self._add(key, made)
        else:
            self._replace(node, made)
        if expires is not None:
            self._until_sweep -= 1
            if self._until_sweep <= 0:
                self.purge()
                self._until_sweep = max(_SWEEP_EVERY, len(self._nodes))
        return True

    def _add(self, key: str, made: _Made) -> None:
        cell, weight, extra = made
        if len(self._nodes) >= self._max_entries or self._bytes + weight > self._max_bytes:
            self._make_room(1, weight)  # before it is let in, or a short queue would give up the newcomer itself
        node = Node(key, cell, weight)
        node.extra = extra
        self._nodes[key] = node
        self._queues.admit(node)
        self._bytes += weight
        if extra is not None:
            self._tag(node)

    def _replace(self, node: Node, made: _Made) -> None:
        cell, weight, extra = made
        self._bytes += weight - node.weight
        self._untag(node)
        # Whoever sees the same cell before and after an empty extra may rely on it.
        if extra is None:
            node.cell, node.extra, node.weight = cell, extra, weight
        else:
            node.extra, node.cell, node.weight = extra, cell, weight
        self._tag(node)
        self._make_room(0, 0)

    def _make_room(self, entries: int, weight: int) -> None:
        while len(self._nodes) + entries > self._max_entries or self._bytes + weight > self._max_bytes:
            node = self._queues.evict(self.now())
            if node is None:
                return
            self._forget(node)
            self._evictions += 1

    def _remove(self, key: str) -> bool:
        node = self._nodes.get(key)
        if node is None:
            return False
        there = not node.ended(self.now())
        self._queues.remove(node)
        self._forget(node)
        return there

    def _forget(self, node: Node) -> None:
        if self._nodes.get(node.key) is node:
            del self._nodes[node.key]
            self._bytes -= node.weight
            self._untag(node)

    def _tag(self, node: Node) -> None:
        for tag in () if node.extra is None else node.extra[2]:
            self._tagged.setdefault(tag, set()).add(node.key)

    def _untag(self, node: Node) -> None:
        for tag in () if node.extra is None else node.extra[2]:
            bearers = self._tagged.get(tag, set())
            bearers.discard(node.key)
            if not bearers:
                self._tagged.pop(tag, None)


def _entry(node: Node, now: float) -> Entry[Any]:
    """The entry of a node that is not gone; within the lock."""
    value, expires, thaw = node.cell
    _, stale, tags = node.extra or (None, 0.0, ())
    left = None if expires is None else expires - now
    if left is not None and left <= 0:
        left, stale = 0.0, stale + left
    return Entry(value if thaw is None else thaw(value), left, stale, tags)
