"""What a writer must be: one backend, under the names of its targets.

A writer owns the transaction, the phases of a write and the meaning of its backend's errors; everything around an
attempt (validation, deadlines, retries, logging, metrics) is the manager's. Abilities that not every backend has are
separate protocols, found by `isinstance`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, runtime_checkable

from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult

__all__ = [
    "BATCH_SIZE",
    "Defers",
    "KeepsKeys",
    "Listed",
    "Transacts",
    "Unit",
    "Writer",
    "WriterCapabilities",
    "WritesMany",
    "capabilities_of",
    "handler_failed",
]


BATCH_SIZE: Final = 1_000
"""How many requests go to a writer at once that names no `batch_size`: enough to make round trips and commits cheap,
and few enough that locks are not held for long."""


@runtime_checkable
class Writer(Protocol):
    """One backend that can be written to; safe to use from many threads at once."""

    @property
    def name(self) -> str:
        """The dotted name of its target, such as ``sql.main``; it never changes."""
        ...

    def supports(self, target: str, /) -> bool:
        """Whether it writes for this target: its own name, and what else it was given. The answer never changes."""
        ...

    def find_handler(self, type: str, /) -> Handler | None:
        """The handler of a type on this backend, or None. Asked at every write: it must be quick and take no lock."""
        ...

    def register_handler(self, handler: Handler, /) -> None:
        """Adds a handler; raises `RegistrationError` if its type has one already."""
        ...

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Makes one attempt: opens a transaction, lets the handler do its part, commits. Never tries twice.

        Args:
            request: a valid request; its payload has been converted.
            handler: the handler to call, one of `find_handler`.
            deadline: by when COMMIT must have been sent, or nothing is applied.

        Returns:
            What was committed; a commit that was answered late is still a success.

        Raises:
            WriteTimeoutError: the deadline passed before COMMIT was sent; nothing is applied.
            WriteError: the backend or the handler failed; `outcome`, `retry` and `phase` say what that means. What
                the handler itself got wrong is a `handler_failed` after the roll-back.
        """
        ...


@runtime_checkable
class Listed(Protocol):
    """The ability to list what a writer knows, for error messages and pictures."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Every target that it supports, its name first."""
        ...

    def types(self) -> tuple[str, ...]:
        """Every type that it has a handler for, sorted."""
        ...


@runtime_checkable
class KeepsKeys(Protocol):
    """The ability to let a write with an idempotency key take effect once; `keeps_keys` says whether it is on."""

    @property
    def keeps_keys(self) -> bool:
        """Whether a key that was seen is answered with the stored result."""
        ...


@runtime_checkable
class WritesMany(Protocol):
    """The ability to do many writes of one type with few round trips, and to answer for each of them.

    It uses the handler's `handle_many` where there is one, and calls `handle` one by one otherwise. An optional
    attribute ``batch_size`` says how many it takes at once; the default is `BATCH_SIZE`. An atomic batch is not cut.
    """

    def write_batch(
        self, requests: Sequence[WriteRequest], *, handler: Handler, deadline: Deadline, atomic: bool
    ) -> Sequence[WriteResult[Any] | WriteError]:
        """Makes one attempt at all of them, in one transaction if the backend has such. Never tries twice.

        What is wrong with one request is its own error, and the others take effect without it. What ends the whole
        attempt (a deadlock, a lost connection, the deadline, a COMMIT without an answer) is the error of each request
        that it left undecided. Errors are objects of their own for each request.

        Args:
            requests: valid ones for one target, with converted payloads; no two have the same idempotency key.
            handler: the handler to call for all of them.
            deadline: by when COMMIT must have been sent, or nothing is applied.
            atomic: whether all take effect or none. Then what failed carries its error, and the others one with the
                reason ``"atomic"``. A backend that cannot promise it refuses all with an `InvalidRequestError`.

        Returns:
            For each request, at its position, its result or its error. It raises nothing for a request.
        """
        ...


@runtime_checkable
class Defers(Protocol):
    """The ability to write inside a transaction that somebody else has opened, and will end.

    A result of such a write says that it is `pending`, and a `Unit` has an attribute `pending` that is true. What is
    to follow the commit of such a write is handed to `defer`.
    """

    def defer(self, callback: Callable[[], Sequence[str]], /) -> None:
        """Has something done when the transaction that this thread has open is committed; never if it is rolled back.

        Args:
            callback: called once, without arguments; returns a line for whatever failed, for the log.
        """
        ...


