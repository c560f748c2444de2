"""The walk down a stack: each layer is asked for what the ones above it lacked, and what is found is sent back up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from wellwired.stores._rungs import UNASKED, Answer, Failure, Rung
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores.protocols import Entry

__all__ = ["Reads"]

_NOTHING: Answer = (None, UNASKED)


class Reads:
    """The reading operations of a delegated store; safe for threads.

    Args:
        stack: the layers.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def walk(self, key: str) -> Walk:
        """Looks for one key from the first layer down, and has the layers above filled.

        Raises:
            StoreError: nothing was found, and a layer that might have had it failed.
        """
        stack = self._stack
        walk = Walk(key, stack.fence.ticket(key))
        failures: dict[int, Failure] = {}
        for rung in stack.rungs:
            before = stack.now()
            answer = stack.ask(rung, "get", rung.read, key)
            if isinstance(answer, Failure):
                failures[rung.index] = answer
                walk.tokens.append(UNASKED)
            elif _note(walk, rung, answer, before):
                if rung.index:
                    stack.send_up(rung.index, (walk,))
                return walk
        self._conclude(failures, "get")
        return walk

    def walk_many(self, keys: Iterable[str]) -> dict[str, Walk]:
        """Looks for many keys, asking each layer once for all that the layers above it lacked.

        Raises:
            StoreError: some key was not found, and a layer that might have had it failed.
        """
        stack = self._stack
        walks = {key: Walk(key, stack.fence.ticket(key)) for key in keys}
        lacking: Sequence[Walk] = list(walks.values())
        failures: dict[int, Failure] = {}
        for rung in stack.rungs:
            if not lacking:
                break
            before = stack.now()
            answers = stack.ask(rung, "get_many", rung.read_many, [walk.key for walk in lacking])
            if isinstance(answers, Failure):
                failures[rung.index] = answers
                for walk in lacking:
                    walk.tokens.append(UNASKED)
            else:
                found = [walk for walk in lacking if _note(walk, rung, answers.get(walk.key, _NOTHING), before)]
                stack.send_up(rung.index, found)
                lacking = [walk for walk in lacking if walk.entry is None]
        if lacking:
            self._conclude(failures, "get_many")
        return walks

    def walk_primaries(self, key: str) -> Entry[Any] | None:
        """What the first primary that has anything has; fills nothing.

        Raises:
            StoreError: none has anything, and one that might have failed.
        """
        failures: dict[int, Failure] = {}
        for index in reversed(self._stack.plan.primaries):
            rung = self._stack.rungs[index]
            answer = self._stack.ask(rung, "get", rung.read, key)
            if isinstance(answer, Failure):
                failures[index] = answer
            elif answer[0] is not None:
                return answer[0]
        self._conclude(failures, "get")
        return None

    def has(self, key: str) -> bool:
        """Whether any layer has something under the key; fills nothing.

        Raises:
            StoreError: none has, and a layer that might have had it failed.
        """
        failures: dict[int, Failure] = {}
        for rung in self._stack.rungs:
            there = self._stack.ask(rung, "has", rung.has, key)
            if isinstance(there, Failure):
                failures[rung.index] = there
            elif there:
                return True
        self._conclude(failures, "has")
        return False

    def keys(self) -> Iterator[str]:
        """The keys of every primary, each once; read as they are asked for.

        Raises:
            StoreError: a primary failed.
        """
        seen: set[str] | None = set() if len(self._stack.plan.primaries) > 1 else None
        for index in reversed(self._stack.plan.primaries):
            for key in self._keys_of(self._stack.rungs[index]):
                if seen is None:
                    yield key
                elif key not in seen:
                    seen.add(key)
                    yield key

    def _keys_of(self, rung: Rung) -> Iterator[str]:
        stack = self._stack
        upcoming: Iterator[str] | Failure = stack.ask(rung, "keys", lambda: iter(rung.store.keys()))
        while not isinstance(upcoming, Failure):
            key = stack.ask(rung, "keys", next, upcoming, None)
            if key is None:
                return
            if isinstance(key, Failure):
                upcoming = key
            else:
                yield key
        raise stack.refusal(rung, "keys", upcoming)

    def _conclude(self, failures: Mapping[int, Failure], operation: str) -> None:
        """Raises if "nothing found" is no answer."""
        index = self._stack.plan.decisive(failures) if failures else None
        if index is not None:
            raise self._stack.refusal(self._stack.rungs[index], operation, failures[index])


def _note(walk: Walk, rung: Rung, answer: Answer, before: float) -> bool:
    """Notes the answer of the next layer down; whether it had something."""
    entry, token = answer
    if entry is None:
        rung.misses += 1
        walk.tokens.append(token)
        return False
    rung.hits += 1
    walk.find(entry, rung.index, before)
    return True
