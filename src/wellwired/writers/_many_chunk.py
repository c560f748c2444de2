"""A chunk of a batch on its way to its writer: retries around attempts, with middleware of batches where there is some.

The way of a chunk is that of a single write (see `manager`), with all its requests at once: middleware of `use(...)`
that knows batches, retries by policy and budget, time limit and circuit of an attempt, middleware for each attempt, the
writer. What stands around an attempt and knows only single writes sees one operation for the chunk, which fails if
nothing of it was done.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wellwired.clock import Clock, Deadline
from wellwired.errors import ErrorCode, Outcome, Phase, Retry, WriteError, wrap
from wellwired.handlers._requests import Requests
from wellwired.handlers.protocol import Handler
from wellwired.middleware.batches import BatchMiddleware, BatchNext, many_of
from wellwired.middleware.budget import RetryBudget
from wellwired.middleware.chain import WriteMiddleware, chain
from wellwired.middleware.events import RetryObserver, retried
from wellwired.middleware.limit import too_late
from wellwired.middleware.observe import notify
from wellwired.middleware.policy import RetryPolicy
from wellwired.middleware.retry import inside_retries
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.writers._answers import Answer, Committed, error_for
from wellwired.writers._many_retry import Again, Tries
from wellwired.writers._many_seal import sealed_many
from wellwired.writers.protocol import WritesMany

__all__ = ["Chunk", "Chunks", "Retries", "chunks_of"]


@dataclass(frozen=True, slots=True)
class Retries:
    """How writes are tried again; the same for single writes and for batches.

    Args:
        policy: when.
        budget: what pays for it.
        clock: sleeps between attempts.
        random: gives numbers from 0 to 1 for the jitter.
        on_retry: told of every retry before its wait.
    """

    policy: RetryPolicy
    budget: RetryBudget
    clock: Clock
    random: Callable[[], float] = _random.random
    on_retry: RetryObserver | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Requests that go to their writer together.

    Args:
        writer: the writer.
        name: its name.
        handler: does them.
        requests: what to write, admitted.
        repeatable: for each, whether doing it twice is harmless.
        deadline: by when they must have been committed or given up.
        began: when they began, in seconds of the deadline's clock.
        atomic: whether all are applied or none.
        attempt: which attempt this is, from 1.
    """

    writer: WritesMany
    name: str
    handler: Handler
    requests: Requests
    repeatable: Sequence[bool]
    deadline: Deadline
    began: float
    atomic: bool = False
    attempt: int = 1

    def operation(self, request: WriteRequest, *, repeatable: bool = False) -> WriteOperation:
        """One of its requests as middleware sees it."""
        return WriteOperation(request, self.name, self.deadline, repeatable, self.attempt, self.began)

    def operations(self) -> list[WriteOperation]:
        """All of them, likewise."""
        pairs = zip(self.requests, self.repeatable, strict=True)
        return [self.operation(request, repeatable=again) for request, again in pairs]

    def again(self, positions: Sequence[int], attempt: int) -> Chunk:
        """Some of them, for another attempt."""
        requests, repeatable = self.requests.chosen(positions), [self.repeatable[at] for at in positions]
        return replace(self, requests=requests, repeatable=repeatable, attempt=attempt)

    def of(self, operations: Sequence[WriteOperation]) -> Chunk:
        """The chunk of what a middleware lets through, which may have changed the payloads."""
        requests = Requests([operation.request for operation in operations])
        return replace(self, requests=requests, repeatable=[operation.repeatable for operation in operations])


