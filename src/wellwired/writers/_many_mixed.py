"""One handler for requests of several types, for an atomic batch: each goes to the handler of its own type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest

__all__ = ["Mixed", "mixed"]


class Mixed:
    """See the module; safe to share by threads.

    Args:
        handlers: by type; on one backend.
    """

    type = "batch"

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = dict(handlers)
        several = self._handlers.values()
        self.backend = getattr(next(iter(several)), "backend", "")
        self.idempotent = all(getattr(one, "idempotent", False) for one in several)
        self.uses_client = any(getattr(one, "uses_client", False) for one in several)
        self.fenced = all(getattr(one, "fenced", False) for one in several)
        # Without any of them one by one is better: then it is known who failed.
        self.handle_many = self._many if any(_many_of(one) for one in several) else None

    def handle(self, request: WriteRequest, connection: Any, /) -> Any:
        """Does one request with the handler of its type."""
        return self._handlers[request.type].handle(request, connection)

    def _many(self, requests: Sequence[WriteRequest], connection: Any, /) -> list[Any]:
        data: list[Any] = []
        for kind, run in groupby(requests, key=lambda request: request.type):
            some = list(run)
            many = _many_of(self._handlers[kind])
            if many is None:
                data += [self.handle(request, connection) for request in some]
                continue
            given = many(some, connection)
            if len(given) != len(some):
                raise ValueError(f"handle_many of {kind!r} returned {len(given)} values for {len(some)} requests")
            data += given
        return data


def mixed(handlers: Mapping[str, Handler]) -> Handler:
    """The handler itself if there is one type, or one for all of them."""
    return next(iter(handlers.values())) if len(handlers) == 1 else Mixed(handlers)


def _many_of(handler: Handler) -> Any:
    return getattr(handler, "handle_many", None)
