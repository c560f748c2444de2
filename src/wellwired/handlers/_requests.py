"""Many requests of one type, as a batch hands them to a handler: each is made when it is asked for.

A handler for a table needs the payloads and nothing else, and a thousand request objects cost as much as a third of
the INSERT. Every slice makes requests of its own, with plain payloads copied, so that what one try does to a payload
does not reach the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from wellwired.handlers.payload import detached
from wellwired.operations import WriteRequest

__all__ = ["Requests", "payloads_of"]


class Requests(Sequence[WriteRequest]):
    """Requests of one type whose payloads have been converted; for one thread.

    Args:
        originals: the requests as they came.
        payloads: their converted payloads, by position; None if the originals have them.
    """

    __slots__ = ("_made", "originals", "payloads")

    def __init__(self, originals: Sequence[WriteRequest], payloads: Sequence[Any] | None = None) -> None:
        self.originals = originals
        self.payloads = [request.payload for request in originals] if payloads is None else payloads
        self._made: dict[int, WriteRequest] = {}

    def __len__(self) -> int:
        return len(self.originals)

    @overload
    def __getitem__(self, at: int) -> WriteRequest: ...
    @overload
    def __getitem__(self, at: slice) -> Requests: ...
    def __getitem__(self, at: int | slice) -> WriteRequest | Requests:
        """One request, the same object each time; or some of them, with payloads of their own."""
        if isinstance(at, slice):
            return Requests(self.originals[at], self.payloads[at])
        made = self._made.get(at)
        if made is None:
            made = self._made[at] = self._make(at)
        return made

    def _make(self, at: int) -> WriteRequest:
        one, payload = self.originals[at], detached(self.payloads[at])
        if payload is one.payload:
            return one
        return WriteRequest(one.target, one.type, payload, one.meta, one.timeout, one.idempotency_key, one.changes)

    def chosen(self, positions: Sequence[int]) -> Requests:
        """Those at some positions, in that order, with payloads of their own."""
        if len(positions) == len(self):
            return self[:]
        return Requests([self.originals[at] for at in positions], [self.payloads[at] for at in positions])


def payloads_of(requests: Sequence[WriteRequest]) -> Sequence[Any]:
    """The payloads of many requests, not to be changed.

    Args:
        requests: a `Requests`, or any sequence.
    """
    return requests.payloads if isinstance(requests, Requests) else [request.payload for request in requests]
