"""How an object that has an end is begun: called, or entered, and what ends it.

The rule is declared, never guessed from the object. A generator function, a function under ``contextmanager`` and a
class of `dependency_injector.resources` exist to be entered, and are; anything else is used as the function returned
it, unless the declaration says ``.entered()``. (dependency-injector enters whatever has ``__enter__``: a lock comes
out as True and held, a MagicMock as another mock.)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from dependency_injector import providers as di
from dependency_injector.resources import Resource as ResourceClass

from wellwired.errors import DeclarationError

__all__ = ["Begun", "begin", "synchronous"]

Ending = tuple[type[BaseException] | None, BaseException | None, Any]
NO_ERROR: Ending = (None, None, None)

_GENERATED = type(contextmanager(lambda: iter(()))())


class Begun:
    """An object in use, and how to end it once.

    Args:
        value: the object.
        leave: called with the three values of ``__exit__``, or None.
        closer: called with the object, after `leave`, or None.
    """

    __slots__ = ("closer", "leave", "value")

    def __init__(self, value: Any, leave: Callable[..., Any] | None, closer: Callable[[Any], Any] | None) -> None:
        self.value, self.leave, self.closer = value, leave, closer

    def end(self, error: BaseException | None = None) -> None:
        """Ends it; a generator or context manager is told the `error` that ended its use, if any.

        Raises:
            Exception: what the object's own ending raised, except `error` itself passed on.
        """
        told = NO_ERROR if error is None else (type(error), error, error.__traceback__)
        try:
            if self.leave is not None:
                self.leave(*told)
        except BaseException as raised:
            if raised is not error:
                raise
        finally:
            if self.closer is not None:
                self.closer(self.value)


def begin(made: Any, *, entered: bool, closer: Callable[[Any], Any] | None) -> Begun:
    """Enters what was declared to be entered.

    Args:
        made: what the initialiser returned.
        entered: whether the declaration says that it is a context manager.
        closer: the declared function that closes the object.

    Returns:
        The object with its ending.
    """
    if entered or isinstance(made, (_GENERATED, ResourceClass)):
        return Begun(made.__enter__(), made.__exit__, closer)
    return Begun(made, None, closer)


def synchronous(provides: Any, kind: str) -> Any:
    """The initialiser in a form that `begin` knows: a generator function becomes a context manager's.

    Raises:
        DeclarationError: it is asynchronous.
    """
    if isinstance(provides, staticmethod):
        # In a class body, where a container is declared, a static method is not yet the function that it wraps.
        provides = provides.__func__
    if inspect.iscoroutinefunction(provides) or inspect.isasyncgenfunction(provides):
        raise DeclarationError(
            f"{kind} of {provides.__qualname__}: an asynchronous initialiser cannot serve synchronous callers; "
            "construct the object without awaiting (pools connect at first use), and close it with .closed_by()"
        )
    return contextmanager(provides) if inspect.isgeneratorfunction(provides) else provides


def caller(provider: Any) -> di.Callable[Any]:
    """A provider that calls the initialiser of `provider` with its declared arguments, each time."""
    call: di.Callable[Any] = di.Callable().set_provides(provider.provides)
    return call.set_args(*provider.args).set_kwargs(**provider.kwargs)
