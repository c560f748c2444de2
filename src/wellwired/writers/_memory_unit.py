"""Several writes to memory in one step: a `Unit` with savepoints, the twin of a database's for tests.

It has its turn from its beginning until it is closed, so nobody else writes meanwhile. Its writes are done on a copy of
what is there; the commit repeats their changes on the real thing, and going back to a savepoint takes an older copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from wellwired.errors import WriteError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._failures import spoilt
from wellwired.writers._memory_state import Done, State

__all__ = ["Entry", "MemoryUnit"]

Entry = tuple[Done, Sequence[WriteRequest]]
"""What was done, and for which requests."""


class MemoryUnit:
    """See the module and `wellwired.writers.protocol.Unit`; for one thread.

    Args:
        label: stands for the unit in errors.
        state: what is there.
        attempt: does one write on a state, noted as tried; raises the failure that was ordered for it.
        commit: makes everything count, unless the deadline has passed or a failure was ordered.
        leave: gives the turn back.
    """

    __slots__ = ("_attempt", "_commit", "_done", "_failed", "_label", "_leave", "_state", "usable")

    def __init__(
        self,
        label: WriteRequest,
        state: State,
        *,
        attempt: Callable[[State, WriteRequest, Handler], Done],
        commit: Callable[[Sequence[Entry]], None],
        leave: Callable[[], None],
    ) -> None:
        self.usable = True
        self._label = label
        self._state = state.copied()
        self._attempt = attempt
        self._commit = commit
        self._leave: Callable[[], None] | None = leave
        self._done: list[Entry] = []
        self._failed: WriteError | None = None

    def write(self, request: WriteRequest, *, handler: Handler) -> WriteResult[Any]:
        """See `wellwired.writers.protocol.Unit.write`."""
        if not self.usable:
            raise spoilt(request.target, self._failed)
        try:
            done = self._attempt(self._state, request, handler)
        except BaseException as error:
            self.usable = False
            self._failed = error if isinstance(error, WriteError) else None
            raise
        done.apply(self._state)
        self._done.append((done, (request,)))
        return done.results[0]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """See `wellwired.writers.protocol.Unit.savepoint`."""
        if not self.usable:
            raise spoilt(self._label.target, self._failed)
        before, mark = self._state.copied(), len(self._done)
        try:
            yield
            if not self.usable:
                raise spoilt(self._label.target, self._failed)
        except BaseException:
            self._state, self._failed, self.usable = before, None, True
            del self._done[mark:]
            raise

    def commit(self) -> None:
        """See `wellwired.writers.protocol.Unit.commit`."""
        if not self.usable:
            raise spoilt(self._label.target, self._failed)
        self.usable = False
        self._commit(self._done)

    def rollback(self) -> None:
        """See `wellwired.writers.protocol.Unit.rollback`."""
        self.usable = False
        self._done = []

    def close(self) -> str:
        """See `wellwired.writers.protocol.Unit.close`."""
        self.rollback()
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        return ""