class Chunks:
    """Leads chunks to their writers; safe to share by threads.

    Args:
        retries: how they are tried again.
        inside: what stands around an attempt and knows single writes: a time limit, a circuit.
        around: middleware of batches around a write.
        each: middleware of batches around an attempt.
    """

    def __init__(
        self,
        retries: Retries,
        inside: tuple[WriteMiddleware, ...],
        around: tuple[BatchMiddleware, ...] = (),
        each: tuple[BatchMiddleware, ...] = (),
    ) -> None:
        self._retries = retries
        self._attempt = chain(_attempt, inside)
        self._around, self._each = around, each

    def lead(self, chunk: Chunk) -> Sequence[Answer]:
        """Writes a chunk; raises nothing for it.

        Returns:
            For each of its requests, at its position, its result or its error.
        """
        if not self._around:
            return self._retried(chunk)
        call = sealed_many(self._around, lambda operations: self._retried(chunk.of(operations)))
        return call(chunk.operations())

    def _retried(self, chunk: Chunk) -> Sequence[Answer]:
        with inside_retries() as nested:
            policy = RetryPolicy(attempts=1) if nested else self._retries.policy
            tries = Tries(policy, chunk.repeatable, atomic=chunk.atomic)
            first = self._tried(chunk)
            self._refund(chunk, first, None)
            if not _any_errors(first):
                return first
            answers, pending = list(first), list(range(len(first)))
            warnings: tuple[str, ...] = ()
            while pending:
                errors = {at: one for at in pending if isinstance(one := answers[at], WriteError)}
                again = self._decided(chunk, tries, errors)
                if again is None:
                    break
                pending, wait, error = again
                warnings += self._pause(chunk, error, tries.attempt - 1, len(pending), wait)
                later = self._tried(chunk.again(pending, tries.attempt))
                self._refund(chunk, later, error)
                for at, answer in zip(pending, later, strict=True):
                    answers[at] = _later(answer, tries.attempt, warnings)
        for at, error in tries.final.items():
            answers[at] = error
        return answers

    def _refund(self, chunk: Chunk, answers: Sequence[Answer], mended: WriteError | None) -> None:
        """Puts back what a try that did anything has earned: one price, as one was paid."""
        if _any_results(answers):
            self._retries.budget.refund(chunk.name, mended)

    def _decided(self, chunk: Chunk, tries: Tries, errors: Mapping[int, WriteError]) -> Again | None:
        budget = self._retries.budget
        left, draw = chunk.deadline.left(), self._retries.random()
        return tries.after(errors, left=left, draw=draw, spend=lambda error: budget.spend(chunk.name, error))

    def _pause(self, chunk: Chunk, error: WriteError, attempt: int, size: int, wait: float) -> tuple[str, ...]:
        warnings: tuple[str, ...] = ()
        if self._retries.on_retry is not None:
            event = retried(chunk.operation(chunk.requests.originals[0]), error, attempt, wait)
            warnings = notify((self._retries.on_retry,), replace(event, size=size))
        self._retries.clock.sleep(wait)
        return warnings

    def _tried(self, chunk: Chunk) -> Sequence[Answer]:
        if not self._each:
            return self._sent(chunk)
        call: BatchNext = sealed_many(self._each, lambda operations: self._sent(chunk.of(operations)))
        return call(chunk.operations())

    def _sent(self, chunk: Chunk) -> Sequence[Answer]:
        job = _Job(chunk)
        label = WriteRequest(chunk.requests.originals[0].target, chunk.handler.type, job)
        try:
            self._attempt(chunk.operation(label))
        except WriteError as error:
            if job.answers is None:  # it was stopped before the writer
                job.answers = [error_for(error, request) for request in chunk.requests.originals]
        answers = job.answers
        assert answers is not None, "an attempt without an answer is an error"
        for answer in answers if _any_errors(answers) else ():
            if isinstance(answer, WriteError):
                answer.attempts = chunk.attempt
        return answers


def chunks_of(
    retries: Retries,
    inside: tuple[WriteMiddleware, ...],
    around: tuple[WriteMiddleware, ...],
    each: tuple[WriteMiddleware, ...],
) -> Chunks | None:
    """What leads chunks through an application's middleware.

    Args:
        retries: how they are tried again.
        inside: see `Chunks`.
        around: what stands around a write.
        each: what stands around an attempt.

    Returns:
        None if a middleware knows single writes only.
    """
    many, many_each = many_of(around), many_of(each)
    return None if many is None or many_each is None else Chunks(retries, inside, many, many_each)


class _Job:
    """An attempt at a chunk, and its answers once it was made."""

    __slots__ = ("answers", "chunk")

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.answers: Sequence[Answer] | None = None


def _attempt(operation: WriteOperation) -> WriteResult[Any]:
    """Hands a chunk to its writer; raises its first error if nothing of it was done."""
    job: _Job = operation.request.payload
    job.answers = answers = _asked(job.chunk, operation.deadline)
    if _any_results(answers):
        return WriteResult()
    first = answers[0]
    assert isinstance(first, WriteError), "it is no result"
    # What is wrong with a request is no news about the backend: one that says more than that goes first.
    raise next((one for one in answers if isinstance(one, WriteError) and one.retry is not Retry.NEVER), first)


def _asked(chunk: Chunk, deadline: Deadline) -> Sequence[Answer]:
    requests = chunk.requests
    if deadline.passed:
        return [too_late(request) for request in requests.originals]
    try:
        answers: object = chunk.writer.write_batch(
            requests, handler=chunk.handler, deadline=deadline, atomic=chunk.atomic
        )
    except WriteError as error:
        return [error_for(error, request) for request in requests.originals]
    except Exception as error:  # noqa: BLE001 - each request has it as the cause of its error
        return [_broken(chunk, request, f"raised {type(error).__name__}", error) for request in requests.originals]
    if isinstance(answers, Sequence) and len(answers) == len(requests) and all(map(_is_answer, _kinds(answers))):
        return answers
    return [_broken(chunk, request, "did not answer for each request", None) for request in requests.originals]


def _kinds(answers: Sequence[object]) -> set[type]:
    return {WriteResult} if isinstance(answers, Committed) else set(map(type, answers))


def _is_answer(kind: type) -> bool:
    return issubclass(kind, WriteResult | WriteError)


def _any_results(answers: Sequence[object]) -> bool:
    return any(issubclass(kind, WriteResult) for kind in _kinds(answers))


def _any_errors(answers: Sequence[object]) -> bool:
    return any(issubclass(kind, WriteError) for kind in _kinds(answers))


def _later(answer: Answer, attempt: int, warnings: tuple[str, ...]) -> Answer:
    if isinstance(answer, WriteResult):
        return replace(answer, attempts=attempt, warnings=warnings + answer.warnings)
    return answer


def _broken(chunk: Chunk, request: WriteRequest, what: str, cause: Exception | None) -> WriteError:
    return wrap(
        ErrorCode.BACKEND,
        f"the writer {chunk.name!r} {what}, so what became of the data is not known; mend the writer",
        cause,
        outcome=Outcome.UNKNOWN,
        retry=Retry.NEVER,
        phase=Phase.EXECUTE,
        target=request.target,
        type=request.type,
        reason="writer",
    )
