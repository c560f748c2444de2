"""What the tests of the Redis writer share: one attempt by a writer, and a handler that counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from wellwired.clock import Deadline
from wellwired.handlers.decorator import FunctionHandler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers.redis import RedisWriter

__all__ = ["Client", "Pipeline", "count_up", "write"]

# redis-py's own types are less exact than its documentation.
Client: TypeAlias = Any
Pipeline: TypeAlias = Any


def write(
    writer: RedisWriter,
    work: Callable[[WriteRequest, Any], Any],
    payload: Any = None,
    *,
    key: str | None = None,
    deadline: Deadline | None = None,
    **traits: Any,
) -> WriteResult[Any]:
    """One attempt by a writer."""
    request = WriteRequest(target=writer.name, type="test", payload=payload or {}, idempotency_key=key)
    return writer.write(
        request,
        handler=FunctionHandler(work, type="test", backend="redis", **traits),
        deadline=deadline or Deadline.after(10),
    )


def count_up(_request: WriteRequest, pipeline: Pipeline) -> None:
    """Not harmless when done twice."""
    pipeline.incr("n")
    pipeline.set("last", "up")
