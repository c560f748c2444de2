"""What a handler wants done after its commit, and not before: a message sent, a cache warmed, a file removed.

A handler calls `after_commit(callback)`; the writer that called the handler collects what was asked for, and runs it
when the outermost transaction is committed and its connection is back in the pool. A transaction that is rolled back
runs nothing. After a commit nothing can turn the write into an error any more, so a callback that fails becomes a
warning in the result, and the next one runs all the same.

What must happen even if the process dies between the commit and the callback does not belong here, but into a row of
the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TypeAlias

from wellwired._nesting import inside
from wellwired.errors import RegistrationError

__all__ = ["Callback", "Collected", "after_commit"]

Callback: TypeAlias = Callable[[], object]
"""Takes nothing; what it returns is dropped."""


def after_commit(callback: Callback) -> None:
    """Has something done after the commit of the write that is under way; to be called inside a handler.

    Callbacks run in the order in which they were given, each once, in the thread of the write, after the outermost
    commit; never for an attempt or a savepoint that was rolled back. What one raises becomes a warning in
    `WriteResult.warnings`. They count against the caller's time, so they should be quick; one that is given by
    another callback runs after those that were given before. A write that a callback makes is a write of its own, with
    its own retries.

    Args:
        callback: called without arguments.

    Raises:
        RegistrationError: no write is under way here, or its writer collects no callbacks.
    """
    collected = _current.get()
    if collected is None:
        raise RegistrationError(
            "after_commit() was called where no write is under way; call it inside a handler, in the handler's thread"
        )
    collected.add(callback)


class Collected:
    """The callbacks of one attempt or one transaction, for the writer that runs its handlers; for one thread.

    As a context manager it collects what is asked for inside; it may be entered again, for the next handler of the
    same transaction, and inside another one's, for a write within a handler. It is cheap: a write without callbacks
    pays for two assignments of a context variable.
    """

    __slots__ = ("_callbacks", "_token")

    def __init__(self) -> None:
        self._callbacks: list[Callback] | None = None
        self._token: Token[Collected | None] | None = None

    def __enter__(self) -> Collected:
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None, "it was not entered"
        _current.reset(self._token)
        self._token = None

    def add(self, callback: Callback) -> None:
        """Keeps a callback for `run`."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    @property
    def mark(self) -> int:
        """How many there are, to be handed to `cut` if a savepoint is rolled back."""
        return 0 if self._callbacks is None else len(self._callbacks)

    def cut(self, mark: int) -> None:
        """Forgets the callbacks that came after a `mark`."""
        if self._callbacks is not None:
            del self._callbacks[mark:]

    def run(self) -> tuple[str, ...]:
        """Runs the callbacks, each once; to be called after the commit, when the connection has been given back.

        Returns:
            A line for each callback that failed, naming it and the class of its exception.
        """
        if self._callbacks is None:
            return ()
        # Inside another write's handler it is that one's attempt, which may be repeated with all that is in it.
        nested = inside.set(inside.get() and _current.get() is not None)
        try:
            with self:
                return tuple(failure for callback in self._all() if (failure := _failure(callback)))
        finally:
            inside.reset(nested)

    def _all(self) -> Iterator[Callback]:
        # The list grows while a callback asks for another.
        yield from self._callbacks or ()
        self._callbacks = None


_current: ContextVar[Collected | None] = ContextVar("wellwired_after_commit", default=None)


def _failure(callback: Callback) -> str:
    try:
        callback()
    except Exception as error:  # noqa: BLE001 - it becomes the line
        return f"the callback {_name(callback)} failed after the commit: {type(error).__name__}"
    return ""


def _name(callback: Callback) -> str:
    given = getattr(callback, "__qualname__", None)
    return given if isinstance(given, str) else type(callback).__qualname__
