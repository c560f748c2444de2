"""Which keys of which layered stores a write changes: what its request names, and what its handler names.

Plain rules. The names are collected once, before anything is sent, so that a wrong one is an INVALID_REQUEST and not
a surprise after the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wellwired.errors import InvalidRequestError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest

__all__ = ["Changes", "changed", "merged"]


class Changes(dict[str, tuple[str, ...]]):
    """Keys by the dotted name of their store, complete for one type and payload.

    Args:
        type: the request's type, which says whose handler was asked.
        payload: what the handler was asked about.
    """

    __slots__ = ("payload", "type")

    def __init__(self, type: str = "", payload: Any = None) -> None:
        super().__init__()
        self.type, self.payload = type, payload

    def serves(self, request: WriteRequest) -> bool:
        """Whether it is complete for a request; a middleware may have made another one of it."""
        return self.type == request.type and self.payload is request.payload

    def add(self, said: Any, request: WriteRequest, who: str) -> None:
        """Takes up keys by store, each once; raises `InvalidRequestError` if they are no such thing."""
        if not isinstance(said, Mapping):
            raise _wrong(request, f"{who} must be a mapping from a store's name to keys")
        for store, keys in said.items():
            if not isinstance(store, str) or isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
                raise _wrong(request, f"{who} must be a mapping from a store's name to several keys")
            listed = tuple(keys)
            if not all(isinstance(key, str) for key in listed):
                raise _wrong(request, f"{who} must have strings for keys")
            self[store] = tuple(dict.fromkeys((*self.get(store, ()), *listed)))


def changed(request: WriteRequest, handler: Handler | None) -> Changes:
    """The keys that a write changes.

    Args:
        request: its payload converted to the handler's model.
        handler: who does it; its optional attribute `changes` is asked.

    Raises:
        InvalidRequestError: what the request or the handler names is no mapping from names to keys.
    """
    own = request.changes
    if isinstance(own, Changes) and own.serves(request):
        return own
    found = Changes(request.type, request.payload)
    found.add(own, request, "changes")
    asked = getattr(handler, "changes", None)
    if asked is not None:
        found.add(asked(request), request, "what the handler's changes() gives")
    return found


def merged(many: Iterable[Mapping[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """The keys of several writes by store, each once."""
    together: dict[str, dict[str, None]] = {}
    for changes in many:
        for store, keys in changes.items():
            together.setdefault(store, {}).update(dict.fromkeys(keys))
    return {store: tuple(keys) for store, keys in together.items()}


def _wrong(request: WriteRequest, rule: str) -> InvalidRequestError:
    return InvalidRequestError(rule, target=request.target, type=request.type, reason="changes")
