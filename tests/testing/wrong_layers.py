"""Layers that each break one promise, and an honest one; run by the tests of the layer suite and by nothing else.

Every one is a memory store with one thing done wrongly, as it is done in the wild.
"""

# ruff: noqa: D101, D102 - the names say what is wrong

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from wellwired.stores.memory import MemoryStore
from wellwired.stores.protocols import Atomic, Entry, Fenced, FencedMany, KeepsStale, Leases, Many, Ordered, Tagged
from wellwired.testing.clock import VirtualClock
from wellwired.testing.conformance import LayerSuite


class Suite(LayerSuite):
    kind: type[MemoryStore] = MemoryStore
    abilities: ClassVar[Collection[type] | None] = (Many, Fenced, FencedMany, Ordered, Atomic, KeepsStale, Tagged)

    @pytest.fixture
    def store(self, virtual_clock: VirtualClock) -> MemoryStore:
        return self.kind(clock=virtual_clock)

    @pytest.fixture
    def pass_time(self, virtual_clock: VirtualClock) -> Any:
        return virtual_clock.advance


class Falsy(MemoryStore):
    """Takes a falsy value for nothing."""

    def get(self, key: str, /) -> Entry[Any] | None:
        entry = super().get(key)
        return entry if entry is not None and entry.value else None


class Folding(MemoryStore):
    """Takes keys for the same that are not."""

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
        super().set(key.lower(), value, ttl)

    def get(self, key: str, /) -> Entry[Any] | None:
        return super().get(key.lower())


class Sharing(MemoryStore):
    """Hands out the object itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(share=True, **options)


class Extending(MemoryStore):
    """Starts a value's life anew with every read."""

    def get(self, key: str, /) -> Entry[Any] | None:
        entry = super().get(key)
        return entry if entry is None or entry.left is None else Entry(entry.value, 60.0)


class Unfenced(MemoryStore):
    """Lets every fill in."""

    def fill(self, key: str, entry: Entry[Any], token: int, /) -> bool:
        super().set(key, entry.value, entry.left)
        return True


class Lazy(MemoryStore):
    """Thinks that deleting nothing needs no fence."""

    def delete(self, key: str, /) -> bool:
        return super().delete(key) if key in self.nodes else False


class Forgetting(MemoryStore):
    """Clears without a thought for the fills under way."""

    def clear(self) -> None:
        before = list(self._generations)
        super().clear()
        self._generations[:] = before


class LastWins(MemoryStore):
    """Lets the later of two writers in as well."""

    def put_many(self, items: Mapping[str, tuple[Entry[Any], int]], /) -> list[str]:
        self.set_many({key: entry for key, (entry, _) in items.items()})
        return list(items)


class Careless(MemoryStore):
    """Sets what it ought to exchange."""

    def swap(self, key: str, entry: Entry[Any], token: Any, /) -> bool:
        self.set_many({key: entry})
        return True


class Exposing(MemoryStore):
    """Serves what is stale to everybody."""

    def get(self, key: str, /) -> Entry[Any] | None:
        return super().get(key) or self.read_stale([key]).get(key)


class Deaf(MemoryStore):
    """Invalidates what is there, and not what is on its way."""

    def invalidate_tags(self, tags: Sequence[str], /) -> None:
        before = list(self._generations)
        super().invalidate_tags(tags)
        self._generations[:] = before


class Generous(MemoryStore):
    """Grants everybody the lease."""

    def lease(self, key: str, _seconds: float, /) -> tuple[bool, Entry[Any] | None, Any]:
        entry, token = self.read(key)
        return entry is None, entry, token

    def release(self, key: str, token: Any, /) -> None:
        pass


class TestHonest(Suite):
    pass


class TestFalsy(Suite):
    kind = Falsy


class TestFolding(Suite):
    kind = Folding


class TestSharing(Suite):
    kind = Sharing


class TestExtending(Suite):
    kind = Extending


class TestUnfenced(Suite):
    kind = Unfenced


class TestLazy(Suite):
    kind = Lazy


class TestForgetting(Suite):
    kind = Forgetting


class TestLastWins(Suite):
    kind = LastWins


class TestCareless(Suite):
    kind = Careless


class TestExposing(Suite):
    kind = Exposing


class TestDeaf(Suite):
    kind = Deaf


class TestClaiming(Suite):
    abilities = (Many,)


class TestGenerous(Suite):
    kind = Generous
    abilities = (*(Suite.abilities or ()), Leases)