@dataclass(frozen=True, slots=True)
class WriterCapabilities:
    """What a writer can promise; the default for each is the least.

    Args:
        deadline: ``"fenced"``: a write that is reported as a TIMEOUT is not applied and never will be;
            ``"best_effort"``: it may be applied later.
        atomic: a write takes effect as a whole or not at all, whatever its handler does.
        idempotency: an idempotency key is kept with the write, so that it takes effect once.
        savepoints: a part of a transaction can be undone; see `Unit.savepoint`.
        batches: many requests can be written in fewer steps than one by one.
        resolves_unknown: after a commit without an answer it finds out, where it can, what became of the write.
    """

    deadline: Literal["fenced", "best_effort"] = "best_effort"
    atomic: bool = False
    idempotency: bool = False
    savepoints: bool = False
    batches: bool = False
    resolves_unknown: bool = False


def capabilities_of(writer: Writer) -> WriterCapabilities:
    """What a writer can promise: what its attribute `capabilities` says, or else what can be told by looking at it.

    A writer that says nothing is believed nothing that cannot be seen.

    Args:
        writer: any writer.
    """
    said = getattr(writer, "capabilities", None)
    if isinstance(said, WriterCapabilities):
        return said
    keeps = isinstance(writer, KeepsKeys) and writer.keeps_keys
    return WriterCapabilities(idempotency=keeps, batches=isinstance(writer, WritesMany))


class Unit(Protocol):
    """One open transaction of several writes; for the thread that began it.

    Whoever began it must call `close`, after `commit` or `rollback` or without either, and nothing after that. The
    phases and errors are those of `Writer.write`. Callbacks of `after_commit` are collected by the caller.
    """

    @property
    def usable(self) -> bool:
        """Whether it could still be committed: False once a write has failed that no savepoint has undone."""
        ...

    def write(self, request: WriteRequest, *, handler: Handler) -> WriteResult[Any]:
        """Lets a handler do its part; nothing counts before `commit` has returned.

        Args:
            request: a valid request; its payload has been converted.
            handler: the handler to call, one of `Writer.find_handler`.

        Returns:
            What the handler returned, as far as the backend can tell before the commit.

        Raises:
            WriteError: it failed, and the unit with it, unless a savepoint around it undoes it.
        """
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """A block whose writes are undone, and they alone, if it is left by an exception, which passes through.

        If the backend has ended the whole transaction, there is nothing to go back to, and `usable` is False
        afterwards. A writer without `WriterCapabilities.savepoints` raises a `BackendError` with the reason
        ``"savepoint"``.
        """
        ...

    def commit(self) -> None:
        """Commits everything, unless the deadline has passed.

        Raises:
            WriteTimeoutError: COMMIT was not sent; nothing is applied.
            WriteError: it failed; `outcome` says what became of all its writes.
        """
        ...

    def rollback(self) -> None:
        """Undoes everything; never raises. A unit that could not be undone is dropped with its connection."""
        ...

    def close(self) -> str:
        """Gives everything back; never raises.

        Returns:
            What went wrong, in one line, or "".
        """
        ...


@runtime_checkable
class Transacts(Protocol):
    """The ability to do several writes in one transaction."""

    def begin(self, target: str, /, *, deadline: Deadline) -> Unit:
        """Opens a transaction.

        Args:
            target: for the words of errors.
            deadline: by when its COMMIT must have been sent.

        Raises:
            WriteTimeoutError: the deadline passed before it was open.
            WriteError: it could not be opened; nothing is applied.
        """
        ...


def handler_failed(error: Exception, request: WriteRequest) -> BackendError:
    """The error for a handler that raised what neither the library nor the backend raises: a bug of its own.

    To be raised by a writer after it has rolled back, `from` the exception. The text names the exception's class and
    not what it says, which may quote the payload.

    Args:
        error: what the handler raised.
        request: the request it was handling.

    Returns:
        A `BackendError` with ``reason="handler"``: not applied, never to be sent again as it is.
    """
    failed = BackendError(
        f"the handler raised {type(error).__name__} and its work was rolled back; mend the handler",
        outcome=Outcome.NOT_APPLIED,
        retry=Retry.NEVER,
        phase=Phase.EXECUTE,
        target=request.target,
        type=request.type,
        reason="handler",
    )
    failed.__cause__ = error
    return failed
