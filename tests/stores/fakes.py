"""Layers for tests: plain dictionaries that write down their calls, fail on demand, and stop where a test wants."""

# ruff: noqa: D102 - the protocols tell what each method does

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from wellwired.clock import SYSTEM, Clock
from wellwired.stores.protocols import Entry

__all__ = ["BrokenError", "FakeStore", "FencedFake", "Gate", "ManyFake", "in_threads"]


class BrokenError(Exception):
    """What a failing layer raises here."""


class Gate:
    """A place where a thread stops until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> None:
        """Says that somebody is here, and waits."""
        self.reached.set()
        assert self.opened.wait(10), "nobody opened the gate"

    def open(self) -> None:
        """Lets everybody go on, now and from now on."""
        self.opened.set()


class FakeStore:
    """A `Store` without any further ability.

    `fail` holds the operations that raise `BrokenError`; `before` and `after` hold what to call around an operation.
    """

    def __init__(self, clock: Clock = SYSTEM) -> None:
        self.data: dict[str, tuple[Any, float | None]] = {}
        self.calls: list[tuple[str, Any]] = []
        self.fail: set[str] = set()
        self.lose_reply: set[str] = set()
        self.before: dict[str, Callable[[], object]] = {}
        self.after: dict[str, Callable[[], object]] = {}
        self.closed = 0
        self._now = clock.monotonic

    def _do(self, operation: str, about: Any, act: Callable[[], Any]) -> Any:
        self.calls.append((operation, about))
        if operation in self.before:
            self.before[operation]()
        if operation in self.fail or "all" in self.fail:
            raise BrokenError(operation)
        result = act()
        if operation in self.after:
            self.after[operation]()
        if operation in self.lose_reply:
            raise BrokenError(f"{operation}: done, and the answer was lost")
        return result

    def _get(self, key: str) -> Entry[Any] | None:
        value, end = self.data.get(key, (None, float("-inf")))
        if end is not None and end <= self._now():
            return None
        return Entry(value, None if end is None else end - self._now())

    def _set(self, key: str, value: Any, ttl: float | None) -> None:
        self.data[key] = (value, None if ttl is None else self._now() + ttl)

    def _delete(self, key: str) -> bool:
        there = self._get(key) is not None
        self.data.pop(key, None)
        return there

    def get(self, key: str, /) -> Entry[Any] | None:
        found: Entry[Any] | None = self._do("get", key, lambda: self._get(key))
        return found

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
        self._do("set", key, lambda: self._set(key, value, ttl))

    def delete(self, key: str, /) -> bool:
        return bool(self._do("delete", key, lambda: self._delete(key)))

    def has(self, key: str, /) -> bool:
        return bool(self._do("has", key, lambda: self._get(key) is not None))

    def clear(self) -> None:
        self._do("clear", None, self.data.clear)

    def keys(self) -> Iterator[str]:
        return iter(self._do("keys", None, lambda: [key for key in self.data if self._get(key) is not None]))

    def close(self) -> None:
        self._do("close", None, lambda: setattr(self, "closed", self.closed + 1))


class ManyFake(FakeStore):
    """A `Store` that is `Many` as well."""

    def get_many(self, keys: Sequence[str], /) -> Mapping[str, Entry[Any]]:
        def act() -> dict[str, Entry[Any]]:
            return {key: entry for key in keys if (entry := self._get(key)) is not None}

        found: dict[str, Entry[Any]] = self._do("get_many", list(keys), act)
        return found

    def set_many(self, items: Mapping[str, Entry[Any]], /) -> None:
        def act() -> None:
            for key, entry in items.items():
                self._set(key, entry.value, entry.left)

        self._do("set_many", list(items), act)

    def delete_many(self, keys: Sequence[str], /) -> int:
        return int(self._do("delete_many", list(keys), lambda: sum([self._delete(key) for key in keys])))


class FencedFake(FakeStore):
    """A `Store` that is `Fenced` as well: one token for all keys."""

    def __init__(self, clock: Clock = SYSTEM) -> None:
        super().__init__(clock)
        self.generation = 0

    def set(self, key: str, value: Any, /, ttl: float | None = None) -> None:
        self.generation += 1
        super().set(key, value, ttl)

    def delete(self, key: str, /) -> bool:
        self.generation += 1
        return super().delete(key)

    def clear(self) -> None:
        self.generation += 1
        super().clear()

    def read(self, key: str, /) -> tuple[Entry[Any] | None, int]:
        token = self.generation
        return self.get(key), token

    def fill(self, key: str, entry: Entry[Any], token: int, /) -> bool:
        def act() -> bool:
            if token == self.generation:
                self._set(key, entry.value, entry.left)
            return token == self.generation

        return bool(self._do("fill", key, act))


def in_threads(*work: Callable[[], object]) -> list[Any]:
    """Runs every call in a thread of its own, all started together; what they returned or raised, in order."""
    results: list[Any] = [None] * len(work)
    start = threading.Barrier(len(work))

    def run(place: int) -> None:
        start.wait(10)
        try:
            results[place] = work[place]()
        except BaseException as error:  # noqa: BLE001 - it is the result
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a thread does not end"
    return results
