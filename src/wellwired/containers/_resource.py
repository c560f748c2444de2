"""Resource: an object that is opened once, closed in order, pinged for health and renewed after a fork.

Taken from dependency-injector: the name and how it is declared. Different: concurrent first uses open once; nothing
is entered that was not declared to be (see `_initialiser`); an opening is written into the container's journal even
when it happens at first use rather than at `start()`; and closing, pinging and renewal are part of the declaration.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, overload
from weakref import WeakSet

from dependency_injector import providers as di

from wellwired.containers._direct import SLOTS, DirectCall, label
from wellwired.containers._fork import ForkLock, generation, keep_for_ever, survive
from wellwired.containers._initialiser import Begun, begin, caller, synchronous
from wellwired.containers._singleton import refuse_asynchronous
from wellwired.errors import CycleError, StateError

if TYPE_CHECKING:
    from contextlib import _GeneratorContextManager

__all__ = ["ALONE", "Keeper", "Resource"]

T = TypeVar("T")


class Keeper(Protocol):
    """Who is told what is open; the lifecycle of a container, usually."""

    def opened(self, resource: Resource[Any]) -> None:
        """`resource` has just been opened."""
        ...

    def closed(self, resource: Resource[Any]) -> None:
        """`resource` is about to be closed."""
        ...

    def shut(self, resource: Resource[Any]) -> None:
        """Closes `resource` and, before it, what was opened on top of it."""
        ...


class _Alone:
    """The keeper of the resources that no container owns: their users close them."""

    def __init__(self) -> None:
        self._open: WeakSet[Resource[Any]] = WeakSet()

    def opened(self, resource: Resource[Any]) -> None:
        """Notes it, for the case of a fork."""
        self._open.add(resource)

    def closed(self, resource: Resource[Any]) -> None:
        """Strikes it out."""
        self._open.discard(resource)

    def shut(self, resource: Resource[Any]) -> None:
        """Closes it; nobody knows what depends on it."""
        resource.close()

    def after_fork(self) -> None:
        """Renews what can be renewed in place, and forgets the rest."""
        for resource in list(self._open):
            if not resource.adopt():
                resource.forget()


ALONE = _Alone()
"""Keeps every resource that belongs to no container."""

survive(ALONE)


class Resource(DirectCall, di.Resource[T]):
    """Provides one object that has to be closed: opened at `start()` or at its first use, closed by `stop()`.

    The initialiser is a function or class (its result is used as it is), a generator function that yields once, or a
    function under ``contextmanager``; what follows the yield closes the object. Safe from many threads.

    Args:
        provides: the initialiser.
        args: its positional arguments; providers among them are called.
        kwargs: its keyword arguments, likewise.

    Raises:
        DeclarationError: the initialiser is asynchronous.
        CycleError: at the call, if opening the resource asks for the resource itself.
    """

    __slots__ = (*SLOTS, "_begun", "_closer", "_entered", "_lock", "_opening", "_pid", "_pinger", "_renewer", "keeper")

    keeper: Keeper
    ping_timeout: float

    if TYPE_CHECKING:

        @overload
        def __init__(self, provides: Callable[..., Iterator[T]], *args: Any, **kwargs: Any) -> None: ...
        @overload
        def __init__(self, provides: Callable[..., _GeneratorContextManager[T]], *args: Any, **kwargs: Any) -> None: ...
        @overload
        def __init__(self, provides: Callable[..., T] | str | None = None, *args: Any, **kwargs: Any) -> None: ...

    def __init__(self, provides: Any = None, *args: Any, **kwargs: Any) -> None:
        self.name = ""
        self.keeper = ALONE
        self.ping_timeout = 2.0
        self._lock = ForkLock()
        self._opening = -1
        self._pid = 0
        self._begun: Begun | None = None
        self._entered = False
        self._closer: Callable[[T], Any] | None = None
        self._pinger: Callable[[T], Any] | None = None
        self._renewer: Callable[[T], Any] | None = None
        self._ask()
        super().__init__(provides, *args, **kwargs)

    def __deepcopy__(self, memo: Any) -> Any:
        if self._begun is not None and id(self) not in memo:
            raise StateError(
                f"{label(self)} is open and cannot be copied; it was opened on the container's class, "
                "which only declares: make an instance and open it there"
            )
        copied: Resource[T] = super().__deepcopy__(memo)  # type: ignore[assignment]
        copied._entered, copied._closer = self._entered, self._closer
        copied._pinger, copied._renewer, copied.ping_timeout = self._pinger, self._renewer, self.ping_timeout
        return copied

    def set_provides(self, provides: Any) -> Self:
        """Sets the initialiser; see the class for its forms."""
        return super().set_provides(synchronous(provides, "Resource"))

    def entered(self) -> Resource[Any]:
        """Declares that the initialiser returns a context manager: what it yields is the object, leaving closes it."""
        self._entered = True
        return self

    def closed_by(self, function: Callable[[T], Any]) -> Self:
        """Declares `function`, called with the object, as what closes it (after a generator's own ending)."""
        self._closer = function
        return self

    def pinged_by(self, function: Callable[[T], Any], *, timeout: float = 2.0) -> Self:
        """Declares how `health()` asks whether the object works.

        Args:
            function: called with the object; an exception means that it does not work.
            timeout: seconds after which health stops waiting for the answer.
        """
        self._pinger, self.ping_timeout = function, timeout
        return self

    def renewed_by(self, function: Callable[[T], Any]) -> Self:
        """Declares how the object is made fit for use in a forked child, in place.

        Args:
            function: called in the child with the object; must drop inherited connections without using or
                finalising them. Without one the child forgets the object and opens another at its next use.
        """
        self._renewer = function
        return self

    @property
    def pinger(self) -> Callable[[T], Any] | None:
        """What was declared with `pinged_by()`."""
        return self._pinger

    @property
    def renewer(self) -> Callable[[T], Any] | None:
        """What was declared with `renewed_by()`."""
        return self._renewer

    @property
    def initialized(self) -> bool:
        """Whether it is open."""
        return self._begun is not None

    @property
    def value(self) -> T | None:
        """The open object, without opening it and whatever overrides it; None when closed."""
        return self._begun.value if self._begun is not None else None

    def init(self) -> Any:
        """Opens it if it is not open, and returns the object."""
        return self()

    def shutdown(self) -> None:
        """Closes it if it is open, and first what the container opened on top of it."""
        self.keeper.shut(self)

    def close(self) -> None:
        """Closes it and nothing else; waits for an opening under way. It counts as closed even if closing fails.

        An object of the parent process is forgotten instead: closing it would use the parent's socket.
        """
        with self._lock.current():
            begun, self._begun = self._begun, None
            self._ask()
            if begun is None:
                return
            self.keeper.closed(self)
            inherited = self._pid != os.getpid()
        # Outside the lock: an ending may wait for a thread that is asking for this very object.
        if inherited:
            keep_for_ever(begun)
        else:
            begun.end()

    def adopt(self) -> bool:
        """In a forked child: makes the inherited object fit for use, and says whether that was declared and worked."""
        if self._begun is None or self._renewer is None:
            return False
        try:
            self._renewer(self._begun.value)
        except Exception as failure:  # noqa: BLE001 - nothing may be raised out of a fork
            what = f"{label(self)} could not be renewed in process {os.getpid()} ({type(failure).__name__})"
            warnings.warn(f"{what}; it will be opened anew at its next use", RuntimeWarning, stacklevel=2)
            return False
        self._pid = os.getpid()
        return True

    def forget(self) -> None:
        """In a forked child: drops the inherited object without closing or finalising it."""
        if self._begun is not None:
            keep_for_ever(self._begun)
            self._begun = None
            self._ask()

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self._lock.current():
            if self._begun is None:
                self._begun = self._open(args, kwargs)
                self._pid = os.getpid()
                self.keeper.opened(self)
            self._serve(di.Object(self._begun.value))
            return self._begun.value

    def _open(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Begun:
        if self._opening == generation():
            raise CycleError([label(self), label(self)])
        self._opening = generation()
        try:
            made = caller(self)(*args, **kwargs)
            refuse_asynchronous(self, made)
            return begin(made, entered=self._entered, closer=self._closer)
        except Exception as error:
            error.add_note(f"while opening {label(self)}")
            raise
        finally:
            self._opening = -1
