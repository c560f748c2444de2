"""Tests of the retry loop, on a clock that never sleeps."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.middleware.kit import REQUEST, SECRET, Scripted, never, operation, safe, timeout, unknown
from wellwired.errors import (
    BackendError,
    ErrorCode,
    InvalidRequestError,
    Outcome,
    Phase,
    Retry,
    RetryExhaustedError,
    WriteError,
    WriteTimeoutError,
)
from wellwired.middleware import RetryBudget, RetryEvent, RetryPolicy, chain, retrying
from wellwired.middleware.policy import worse
from wellwired.operations import WriteResult
from wellwired.testing.clock import VirtualClock

POLICY = RetryPolicy(attempts=3, base=0.1, cap=5.0, fast_base=0.01, fast_cap=0.5)


def tried(
    endpoint: Scripted,
    clock: VirtualClock,
    *,
    policy: RetryPolicy = POLICY,
    draw: Callable[[], float] = lambda: 1.0,
    budget: RetryBudget | None = None,
    on_retry: Callable[[RetryEvent], object] | None = None,
    seconds: float = 5.0,
    **fields: Any,
) -> WriteResult[Any]:
    """What becomes of a write at this endpoint."""
    layer = retrying(policy, clock=clock, random=draw, budget=budget, on_retry=on_retry)
    return chain(endpoint, [layer])(operation(clock, timeout=seconds, **fields))


def failing(endpoint: Scripted, clock: VirtualClock, **options: Any) -> WriteError:
    """How a write at this endpoint fails."""
    with pytest.raises(WriteError) as caught:
        tried(endpoint, clock, **options)
    return caught.value


def test_a_success_is_passed_on(virtual_clock: VirtualClock) -> None:
    """As it is, without a wait."""
    result: WriteResult[Any] = WriteResult(message="written")
    assert tried(Scripted(result), virtual_clock) is result
    assert virtual_clock.naps == []


def test_a_failure_that_left_nothing_is_tried_again(virtual_clock: VirtualClock) -> None:
    """After a wait; the result says how many attempts it took, and keeps what else the writer said."""
    endpoint = Scripted(safe(), safe(), WriteResult(message="written", data=7, warnings=("w",)))
    result = tried(endpoint, virtual_clock)
    assert result == WriteResult(message="written", data=7, attempts=3, warnings=("w",))
    assert virtual_clock.naps == [0.1, 0.2]
    assert [seen.attempt for seen in endpoint.seen] == [1, 2, 3]


def test_a_wait_is_drawn_with_full_jitter(virtual_clock: VirtualClock) -> None:
    """A new draw for each wait, from the source that was given."""
    draws = iter([0.5, 0.25])
    tried(Scripted(safe(), safe()), virtual_clock, draw=lambda: next(draws))
    assert virtual_clock.naps == [0.05, 0.05]


def test_a_deadlock_is_tried_again_soon(virtual_clock: VirtualClock) -> None:
    """On the short scale, chosen by the reason of the error at hand."""
    tried(Scripted(safe("deadlock"), safe("capacity")), virtual_clock)
    assert virtual_clock.naps == [0.01, 0.2]


def test_an_unknown_outcome_is_not_tried_again(virtual_clock: VirtualClock) -> None:
    """It could take effect twice. The error is the one that the writer raised."""
    error = unknown()
    endpoint = Scripted(error)
    assert failing(endpoint, virtual_clock) is error
    assert (len(endpoint.seen), error.attempts, error.outcome) == (1, 1, Outcome.UNKNOWN)


def test_an_unknown_outcome_is_tried_again_where_that_is_harmless(virtual_clock: VirtualClock) -> None:
    """With an idempotency key that is kept, or a handler that is idempotent."""
    assert tried(Scripted(unknown()), virtual_clock, repeatable=True).attempts == 2


def test_a_refusal_is_never_tried_again(virtual_clock: VirtualClock) -> None:
    """The same error comes out, once."""
    error = InvalidRequestError("no")
    endpoint = Scripted(error)
    assert failing(endpoint, virtual_clock, repeatable=True) is error
    assert (len(endpoint.seen), error.attempts) == (1, 1)


def test_attempts_run_out(virtual_clock: VirtualClock) -> None:
    """The error has the number, the last one as its cause, and each one in its notes."""
    last = safe("capacity", backend_code=1040, phase=Phase.BEGIN, target="sql.main", type="profile")
    error = failing(Scripted(safe(), safe("deadlock", backend_code=1213), last), virtual_clock)
    assert isinstance(error, RetryExhaustedError)
    assert error.code is ErrorCode.RETRY_EXHAUSTED
    assert error.__cause__ is last
    assert (error.attempts, error.reason, error.outcome) == (3, "attempts", Outcome.NOT_APPLIED)
    assert (error.backend_code, error.phase, error.retry) == (1040, Phase.BEGIN, Retry.SAFE)
    assert (error.target, error.type) == ("sql.main", "profile")
    assert "3 attempts failed" in str(error)
    assert ["1213" in note for note in error.__notes__] == [False, True, False]
    copy = pickle.loads(pickle.dumps(error))
    assert vars(copy) == vars(error)


def test_with_one_attempt_the_error_stays_what_it_is(virtual_clock: VirtualClock) -> None:
    """Nothing was exhausted."""
    error = safe()
    assert failing(Scripted(error), virtual_clock, policy=RetryPolicy(attempts=1)) is error
    assert error.attempts == 1


def test_without_time_for_a_wait_there_is_none(virtual_clock: VirtualClock) -> None:
    """After one attempt the error itself; after more the word is `deadline`. The clock never passes the deadline."""
    first = safe()
    assert failing(Scripted(first), virtual_clock, seconds=0.09) is first
    error = failing(Scripted(safe(), safe()), virtual_clock, seconds=0.25)
    assert (type(error), error.reason, error.attempts) == (RetryExhaustedError, "deadline", 2)
    assert virtual_clock.naps == [0.1]


def test_a_timeout_stays_a_timeout(virtual_clock: VirtualClock) -> None:
    """When the second attempt used up the rest of the time and nothing is applied."""
    late = timeout()

    def use_up() -> WriteTimeoutError:
        virtual_clock.advance(10)
        return late

    assert failing(Scripted(safe(), use_up), virtual_clock) is late
    assert late.attempts == 2


def test_a_timeout_of_an_attempt_is_tried_again(virtual_clock: VirtualClock) -> None:
    """As long as the write itself has time."""
    assert tried(Scripted(timeout()), virtual_clock).attempts == 2


def test_no_timeout_hides_an_unknown_outcome(virtual_clock: VirtualClock) -> None:
    """TIMEOUT promises that nothing is applied: after an open COMMIT it must not be the answer."""

    def use_up() -> WriteTimeoutError:
        virtual_clock.advance(10)
        return timeout()

    error = failing(Scripted(unknown(), use_up), virtual_clock, repeatable=True)
    assert isinstance(error, RetryExhaustedError)
    assert (error.outcome, error.retry) == (Outcome.UNKNOWN, Retry.IF_IDEMPOTENT)


def test_a_last_error_that_cannot_be_mended_is_the_answer(virtual_clock: VirtualClock) -> None:
    """A duplicate at the second attempt is a duplicate, with two attempts; not an exhausted retry."""
    duplicate = never("duplicate")
    assert failing(Scripted(safe("deadlock"), duplicate), virtual_clock) is duplicate
    assert duplicate.attempts == 2
    lost = unknown()
    assert failing(Scripted(safe(), lost), virtual_clock) is lost
    assert lost.attempts == 2


def test_a_last_error_does_not_hide_a_worse_outcome(virtual_clock: VirtualClock) -> None:
    """The duplicate may well be our own row, written by the attempt that was never answered."""
    error = failing(Scripted(unknown(), never("duplicate")), virtual_clock, repeatable=True)
    assert isinstance(error, RetryExhaustedError)
    assert (error.outcome, error.reason, error.retry) == (Outcome.UNKNOWN, "error", Retry.NEVER)


def test_a_spent_budget_ends_the_retries(virtual_clock: VirtualClock) -> None:
    """And says so; a write that then fails at once has its own error."""
    budget = RetryBudget(5, cost=5)
    error = failing(Scripted(safe(), safe(), safe()), virtual_clock, budget=budget)
    assert (error.reason, error.attempts) == ("budget", 2)
    alone = safe()
    assert failing(Scripted(alone), virtual_clock, budget=budget) is alone
    for _ in range(5):
        tried(Scripted(), virtual_clock, budget=budget)
    assert tried(Scripted(safe()), virtual_clock, budget=budget).attempts == 2


def test_a_retry_that_is_not_right_costs_nothing(virtual_clock: VirtualClock) -> None:
    """Only a retry that happens is paid for."""
    budget = RetryBudget(100)
    failing(Scripted(never()), virtual_clock, budget=budget)
    failing(Scripted(unknown()), virtual_clock, budget=budget)
    failing(Scripted(safe()), virtual_clock, budget=budget, seconds=0.01)
    assert budget.left("sql.main") == 100


def test_retries_do_not_nest(virtual_clock: VirtualClock) -> None:
    """A write within an attempt is tried once: three times three would be nine."""
    inner = Scripted(*(safe() for _ in range(20)))
    layer = retrying(POLICY, clock=virtual_clock)
    error = None
    with pytest.raises(RetryExhaustedError) as caught:
        chain(inner, [layer, retrying(POLICY, clock=virtual_clock)])(operation(virtual_clock))
    error = caught.value
    assert (len(inner.seen), error.attempts) == (3, 3)
    assert tried(Scripted(safe()), virtual_clock).attempts == 2


def test_whoever_listens_is_told_of_each_retry(virtual_clock: VirtualClock) -> None:
    """Before its wait, with what failed and how long the wait is, and without the payload."""
    told: list[RetryEvent] = []
    tried(Scripted(safe("deadlock", backend_code="40001"), safe()), virtual_clock, on_retry=told.append)
    assert told == [
        RetryEvent("sql.main", "sql.main", "profile", 1, "BACKEND", "NOT_APPLIED", "deadlock", "40001", 0.01),
        RetryEvent("sql.main", "sql.main", "profile", 2, "BACKEND", "NOT_APPLIED", "connection", None, 0.2),
    ]
    assert SECRET not in repr(told)


def test_a_listener_that_fails_changes_nothing(virtual_clock: VirtualClock) -> None:
    """The write is retried and succeeds, with a warning."""

    def broken(event: RetryEvent) -> None:
        raise RuntimeError(SECRET)

    result = tried(Scripted(safe()), virtual_clock, on_retry=broken)
    assert result.attempts == 2
    assert len(result.warnings) == 1
    assert "RuntimeError" in result.warnings[0]
    assert SECRET not in result.warnings[0]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_program_is_not_held_up(virtual_clock: VirtualClock, stop: type[BaseException]) -> None:
    """It passes untouched, at the first attempt and at a later one, and the loop is left as if it had not been."""
    with pytest.raises(stop):
        tried(Scripted(stop()), virtual_clock)
    with pytest.raises(stop):
        tried(Scripted(safe(), stop()), virtual_clock)
    assert tried(Scripted(safe()), virtual_clock).attempts == 2


def test_every_attempt_has_the_same_request_and_deadline(virtual_clock: VirtualClock) -> None:
    """Only the number of the attempt changes."""
    endpoint = Scripted(safe(), safe())
    tried(endpoint, virtual_clock)
    assert {id(seen.request) for seen in endpoint.seen} == {id(REQUEST)}
    assert len({seen.deadline for seen in endpoint.seen}) == 1


attempts = st.sampled_from(["safe", "deadlock", "unknown", "never", "timeout", "partial", "success"])
MAKERS: dict[str, Callable[[], WriteError | WriteResult[Any]]] = {
    "safe": safe,
    "deadlock": lambda: safe("deadlock"),
    "unknown": unknown,
    "never": never,
    "timeout": timeout,
    "partial": lambda: BackendError("half", outcome=Outcome.PARTIAL, retry=Retry.IF_IDEMPOTENT),
    "success": WriteResult,
}


@given(
    st.lists(st.tuples(attempts, st.floats(0, 2)), min_size=1, max_size=8),
    st.booleans(),
    st.integers(1, 6),
    st.floats(0.01, 10),
    st.randoms(use_true_random=False),
)
@settings(max_examples=300)
def test_no_history_breaks_a_promise(
    script: list[tuple[str, float]], repeatable: bool, most: int, seconds: float, source: Any
) -> None:
    """Whatever a backend does: what may be applied is never repeated, no wait crosses the deadline, TIMEOUT means not
    applied, the worst outcome is told, and the attempts are counted right.
    """
    clock = VirtualClock()
    started: list[float] = []
    made: list[WriteError | WriteResult[Any]] = []

    def step(kind: str, takes: float) -> Callable[[], Any]:
        def act() -> Any:
            started.append(clock.monotonic())
            clock.advance(takes)
            made.append(MAKERS[kind]())
            return made[-1]

        return act

    endpoint = Scripted(*(step(kind, takes) for kind, takes in script))
    policy = RetryPolicy(attempts=most)
    answer: WriteResult[Any] | WriteError
    try:
        answer = tried(endpoint, clock, policy=policy, repeatable=repeatable, seconds=seconds, draw=source.random)
    except WriteError as error:
        answer = error
    failures = [step for step in made if isinstance(step, WriteError)]
    assert answer.attempts == len(endpoint.seen) <= most
    retried = failures if isinstance(answer, WriteResult) else failures[:-1]
    assert all(step.retry is not Retry.NEVER for step in retried)
    assert repeatable or all(step.outcome is Outcome.NOT_APPLIED for step in retried)
    assert all(begun <= 1_000.0 + seconds for begun in started)
    if isinstance(answer, WriteError):
        worst = Outcome.NOT_APPLIED
        for failure in failures:
            worst = worse(worst, failure.outcome)
        assert answer.outcome is worst
        if isinstance(answer, WriteTimeoutError):
            assert worst is Outcome.NOT_APPLIED
        if len(failures) == 1:
            assert answer is failures[0]
