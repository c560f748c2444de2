"""Singleton: one object per container, built once whatever the number of threads that ask first.

dependency-injector's own builds one per racing thread, or takes one lock for all singletons of the process, and
builds again when the constructor returned None. This one has a lock of its own, keeps None like any other object,
and answers from C once it has built (see `_direct`).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from dependency_injector import providers as di

from wellwired.containers._direct import SLOTS, DirectCall, label
from wellwired.containers._fork import ForkLock, generation, keep_for_ever
from wellwired.errors import CycleError, DeclarationError

__all__ = ["MISSING", "Singleton", "refuse_asynchronous"]

T = TypeVar("T")

MISSING: Any = object()
"""Nothing there: unlike None, never an object that somebody made."""


def refuse_asynchronous(provider: Any, made: Any) -> None:
    """Raises `DeclarationError` if `made` is a coroutine or a future: a provider that latched on one stays so."""
    if inspect.iscoroutine(made):
        made.close()
    elif not asyncio.isfuture(made):
        return
    raise DeclarationError(
        f"{label(provider)} is made by asynchronous code, and its provider is synchronous; let it construct the object "
        "without awaiting (pools connect at first use), or declare providers.Coroutine"
    )


class Singleton(DirectCall, di.Singleton[T]):
    """Provides one object, built at the first call and served to all later ones.

    Safe from many threads: racing first calls build once, and a slow constructor keeps only those waiting who want
    the same object. Arguments given to the call count on the call that builds.

    Args:
        provides: the class or function that makes the object.
        args: its positional arguments; providers among them are called.
        kwargs: its keyword arguments, likewise.

    Raises:
        CycleError: at the call, if building the object asks for the object itself.
        DeclarationError: at the call, if what it provides is asynchronous.
    """

    __slots__ = (*SLOTS, "_building", "_held", "_lock")

    def __init__(self, provides: Callable[..., T] | str | None = None, *args: Any, **kwargs: Any) -> None:
        self.name = ""
        self._lock = ForkLock()
        self._building = -1
        self._held: Any = MISSING
        self._ask()
        super().__init__(provides, *args, **kwargs)

    @property
    def created(self) -> bool:
        """Whether the object has been built and not reset."""
        return self._held is not MISSING

    def reset(self) -> Any:
        """Forgets the object, so that the next call builds another; waits for a construction under way."""
        with self._lock.current():
            self._held = MISSING
            self._ask()
            return super().reset()

    def keep(self) -> None:
        """In a forked child: makes sure that what the object holds of the parent's is not finalised with it."""
        keep_for_ever(self._held)

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self._lock.current():
            if self._held is MISSING:
                self._held = self._build(args, kwargs)
            self._serve(di.Object(self._held))
            return self._held

    def _build(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # The generation, not True: a child forked in mid-construction must be free to build for itself.
        if self._building == generation():
            raise CycleError([label(self), label(self)])
        self._building = generation()
        try:
            maker: di.Factory[Any] = di.Factory(self.provides)
            maker.set_args(*self.args).set_kwargs(**self.kwargs).set_attributes(**self.attributes)
            made = maker(*args, **kwargs)
        finally:
            self._building = -1
        refuse_asynchronous(self, made)
        return made
