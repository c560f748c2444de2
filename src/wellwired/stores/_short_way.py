"""The short way of a read that has missed memory and finds its value in the layer below, as most that miss do.

It does what a walk does, step for step: the ticket and the token before the layer is asked, the life counted from then
on, the fill admitted only if no write has come since. What it leaves out is what has no use then: a walk to keep notes
in, calls that could be limited or refused, and events that nobody listens to. Where anything is out of the ordinary,
the long way goes on from where this one has come to, so that nothing is asked or counted twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from wellwired.stores._reads import Reads
from wellwired.stores._rungs import UNASKED, Answer, Failure, Rung
from wellwired.stores._stack import Stack
from wellwired.stores._walk import Walk
from wellwired.stores.memory import MemoryStore
from wellwired.stores.protocols import Entry, Fenced

__all__ = ["short_way"]

Find = Callable[[str], Entry[Any] | None]


def short_way(stack: Stack, reads: Reads) -> Find:
    """How to find what has not been found in memory.

    Args:
        stack: the layers.
        reads: how to read them in general.

    Returns:
        What gives the entry under a key that its caller has not found in the first layer, if that is a memory, or None
        if there is nothing; it raises what `Reads.walk` raises. Safe for threads.
    """
    rungs = stack.rungs
    if len(rungs) > 1 and stack.absences is None and rungs[0].quick and _direct(rungs[1]):
        return _ShortWay(stack, reads).find
    return lambda key: reads.walk(key).entry


def _direct(rung: Rung) -> bool:
    """Whether a layer is asked without a limit, a breaker or another ability in between."""
    plain = rung.limit is None and rung.soft_limit is None and rung.breaker is None
    return plain and isinstance(rung.store, Fenced)


class _ShortWay:
    """The short way through a memory to a `Fenced` layer; safe for threads."""

    def __init__(self, stack: Stack, reads: Reads) -> None:
        self._stack, self._reads = stack, reads
        self._upper, self._lower = stack.rungs[0], stack.rungs[1]
        assert isinstance(self._upper.store, MemoryStore) and isinstance(self._lower.store, Fenced)
        self._memory = self._upper.store
        self._read: Callable[[str], Answer] = self._lower.store.read

    def find(self, key: str) -> Entry[Any] | None:
        """The entry under a key that has not been found in memory, or None; memory has it then."""
        stack, upper, lower, listeners = self._stack, self._upper, self._lower, self._stack.listeners
        if lower.failing or upper.doubts.any or lower.doubts.any or listeners.want_any or listeners.want_back_fill:
            return self._reads.walk(key).entry
        fence, token = stack.fence, self._memory.missed(key)
        ticket, before = fence.ticket(key), stack.now()
        upper.misses += 1
        try:
            entry, mark = self._read(key)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises is a failure of its layer
            return self._go_on(_walk(key, ticket, [token, UNASKED]), error)
        if entry is None:
            lower.misses += 1
            return self._go_on(_walk(key, ticket, [token, mark]), None)
        lower.hits += 1
        life, left = upper.cap, entry.left
        if left is not None:
            left += before - stack.now()
            if life is None or left < life:
                life = left
        if not entry.tags and fence.admits(key, ticket) and self._memory.take(key, entry.value, life, token):
            upper.fills += 1
        else:
            walk = _walk(key, ticket, [token])
            walk.find(entry, 1, before)
            stack.send_up(1, (walk,))
        return entry

    def _go_on(self, walk: Walk, error: Exception | None) -> Entry[Any] | None:
        """Goes down from where nothing was found, or a layer has failed."""
        failures: dict[int, Failure] = {}
        if error is not None:
            failure = self._stack.insist(self._lower, "get", _raise, error)
            assert isinstance(failure, Failure)
            failures[1] = failure
        return self._reads.walk_on(walk, 2, failures).entry


def _walk(key: str, ticket: int, tokens: list[Any]) -> Walk:
    walk = Walk(key, ticket)
    walk.tokens = tokens
    return walk


def _raise(error: Exception) -> NoReturn:
    raise error
