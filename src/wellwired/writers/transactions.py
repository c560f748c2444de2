"""Several writes in one transaction: all of them take effect by one commit, or none does.

::

    with manager.transaction("sql.main") as tx:
        tx.write(WriteRequest("sql.main", "order_insert", {...}))
        with tx.nested():
            tx.write(WriteRequest("sql.main", "bonus_insert", {...}))

A result of `tx.write` counts after the block and not before. Whatever leaves the block as an exception rolls
everything back and reaches the caller as it is; a COMMIT that fails raises a `WriteError` from the block's end, whose
`outcome` holds for all the writes. One deadline stands for the whole transaction: a TIMEOUT means that nothing of it is
applied, and never will be.

Nothing is retried inside: the block is the caller's, and only the caller can run it again. `WriteManager.transact`
takes the block as a function and does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import getpid
from threading import get_ident
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Phase, Retry, WriteError
from wellwired.handlers.after import Callback, Collected
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.writers._aftermath import Defer
from wellwired.writers._between import Admits, Tell
from wellwired.writers._failures import spoilt
from wellwired.writers._ledger import ROLLED_BACK, Ledger, Line
from wellwired.writers.protocol import Unit

__all__ = ["WriteTransaction"]


class WriteTransaction:
    """An open transaction; made by `WriteManager.transaction`, and for the thread that opened it.

    Args:
        manager: validates what is written.
        label: the target, and the meta of the transaction.
        writer: the name of the writer.
        unit: the open transaction itself.
        deadline: by when COMMIT must have been sent.
        defer: if the unit is part of a transaction that is not the writer's, has something done when that is committed.
    """

    __slots__ = (
        "_after",
        "_deadline",
        "_defer",
        "_failed",
        "_label",
        "_ledger",
        "_line",
        "_manager",
        "_over",
        "_owner",
        "_shared",
        "_unit",
        "warnings",
        "writer",
    )

    def __init__(
        self,
        manager: Admits,
        label: WriteRequest,
        writer: str,
        unit: Unit,
        deadline: Deadline,
        *,
        defer: Defer | None = None,
    ) -> None:
        self._defer = defer
        self.warnings: tuple[str, ...] = ()
        self._manager = manager
        self.writer = writer
        self._label = label
        self._unit = unit
        self._deadline = deadline
        self._owner = (getpid(), get_ident())
        self._after = Collected()
        self._ledger = Ledger(defer)
        self._line: Line | None = None
        self._failed: WriteError | None = None
        self._shared: WriteError | None = None
        self._over = False

    @property
    def target(self) -> str:
        """Where it is open, as it was asked for."""
        return self._label.target

    @property
    def meta(self) -> Mapping[str, Any]:
        """What came with it."""
        return self._label.meta

    @property
    def pending(self) -> bool:
        """Whether its end commits nothing yet, because it is part of a transaction that is not its writer's."""
        return self._defer is not None

    @property
    def _is_here(self) -> bool:
        """Whether it is open, and this thread's; a forked child has no share in it."""
        return not self._over and self._owner == (getpid(), get_ident())

    def write(self, request: WriteRequest) -> WriteResult[Any]:
        """Does one write in the transaction; **it counts after the block**, if nothing fails.

        The request is checked and validated as for `WriteManager.write`, the middleware stands around it, and its
        handler runs at once. With an idempotency key it takes effect once, whoever sends it where: the key is taken
        with the transaction.

        A failure ends the transaction: whatever comes after it is refused, and the block's end raises and rolls back,
        even if the failure was caught. Unless it happened in a `nested` block that was left by it.

        Args:
            request: what to write, to a target of the same writer, and without a timeout of its own.

        Returns:
            What the handler returned, or what an earlier write with the same key has left.

        Raises:
            InvalidRequestError: the request or its payload is wrong, or does not belong into this transaction.
            TypeNotSupportedError: the writer has no handler for the type.
            WriteTimeoutError: the transaction's deadline has passed; nothing of it is applied.
            BackendError: the backend, the handler or a middleware failed, or an earlier write of the transaction did.
        """
        self._check()
        clock = self._deadline.clock
        began = clock.monotonic()
        line: Line | None = None
        before = self._line
        try:
            operation = self._admitted(request, began)
            line = self._line = self._ledger.add(operation)
            line.result = self._manager.lead(operation)
            return line.result
        except BaseException as error:
            failure = error if isinstance(error, WriteError) else None
            self._failed = self._failed or failure
            if line is not None:
                line.error = failure
            raise
        finally:
            self._line = before
            if line is not None:
                line.duration = clock.monotonic() - began

    @contextmanager
    def nested(self) -> Iterator[WriteTransaction]:
        """A part that may fail alone: a block whose writes, if an exception leaves it, are undone and nothing else.

        The exception goes on; who catches it outside the block can go on with the transaction. If the backend has
        ended the whole transaction (a deadlock on MySQL, the deadline), the transaction stays unusable. Blocks may
        stand in one another. Callbacks of an undone block are not run.

        Raises:
            BackendError: an earlier write failed, or the writer has no savepoints; also if the block is left without
                an exception after a write in it failed.
        """
        self._check()
        lines, callbacks = self._ledger.mark, self._after.mark
        try:
            with self._unit.savepoint():
                yield self
                if self._failed is not None:
                    raise spoilt(self.target, self._failed)
        except BaseException as error:
            self._ledger.undo(lines)
            self._after.cut(callbacks)
            first = self._failed or (error if isinstance(error, WriteError) else None)
            self._failed = None if self._unit.usable else first
            raise

    def after_commit(self, callback: Callback) -> None:
        """Has something done after the commit; see `wellwired.handlers.after_commit`.

        Args:
            callback: called without arguments, once, after the outermost commit; what it raises becomes one of
                `warnings`.
        """
        self._check()
        self._after.add(callback)

    def __repr__(self) -> str:
        return f"<transaction at {self.target!r}, {'over' if self._over else 'open'}>"

    def _became(self, line: Line) -> WriteError | None:
        """What became of a request, as far as it is known: None if it was committed, or still may be."""
        return line.verdict(self._shared)

    def _going(self, operation: WriteOperation) -> None:
        """Notes what a middleware has made of the request, for the manager."""
        if self._line is not None:
            self._line.operation = operation

    def _send(self, request: WriteRequest, handler: Handler) -> WriteResult[Any]:
        """The innermost step of `write`, for the manager: has the unit do it."""
        with self._after:
            return self._unit.write(request, handler=handler)

    def _settle(self, tell: Tell) -> None:
        """Commits, for the manager; raises the `WriteError` if that fails.

        Args:
            tell: called at the end, after the connection has been given back; gives further warnings.
        """
        if not self._is_here or self._failed is not None or not self._unit.usable:
            error = spoilt(self.target, self._failed) if self._is_here else self._astray()
            self._end(self._undone(), error, tell)
            raise error
        failure: WriteError | None = None
        try:
            self._unit.commit()
        except BaseException as error:
            failure = error if isinstance(error, WriteError) else _interrupted(self.target)
            failure.attempts = failure.attempts or 1
            raise
        finally:
            self._end(failure, failure, tell)

    def _undo(self, tell: Tell) -> None:
        """Rolls back, for the manager; `tell` is as for `settle`."""
        undone = self._undone()
        self._end(undone, self._failed or undone, tell)

    def _end(self, shared: WriteError | None, error: WriteError | None, tell: Tell) -> None:
        self._over, self._shared = True, shared
        if self._owner[0] != getpid():  # a forked child leaves the block: the transaction is its parent's
            return
        if error is not None:
            self._unit.rollback()
        trouble = self._unit.close()
        self.warnings += (trouble,) if trouble else ()
        if error is None and self._defer is not None:
            self._defer(self._after.run)
        elif error is None:
            self.warnings += self._after.run()
        self.warnings += tell(self._ledger, shared, error)

    def _astray(self) -> WriteError:
        return BackendError(
            "a transaction belongs to the thread and the process that opened it; open one in each",
            phase=Phase.EXECUTE,
            target=self.target,
            type=self._label.type,
            reason="thread",
        )

    def _undone(self) -> WriteError:
        # A handler that ended the transaction by itself has left something behind, whatever is rolled back now.
        outcome = Outcome.NOT_APPLIED if self._failed is None else self._failed.outcome
        return BackendError(
            "the transaction was rolled back, because an exception left its block or another write of it failed",
            outcome=outcome,
            phase=Phase.EXECUTE,
            target=self.target,
            type=self._label.type,
            reason=ROLLED_BACK,
            attempts=1,
        )

    def _check(self) -> None:
        if self._over:
            raise BackendError("the transaction is over; open another", target=self.target, reason="over")
        if not self._is_here:
            raise self._astray()
        if self._failed is not None:
            raise spoilt(self.target, self._failed)

    def _admitted(self, request: WriteRequest, began: float) -> WriteOperation:
        operation = self._manager.admit(request, began)
        admitted = operation.request
        if operation.writer != self.writer:
            rule = f"is not of the writer {self.writer!r}, whose transaction this is; write to it outside"
            raise self._manager.refuse(request, _misplaced("target", rule, admitted), began)
        if admitted.timeout is not None:
            rule = "cannot be kept inside a transaction, which has one deadline; give it to transaction()"
            raise self._manager.refuse(request, _misplaced("timeout", rule, admitted), began)
        return WriteOperation(admitted, self.writer, self._deadline, operation.repeatable, 1, began)


def _interrupted(target: str) -> BackendError:
    return BackendError(
        "the program was interrupted while COMMIT was under way",
        outcome=Outcome.UNKNOWN,
        retry=Retry.IF_IDEMPOTENT,
        phase=Phase.COMMIT,
        target=target,
        reason="commit_unknown",
    )


def _misplaced(field: str, rule: str, request: WriteRequest) -> InvalidRequestError:
    return InvalidRequestError(
        f"{field} {rule}",
        outcome=Outcome.NOT_APPLIED,
        target=request.target,
        type=request.type,
        reason=field,
    )
