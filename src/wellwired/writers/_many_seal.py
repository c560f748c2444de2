"""Keeps middleware of batches from changing what became of a request, as `middleware.seal` does for single writes.

A witness next to the innermost call remembers the answer of each request. What comes out at the other end is believed
as long as it has an answer for each position, and as long as it calls nothing an error that took effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import replace

from wellwired.errors import BackendError, Outcome, Retry, WriteError
from wellwired.middleware.batches import BatchMiddleware, BatchNext
from wellwired.middleware.chain import chain
from wellwired.operations import WriteOperation, WriteResult
from wellwired.writers._answers import Answer

__all__ = ["sealed_many"]


def sealed_many(layers: Sequence[BatchMiddleware], next: BatchNext) -> BatchNext:
    """Builds the call through middleware of batches, which cannot turn a committed write into an error.

    Args:
        layers: in the order of registration; the last one runs first.
        next: the innermost call.
    """
    if not layers:
        return next
    witness: ContextVar[_Witness | None] = ContextVar("wellwired_many_witness", default=None)

    def seen(operations: Sequence[WriteOperation]) -> Sequence[Answer]:
        here = witness.get()
        # None only if a layer took the rest of the way to a thread of its own.
        return next(operations) if here is None else here.watch(next, operations)

    inside = chain(seen, layers)

    def call(operations: Sequence[WriteOperation]) -> Sequence[Answer]:
        here = _Witness()
        token = witness.set(here)
        try:
            answers: object = inside(operations)
        except Exception as error:  # noqa: BLE001 - judged by what was witnessed, never dropped
            return here.judge(operations, error)
        finally:
            witness.reset(token)
        if not isinstance(answers, Sequence) or len(answers) != len(operations):
            return here.judge(operations, None)
        return [here.believed(operation, answer) for operation, answer in zip(operations, answers, strict=True)]

    return call


class _Witness:
    """What the innermost call answered during one call."""

    __slots__ = ("_answers", "_watched")

    def __init__(self) -> None:
        self._answers: dict[int, Answer] = {}
        self._watched: list[Sequence[WriteOperation]] = []  # kept alive, because they are known by their ids

    def watch(self, next: BatchNext, operations: Sequence[WriteOperation]) -> Sequence[Answer]:
        answers = next(operations)
        self._watched.append(operations)
        for operation, answer in zip(operations, answers, strict=True):
            self._answers[id(operation.request)] = answer
        return answers

    def believed(self, operation: WriteOperation, answer: object) -> Answer:
        """What came out for one request, unless it contradicts what was seen."""
        seen = self._answers.get(id(operation.request))
        if isinstance(answer, WriteResult) and answer.success:
            return answer
        if isinstance(answer, WriteError) and not isinstance(seen, WriteResult):
            return answer
        return self._told(operation, seen, "gave no successful result", None)

    def judge(self, operations: Sequence[WriteOperation], error: Exception | None) -> list[Answer]:
        """The answers that were witnessed, each success with a warning."""
        what = "gave no answer for each request" if error is None else f"raised {type(error).__name__}"
        return [self._told(one, self._answers.get(id(one.request)), what, error) for one in operations]

    def _told(self, operation: WriteOperation, seen: Answer | None, what: str, error: Exception | None) -> Answer:
        if isinstance(seen, WriteResult):
            return replace(seen, warnings=(*seen.warnings, f"a middleware {what} after the write had taken effect"))
        if seen is not None:
            return seen
        # A request that a layer made itself may have been sent in the place of this one.
        sent = Outcome.UNKNOWN if self._watched else Outcome.NOT_APPLIED
        failed = BackendError(
            f"a middleware {what}; mend the middleware",
            outcome=sent,
            retry=Retry.NEVER,
            target=operation.request.target,
            type=operation.request.type,
            reason="middleware",
        )
        failed.__cause__ = error
        return failed
