"""What survives a fork: locks that a child finds open, and objects that it must neither use nor finalise.

A forked child has one thread and a copy of everything, held locks and open sockets included. One hook, registered
once, raises the process generation, which is what a `ForkLock` compares before it is taken, and then lets every
`Survivor` (the lifecycles of containers) drop what belongs to the parent. There is no hook before a fork: taking
locks there is how forks deadlock.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from weakref import WeakSet

from dependency_injector import providers as di

if TYPE_CHECKING:
    from _thread import RLock

__all__ = ["ForkLock", "Survivor", "generation", "keep_for_ever", "survive"]


class Survivor(Protocol):
    """Something that must put itself in order in a forked child."""

    def after_fork(self) -> None:
        """Runs in the child's only thread, before `os.fork()` returns there; must not block or raise."""
        ...


class _Process:
    """The state of this process that a fork changes."""

    generation: ClassVar[int] = 0
    renewing: ClassVar[threading.Lock] = threading.Lock()
    survivors: ClassVar[WeakSet[Survivor]] = WeakSet()


def generation() -> int:
    """How many forks lie between the first process and this one."""
    return _Process.generation


def survive(survivor: Survivor) -> None:
    """Has `survivor.after_fork()` called in every forked child for as long as the object lives."""
    _Process.survivors.add(survivor)


def keep_for_ever(thing: Any) -> None:
    """Makes sure that no finaliser of `thing` runs in this process, not even when the interpreter ends.

    A connection that a child inherited and finalises says goodbye on its parent's socket. The reference is counted
    up and never down, because a list at module level is emptied at the interpreter's end.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


class ForkLock:
    """A reentrant lock that a forked child finds open, whoever held it in the parent.

    Use as ``with lock.current(): …``: the lock that was taken is the one released, even if the block forks.
    """

    __slots__ = ("_born", "_lock")

    def __init__(self) -> None:
        self._born = _Process.generation
        self._lock = threading.RLock()

    def current(self) -> RLock:
        """The lock of this process, to be entered at once."""
        if self._born != _Process.generation:
            with _Process.renewing:
                if self._born != _Process.generation:
                    self._lock = threading.RLock()
                    self._born = _Process.generation
        return self._lock


_FOREIGN: Any = (di.Provider.overriding_lock, di.ThreadSafeSingleton.storage_lock)  # type: ignore[attr-defined]
"""Locks that all providers of dependency-injector share; a thread that reads an override holds the first."""


def _after_fork_in_child() -> None:
    for lock in _FOREIGN:
        lock._at_fork_reinit()
    _Process.generation += 1
    _Process.renewing = threading.Lock()
    for survivor in list(_Process.survivors):
        survivor.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
