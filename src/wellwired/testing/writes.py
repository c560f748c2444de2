"""What was written: every write that a write manager has led, with what became of it, and assertions one can read.

`RecordedWrites` is a middleware. As the last one registered it is the outermost: it sees each write once, whatever is
retried inside, and what its caller gets. A request that is refused (its target or type is unknown, its payload wrong)
never comes that far. A write inside a transaction is what the transaction becomes: until its end it counts as open.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wellwired.errors import Outcome, WriteError
from wellwired.handlers.payload import detached
from wellwired.middleware.batches import BatchNext
from wellwired.middleware.chain import WriteNext
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.writers._ledger import Line
from wellwired.writers._transacting import writing_in
from wellwired.writers.transactions import WriteTransaction

__all__ = ["RecordedWrites", "Written"]


class Written:
    """One write and what became of it.

    Args:
        request: as it reached the middleware, its payload converted to the handler's model.
        writer: the name of the writer.
        answer: its result, or its error.
        inside: the transaction that it is a part of, and what that knows of it; None if it is by itself.
    """

    def __init__(
        self,
        request: WriteRequest,
        writer: str,
        answer: WriteResult[Any] | WriteError,
        inside: tuple[WriteTransaction, Line] | None = None,
    ) -> None:
        self.request, self.writer = request, writer
        self._answer, self._inside = answer, inside

    @property
    def result(self) -> WriteResult[Any] | None:
        """What its caller got, or None if that was an error."""
        return self._answer if isinstance(self._answer, WriteResult) else None

    @property
    def error(self) -> WriteError | None:
        """What it failed with, or its transaction, if it is a part of one; None if it took effect or is open."""
        if isinstance(self._answer, WriteError):
            return self._answer
        if self._inside is None:
            return None
        transaction, line = self._inside
        return transaction._became(line)

    @property
    def open(self) -> bool:
        """Whether its transaction has not ended."""
        return self._inside is not None and not self._inside[0]._over

    @property
    def applied(self) -> bool:
        """Whether it took effect; or has left that to a transaction around it, if its result is `pending`.

        What becomes of that one nobody is told: look into the database if it may have been rolled back.
        """
        return self.result is not None and self.error is None and not self.open

    def __repr__(self) -> str:
        return f"{self.request.target} {self.request.type} {self.request.payload!r}: {self._became()}"

    def _became(self) -> str:
        error = self.error
        if error is not None:
            reason = f" ({error.reason})" if error.reason else ""
            return f"{error.code} {error.outcome}{reason}"
        if self.open:
            return "in a transaction that is still open"
        earlier = ", by an earlier write with its key" if self.result and self.result.replayed else ""
        waits = ", if the transaction around it is committed" if self.result and self.result.pending else ""
        return f"written{earlier}{waits}"


class RecordedWrites(Sequence[Written]):
    """The writes of a test, in the order in which they ended; safe to share by threads.

    Register it as the last middleware, ``manager.use(writes)``; the fixture `wellwired_writes` does so by overriding
    ``write_middleware``. Batches stay batches.
    """

    def __init__(self) -> None:
        self._writes: list[Written] = []
        self._lock = threading.Lock()

    def __call__(self, next: WriteNext) -> WriteNext:
        """The middleware of single writes."""

        def record(operation: WriteOperation) -> WriteResult[Any]:
            request = _as_it_is(operation.request)
            inside = writing_in(operation.writer)
            try:
                result = next(operation)
            except WriteError as error:
                self._add([Written(request, operation.writer, error, inside)])
                raise
            self._add([Written(request, operation.writer, result, inside)])
            return result

        return record

    def many(self, next: BatchNext) -> BatchNext:
        """The middleware of batches."""

        def record(operations: Sequence[WriteOperation]) -> Sequence[WriteResult[Any] | WriteError]:
            requests = [_as_it_is(operation.request) for operation in operations]
            answers = next(operations)
            triples = zip(requests, operations, answers, strict=True)
            self._add([Written(request, one.writer, answer) for request, one, answer in triples])
            return answers

        return record

    def _add(self, writes: Sequence[Written]) -> None:
        with self._lock:
            self._writes.extend(writes)

    # --- looking

    def __getitem__(self, index: Any) -> Any:
        return self._writes[index]

    def __len__(self) -> int:
        return len(self._writes)

    def __iter__(self) -> Iterator[Written]:
        return iter(tuple(self._writes))

    def __repr__(self) -> str:
        return f"<{len(self)} recorded writes>"

    def clear(self) -> None:
        """Forgets what has been recorded."""
        with self._lock:
            self._writes.clear()

    def of(self, target: str | None = None, type: str | None = None) -> list[Written]:
        """Those to a target, of a type, or both; failed ones are among them.

        Args:
            target: the target that the request names; None for any.
            type: the type of the request; None for any.
        """
        return [one for one in self if target in (None, one.request.target) and type in (None, one.request.type)]

    # --- asserting

    def assert_wrote(self, target: str, type: str, *, payload: Any = None, times: int | None = None) -> list[Written]:
        """Asserts that such a write took effect.

        Args:
            target: the target that its request names.
            type: its type.
            payload: what it wrote: of a mapping the fields that are given, whatever others there are, also of an
                instance of a payload model; anything else has to be equal. None for anything.
            times: how many such writes there have to be; None for one or more.

        Returns:
            Those writes.

        Raises:
            AssertionError: there are none, or not as many; the text shows what was written instead, payloads included.
        """
        __tracebackhide__ = True
        found = [one for one in self.of(target, type) if one.applied and _fits(one.request.payload, payload)]
        if (times is None and found) or len(found) == times:
            return found
        wanted = f"{target} {type}" + ("" if payload is None else f" {payload!r}")
        count = "no write" if not found else f"{len(found)} write{'s' if len(found) > 1 else ''}"
        number = "one at least" if times is None else str(times)
        raise AssertionError(f"{count} of {wanted} took effect, and {number} should have; {self._told()}")

    def assert_nothing_written(self, target: str | None = None, type: str | None = None) -> None:
        """Asserts that no write took effect, nor may have.

        Args:
            target: only writes to this one are looked at; None for all.
            type: only those of this type; None for all.

        Raises:
            AssertionError: there is one; the text shows them, payloads included.
        """
        __tracebackhide__ = True
        found = [one for one in self.of(target, type) if one.error is None or one.error.outcome != Outcome.NOT_APPLIED]
        if found:
            raise AssertionError(f"nothing should have been written; {_listed(found)}")

    def _told(self) -> str:
        return _listed(tuple(self)) if len(self) else "nothing was written"


def _listed(writes: Sequence[Written]) -> str:
    lines = "".join(f"\n  {one!r}" for one in writes)
    return f"there {'was' if len(writes) == 1 else 'were'}:{lines}"


def _as_it_is(request: WriteRequest) -> WriteRequest:
    """The request with a payload of its own, which nobody changes any more."""
    return request.with_payload(detached(request.payload)) if type(request.payload) is dict else request


def _fits(payload: Any, wanted: Any) -> bool:
    if wanted is None:
        return True
    if not isinstance(wanted, Mapping):
        return bool(payload == wanted)
    missing = object()
    fields = payload if isinstance(payload, Mapping) else {name: getattr(payload, name, missing) for name in wanted}
    return all(fields.get(name, missing) == value for name, value in wanted.items())
