"""``python -m benchmarks.hit_ratios``: how many requests of one Zipf trace each bounded cache answers.

The trace is made from its seed, so that it is the same everywhere: keys drawn with the weight 1 / rank ** 0.99, and
room for a tenth of them. A second trace has a scan through keys that never come back after every 100,000. A request
that finds nothing stores the key, as every read-through cache does. The share of hits is counted after the first tenth,
when the caches are full.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import cachebox
import cachetools
import theine

from wellwired import MemoryStore

SEED = 20261122
KEYS = 100_000
ROOM = KEYS // 10
LENGTH = 1_000_000

Cache = Callable[[str], bool]
"""Asks for a key and stores it if it is not there; whether it was."""


def zipf() -> Iterator[str]:
    """The trace."""
    chance = random.Random(SEED)
    bounds = list(itertools.accumulate((rank + 1) ** -0.99 for rank in range(KEYS)))
    for _ in range(LENGTH):
        yield f"k{bisect.bisect(bounds, chance.random() * bounds[-1])}"


def scanned() -> Iterator[str]:
    """The trace with scans in it."""
    for number, key in enumerate(zipf()):
        yield key
        if number % 100_000 == 99_999:
            yield from (f"scan{number}-{once}" for once in range(ROOM))


def ours() -> Cache:
    """The memory layer."""
    store = MemoryStore(max_entries=ROOM)

    def ask(key: str) -> bool:
        there = store.get(key) is not None
        if not there:
            store.set(key, key)
        return there

    return ask


def mapping(cache: Any) -> Cache:
    """A cache that is a dictionary."""

    def ask(key: str) -> bool:
        there = cache.get(key) is not None
        if not there:
            cache[key] = key
        return there

    return ask


def tinylfu() -> Cache:
    """theine, with W-TinyLFU."""
    cache = theine.Cache[str, str](ROOM)

    def ask(key: str) -> bool:
        there = cache.get(key)[1]
        if not there:
            cache.set(key, key)
        return there

    return ask


CACHES: dict[str, Callable[[], Cache]] = {
    "wellwired MemoryStore": ours,
    "theine (W-TinyLFU)": tinylfu,
    "cachetools LRUCache": lambda: mapping(cachetools.LRUCache(ROOM)),
    "cachetools LFUCache": lambda: mapping(cachetools.LFUCache(ROOM)),
    "cachebox LRUCache": lambda: mapping(cachebox.LRUCache(ROOM)),
    "cachebox LFUCache": lambda: mapping(cachebox.LFUCache(ROOM)),
}


def share(cache: Cache, trace: Iterator[str]) -> float:
    """The share of hits; requests of the scans are asked and not counted."""
    hits = asked = 0
    for number, key in enumerate(trace):
        there = cache(key)
        if number >= LENGTH // 10 and key[0] == "k":
            hits, asked = hits + there, asked + 1
    return hits / asked


def main() -> None:
    """Counts and prints."""
    print(f"Zipf 0.99, {KEYS} keys, room for {ROOM}, {LENGTH} requests, seed {SEED}\n")
    print("| cache | hits | hits, with scans |\n|---|---|---|")
    for name, make in CACHES.items():
        print(f"| {name} | {share(make(), zipf()):.1%} | {share(make(), scanned()):.1%} |")


if __name__ == "__main__":
    main()
