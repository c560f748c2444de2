"""Keeps what users put around a write from changing what became of it.

A middleware is code like any other and may fail: before the write, which stops it, or after it. After a commit it is
too late for an error, because a caller who is told of one sends the write again. So the layers are sealed from
inside: a witness next to the endpoint remembers what really happened, and when an exception comes out at the other
end, the witness decides. A committed write stays a success, with a warning; anything else becomes a `WriteError`
whose outcome is no better than what was witnessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from wellwired.errors import BackendError, Outcome, Retry, WriteError
from wellwired.middleware.chain import WriteMiddleware, WriteNext, chain
from wellwired.middleware.policy import worse
from wellwired.operations import WriteOperation, WriteResult

__all__ = ["sealed"]


def sealed(layers: Sequence[WriteMiddleware]) -> WriteMiddleware:
    """Makes one middleware of several, which cannot turn a committed write into an error.

    Args:
        layers: in the order of registration; the last one runs first.
    """
    witness: ContextVar[_Witness | None] = ContextVar("wellwired_witness", default=None)

    def wrap(next: WriteNext) -> WriteNext:
        def seen(operation: WriteOperation) -> WriteResult[Any]:
            here = witness.get()
            # None only if a layer took the rest of the way to a thread of its own.
            return next(operation) if here is None else here.watch(next, operation)

        inside = chain(seen, layers)

        def call(operation: WriteOperation) -> WriteResult[Any]:
            here = _Witness()
            token = witness.set(here)
            try:
                result = inside(operation)
            except Exception as error:  # noqa: BLE001 - judged by what was witnessed, never dropped
                return here.judge(operation, error)
            finally:
                witness.reset(token)
            # A layer that forgets `return` must not lose the result of a committed write.
            returned: object = result
            good = isinstance(returned, WriteResult) and returned.success
            return result if good else here.judge(operation, None)

        return call

    return wrap


class _Witness:
    """What the endpoint did during one call."""

    __slots__ = ("outcome", "result")

    def __init__(self) -> None:
        self.result: WriteResult[Any] | None = None
        self.outcome = Outcome.NOT_APPLIED

    def watch(self, next: WriteNext, operation: WriteOperation) -> WriteResult[Any]:
        try:
            self.result = next(operation)
        except WriteError as error:
            self.outcome = worse(self.outcome, error.outcome)
            raise
        return self.result

    def judge(self, operation: WriteOperation, error: Exception | None) -> WriteResult[Any]:
        """The result that was witnessed, with a warning; raises if there was none."""
        what = "gave no successful result" if error is None else f"raised {type(error).__name__}"
        if self.result is not None:
            warning = f"a middleware {what} after the write had taken effect"
            return replace(self.result, warnings=(*self.result.warnings, warning))
        if isinstance(error, WriteError) and worse(error.outcome, self.outcome) is error.outcome:
            raise error
        raise BackendError(
            f"a middleware {what}; mend the middleware",
            outcome=self.outcome,
            retry=Retry.NEVER,
            target=operation.request.target,
            type=operation.request.type,
            reason="middleware",
        ) from error
