"""What a transaction has been asked to write, and what is told about each request when its end is known.

Inside a transaction nothing is certain: a write that succeeded may be undone by a savepoint, by a later failure, or at
COMMIT. So nobody is told of a request before the end; then each request gives one event, in the order of writing, and
goes through the aftermath once. Dead letters are kept of a transaction that failed at its end, and then of all its
requests together. Of a block that was left early only a part has been seen, and nobody else can complete it: that one
is its caller's to run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wellwired.errors import BackendError, Phase, Retry, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.middleware.events import Observer, WriteEvent, failed, succeeded
from wellwired.middleware.observe import notify
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.writers._aftermath import Aftermath, Defer, Pair

__all__ = ["ROLLED_BACK", "Ledger", "Line"]

ROLLED_BACK = "rolled_back"
"""The `reason` of a write that did its part and was undone, because another failed or the caller wanted it so."""


class Line:
    """One request of a transaction.

    Args:
        operation: as it was admitted.
    """

    __slots__ = ("duration", "error", "operation", "result", "undone")

    def __init__(self, operation: WriteOperation) -> None:
        self.operation = operation
        self.result: WriteResult[Any] | None = None
        self.error: WriteError | None = None
        self.undone = False
        self.duration = 0.0

    def verdict(self, shared: WriteError | None) -> WriteError | None:
        """What became of it; None if it was committed.

        Args:
            shared: what became of those of its transaction that did not fail by themselves.
        """
        return self.error or (_rolled_back(self.operation.request) if self.undone else shared)

    def event(self, verdict: WriteError | None) -> WriteEvent:
        """What is told of it.

        Args:
            verdict: what became of it in the end; None if it was committed.
        """
        if verdict is None:
            assert self.result is not None, "a request without a result was committed"
            return succeeded(self.operation, self.result, self.duration)
        request = self.operation.request
        return failed(
            verdict,
            writer=self.operation.writer,
            target=request.target,
            type=request.type,
            duration=self.duration,
            meta=request.meta,
        )


class Ledger:
    """The requests of one transaction, in the order of writing; for one thread.

    Args:
        defer: if the transaction is part of one that is not its writer's, has something done when that is committed.
    """

    __slots__ = ("_lines", "defer")

    def __init__(self, defer: Defer | None = None) -> None:
        self._lines: list[Line] = []
        self.defer = defer

    def add(self, operation: WriteOperation) -> Line:
        """Opens the line of a request that was admitted."""
        line = Line(operation)
        self._lines.append(line)
        return line

    @property
    def mark(self) -> int:
        """How many lines there are, to be handed to `undo`."""
        return len(self._lines)

    def undo(self, mark: int) -> None:
        """Notes that a savepoint was rolled back.

        Args:
            mark: how many lines there were when it was set.
        """
        for line in self._lines[mark:]:
            line.undone = True

    def close(
        self,
        error: WriteError | None,
        *,
        observers: Iterable[Observer],
        aftermath: Aftermath,
        handler_of: Callable[[WriteOperation], Handler | None],
    ) -> tuple[str, ...]:
        """Tells what became of each request, and lets the aftermath have it.

        Args:
            error: what became of those that did not fail by themselves; None if they were committed.
            observers: told of each request.
            aftermath: given each request once, with its handler.
            handler_of: finds that.

        Returns:
            A line for whatever failed here; nothing of it changes what became of the data.
        """
        warnings: tuple[str, ...] = ()
        together: list[Pair] = []
        for line in self._lines:
            verdict = line.verdict(error)
            pair: Pair = (line.operation.request, handler_of(line.operation))
            if verdict is error:
                together.append(pair)
            elif verdict is not None:
                aftermath.evict_in_doubt((pair,), verdict)
            warnings += notify(observers, line.event(verdict))
        return self._passed_on(together, error, aftermath) + warnings

    def _passed_on(self, together: list[Pair], error: WriteError | None, aftermath: Aftermath) -> tuple[str, ...]:
        if not together:
            return ()
        if error is None:
            return aftermath.committed(together, self.defer)
        if error.reason == ROLLED_BACK:
            # Its block was left early, so this is a part of what was wanted: to replay a part would halve it.
            aftermath.evict_in_doubt(together, error)
        else:
            aftermath.failed(together, error, together=True)
        return ()


def _rolled_back(request: WriteRequest) -> BackendError:
    return BackendError(
        "it was undone with the nested block of its transaction, which an exception left",
        retry=Retry.NEVER,
        phase=Phase.EXECUTE,
        target=request.target,
        type=request.type,
        reason=ROLLED_BACK,
        attempts=1,
    )
