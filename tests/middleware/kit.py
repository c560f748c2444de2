"""What the tests of middleware share: operations, errors, and an endpoint that follows a script."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from wellwired.clock import Clock, Deadline
from wellwired.errors import BackendError, Outcome, Retry, WriteError, WriteTimeoutError
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock

SECRET = "hunter2-4111111111111111"

REQUEST = WriteRequest(
    "sql.main", "profile", {"password": SECRET}, {"trace_id": "abc"}, idempotency_key=f"key {SECRET}"
)


def operation(clock: Clock | None = None, *, timeout: float = 5.0, **fields: Any) -> WriteOperation:
    """An admitted write with that much time, on that clock."""
    clock = clock or VirtualClock()
    now = clock.monotonic()
    given: dict[str, Any] = {"request": REQUEST, "writer": "sql.main", "began": now, **fields}
    return WriteOperation(deadline=Deadline(now + timeout, clock), **given)


def safe(reason: str = "connection", **facts: Any) -> BackendError:
    """An error that left nothing behind and may be retried."""
    return BackendError("the connection was lost", retry=Retry.SAFE, reason=reason, **facts)


def unknown(**facts: Any) -> BackendError:
    """An error that left the outcome open."""
    return BackendError(
        "no answer to COMMIT", outcome=Outcome.UNKNOWN, retry=Retry.IF_IDEMPOTENT, reason="commit_unknown", **facts
    )


def never(reason: str = "constraint", **facts: Any) -> BackendError:
    """An error that another attempt would meet again."""
    return BackendError("the row is refused", retry=Retry.NEVER, reason=reason, **facts)


def timeout(**facts: Any) -> WriteTimeoutError:
    """An attempt that ran out of time before COMMIT."""
    return WriteTimeoutError("too late", retry=Retry.SAFE, **facts)


class Scripted:
    """An endpoint that does what it is told, step by step, and remembers the operations it was given.

    Args:
        steps: for each call an exception to raise or a result to return; after the last, results.
    """

    def __init__(self, *steps: WriteError | BaseException | WriteResult[Any] | Callable[[], Any]) -> None:
        self._steps: Iterable[Any] = iter(steps)
        self.seen: list[WriteOperation] = []

    def __call__(self, operation: WriteOperation) -> WriteResult[Any]:
        """Takes the next step."""
        self.seen.append(operation)
        step = next(iter(self._steps), WriteResult(message="written", data=len(self.seen)))
        if callable(step):
            step = step()
        if isinstance(step, BaseException):
            raise step
        assert isinstance(step, WriteResult)
        return step
