"""Makes a handler of a function.

Most handlers are a few lines that need no state. `handler` files such a function under a type, and the function can
still be called by itself, in a test or by another handler.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from wellwired.handlers.protocol import NamesChanges, PayloadModel, traits
from wellwired.operations import WriteRequest

__all__ = ["FunctionHandler", "handler"]

C_contra = TypeVar("C_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class FunctionHandler(Generic[C_contra, R_co]):
    """A handler around a function; made by `handler`.

    Args:
        function: called with the request and the connection; safe to call from many threads at once.
        type: the request type it does.
        backend: the kind of backend it is for, or "" for any.
        payload_model: what the payload is converted to first, or None for a plain mapping.
        idempotent: whether doing it twice is harmless.
        uses_client: Redis only: whether it wants the client and not a MULTI pipeline.
        changes: names the keys of layered stores that a request changes; None for none.
        fenced: Redis only: whether what it queues does nothing once the deadline has passed; a script does it then.
        many: does many requests at once, given all of them and the connection, and returns the data of each by
            position; None if they are to be done one by one.

    Raises:
        RegistrationError: an argument is of the wrong kind.
    """

    def __init__(
        self,
        function: Callable[[WriteRequest, C_contra], R_co],
        *,
        type: str,
        backend: str = "",
        payload_model: PayloadModel | None = None,
        idempotent: bool = False,
        uses_client: bool = False,
        changes: NamesChanges | None = None,
        fenced: bool = False,
        many: Callable[[Sequence[WriteRequest], C_contra], Sequence[R_co]] | None = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.type = type
        self.backend = backend
        self.payload_model = payload_model
        self.idempotent = idempotent
        self.uses_client = uses_client
        self.changes = changes
        self.fenced = fenced
        # An instance attribute, so that a write calls the function without a frame in between.
        self.handle = function
        self.handle_many = many
        traits(self)

    def __call__(self, request: WriteRequest, connection: C_contra, /) -> R_co:
        """Calls the function itself; nothing is validated."""
        return self.handle(request, connection)

    def __repr__(self) -> str:
        return f"<handler of {self.type!r}{f' for {self.backend!r}' if self.backend else ''}>"


def handler(
    type: str,
    *,
    backend: str = "",
    payload: PayloadModel | None = None,
    idempotent: bool = False,
    uses_client: bool = False,
    changes: NamesChanges | None = None,
    fenced: bool = False,
    many: Callable[[Sequence[WriteRequest], Any], Sequence[Any]] | None = None,
) -> Callable[[Callable[[WriteRequest, Any], R_co]], FunctionHandler[Any, R_co]]:
    """Decorates a function of a request and a connection into a handler; it stays callable.

    Args:
        type: the request type it does.
        backend: the kind of backend it is for, such as ``"sql"``; "" for any.
        payload: the model that payloads are converted to: pydantic, msgspec, dataclass or TypedDict.
        idempotent: whether doing it twice is harmless; then a write with an unknown outcome may be sent again.
        uses_client: Redis only: whether it wants the client and not a MULTI pipeline.
        changes: names the keys of layered stores that a request changes; None for none.
        fenced: Redis only: whether what it queues does nothing once the deadline has passed; a script does it then.
        many: does many requests at once, given all of them and the connection, and returns the data of each by
            position; None if they are to be done one by one. See `Handler` about `handle_many`.

    Returns:
        The decorator.

    Raises:
        RegistrationError: an argument is of the wrong kind.
    """

    def decorate(function: Callable[[WriteRequest, Any], R_co]) -> FunctionHandler[Any, R_co]:
        return FunctionHandler(
            function,
            type=type,
            backend=backend,
            payload_model=payload,
            idempotent=idempotent,
            uses_client=uses_client,
            changes=changes,
            fenced=fenced,
            many=many,
        )

    return decorate
