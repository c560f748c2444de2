"""Scope and Scoped: objects that live for a request, a task or a test, and end in reverse order.

A scope is an object that is entered and closed by whoever knows where the request begins and ends. It travels in a
context variable, which neither threads nor a streamed response body inherit, so it can be entered again elsewhere
with `Scope.entered()` and closed by hand with `Scope.close()`. Nothing guesses a scope from the thread or the task:
a server reuses both.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, overload
from weakref import WeakSet

from dependency_injector import providers as di

from wellwired.containers._direct import SLOTS, DirectCall, label
from wellwired.containers._during import During
from wellwired.containers._fork import ForkLock, keep_for_ever, survive
from wellwired.containers._initialiser import Begun, begin, synchronous
from wellwired.containers._singleton import MISSING, refuse_asynchronous
from wellwired.errors import NoScopeError, StateError

if TYPE_CHECKING:
    from contextlib import _GeneratorContextManager

__all__ = ["Scope", "Scoped", "forget_in_scopes", "scope"]

T = TypeVar("T")

_active: ContextVar[Scope | None] = ContextVar("wellwired_scope", default=None)


class Scope:
    """The objects of one request, task or test.

    As a context manager it is active inside the block and closed at its end. Safe from many threads: they share its
    objects, each built once.
    """

    def __init__(self) -> None:
        self._held: dict[Scoped[Any], Any] = {}
        self._begun: list[tuple[str, Begun]] = []
        self._lock = ForkLock()
        self._token: Token[Scope | None] | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it has been closed; it provides nothing any more."""
        return self._closed

    @property
    def idle(self) -> bool:
        """Whether closing it would end nothing: it holds no object that has an end."""
        return all(begun.leave is None and begun.closer is None for _, begun in self._begun)

    def __enter__(self) -> Self:
        if self._closed:
            raise StateError("this scope is closed; enter a new one with: with scope():")
        if self._token is not None:
            raise StateError("this scope is entered already; to use it in another thread or body: with s.entered():")
        self._token = _active.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        token, self._token = self._token, None
        if token is not None:
            # A framework may leave the block in another context than it entered; there is nothing to reset then.
            with suppress(ValueError):
                _active.reset(token)
        try:
            self.close(error)
        except ExceptionGroup as failed:
            if error is None:
                raise
            for one in failed.exceptions:
                error.add_note(f"closing its scope failed too: {type(one).__name__}")

    def entered(self) -> During[Self]:
        """A block in which it is active in another thread or context, such as a streamed body; not closed at its end.

        Raises:
            StateError: it is closed.
        """
        if self._closed:
            raise StateError("this scope is closed; a streamed body must be finished before its scope is closed")
        return During(_active, self)

    def close(self, error: BaseException | None = None) -> None:
        """Ends its objects, the last built first; every one is tried. Closing again does nothing.

        Args:
            error: what ended the scope, told to generators and context managers so that they can roll back.

        Raises:
            ExceptionGroup: what the endings raised, each with a note that names the object.
        """
        failures: list[Exception] = []
        with self._lock.current():
            self._closed = True
            self._held.clear()
            ending, self._begun = self._begun, []
        # Outside the lock: an ending may wait for a thread that is asking for something of this scope.
        for name, begun in reversed(ending):
            try:
                begun.end(error)
            except Exception as failure:  # noqa: BLE001 - every one is tried, and all are reported
                failure.add_note(f"while closing {name} at the end of its scope")
                failures.append(failure)
        if failures:
            raise ExceptionGroup("closing a scope failed", failures)

    def provide(self, scoped: Scoped[Any], build: Callable[[], Begun]) -> Any:
        """The object of `scoped` in this scope, built by `build` at the first call."""
        with self._lock.current():
            if self._closed:
                raise NoScopeError(_no_scope(scoped, "the active scope has been closed"))
            if scoped not in self._held:
                begun = build()
                _Scopes.all.add(self)
                self._begun.append((label(scoped), begun))
                self._held[scoped] = begun.value
            return self._held[scoped]

    def forget(self, scoped: Scoped[Any]) -> None:
        """Has the object of a provider built anew at its next use; the old one still ends with the scope."""
        with self._lock.current():
            self._held.pop(scoped, None)

    def __del__(self) -> None:
        if self._begun and not self.idle:
            open_still = [name for name, begun in self._begun if begun.leave is not None or begun.closer is not None]
            warnings.warn(
                f"a scope was dropped without being closed: {', '.join(open_still)}; close it, or use `with scope():`",
                ResourceWarning,
                stacklevel=1,
                source=self,
            )

    def abandon(self) -> None:
        """In a forked child: drops all objects without ending them, for they are at work in the parent."""
        keep_for_ever((dict(self._held), list(self._begun)))
        self._held.clear()
        self._begun.clear()


