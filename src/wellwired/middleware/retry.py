"""The one retry loop: sends a failed write again for as long as the policy, the budget and the deadline allow.

The rules are in `policy`, `budget` and `verdict`; here is only the loop that obeys them. It never runs inside itself:
a write that a handler makes while its own attempt is being retried is tried once, because the outer attempt repeats it.
"""

from __future__ import annotations

import random as _random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from wellwired._nesting import inside
from wellwired.clock import SYSTEM, Clock
from wellwired.errors import WriteError
from wellwired.middleware.budget import RetryBudget
from wellwired.middleware.chain import WriteMiddleware, WriteNext
from wellwired.middleware.events import RetryObserver, retried
from wellwired.middleware.observe import notify
from wellwired.middleware.policy import Decision, RetryPolicy, Stop, Wait
from wellwired.middleware.verdict import verdict
from wellwired.operations import WriteOperation, WriteResult

__all__ = ["inside_retries", "is_nested", "retrying"]


@contextmanager
def inside_retries() -> Iterator[bool]:
    """Marks what runs in the block as tried again by it, for a retry loop other than the one here.

    Returns:
        Whether it stands inside such a block already, and so must try once only.
    """
    nested = inside.get()
    token = inside.set(True)
    try:
        yield nested
    finally:
        inside.reset(token)


def is_nested() -> bool:
    """Whether this code runs inside an attempt of a write, which whoever retries that write repeats."""
    return inside.get()


def retrying(
    policy: RetryPolicy | None = None,
    *,
    clock: Clock = SYSTEM,
    random: Callable[[], float] = _random.random,
    budget: RetryBudget | None = None,
    on_retry: RetryObserver | None = None,
) -> WriteMiddleware:
    """The middleware that retries what is right to retry.

    What it lets through: the result of the first attempt that succeeds, with the number of attempts; the error
    itself, if there was only one attempt or if the last error could not be mended by another; else a
    `RetryExhaustedError` with the worst outcome of all attempts, the last error as its cause, and as its reason the
    word for why there was no further one: ``"attempts"``, ``"deadline"``, ``"budget"``, ``"error"`` or ``"repeat"``.

    Args:
        policy: the rules; the default `RetryPolicy` if None.
        clock: sleeps between attempts.
        random: gives numbers from 0 to 1 for the jitter; safe to call from many threads.
        budget: pays for the retries; None for no limit but the policy's.
        on_retry: told of every retry before its wait.
    """
    rules = _Rules(policy or RetryPolicy(), clock, random, budget, on_retry)

    def wrap(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            if inside.get():
                return next(operation)
            token = inside.set(True)
            try:
                result = next(operation)
            except WriteError as error:
                return _again(rules, next, operation, error)
            finally:
                inside.reset(token)
            if budget is not None:
                budget.refund(operation.writer)
            return result

        return call

    return wrap


@dataclass(frozen=True, slots=True)
class _Rules:
    policy: RetryPolicy
    clock: Clock
    random: Callable[[], float]
    budget: RetryBudget | None
    on_retry: RetryObserver | None

    def decide(self, operation: WriteOperation, error: WriteError, attempt: int) -> Decision:
        decision = self.policy.decide(
            error,
            attempt=attempt,
            repeatable=operation.repeatable,
            left=operation.deadline.left(),
            draw=self.random(),
        )
        if isinstance(decision, Wait) and self.budget is not None:
            return decision if self.budget.spend(operation.writer, error) else Stop("budget")
        return decision


def _again(rules: _Rules, next: WriteNext, operation: WriteOperation, error: WriteError) -> WriteResult[Any]:
    history = [error]
    warnings: tuple[str, ...] = ()
    while isinstance(decision := rules.decide(operation, history[-1], len(history)), Wait):
        if rules.on_retry is not None:
            event = retried(operation, history[-1], len(history), decision.seconds)
            warnings += notify((rules.on_retry,), event)
        rules.clock.sleep(decision.seconds)
        try:
            result = next(replace(operation, attempt=len(history) + 1))
        except WriteError as failed:
            history.append(failed)
        else:
            if rules.budget is not None:
                rules.budget.refund(operation.writer, history[-1])
            return replace(result, attempts=len(history) + 1, warnings=warnings + result.warnings)
    raise verdict(history, decision.reason)
