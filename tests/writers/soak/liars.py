"""Two that do not tell the truth, as many in the wild do; the harness has to catch them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import Phase, WriteError, WriteTimeoutError
from wellwired.handlers import Handler
from wellwired.middleware import SILENT
from wellwired.middleware.budget import RetryBudget
from wellwired.middleware.policy import Decision, RetryPolicy
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers import WriteManager, Writer

__all__ = ["Abandoning", "Stubborn", "obeying"]

_LONG = 20.0


class Abandoning:
    """A writer that keeps its deadlines by walking away: the work goes on in a thread that nobody waits for.

    Args:
        inner: does the work, with all the time that it wants.
    """

    def __init__(self, inner: Writer) -> None:
        self._inner = inner
        self.name = inner.name
        self._pool = ThreadPoolExecutor(32, thread_name_prefix="abandoned")

    def supports(self, target: str, /) -> bool:
        """As the inner writer."""
        return self._inner.supports(target)

    def find_handler(self, type: str, /) -> Handler | None:
        """As the inner writer."""
        return self._inner.find_handler(type)

    def register_handler(self, handler: Handler, /) -> None:
        """As the inner writer."""
        self._inner.register_handler(handler)

    @property
    def keeps_keys(self) -> bool:
        """It does keep them."""
        return True

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Waits for as long as the deadline allows, and calls the rest a TIMEOUT."""
        work: Future[WriteResult[Any]] = self._pool.submit(
            self._inner.write, request, handler=handler, deadline=Deadline.after(_LONG)
        )
        try:
            return work.result(max(0.0, deadline.left()))
        except FutureTimeoutError as error:
            if isinstance(error, WriteError):
                raise
            raise WriteTimeoutError("it took too long", phase=Phase.EXECUTE) from None

    def finish(self) -> None:
        """Waits for what was abandoned."""
        self._pool.shutdown(wait=True)


class Stubborn(RetryPolicy):
    """A policy to which every write is harmless to repeat."""

    def decide(self, error: WriteError, *, attempt: int, repeatable: bool, left: float, draw: float) -> Decision:
        """As if the handler were idempotent."""
        return super().decide(error, attempt=attempt, repeatable=True, left=left, draw=draw)


def obeying(policy: RetryPolicy) -> Callable[[Writer], WriteManager]:
    """Makes managers that retry as a policy says."""
    return lambda writer: WriteManager([writer], logger=SILENT, budget=RetryBudget(100_000), retry=policy)
