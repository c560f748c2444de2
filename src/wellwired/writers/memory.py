"""A writer into a mapping, for tests of what writes: it keeps the promises of a real one and needs no server.

A handler is given a view of the data, on which it reads and writes like on a dict. The view becomes the data only
when the handler returns in time, all of it in one step; until then, and whenever it fails, nothing has changed. One
write runs at a time, and waiting for its turn counts against the deadline. What was written, and what was tried, is
there to be asserted; the next writes can be told to fail.

It can what a database can: several writes in one transaction, with savepoints; batches, atomic or not; callbacks after
the commit; and idempotency keys, if they are asked for.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from wellwired.clock import Deadline
from wellwired.errors import Phase, WriteTimeoutError
from wellwired.handlers.after import Collected
from wellwired.handlers.protocol import Handler
from wellwired.handlers.registry import Registry
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._answers import Answer
from wellwired.writers._forks import renew_in_child
from wellwired.writers._memory_batch import MemoryBatch
from wellwired.writers._memory_state import Done, Fault, MemoryView, State, late, ordered, perform, warned
from wellwired.writers._memory_unit import Entry, MemoryUnit
from wellwired.writers.protocol import WriterCapabilities

__all__ = ["MemoryView", "MemoryWriter"]

_BACKEND: Final = "memory"
_LABEL: Final = "transaction"


class MemoryWriter:
    """A `Writer` into a mapping in this process; safe to share by threads, one write at a time.

    Handlers are those for the backend ``"memory"`` or for any.

    Args:
        name: the dotted name of its target.
        targets: what else it supports.
        handlers: which handlers it knows; a `Registry` of its own if None.
        records_all: whether a type without a handler is recorded and otherwise ignored, and not refused.
        keeps_keys: whether an idempotency key that was seen is answered with the stored result; they are kept for
            ever. Without it a request with a key is refused.
    """

    def __init__(
        self,
        name: str = "memory",
        *,
        targets: Iterable[str] = (),
        handlers: Registry | None = None,
        records_all: bool = False,
        keeps_keys: bool = False,
    ) -> None:
        self.name = name
        self.targets: tuple[str, ...] = tuple(dict.fromkeys((name, *targets)))
        self.handlers = Registry() if handlers is None else handlers
        self._unhandled = _Recorded() if records_all else None
        self._keeps_keys = keeps_keys
        self._state = State()
        self._tried: list[WriteRequest] = []
        self._written: list[WriteRequest] = []
        self._faults: deque[tuple[Exception, bool]] = deque()
        self._turn = threading.RLock()
        renew_in_child(self)

    @property
    def data(self) -> dict[str, Any]:
        """A copy of what has been written so far, between two writes."""
        with self._turn:
            return copy.deepcopy(self._state.data)

    @property
    def written(self) -> tuple[WriteRequest, ...]:
        """The requests that took effect, in that order."""
        return tuple(self._written)

    @property
    def tried(self) -> tuple[WriteRequest, ...]:
        """The request of every attempt that had its turn, those that failed included."""
        return tuple(self._tried)

    def supports(self, target: str, /) -> bool:
        """Whether it writes for this target: its name or one of its `targets`."""
        return target in self.targets

    def find_handler(self, type: str, /) -> Handler | None:
        """The handler of a type, or None."""
        return self.handlers.find(type, _BACKEND) or self._unhandled

    def register_handler(self, handler: Handler, /) -> None:
        """Adds a handler; raises `RegistrationError` if its type has one already."""
        self.handlers.register(handler)

    def types(self) -> tuple[str, ...]:
        """Every type that it has a handler for, sorted."""
        return self.handlers.types(_BACKEND)

    @property
    def keeps_keys(self) -> bool:
        """Whether a key that was seen is answered with the stored result."""
        return self._keeps_keys

    @property
    def capabilities(self) -> WriterCapabilities:
        """What it can promise: all that a database does, and no outcome is unknown but those that were ordered."""
        return WriterCapabilities(
            deadline="fenced", atomic=True, idempotency=self._keeps_keys, savepoints=True, batches=True
        )

    def fail_next(self, *errors: Exception, applied: bool = False) -> None:
        """Has the next attempts fail, one with each error, in this order.

        In a transaction each write is an attempt, and what is ordered with `applied` waits for the commit; in a batch
        each request is one.

        Args:
            errors: what the attempts raise; a `WriteError` as it is, anything else as if the handler had raised it.
            applied: whether the data is changed all the same, as when the answer to a COMMIT is lost.
        """
        self._faults.extend((error, applied) for error in errors)

    def reset(self) -> None:
        """Forgets the data, the records and the failures that were ordered; handlers stay."""
        with self._turn:
            self._state = State()
            self._tried, self._written = [], []
            self._faults.clear()

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Makes one attempt.

        Args:
            request: a valid request.
            handler: is called with the request and a `MemoryView`.
            deadline: by when the handler must have returned.

        Returns:
            What the handler returned, as `data`.

        Raises:
            WriteTimeoutError: it did not get its turn, or the handler did not return, before the deadline.
            WriteError: as ordered by `fail_next`, or raised by the handler; anything else that the handler raised is
                a `BackendError` with the reason ``"handler"``.
        """
        after = Collected()
        self._enter(request, deadline)
        try:
            result = self._write(request, handler, deadline, after)
        finally:
            self._turn.release()
        return result if result.replayed else warned(result, after.run())

    def write_batch(
        self, requests: Sequence[WriteRequest], *, handler: Handler, deadline: Deadline, atomic: bool
    ) -> list[Answer]:
        """Makes one attempt at all of them, in one transaction; see `WritesMany.write_batch`.

        Args:
            requests: valid ones, with converted payloads.
            handler: the handler to call for all of them, all at once if it has a `handle_many`.
            deadline: by when the handler must have returned for the last.
            atomic: whether all take effect or none.

        Returns:
            For each request, at its position, its result or its error.
        """
        batch = MemoryBatch(requests, handler=handler, atomic=atomic, keeps=self._keeps_keys)
        try:
            self._enter(requests[0] if requests else _label(self.name), deadline)
        except WriteTimeoutError:
            return [late(request, Phase.CHECKOUT) for request in requests]
        try:
            self._tried += requests
            done = batch.run(self._state, self._fault, deadline)
            self._keep(done)
        finally:
            self._turn.release()
        return batch.finish()

    def begin(self, target: str, /, *, deadline: Deadline) -> MemoryUnit:
        """Opens a transaction, which has its turn until it is closed; see `Transacts.begin`.

        Args:
            target: for the words of errors.
            deadline: by when it must have been committed.

        Raises:
            WriteTimeoutError: it did not get its turn before the deadline.
        """
        label = _label(target)
        self._enter(label, deadline)
        turn = self._turn
        return MemoryUnit(
            label,
            self._state,
            attempt=self._attempt,
            commit=partial(self._commit, label, deadline),
            leave=turn.release,
        )

    def renew(self) -> None:
        """Opens the lock in a forked child, where the thread that held it does not exist."""
        self._turn = threading.RLock()

    def __repr__(self) -> str:
        return f"MemoryWriter({self.name!r}, {len(self._written)} written)"

    def _enter(self, request: WriteRequest, deadline: Deadline) -> None:
        if not self._turn.acquire(timeout=min(deadline.left(), threading.TIMEOUT_MAX)):
            raise late(request, Phase.CHECKOUT)

    def _fault(self) -> Fault:
        return self._faults.popleft() if self._faults else (None, False)

    def _write(self, request: WriteRequest, handler: Handler, deadline: Deadline, after: Collected) -> WriteResult[Any]:
        self._tried.append(request)
        fault, applied = self._fault()
        if fault is not None and not applied:
            raise ordered(fault, request)
        done = perform(self._state, request, handler, after, keeps=self._keeps_keys)
        if deadline.passed:
            raise late(request, Phase.EXECUTE)
        self._keep([(done, (request,))])
        if fault is not None:
            raise fault
        return done.results[0]

    def _attempt(self, state: State, request: WriteRequest, handler: Handler) -> Done:
        """One write of a transaction, whose callbacks its manager collects."""
        self._tried.append(request)
        if self._faults and not self._faults[0][1]:
            raise ordered(self._faults.popleft()[0], request)
        return perform(state, request, handler, None, keeps=self._keeps_keys)

    def _commit(self, label: WriteRequest, deadline: Deadline, done: Sequence[Entry]) -> None:
        fault, applied = self._fault()
        if fault is not None and not applied:
            raise ordered(fault, label)
        if deadline.passed:
            raise late(label, Phase.EXECUTE)
        self._keep(done)
        if fault is not None:
            raise fault

    def _keep(self, entries: Sequence[Entry]) -> None:
        """Makes it count."""
        for done, requests in entries:
            done.apply(self._state)
            if not done.results[0].replayed:
                self._written += requests


class _Recorded:
    type = "*"

    def handle(self, request: WriteRequest, connection: Any, /) -> None:
        """Does nothing: the request is recorded by the writer."""


def _label(target: str) -> WriteRequest:
    return WriteRequest(target, _LABEL, None)
