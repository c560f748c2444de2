"""The estimate of what an entry takes."""

from __future__ import annotations

import dataclasses
import sys
import tracemalloc
from typing import Any

import pytest

from wellwired.stores._weights import ENTRY_BYTES, weigh
from wellwired.stores.memory import MemoryStore


class Slotted:
    """An object with slots and an attribute dictionary below them."""

    __slots__ = ("held", "never_set")

    def __init__(self, held: Any) -> None:
        self.held = held


class OneSlot:
    """A class whose slots are one string."""

    __slots__ = "held"  # noqa: PLC0205 - that is what is tested

    def __init__(self, held: Any) -> None:
        self.held = held


@dataclasses.dataclass
class Plain:
    """An object with a dictionary."""

    held: Any


@pytest.mark.parametrize(
    "wrap",
    [list, tuple, set, frozenset, lambda held: {"a": held[0]}, Slotted, OneSlot, Plain],
    ids=lambda kind: kind.__name__,
)
def test_what_is_held_counts(wrap: Any) -> None:
    """A large text weighs, whatever holds it."""
    assert weigh("k", wrap(["x" * 100_000])) > 100_000


def test_an_object_counts_once() -> None:
    """However often it is referred to, and also in a ring."""
    text = "x" * 10_000
    ring: list[Any] = [text] * 50
    ring.append(ring)
    assert 10_000 < weigh("k", ring) < 12_000


def test_the_key_and_the_entry_count() -> None:
    """Even an entry of nothing takes something."""
    assert weigh("k" * 1000, None) == ENTRY_BYTES + sys.getsizeof("k" * 1000) + sys.getsizeof(None)


@pytest.mark.parametrize("entries", [500, 2_000, 5_500])
def test_the_estimate_is_near_what_python_allocates(entries: int) -> None:
    """Of entries with texts of their own the estimate is within a quarter of what was really allocated."""
    store = MemoryStore(max_entries=None, max_bytes=10**9)
    store.set("first", "what is allocated once for all entries")
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(entries):
        store.set(f"key number {number}", "x" * 100 + str(number))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    estimated = store.stats().bytes
    assert estimated is not None and 3 / 4 < estimated / (after - before) < 5 / 4
