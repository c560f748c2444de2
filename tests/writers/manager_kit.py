"""What the tests of the manager share: a manager over memory on a clock that never sleeps, and odd writers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Retry, WriteError
from wellwired.handlers import Handler, Registry, handler
from wellwired.middleware import SILENT, WriteEvent, WriteMiddleware, WriteNext
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import MemoryWriter, WriteManager

SECRET = "hunter2-4111111111111111"

__all__ = ["SECRET", "Acting", "Counted", "failure", "lost", "managed", "noting", "open_commit", "put", "request"]


@handler("put", backend="memory")
def put(request: WriteRequest, connection: Any) -> str:
    """Stores the payload's value under its key."""
    key = str(request.payload["key"])
    connection[key] = request.payload.get("value")
    return key


def request(type: str = "put", target: str = "sql.main", **fields: Any) -> WriteRequest:
    """A request that is fine, unless said otherwise."""
    payload = fields.pop("payload", {"key": "a", "value": SECRET})
    return WriteRequest(target, type, payload, **fields)


class Counted:
    """Metrics in a list."""

    def __init__(self) -> None:
        self.events: list[WriteEvent] = []

    def record(self, event: WriteEvent, /) -> None:
        """Keeps the event."""
        self.events.append(event)


def managed(
    writer: MemoryWriter | None = None, clock: VirtualClock | None = None, **options: Any
) -> tuple[WriteManager, MemoryWriter]:
    """A manager over a memory writer named ``sql.main``, silent, and with the longest wait at every retry."""
    writer = writer or MemoryWriter("sql.main", handlers=Registry(put))
    given = {"logger": SILENT, "clock": clock or VirtualClock(), "random": lambda: 1.0, **options}
    return WriteManager([writer], **given), writer


def failure(manager: WriteManager, request: Any) -> WriteError:
    """How a write fails."""
    try:
        manager.write(request)
    except WriteError as error:
        return error
    raise AssertionError("the write did not fail")


class Acting:
    """A writer that does what it is told.

    Args:
        act: called for each attempt with the request and the deadline.
        name: its name, and its only target.
    """

    def __init__(self, act: Callable[[WriteRequest, Deadline], Any], name: str = "sql.main") -> None:
        self.name = name
        self.act = act

    def supports(self, target: str, /) -> bool:
        """Its name."""
        return target == self.name

    def find_handler(self, type: str, /) -> Handler | None:
        """The one handler for everything but ``missing``."""
        return None if type == "missing" else put

    def register_handler(self, handler: Handler, /) -> None:
        """Takes none."""
        raise NotImplementedError

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Does what it was told."""
        result: WriteResult[Any] = self.act(request, deadline)
        return result


def lost(**facts: Any) -> BackendError:
    """A failure that left nothing behind."""
    return BackendError("the connection was lost", retry=Retry.SAFE, reason="connection", **facts)


def open_commit() -> BackendError:
    """A failure that left the outcome open."""
    return BackendError("no answer", outcome=Outcome.UNKNOWN, retry=Retry.IF_IDEMPOTENT, reason="commit_unknown")


def noting(name: str, notes: list[Any]) -> WriteMiddleware:
    """A middleware that notes the attempt it is called for."""

    def wrap(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            notes.append((name, operation.attempt))
            return next(operation)

        return call

    return wrap
