"""The innermost call of a manager's chain: one attempt at the writer.

Whatever a writer raises leaves here as a `WriteError`, so that the layers outside have one kind of failure to judge.
A writer that raises anything else has broken its contract, and nobody can say what became of the data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import BackendError, ErrorCode, Outcome, Phase, Retry, TypeNotSupportedError, WriteError, wrap
from wellwired.handlers.payload import detached
from wellwired.handlers.protocol import Handler
from wellwired.middleware.chain import WriteNext
from wellwired.middleware.limit import too_late
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.writers.admission import no_type
from wellwired.writers.directory import Directory
from wellwired.writers.protocol import Listed, Writer

__all__ = ["endpoint", "unsupported", "unusable"]

Send = Callable[[Writer, WriteRequest, Handler, Deadline], WriteResult[Any]]


def endpoint(directory: Directory, send: Send | None = None) -> WriteNext:
    """The call that makes one attempt.

    Nothing is sent after the deadline. The handler is looked up again, so that a middleware may change what is
    written; a plain payload is copied, so that what one attempt does to it reaches neither the next nor the caller.

    Args:
        directory: where the operation's writer is found by its name.
        send: has the writer do it in a transaction that is open; None for one of its own.
    """

    def attempt(operation: WriteOperation) -> WriteResult[Any]:
        request, deadline = operation.request, operation.deadline
        if deadline.passed:
            raise too_late(request)
        writer = directory.named(operation.writer)
        handler = writer.find_handler(request.type)
        if handler is None:
            raise unsupported(request, writer)
        if type(request.payload) is dict:
            request = request.with_payload(detached(request.payload))
        try:
            result: object = (
                writer.write(request, handler=handler, deadline=deadline)
                if send is None
                else send(writer, request, handler, deadline)
            )
        except WriteError as error:
            error.attempts = operation.attempt
            raise
        except Exception as error:
            raise _broken(operation, f"raised {type(error).__name__}", error) from error
        if isinstance(result, WriteResult) and result.success:
            return result
        raise _broken(operation, f"returned a {type(result).__name__} and not a successful WriteResult", None)

    return attempt


def unsupported(request: WriteRequest, writer: Writer) -> TypeNotSupportedError:
    """The error for a type that the writer has no handler for, with those that it has, if it lists them.

    Args:
        request: the request, its names checked.
        writer: the writer of its target.
    """
    return no_type(request, writer.name, writer.types() if isinstance(writer, Listed) else None)


def unusable(error: Exception) -> BackendError:
    """The error for a writer or handler that failed before anything was sent.

    Args:
        error: what it raised.
    """
    what = f"it raised {type(error).__name__} before anything was sent"
    return BackendError(f"the writer or the handler cannot be used: {what}", reason="wiring")


def _broken(operation: WriteOperation, what: str, cause: Exception | None) -> WriteError:
    return wrap(
        ErrorCode.BACKEND,
        f"the writer {operation.writer!r} {what}, so what became of the data is not known; mend the writer",
        cause,
        outcome=Outcome.UNKNOWN,
        retry=Retry.NEVER,
        phase=Phase.EXECUTE,
        attempts=operation.attempt,
        reason="writer",
    )
