"""The pipeline that a Redis handler is given: a MULTI block that only the writer sends.

A handler that executed its pipeline would send its commands before the deadline's fence and beside the idempotency
key, so `execute` is refused; one that closed it would lose what it queued and be called a success, so that is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from redis.client import Pipeline

from wellwired.errors import BackendError, Phase
from wellwired.writers._lane import Lane
from wellwired.writers._redis_fence import Command

__all__ = ["WritePipeline"]


class WritePipeline(Pipeline):
    """One write's pipeline; see the module.

    Args:
        lane: the write's way to Redis, in place of a pool.
        callbacks: how the client turns answers into Python's values.
    """

    def __init__(self, lane: Lane, callbacks: Mapping[str, Any]) -> None:
        self._emptied = False
        # Typed as a pool, of which a pipeline uses what a lane has.
        super().__init__(cast(Any, lane), callbacks, True, None)

    def execute(self, *_args: Any, **_options: Any) -> list[Any]:
        """Refused: the writer sends the commands, after the handler has returned."""
        raise _refused("execute its pipeline: the writer does, after it; a handler with uses_client sends for itself")

    def reset(self) -> None:  # type: ignore[override]
        """Forgets what was queued, and remembers that it did."""
        self._emptied = self._emptied or bool(self.command_stack)
        super().reset()

    @property
    def conditional(self) -> bool:
        """Whether it depends on watched keys or on scripts that must be loaded first."""
        return bool(self.watching or self.explicit_transaction or self.scripts)

    def take(self) -> list[Command]:
        """What the handler has queued.

        Raises:
            BackendError: it had queued commands and closed the pipeline.
        """
        if self._emptied:
            raise _refused("close its pipeline, which forgets the queued commands; leave it open")
        return list(self.command_stack)

    def commit(self) -> list[Any]:
        """Sends everything as one MULTI block.

        Returns:
            The answers in order; the error of a command that failed stands in its place, and the others were applied.

        Raises:
            redis.RedisError: nothing is known of answers; if it is an answer itself, the block was discarded.
        """
        answers: list[Any] = super().execute(raise_on_error=False)
        return answers


def _refused(what: str) -> BackendError:
    return BackendError(f"a handler must not {what}", phase=Phase.EXECUTE, reason="handler")