class _Scopes:
    """All scopes of this process that hold something, for what concerns each of them."""

    all: ClassVar[WeakSet[Scope]] = WeakSet()

    def after_fork(self) -> None:
        """Empties them: a child starts with none of its parent's objects."""
        for one in list(self.all):
            one.abandon()


_scopes = _Scopes()
survive(_scopes)


def forget_in_scopes(scoped: Scoped[Any]) -> None:
    """Has every scope build the object of this provider anew."""
    for one in list(_Scopes.all):
        one.forget(scoped)


def scope() -> Scope:
    """A new scope: ``with scope() as s:`` makes it active in the block and closes it at the end.

    Scopes do not nest: inside another one it starts empty, and the outer is active again afterwards.
    """
    return Scope()


class Scoped(DirectCall, di.Factory[T]):
    """Provides one object per active scope, ended when the scope ends.

    Args:
        provides: a function or class, a generator function that yields once, or a function under
            ``contextmanager``; an error that ends the scope is raised at the yield.
        args: its positional arguments; providers among them are called.
        kwargs: its keyword arguments, likewise.

    Raises:
        NoScopeError: at the call, outside a scope.
        DeclarationError: the initialiser is asynchronous.
    """

    __slots__ = (*SLOTS, "_closer", "_entered")

    if TYPE_CHECKING:

        @overload
        def __init__(self, provides: Callable[..., Iterator[T]], *args: Any, **kwargs: Any) -> None: ...
        @overload
        def __init__(self, provides: Callable[..., _GeneratorContextManager[T]], *args: Any, **kwargs: Any) -> None: ...
        @overload
        def __init__(self, provides: Callable[..., T] | str | None = None, *args: Any, **kwargs: Any) -> None: ...

    def __init__(self, provides: Any = None, *args: Any, **kwargs: Any) -> None:
        self.name = ""
        self._entered = False
        self._closer: Callable[[T], Any] | None = None
        self._ask()
        super().__init__(provides, *args, **kwargs)

    def __deepcopy__(self, memo: Any) -> Any:
        copied: Scoped[T] = super().__deepcopy__(memo)  # type: ignore[assignment]
        copied._entered, copied._closer = self._entered, self._closer
        return copied

    def set_provides(self, provides: Any) -> Self:
        """Sets the initialiser; see the class for its forms."""
        return super().set_provides(synchronous(provides, "Scoped"))

    def entered(self) -> Scoped[Any]:
        """Declares that the initialiser returns a context manager: what it yields is the object, leaving ends it."""
        self._entered = True
        return self

    def closed_by(self, function: Callable[[T], Any]) -> Self:
        """Declares `function`, called with the object, as what ends it (after a generator's own ending)."""
        self._closer = function
        return self

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        active = _active.get()
        if active is None:
            raise NoScopeError(_no_scope(self, "none is active here"))
        # Unlocked: what is held is complete, and whatever is not there is looked for again under the lock.
        held = active._held.get(self, MISSING)
        if held is not MISSING:
            return held
        return active.provide(self, lambda: self._begin(args, kwargs))

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Begun:
        made = super()._provide(args, kwargs)  # type: ignore[misc]
        refuse_asynchronous(self, made)
        return begin(made, entered=self._entered, closer=self._closer)


def _no_scope(scoped: Any, why: str) -> str:
    return (
        f"{label(scoped)} lives for a scope, and {why}. Enter one with `with scope():` around the request, task or "
        "test. Likely causes: code that runs at start-up or in a shell; a thread, which does not inherit the scope "
        "(enter it there with `with s.entered():`); a response body streamed after the request has ended"
    )
