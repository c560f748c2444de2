"""Which handler does which type of write.

A registry is filled while an application is being wired and read by every write, so reading takes no lock: each
change is one atomic step of a dict, and a reader sees the dict before or after it. A handler is filed under its
backend and its type; one without a backend serves every backend that has no handler of its own for the type.
"""

from __future__ import annotations

from collections.abc import Iterator

from wellwired.errors import RegistrationError
from wellwired.handlers.payload import converter
from wellwired.handlers.protocol import Handler, traits

__all__ = ["Registry"]


class Registry:
    """A set of handlers, found by type and backend; safe to share by threads.

    Args:
        handlers: registered in this order.

    Raises:
        RegistrationError: see `register`.
    """

    def __init__(self, *handlers: Handler) -> None:
        self._handlers: dict[tuple[str, str], Handler] = {}
        for handler in handlers:
            self.register(handler)

    def register(self, handler: Handler, *, replace: bool = False) -> None:
        """Adds a handler; it serves every write that starts after this returns.

        Args:
            handler: what to add. To add the same object again changes nothing.
            replace: whether it may take the place of another of its backend and type.

        Raises:
            RegistrationError: it is no handler, its payload model cannot be one, or its place is taken and `replace`
                is not given.
        """
        said = traits(handler)
        if said.payload_model is not None:
            converter(said.payload_model)
        key = (said.backend, handler.type)
        if replace:
            self._handlers[key] = handler
            return
        taken = self._handlers.setdefault(key, handler)
        if taken is not handler:
            backend = f"backend {key[0]!r}" if key[0] else "any backend"
            raise RegistrationError(
                f"{key[1]!r} for {backend} already has a handler, {_name(taken)}; {_name(handler)} needs another "
                "type, or replace=True to take its place"
            )

    def find(self, type: str, backend: str = "") -> Handler | None:
        """The handler of a type on a backend; takes no lock.

        Args:
            type: the request's type.
            backend: the kind of backend; its own handler is preferred to one for any backend.

        Returns:
            The handler, or None if there is none.
        """
        found = self._handlers.get((backend, type))
        if found is None and backend:
            return self._handlers.get(("", type))
        return found

    def types(self, backend: str | None = None) -> tuple[str, ...]:
        """The types that are known, sorted.

        Args:
            backend: only those that `find` would find for this backend; None for all.
        """
        known = tuple(self._handlers)
        return tuple(sorted({kind for where, kind in known if backend is None or where in ("", backend)}))

    def __iter__(self) -> Iterator[Handler]:
        """The handlers in the order of registration, as they were when this was called."""
        return iter(tuple(self._handlers.values()))

    def __len__(self) -> int:
        return len(self._handlers)

    def __repr__(self) -> str:
        return f"Registry({', '.join(self.types())})"


def _name(handler: Handler) -> str:
    given = getattr(handler, "__qualname__", None)
    return given if isinstance(given, str) else type(handler).__qualname__
