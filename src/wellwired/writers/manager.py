"""One way to write to any backend: check the request, find who does it, and lead it through the middleware.

The way of a write, from outside in::

    write() -> checks -> writer by target -> handler by type -> payload model
      -> deadline for the whole write
      -> dead letter, if the write fails
      -> observers: the metrics, then the log, one event for the final verdict
      -> middleware of `use(...)`                      once for a write
      -> eviction of the store keys that it changed    after the commit, or when the outcome is open
      -> retries, by policy and budget
      -> circuit breaker, if there is one
      -> time limit of an attempt, if there is one
      -> middleware of `use(..., each_attempt=True)`   once for an attempt
      -> writer.write(request, handler=..., deadline=...), unless the deadline has passed

Middleware stands outside the retries unless it asks to stand inside, so that nobody's code comes between two attempts
or next to a COMMIT by accident. The chain is built when something is registered, not at each write, and a write takes
no lock. What is refused before it reaches the chain is told to the same observers.
"""

from __future__ import annotations

import math
import random as _random
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from wellwired.clock import SYSTEM, Clock, Deadline
from wellwired.errors import BackendError, WriteError
from wellwired.handlers.payload import validate_payload
from wellwired.handlers.protocol import Handler
from wellwired.middleware.breaker import BreakerPolicy
from wellwired.middleware.breaking import Circuits
from wellwired.middleware.budget import RetryBudget
from wellwired.middleware.chain import WriteMiddleware, WriteNext, chain
from wellwired.middleware.events import Observer, failed
from wellwired.middleware.limit import time_limit
from wellwired.middleware.logging import Logger, WriteLog
from wellwired.middleware.metrics import Metrics, NoMetrics
from wellwired.middleware.notices import NoticeObserver, Noticing
from wellwired.middleware.observe import notify, observed
from wellwired.middleware.policy import RetryPolicy
from wellwired.middleware.retry import retrying
from wellwired.middleware.seal import sealed
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.writers._aftermath import Aftermath, evicting
from wellwired.writers._answers import Answers
from wellwired.writers._endpoint import endpoint, unsupported, unusable
from wellwired.writers._evictions import Stores
from wellwired.writers._forks import renew_in_child
from wellwired.writers._many import Batching
from wellwired.writers._many_chunk import Retries, chunks_of
from wellwired.writers._many_told import Telling
from wellwired.writers._transacting import Transacting
from wellwired.writers.admission import check_request, named, no_writer, repeatable
from wellwired.writers.dead_letters import DeadLetters, NoLetters
from wellwired.writers.directory import Directory
from wellwired.writers.protocol import Writer
from wellwired.writers.transactions import WriteTransaction

__all__ = ["WriteManager"]

T = TypeVar("T")

_NO_META: Mapping[str, Any] = MappingProxyType({})


