"""The onion: layers around an endpoint, for writes and for stores alike.

A middleware is a function that is given the next call and returns the call that goes around it::

    def audited(next):
        def call(operation):
            ...                      # on the way in
            result = next(operation)
            ...                      # on the way out
            return result
        return call

It is called once, when the chain is built, and not at every operation. **What was registered later runs first**: the
last middleware in the sequence is the outermost. Nothing here knows what flows through, nor whether a call returns a
value or an awaitable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from wellwired.errors import RegistrationError
from wellwired.operations import StoreOperation, WriteOperation, WriteResult

__all__ = ["Middleware", "Next", "StoreMiddleware", "StoreNext", "WriteMiddleware", "WriteNext", "chain"]

In = TypeVar("In")
Out = TypeVar("Out")

Next: TypeAlias = Callable[[In], Out]
"""The rest of the way: takes an operation, gives its result."""

Middleware: TypeAlias = Callable[[Callable[[In], Out]], Callable[[In], Out]]
"""Takes the next call, gives the call around it."""

WriteNext: TypeAlias = Callable[[WriteOperation], WriteResult[Any]]
"""The rest of a write's way."""

WriteMiddleware: TypeAlias = Callable[[WriteNext], WriteNext]
"""Middleware around writes."""

StoreNext: TypeAlias = Callable[[StoreOperation], Any]
"""The rest of the way of a store's operation."""

StoreMiddleware: TypeAlias = Callable[[StoreNext], StoreNext]
"""Middleware around the operations of a store."""


def chain(endpoint: Callable[[In], Out], middleware: Iterable[Middleware[In, Out]] = ()) -> Callable[[In], Out]:
    """Builds the call that goes through every middleware and ends at the endpoint.

    Args:
        endpoint: the innermost call.
        middleware: in the order of registration; the last one runs first.

    Returns:
        The outermost call; the endpoint itself if there is no middleware.

    Raises:
        RegistrationError: something in the sequence is no middleware, or gave nothing that can be called.
    """
    call = endpoint
    for layer in middleware:
        if not callable(layer):
            raise RegistrationError(f"{_name(layer)} is no middleware: it cannot be called")
        call = layer(call)
        if not callable(call):
            raise RegistrationError(f"middleware {_name(layer)} gave no call; it must return the function it defines")
    return call


def _name(layer: object) -> str:
    given = getattr(layer, "__qualname__", None)
    return given if isinstance(given, str) else type(layer).__qualname__
