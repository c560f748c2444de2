"""What a handler must be, and what it may say about itself.

A handler does one type of write on one kind of backend. It is anything with a `type` and a `handle`; the optional
attributes below are looked up by name, so a plain class needs to inherit nothing. `traits` reads them in one place
and gives the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from wellwired.errors import RegistrationError
from wellwired.operations import WriteRequest

__all__ = ["Handler", "HandlerTraits", "traits"]

PayloadModel: TypeAlias = type[Any]
"""A pydantic model, a msgspec struct, a dataclass or a TypedDict."""

NamesChanges: TypeAlias = Callable[[WriteRequest], Mapping[str, Iterable[str]]]
"""Names the keys of layered stores that a request changes, by the store's dotted name."""


@runtime_checkable
class Handler(Protocol):
    """One type of write on one kind of backend; shared by threads.

    Optional attributes, each with its default:

    - ``backend: str = ""`` - the kind of backend it is for, ``"sql"`` or ``"redis"``; empty for any.
    - ``payload_model: type | None = None`` - the payload is converted to it before anything is sent.
    - ``idempotent: bool = False`` - doing it twice leaves what doing it once leaves, so a write whose outcome is
      unknown may be sent again.
    - ``uses_client: bool = False`` - Redis only: it wants the client and not a MULTI pipeline.
    - ``fenced: bool = False`` - Redis only: what it queues is sent as a script that does nothing once the deadline has
      passed, and not as a MULTI block. The ready-made handlers are.
    - ``changes(request) -> Mapping`` - the keys of layered stores that the write changes, by the store's dotted name,
      such as ``{"stores.users": ["user:1"]}``. It is asked before anything is sent, with the payload converted, and
      must only look at the request; after the commit the copies of these keys are evicted.
    - ``handle_many(requests, connection) -> Sequence`` - does many requests of its type at once, with one statement
      for example, and returns the data of each by position. What it raises undoes all of them; the writer then finds
      out by halves which request was to blame, and calls `handle` for one that is alone.
    """

    @property
    def type(self) -> str:
        """The request type it does; it never changes."""
        ...

    def handle(self, request: WriteRequest, connection: Any, /) -> Any:
        """Does the write with the connection of the transaction that the writer opened for it.

        It may run more than once for one request, each time in a fresh transaction and with a payload of its own. It
        must not commit or roll back, and must not keep the connection. Whatever it raises rolls the transaction back:
        a `WriteError` reaches the caller as it is, the backend's own errors are classified by their code, and
        anything else is a fault of the handler.

        Args:
            request: the request, its payload already converted to the payload model if there is one.
            connection: what the writer hands out: an SQLAlchemy connection, a Redis pipeline or client, a mapping.

        Returns:
            What becomes the `data` of the `WriteResult`.
        """
        ...


@dataclass(frozen=True, slots=True)
class HandlerTraits:
    """The optional attributes of a handler, defaults filled in.

    Args:
        backend: the kind of backend it is for, or "" for any.
        payload_model: what its payload is converted to, or None for a plain mapping.
        idempotent: whether doing it twice is harmless.
        uses_client: whether it wants the Redis client itself.
        changes: names the keys of layered stores that a request changes, or None.
        fenced: whether what it queues on Redis does nothing once the deadline has passed.
    """

    backend: str = ""
    payload_model: PayloadModel | None = None
    idempotent: bool = False
    uses_client: bool = False
    changes: NamesChanges | None = None
    fenced: bool = False


def traits(handler: Handler) -> HandlerTraits:
    """The optional attributes of a handler, with the default for each that it does not have.

    Args:
        handler: any handler.

    Returns:
        Its traits, to be read once and kept.

    Raises:
        RegistrationError: an attribute is of the wrong kind, or the handler has no usable `type` or `handle`.
    """
    name = type(handler).__name__
    kind = getattr(handler, "type", None)
    if not isinstance(kind, str) or not kind:
        raise RegistrationError(f"{name} is no handler: its `type` must be a string that is not empty")
    if not callable(getattr(handler, "handle", None)):
        raise RegistrationError(f"{name} is no handler: it has no method `handle(request, connection)`")
    backend = getattr(handler, "backend", "")
    model = getattr(handler, "payload_model", None)
    if not isinstance(backend, str):
        raise RegistrationError(f"the handler of {kind!r} has a `backend` that is no string")
    if model is not None and not isinstance(model, type):
        raise RegistrationError(f"the handler of {kind!r} has a `payload_model` that is no class")
    idempotent, uses_client = getattr(handler, "idempotent", False), getattr(handler, "uses_client", False)
    for name in ("changes", "handle_many"):
        given = getattr(handler, name, None)
        if given is not None and not callable(given):
            raise RegistrationError(f"the handler of {kind!r} has `{name}` that is no function")
    changes = getattr(handler, "changes", None)
    fenced = bool(getattr(handler, "fenced", False))
    return HandlerTraits(backend, model, bool(idempotent), bool(uses_client), changes, fenced)
