"""What a writer must be: one backend, under the names of its targets.

A writer owns the transaction, the phases of a write and the meaning of its backend's errors; everything around an
attempt (validation, deadlines, retries, logging, metrics) is the manager's. Abilities that not every backend has are
separate protocols, found by `isinstance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult

__all__ = ["KeepsKeys", "Listed", "Writer", "WritesMany", "handler_failed"]


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

    It uses the handler's `handle_many` where there is one, and calls `handle` one by one otherwise.
    """

    def write_batch(
        self, requests: Sequence[WriteRequest], *, handler: Handler, deadline: Deadline, atomic: bool
    ) -> list[WriteResult[Any] | WriteError]:
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
