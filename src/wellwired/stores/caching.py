"""`cached`: a decorator that puts a layered store in front of a function or method.

The function is the loader: it is called for what the store does not have, once at a time for a key in this process. Its
key is built of its arguments, so that different arguments never share one, or by a function of the same arguments.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from wellwired.stores.delegated import DelegatedStore
from wellwired.stores.keys import build_key
from wellwired.stores.lookups import Lookup
from wellwired.stores.receipts import Receipt

__all__ = ["Cached", "Caching", "cached"]

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Cached(Generic[P, R]):
    """A function with a store in front of it; as safe for threads as the function is.

    It is called like the function. `__wrapped__` is the function itself.

    Args:
        function: what gives the values.
        find: gives the store.
        name: gives the key of a call's arguments.
        ttl: seconds for which a value is fresh at most.
        deadline: seconds in which a call is answered.
    """

    def __init__(
        self,
        function: Callable[P, R],
        find: Callable[[], DelegatedStore[Any]],
        name: Callable[P, str],
        *,
        ttl: float | None,
        deadline: float | None,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function, self._find, self._name = function, find, name
        self._ttl, self._deadline = ttl, deadline

    def __repr__(self) -> str:
        return f"<cached {getattr(self._function, '__qualname__', self._function)}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Gives what the function gives for these arguments, from the store if that has it.

        Raises:
            StoreError: as `DelegatedStore.get_or_load` does.
            Exception: what the function raises.
        """
        answer: R = self._find().get_or_load(
            self._name(*args, **kwargs),
            lambda _: self._function(*args, **kwargs),
            ttl=self._ttl,
            deadline=self._deadline,
        )
        return answer

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key under which the store has the value for these arguments."""
        return self._name(*args, **kwargs)

    def lookup(self, *args: P.args, **kwargs: P.kwargs) -> Lookup[R]:
        """Says what the store has for these arguments; never calls the function."""
        return self._find().lookup(self._name(*args, **kwargs))

    def forget(self, *args: P.args, **kwargs: P.kwargs) -> Receipt:
        """Removes the value for these arguments from every layer; see `DelegatedStore.delete`."""
        return self._find().delete(self._name(*args, **kwargs))

    @overload
    def __get__(self, instance: None, owner: type) -> Cached[P, R]: ...
    @overload
    def __get__(self: Cached[Concatenate[S, Q], R], instance: S, owner: type) -> Cached[Q, R]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        """The function bound to an object, when it is a method."""
        if instance is None:
            return self
        return Cached(
            MethodType(self._function, instance),
            self._find,
            MethodType(self._name, instance),
            ttl=self._ttl,
            deadline=self._deadline,
        )


class Caching(Protocol):
    """A decorator that keeps the parameters and the result of what it decorates."""

    def __call__(self, function: Callable[P, R], /) -> Cached[P, R]:
        """The function with a store in front of it."""
        ...


def cached(
    store: DelegatedStore[Any] | Callable[[], DelegatedStore[Any]],
    *,
    key: str | Callable[..., str],
    ttl: float | None = None,
    deadline: float | None = None,
) -> Caching:
    """Puts a store in front of a function or a method.

    Example::

        @cached(lambda: shop.stores["users"](), key="user", ttl=60)
        def user(user_id: int) -> User: ...

    Args:
        store: the store, or a function that gives it, for one that is not there yet when the module is imported.
        key: what every key begins with, followed by the arguments, a method's own object left out (so objects of one
            class share values); or a function of the same arguments, the object included, that gives the whole key.
        ttl: seconds for which a value is fresh at most.
        deadline: seconds in which a call is answered, as for `DelegatedStore.get_or_load`.

    Returns:
        A decorator.

    Raises:
        ValueError: the key is to be built of the arguments of a function that takes any number of them.
    """
    find = (lambda: store) if isinstance(store, DelegatedStore) else store

    def decorate(function: Callable[P, R]) -> Cached[P, R]:
        name = _named(key, function) if isinstance(key, str) else key
        return Cached(function, find, name, ttl=ttl, deadline=deadline)

    return decorate


def _named(first: str, function: Callable[..., Any]) -> Callable[..., str]:
    """Builds keys of the arguments that a call of the function has, those left to their defaults included."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if any(parameter.kind in _VARIADIC for parameter in parameters):
        raise ValueError(f"{function.__qualname__} takes any number of arguments; give its key as a function of them")
    # What stands first in a function within a class is the object, unless it is a static method.
    inside = "." in function.__qualname__.rpartition("<locals>.")[2]
    skip = 1 if inside and parameters and parameters[0].name in ("self", "cls") else 0

    def name(*args: Any, **kwargs: Any) -> str:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return build_key(first, *list(bound.arguments.values())[skip:])

    return name
