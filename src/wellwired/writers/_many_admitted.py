"""What is known about the requests of a group before anything is sent: payloads, keys, changes, and what is wrong.

It is what a single write is checked for, in one go: nearly always all payloads fit their model and nothing else is said
about a request, and then no request is looked at by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import InvalidRequestError, WriteError
from wellwired.handlers._requests import Requests
from wellwired.handlers.payload import validate_many
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest
from wellwired.writers._aftermath import Aftermath
from wellwired.writers._answers import error_for
from wellwired.writers._endpoint import unusable
from wellwired.writers._keys import fingerprint
from wellwired.writers._many_chunk import Chunk
from wellwired.writers._many_plan import Repeats, repeats_in
from wellwired.writers.admission import repeatable
from wellwired.writers.protocol import Writer, WritesMany

__all__ = ["Admitted", "Distinct"]


class Admitted:
    """The requests of a group with what was found out about them before anything is sent.

    Args:
        writer: their writer.
        handler: their handler.
        requests: the requests as they came.
        aftermath: names the keys that they change.
        plain: whether it is known that none has a timeout, a key or changes of its own.
    """

    def __init__(
        self, writer: Writer, handler: Handler, requests: list[WriteRequest], aftermath: Aftermath, *, plain: bool
    ) -> None:
        self.writer, self.handler, self.requests = writer, handler, requests
        self.timeout = requests[0].timeout
        self.faults: dict[int, WriteError] = {}
        self.mixed = not plain and len({request.timeout for request in requests}) > 1
        self.keyed = False
        self._again: list[bool] = [bool(getattr(handler, "idempotent", False))] * len(requests)
        self._payloads, self.faults = self._validated()
        names = getattr(handler, "changes", None) is not None
        for position, request in enumerate(requests) if names or not plain else ():
            if names or request.idempotency_key is not None or request.changes:
                self._look_closer(position, request, aftermath)

    def _validated(self) -> tuple[list[Any], dict[int, WriteError]]:
        payloads, faults = validate_many(self.handler, self.requests)
        return payloads, dict(faults)

    def _look_closer(self, position: int, request: WriteRequest, aftermath: Aftermath) -> None:
        if position in self.faults:
            return
        try:
            self._again[position] = repeatable(request, self.handler, self.writer)
            if request.changes or getattr(self.handler, "changes", None) is not None:
                converted = request.with_payload(self._payloads[position])
                changes = aftermath.admitted(converted, self.handler)
                self.requests[position] = replace(request, changes=changes)
        except WriteError as error:
            self.faults[position] = error
        except Exception as error:  # noqa: BLE001 - it becomes the answer
            self.faults[position] = error_for(unusable(error), request)
        self.keyed = self.keyed or request.idempotency_key is not None

    def open(self) -> list[int]:
        """The positions of those that were not refused."""
        if not self.faults:
            return list(range(len(self.requests)))
        return [at for at in range(len(self.requests)) if at not in self.faults]

    def repeats(self, positions: Sequence[int]) -> Distinct:
        """Which of some are there twice, by their idempotency keys."""
        if not self.keyed or not getattr(self.writer, "keeps_keys", False):
            return Distinct(positions, {}, {})
        keys: list[tuple[str, str] | None] = [self._key(at) for at in positions]
        found: Repeats = repeats_in(keys)
        return Distinct(
            [positions[at] for at in found.first],
            {positions[at]: positions[first] for at, first in found.same.items()},
            {positions[at]: _reused(self.requests[positions[at]]) for at in found.reused},
        )

    def _key(self, position: int) -> tuple[str, str] | None:
        request = self.requests[position]
        if request.idempotency_key is None:
            return None
        try:
            print_ = fingerprint(self._payloads[position])
        except (TypeError, ValueError):
            print_ = f"none-{position}"  # the writer refuses it
        return f"{request.type}/{request.idempotency_key}", print_

    def chunk(self, positions: Sequence[int], began: float, deadline: Deadline, atomic: bool) -> Chunk:
        """Some of them, ready to be written."""
        assert isinstance(self.writer, WritesMany), "it was checked"
        whole = Requests(self.requests, self._payloads)
        again = self._again if len(positions) == len(self._again) else [self._again[at] for at in positions]
        requests, name = whole.chosen(positions), self.writer.name
        return Chunk(self.writer, name, self.handler, requests, again, deadline, began, atomic)


class Distinct:
    """See `Repeats`, with the positions of a group, and the errors of what is to be refused."""

    __slots__ = ("first", "reused", "same")

    def __init__(self, first: Sequence[int], same: Mapping[int, int], reused: Mapping[int, WriteError]) -> None:
        self.first, self.same, self.reused = first, same, reused


def _reused(request: WriteRequest) -> InvalidRequestError:
    return InvalidRequestError(
        "this idempotency key is in the batch before, with another payload; a new write needs a new key",
        target=request.target,
        type=request.type,
        reason="key_reused",
    )
