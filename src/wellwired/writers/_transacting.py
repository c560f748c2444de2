"""The manager's part of transactions: opens them, joins those that are open, runs a block again, and tells the end.

What is told: one event for each request of a transaction, when its verdict is known, and after them one for the
transaction itself, with the type ``transaction``. An attempt of `transact` that will be followed by another tells
nothing but its retry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

from wellwired.clock import Clock, Deadline
from wellwired.errors import BackendError, InvalidRequestError, Outcome, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.middleware.breaking import Circuits
from wellwired.middleware.chain import WriteMiddleware, WriteNext, chain
from wellwired.middleware.events import Observer, failed, succeeded
from wellwired.middleware.observe import notify
from wellwired.middleware.seal import sealed
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.writers._aftermath import Aftermath, deferring
from wellwired.writers._between import Tell
from wellwired.writers._endpoint import endpoint, unusable
from wellwired.writers._ledger import Ledger, Line
from wellwired.writers.admission import check_request, no_writer
from wellwired.writers.directory import Directory
from wellwired.writers.protocol import Transacts, Writer
from wellwired.writers.transactions import WriteTransaction

__all__ = ["LABEL", "Transacting", "Work", "writing_in"]

T = TypeVar("T")

Work = Callable[[WriteTransaction], T]
"""The block of a transaction as a function."""

LABEL = "transaction"
"""The type under which a transaction itself is told of."""

_open: ContextVar[tuple[WriteTransaction, ...]] = ContextVar("wellwired_transactions", default=())


def writing_in(writer: str) -> tuple[WriteTransaction, Line] | None:
    """The transaction of a writer in which this thread is writing now, and what it is writing; None outside of any.

    Args:
        writer: the name of the writer.
    """
    for transaction in reversed(_open.get()):
        if transaction._is_here and transaction.writer == writer and transaction._line is not None:
            return transaction, transaction._line
    return None


Admit = Callable[[WriteRequest, float], WriteOperation]
Refuse = Callable[[WriteRequest, WriteError, float], WriteError]


class Transacting:
    """What a manager needs for its transactions; safe to share by threads.

    Args:
        directory: where writers are found.
        admit: validates a request, as the manager does for a write by itself.
        refuse: tells the observers of a request that was refused.
        observers: told of every request and of every transaction.
        aftermath: given every request once.
        clock: what time it is.
        timeout: seconds for a transaction that names none.
        retries: the middleware that runs an attempt again, and what stands inside it.
        circuits: asked before a transaction that is not run again; None if there are none.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        admit: Admit,
        refuse: Refuse,
        observers: tuple[Observer, ...],
        aftermath: Aftermath,
        clock: Clock,
        timeout: float,
        retries: tuple[WriteMiddleware, ...],
        circuits: Circuits | None,
    ) -> None:
        self._directory = directory
        self._admit = admit
        self._refuse = refuse
        self._observers = observers
        self._aftermath = aftermath
        self._clock = clock
        self._timeout = timeout
        self._circuits = circuits
        self._attempts = chain(self._attempt, retries)
        self._call: WriteNext | None = None
        self.use((), ())
        self.renew()

    def use(self, around: tuple[WriteMiddleware, ...], each: tuple[WriteMiddleware, ...]) -> None:
        """Has the application's middleware stand around every write inside a transaction; there is no retry.

        Args:
            around: what stands around a write.
            each: what stands around an attempt, of which there is one.
        """
        layers: tuple[WriteMiddleware, ...] = (sealed(each),) if each else ()
        self._layers = layers + ((self._noting, sealed(around)) if around else ())
        self._call = None  # built at the first transaction, for most managers never have one

    def admit(self, request: WriteRequest, began: float, /) -> WriteOperation:
        """See `wellwired.writers._between.Admits`."""
        try:
            return self._admit(request, began)
        except WriteError as error:
            raise self._refuse(request, error, began)  # noqa: B904 - the same error
        except Exception as error:
            raise self._refuse(request, unusable(error), began) from error

    def refuse(self, request: WriteRequest, error: WriteError, began: float, /) -> WriteError:
        """See `wellwired.writers._between.Admits`."""
        return self._refuse(request, error, began)

    def lead(self, operation: WriteOperation, /) -> WriteResult[Any]:
        """See `wellwired.writers._between.Admits`."""
        return (self._call or self._chained())(operation)

    def renew(self) -> None:
        """Opens the lock in a forked child, where the thread that held it does not exist."""
        self._building = threading.Lock()

    @contextmanager
    def open(self, target: str, timeout: float | None, meta: Mapping[str, Any]) -> Iterator[WriteTransaction]:
        """See `WriteManager.transaction`."""
        operation = self._admitted(target, None, timeout, meta)
        outer = self._here(operation.writer)
        if outer is not None:
            with outer.nested():
                yield outer
            return
        tell = partial(self._tell, operation)
        with self._circuit(operation, tell), self._opened(operation, tell) as transaction:
            yield transaction

    def transact(self, target: str, work: Work[T], timeout: float | None, meta: Mapping[str, Any]) -> WriteResult[T]:
        """See `WriteManager.transact`."""
        job = _Job(work)
        operation = self._admitted(target, job, timeout, meta)
        outer = self._here(operation.writer)
        if outer is not None:
            with outer.nested():
                return WriteResult(message="written", data=work(outer))
        try:
            result = self._attempts(operation)
        except WriteError as error:
            self._tell(operation, job.ledger, job.shared, error)
            raise
        except BaseException:
            self._tell(operation, job.ledger, job.shared, job.error)
            raise
        warnings = result.warnings + self._tell(replace(operation, attempt=result.attempts), job.ledger, None, None)
        duration = self._clock.monotonic() - operation.began
        return replace(result, warnings=warnings, duration=duration)

    def _chained(self) -> WriteNext:
        with self._building:
            if self._call is None:
                self._call = chain(endpoint(self._directory, self._inside), self._layers)
            return self._call

    def _attempt(self, operation: WriteOperation) -> WriteResult[Any]:
        job: _Job = operation.request.payload
        with self._opened(operation, job.keep) as transaction:
            data = job.work(transaction)
        done = "written" if transaction.pending else "committed"
        return WriteResult(message=done, data=data, warnings=transaction.warnings, pending=transaction.pending)

    @contextmanager
    def _circuit(self, operation: WriteOperation, tell: Tell) -> Iterator[None]:
        if self._circuits is None:
            yield
            return
        with ExitStack() as stack:
            try:
                stack.enter_context(self._circuits.around(operation))
            except WriteError as error:
                tell(Ledger(), error, error)
                raise
            yield

    @contextmanager
    def _opened(self, operation: WriteOperation, tell: Tell) -> Iterator[WriteTransaction]:
        transaction = self._begun(operation, tell)
        _open.set((*_open.get(), transaction))
        try:
            try:
                yield transaction
            except BaseException:
                transaction._undo(tell)
                raise
            transaction._settle(tell)
        finally:
            # Not by a token: the block may be left in another context than the one it was entered in.
            _open.set(tuple(other for other in _open.get() if other is not transaction))

    def _begun(self, operation: WriteOperation, tell: Tell) -> WriteTransaction:
        request, deadline = operation.request, operation.deadline
        writer = self._directory.named(operation.writer)
        try:
            unit = cast(Transacts, writer).begin(request.target, deadline=deadline)
        except WriteError as error:
            error.attempts = operation.attempt
            tell(Ledger(), error, error)
            raise
        defer = deferring(writer) if getattr(unit, "pending", False) else None
        return WriteTransaction(self, request, operation.writer, unit, deadline, defer=defer)

    def _admitted(self, target: str, job: Any, timeout: float | None, meta: Mapping[str, Any]) -> WriteOperation:
        began = self._clock.monotonic()
        label = WriteRequest(target, LABEL, job, meta, timeout)
        try:
            check_request(label)
            writer = self._directory.find(target)
            if writer is None:
                raise no_writer(label, self._directory.targets())
            # What `isinstance` would ask, which costs as much as a small write before Python 3.12.
            if not callable(getattr(writer, "begin", None)):
                raise _no_transactions(label, writer)
        except WriteError as error:
            raise self._refuse(label, error, began)  # noqa: B904 - the same error
        deadline = Deadline(began + (self._timeout if timeout is None else timeout), self._clock)
        return WriteOperation(label, writer.name, deadline, False, 1, began)

    def _here(self, writer: str) -> WriteTransaction | None:
        """The innermost transaction of a writer that this thread has open here."""
        for transaction in reversed(_open.get()):
            if transaction._is_here and transaction.writer == writer and transaction._manager is self:
                return transaction
        return None

    def _noting(self, next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            transaction = self._here(operation.writer)
            if transaction is not None:
                transaction._going(operation)
            return next(operation)

        return call

    def _inside(self, writer: Writer, request: WriteRequest, handler: Handler, _deadline: Deadline) -> WriteResult[Any]:
        transaction = self._here(writer.name)
        if transaction is None:
            raise BackendError(
                "a middleware took a write of a transaction to another thread or another writer; mend the middleware",
                reason="middleware",
            )
        return transaction._send(request, handler)

    def _tell(
        self, operation: WriteOperation, ledger: Ledger, shared: WriteError | None, error: WriteError | None
    ) -> tuple[str, ...]:
        warnings = ledger.close(
            shared, observers=self._observers, aftermath=self._aftermath, handler_of=self._handler_of
        )
        request, duration = operation.request, self._clock.monotonic() - operation.began
        if error is None:
            pending = ledger.defer is not None
            event = succeeded(operation, WriteResult(attempts=operation.attempt, pending=pending), duration)
        else:
            event = failed(
                error,
                writer=operation.writer,
                target=request.target,
                type=request.type,
                duration=duration,
                meta=request.meta,
            )
        return warnings + notify(self._observers, event)

    def _handler_of(self, operation: WriteOperation) -> Handler | None:
        return self._directory.named(operation.writer).find_handler(operation.request.type)


class _Job:
    """A block as a function, and how its last attempt ended: an attempt that is followed by another tells nothing."""

    __slots__ = ("error", "ledger", "shared", "work")

    def __init__(self, work: Work[Any]) -> None:
        self.work = work
        self.ledger = Ledger()
        self.shared: WriteError | None = None
        self.error: WriteError | None = None

    def keep(self, ledger: Ledger, shared: WriteError | None, error: WriteError | None) -> tuple[str, ...]:
        self.ledger, self.shared, self.error = ledger, shared, error
        return ()


def _no_transactions(label: WriteRequest, writer: Writer) -> InvalidRequestError:
    return InvalidRequestError(
        f"the writer {writer.name!r} has no transactions of several writes; send them one by one",
        outcome=Outcome.NOT_APPLIED,
        target=label.target,
        type=label.type,
        reason="target",
    )
