"""What is told beside the events of writes: a circuit that changed, an eviction that failed, a dead letter.

Notices are rare and each is a small frozen value of names, codes and numbers. The log takes every one; a metrics
backend takes them if it has the method `notice`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

__all__ = ["CircuitChanged", "EvictionFailed", "LetterKept", "LetterLost", "Notice", "NoticeObserver", "Noticing"]


@dataclass(frozen=True, slots=True)
class EvictionFailed:
    """Keys that a write changed could not be removed from a layered store.

    Args:
        store: the store's dotted name.
        keys: how many keys there were.
        error: the class of what went wrong, or the layers that failed.
    """

    store: str
    keys: int
    error: str


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """A circuit breaker went from one state to another.

    Args:
        target: whose circuit.
        was: the state before: ``closed``, ``open`` or ``half-open``.
        state: the state now.
        failures: how many attempts failed within its window.
        calls: how many attempts there were within its window.
        pause: seconds for which it stays open; 0 in any other state.
    """

    target: str
    was: str
    state: str
    failures: int
    calls: int
    pause: float


@dataclass(frozen=True, slots=True)
class LetterKept:
    """A write that failed was kept as a dead letter, durably.

    Args:
        letter: the id of the letter.
        target: the request's target.
        type: the request's type.
        code: the error's code.
        outcome: what became of the data.
    """

    letter: str
    target: str
    type: str
    code: str
    outcome: str


@dataclass(frozen=True, slots=True)
class LetterLost:
    """A write that failed could not be kept as a dead letter: only its caller knows of it.

    Args:
        target: the request's target.
        type: the request's type.
        code: the error's code.
        outcome: what became of the data.
        error: the class of what the sink raised.
    """

    target: str
    type: str
    code: str
    outcome: str
    error: str


Notice: TypeAlias = EvictionFailed | CircuitChanged | LetterKept | LetterLost
"""Anything of this module that observers are told of."""

NoticeObserver: TypeAlias = Callable[[Notice], object]
"""Told of every notice. It must not block; what it raises changes nothing for the write."""


@runtime_checkable
class Noticing(Protocol):
    """The ability of a metrics backend to count notices."""

    def notice(self, notice: Notice, /) -> None:
        """Takes one notice; called by many threads at once, and must not block."""
        ...