class WriteManager:
    """Leads writes to their writers; safe to share by threads, and in a forked child.

    Args:
        writers: registered in this order; see `register`.
        middleware: as for `use`: the last one runs first.
        timeout: seconds for a write whose request names none, retries included.
        attempt_timeout: seconds that one attempt may take at most; None for no limit but the write's.
        retry: when to retry; the default `RetryPolicy` if None.
        budget: what pays for retries; a `RetryBudget` of its own if None.
        clock: what time it is.
        random: gives numbers from 0 to 1 for the jitter of waits.
        metrics: told of every write; None for none.
        logger: takes one line for every write; structlog's logger ``wellwired`` if None, nothing with `SILENT`.
        stores: the layered stores whose keys writes may name as changed, by dotted name, or a function that gives the
            store of a name; None for none.
        breaker: when to leave a failing backend alone for a while; None for never.
        dead_letters: where writes that fail are kept durably before their caller is told; None for nowhere.

    Raises:
        ValueError: a timeout is not a positive, finite number.
        RegistrationError: see `register` and `use`.
    """

    def __init__(  # noqa: PLR0913 - each is one thing to be known once, and all have defaults
        self,
        writers: Iterable[Writer] = (),
        *,
        middleware: Iterable[WriteMiddleware] = (),
        timeout: float = 5.0,
        attempt_timeout: float | None = None,
        retry: RetryPolicy | None = None,
        budget: RetryBudget | None = None,
        clock: Clock = SYSTEM,
        random: Callable[[], float] = _random.random,
        metrics: Metrics | None = None,
        logger: Logger | None = None,
        stores: Stores | None = None,
        breaker: BreakerPolicy | None = None,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        if not (math.isfinite(timeout) and timeout > 0):
            raise ValueError("timeout must be a positive, finite number of seconds")
        self._timeout, self._clock, self._closed = timeout, clock, False
        log = WriteLog(logger)
        self._observers = _observers(metrics, log)
        budget = budget or RetryBudget()
        retries = retrying(retry, clock=clock, random=random, budget=budget, on_retry=log.retried)
        self._retries = Retries(retry or RetryPolicy(), budget, clock, random, log.retried)
        noticed = _noticing(metrics, log)
        self._circuits = None if breaker is None else Circuits(breaker, noticed)
        limit = None if attempt_timeout is None else time_limit(attempt_timeout)
        self._middle = tuple(layer for layer in (limit, self._circuits, retries) if layer is not None)
        self._directory = Directory()
        self._keeps = not isinstance(dead_letters, NoLetters | None)
        self._aftermath = Aftermath(stores, dead_letters if self._keeps else None, observers=noticed, clock=clock)
        self._transacting = self._made_transacting()
        self._batching = Batching(
            route=self._route,
            admit=self._admitted,
            refuse=self._refuse,
            telling=Telling(metrics, log),
            aftermath=self._aftermath,
            clock=clock,
            timeout=timeout,
        )
        self._around: tuple[WriteMiddleware, ...] = ()
        self._each: tuple[WriteMiddleware, ...] = ()
        self._registering = threading.Lock()
        renew_in_child(self)
        for writer in writers:
            self.register(writer)
        self.use(*middleware)

    def register(self, writer: Writer) -> None:
        """Adds a writer; it serves every write that starts after this returns.

        It stays its maker's: `close` does not close it.

        Args:
            writer: what to add. To add the same object again changes nothing.

        Raises:
            RegistrationError: it is no writer, or a target of its own has a writer already.
        """
        self._directory.register(writer)

    def use(self, *middleware: WriteMiddleware, each_attempt: bool = False) -> None:
        """Puts middleware around every write that starts after this returns; **what was added later runs first**.

        A middleware cannot undo a commit: what it raises after the write took effect becomes a warning in the result.

        Args:
            middleware: each is given the next call and returns the call around it; called once for each chain, of
                which there are two: for writes by themselves, and for those inside a transaction, once there is one.
            each_attempt: inside the retries, once for an attempt, and not outside, once for a write.

        Raises:
            RegistrationError: one is no middleware or gave no call; then none of them is added.
        """
        with self._registering:
            around, each = self._around, self._each
            if each_attempt:
                each += middleware
            else:
                around += middleware
            self._call = self._chained(around, each)
            self._transacting.use(around, each)
            self._batching.use(self._call, chunks_of(self._retries, self._middle[:-1], around, each))
            self._around, self._each = around, each

    @property
    def writers(self) -> tuple[Writer, ...]:
        """The writers, in the order of registration."""
        return self._directory.writers()

    def write(self, request: WriteRequest) -> WriteResult[Any]:
        """Does one write.

        Args:
            request: what to write where.

        Returns:
            What took effect.

        Raises:
            InvalidRequestError: the request or its payload is wrong; nothing was sent.
            WriterNotFoundError: no writer supports the target.
            TypeNotSupportedError: its writer has no handler for the type.
            WriteTimeoutError: the deadline passed before COMMIT was sent; nothing is applied.
            RetryExhaustedError: every attempt failed; `outcome` is the worst of theirs.
            BackendError: the backend, the handler or a middleware failed; `outcome` says what became of the data.
        """
        began = self._clock.monotonic()
        try:
            operation = self._admitted(request, began)
        except WriteError as error:
            self._aftermath.keep(((request, None),), self._refuse(request, error, began))
            raise
        except Exception as error:
            refusal = self._refuse(request, unusable(error), began)
            self._aftermath.keep(((request, None),), refusal)
            raise refusal from error
        if not self._keeps:
            return self._call(operation)
        try:
            return self._call(operation)
        except WriteError as error:
            # The request as it came: that is what is to be sent again.
            self._aftermath.keep(((request, None),), error)
            raise

    def write_many(
        self,
        requests: Iterable[WriteRequest],
        *,
        atomic: bool = False,
        ordered: bool = False,
        timeout: float | None = None,
    ) -> Answers:
        """Does many writes with few round trips, answers for each, and never raises for one of them.

        Requests of one target, type and timeout go to their writer together, by its `batch_size` at most: one
        transaction of a database for as many. What is wrong with one request is its own error, and the others take
        effect without it. A deadlock, a lost connection, the deadline or a COMMIT without an answer is the error of
        each request of its transaction, of which then none is applied, or, in the last case, all or none.

        Middleware of `use` that knows single writes only takes the requests one by one; see
        `wellwired.middleware.batches`.

        Args:
            requests: what to write; all are taken before the first is done.
            atomic: whether all of them take effect or none; they need one target, and its writer must be able to. Then
                there is one transaction. A request that was fine fails with the reason ``"atomic"``.
            ordered: whether no request may overtake another: then only neighbours of one target and type go together.
                Otherwise the order is kept among those of one target, type and timeout.
            timeout: seconds for all of them; None for no limit but those of the requests, or of the manager, which
                hold for each transaction and begin with it.

        Returns:
            A list with the result or error of each request, at its position; look at its `failed`, or call its
            `raise_for_errors`.

        Raises:
            ValueError: the timeout is not a positive, finite number.
        """
        if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
            raise ValueError("timeout must be a positive, finite number of seconds")
        if not self._keeps:
            return self._batching.write(requests, atomic=atomic, ordered=ordered, timeout=timeout)
        given = list(requests)
        answers = self._batching.write(given, atomic=atomic, ordered=ordered, timeout=timeout)
        self._aftermath.keep_each([(given[at], error) for at, error in answers.failed.items()], together=atomic)
        return answers

    def transaction(
        self, target: str, *, timeout: float | None = None, meta: Mapping[str, Any] = _NO_META
    ) -> AbstractContextManager[WriteTransaction]:
        """Opens a transaction for several writes with one commit: all of them take effect, or none.

        ``with manager.transaction("sql.main") as tx: tx.write(WriteRequest(...))``; see `WriteTransaction` for what
        holds inside. The block is run once: whatever leaves it rolls everything back and reaches the caller as it is,
        and the failure of the commit is raised from the block's end. A transaction that is opened inside another one
        of the same writer, on the same thread, is a nested part of that: it has a savepoint, and the outer one's
        deadline and commit.

        While it is open, a write of this thread past the transaction, to a database with one writer at a time
        (SQLite), is refused at once instead of waiting for itself.

        Args:
            target: of a writer that is able to; see `wellwired.writers.protocol.Transacts`.
            timeout: seconds for the whole transaction; None takes the manager's.
            meta: what is about the transaction, such as a trace id; for its own line in the log.

        Raises:
            WriterNotFoundError: no writer supports the target.
            InvalidRequestError: the writer has no transactions, or an argument is wrong.
            WriteTimeoutError: the deadline passed before COMMIT was sent; nothing is applied.
            BackendError: the backend failed; `outcome` holds for all the writes.
        """
        if self._closed:
            raise _closed()
        return self._transacting.open(target, timeout, meta)

    def transact(
        self,
        target: str,
        work: Callable[[WriteTransaction], T],
        *,
        timeout: float | None = None,
        meta: Mapping[str, Any] = _NO_META,
    ) -> WriteResult[T]:
        """Runs a function in a transaction, and runs it again if that is certainly not applied and may be tried again.

        By the same policy, budget and deadline as a write by itself. The function may run several times, so what it
        does beside the transaction must be harmless to repeat. Inside a transaction of the same writer it is a nested
        part of that and runs once: the outer one is who can try again.

        Args:
            target: as for `transaction`.
            work: is given the transaction.
            timeout: seconds for everything, retries included; None takes the manager's.
            meta: as for `transaction`.

        Returns:
            What the function returned, as `data`.

        Raises:
            RetryExhaustedError: every attempt failed; `outcome` is the worst of theirs.
            WriteError: as for `transaction`; anything else that the function raises passes as it is.
        """
        if self._closed:
            raise _closed()
        return self._transacting.transact(target, work, timeout, meta)

    def close(self) -> None:
        """Refuses every write that starts after this; those on their way end as they would have. Idempotent."""
        self._closed = True

    def renew(self) -> None:
        """Opens the lock in a forked child, where the thread that held it does not exist."""
        self._registering = threading.Lock()
        if self._circuits is not None:
            self._circuits.renew()

    def __repr__(self) -> str:
        return f"WriteManager({', '.join(writer.name for writer in self.writers)})"

    def _admitted(self, request: WriteRequest, began: float, *, under_way: bool = False) -> WriteOperation:
        check_request(request)
        if self._closed and not under_way:
            raise _closed()
        writer = self._directory.find(request.target)
        if writer is None:
            raise no_writer(request, self._directory.targets())
        handler = writer.find_handler(request.type)
        if handler is None:
            raise unsupported(request, writer)
        request = validate_payload(handler, request)
        if request.changes or getattr(handler, "changes", None) is not None:
            request = replace(request, changes=self._aftermath.admitted(request, handler))
        timeout = self._timeout if request.timeout is None else request.timeout
        again = repeatable(request, handler, writer)
        return WriteOperation(request, writer.name, Deadline(began + timeout, self._clock), again, 1, began)

    def _route(self, request: WriteRequest) -> tuple[Writer, Handler]:
        """Who does a request whose fields have been checked; raises why nobody does."""
        if self._closed:
            raise _closed()
        writer = self._directory.find(request.target)
        if writer is None:
            raise no_writer(request, self._directory.targets())
        handler = writer.find_handler(request.type)
        if handler is None:
            raise unsupported(request, writer)
        return writer, handler

    def _refuse(self, request: WriteRequest, refusal: WriteError, began: float) -> WriteError:
        target, kind, meta = _names(request)
        refusal.target = refusal.target or target
        refusal.type = refusal.type or kind
        # Where a writer was found, the directory remembers it; one that cannot even say is not asked twice.
        writer = self._directory.remembered(target)
        event = failed(
            refusal,
            writer="" if writer is None else writer.name,
            target=target,
            type=kind,
            duration=self._clock.monotonic() - began,
            meta=meta,
        )
        for failure in notify(self._observers, event):
            refusal.add_note(failure)
        return refusal

    def _made_transacting(self) -> Transacting:
        return Transacting(
            self._directory,
            admit=partial(self._admitted, under_way=True),
            refuse=self._refuse,
            observers=self._observers,
            aftermath=self._aftermath,
            clock=self._clock,
            timeout=self._timeout,
            retries=self._middle,
            circuits=self._circuits,
        )

    def _chained(self, around: tuple[WriteMiddleware, ...], each: tuple[WriteMiddleware, ...]) -> WriteNext:
        layers: tuple[WriteMiddleware, ...] = (sealed(each),) if each else ()
        layers += self._middle
        layers += (evicting(self._aftermath, self._directory),) if self._aftermath.evicts else ()
        layers += (sealed(around),) if around else ()
        return chain(endpoint(self._directory), (*layers, observed(*self._observers)))


def _observers(metrics: Metrics | None, log: WriteLog) -> tuple[Observer, ...]:
    # The log is told last: a line that can be read is about a write that has been counted.
    return (log,) if metrics is None or isinstance(metrics, NoMetrics) else (metrics.record, log)


def _noticing(metrics: Metrics | None, log: WriteLog) -> tuple[NoticeObserver, ...]:
    told: object = metrics
    return (told.notice, log.noticed) if isinstance(told, Noticing) else (log.noticed,)


def _closed() -> BackendError:
    return BackendError("the write manager is closed", reason="closed")


def _names(request: Any) -> tuple[str, str, Mapping[str, Any]]:
    """What may be told of a request that was refused, in which anything may be anything."""
    if not isinstance(request, WriteRequest):
        return "", "", {}
    target = request.target if named(request.target) else ""
    kind = request.type if named(request.type) else ""
    meta: Any = request.meta
    return target, kind, meta if isinstance(meta, Mapping) else {}
