"""A function around the methods of one object, which stays that object: how spies and faults come between.

A stand-in that forwards would have another class, and what an object is able to do is found by `isinstance`; and who
holds on to the object would not meet the stand-in. So the object gets another class for a while: a subclass of its own
without state, whose methods lead through the function. Methods that lie in the object itself, as a handler's function
does, are replaced there. Only calls from outside are led so: what a method calls on its own object is its own affair.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from wellwired.errors import StateError

__all__ = ["Around", "intercepted", "methods_of"]

Around: TypeAlias = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Given the name of the method, the method itself and the arguments of the call; makes the call, or does not."""

_inside: ContextVar[frozenset[_Led]] = ContextVar("wellwired_intercepting", default=frozenset())


def methods_of(target: object) -> tuple[str, ...]:
    """The public methods of an object, sorted: those of its class, and functions that it holds itself.

    Args:
        target: any object.
    """
    of_class = {name for cls in type(target).__mro__ if cls is not object for name, _ in _functions(vars(cls))}
    return tuple(sorted(of_class | {name for name, _ in _functions(getattr(target, "__dict__", {}))}))


def _functions(namespace: Any) -> Iterable[tuple[str, Any]]:
    for name, value in namespace.items():
        if not name.startswith("_") and isinstance(value, types.FunctionType | types.MethodType):
            yield name, value


@contextmanager
def intercepted(target: Any, around: Around, names: Iterable[str] | None = None) -> Generator[None]:
    """Leads calls of an object's methods through a function, inside a block; afterwards the object is as it was.

    Blocks may stand in one another, and then have to end in turn.

    Args:
        target: the object.
        around: the function.
        names: of which methods; None for all public ones.

    Raises:
        StateError: the class of the object cannot be changed.
    """
    led = _Led(around)
    chosen = tuple(methods_of(target) if names is None else names)
    held = {name: value for name, value in getattr(target, "__dict__", {}).items() if name in chosen}
    before = type(target)
    try:
        object.__setattr__(target, "__class__", led.below(before, [name for name in chosen if name not in held]))
    except TypeError as error:
        raise StateError(
            f"calls of a {before.__qualname__} cannot be intercepted ({error}); override it with an object of your own"
        ) from error
    if held:
        vars(target).update({name: led.through(name, value) for name, value in held.items()})
    try:
        yield
    finally:
        if held:
            vars(target).update(held)
        object.__setattr__(target, "__class__", before)


class _Led:
    """One interception."""

    def __init__(self, around: Around) -> None:
        self._around = around

    def below(self, cls: type, names: Iterable[str]) -> type:
        """A class whose methods of these names lead through the function."""
        own: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        made: type = types.new_class(cls.__name__, (cls,), exec_body=lambda body: body.update(own, __slots__=()))
        for name in names:
            setattr(made, name, functools.wraps(getattr(cls, name))(self._method(made, name)))
        return made

    def _method(self, cls: type, name: str) -> Callable[..., Any]:
        def lead(this: Any, *args: Any, **kwargs: Any) -> Any:
            return self._call(name, getattr(super(cls, this), name), args, kwargs)

        return lead

    def through(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function in the place of one that an object holds."""

        @functools.wraps(function)
        def lead(*args: Any, **kwargs: Any) -> Any:
            return self._call(name, function, args, kwargs)

        return lead

    def _call(self, name: str, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inside = _inside.get()
        if self in inside:
            return call(*args, **kwargs)
        token = _inside.set(inside | {self})
        try:
            return self._around(name, call, args, kwargs)
        finally:
            _inside.reset(token)
