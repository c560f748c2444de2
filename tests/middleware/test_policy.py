"""Tests of the rules for retrying, by examples and by random search."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.middleware.kit import never, safe, timeout, unknown
from wellwired.errors import BackendError, Outcome, Retry, WriteError
from wellwired.middleware import RetryPolicy
from wellwired.middleware.policy import FAST_REASONS, Stop, Wait, worse

seconds = st.floats(0, 1e6)
errors = st.builds(
    BackendError,
    st.just("failed"),
    outcome=st.sampled_from(Outcome),
    retry=st.sampled_from(Retry),
    reason=st.sampled_from(["", "capacity", *FAST_REASONS]),
)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 10),
    base=seconds,
    cap=seconds,
    fast_base=seconds,
    fast_cap=seconds,
)


def decided(error: WriteError, *, attempt: int = 1, repeatable: bool = False, left: float = 60.0) -> Wait | Stop:
    """What the default policy decides with the longest draw there is."""
    return RetryPolicy().decide(error, attempt=attempt, repeatable=repeatable, left=left, draw=1.0)


def test_only_what_is_certainly_not_applied_is_retried() -> None:
    """Unless doing it twice is harmless."""
    assert decided(safe()) == Wait(0.1)
    assert decided(unknown()) == Stop("repeat")
    assert decided(unknown(), repeatable=True) == Wait(0.1)
    assert decided(never()) == Stop("error")
    assert decided(never(), repeatable=True) == Stop("error")


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.PARTIAL])
def test_an_error_that_contradicts_itself_is_not_believed(outcome: Outcome) -> None:
    """Safe to retry and not known to be unapplied: the outcome decides."""
    error = BackendError("lost", retry=Retry.SAFE, outcome=outcome)
    assert decided(error) == Stop("repeat")
    assert decided(error, repeatable=True) == Wait(0.1)


def test_attempts_are_counted_with_the_first() -> None:
    """Three attempts are two retries."""
    assert isinstance(decided(safe(), attempt=2), Wait)
    assert decided(safe(), attempt=3) == Stop("attempts")
    assert RetryPolicy(attempts=1).decide(safe(), attempt=1, repeatable=True, left=60, draw=0) == Stop("attempts")


def test_waits_double_up_to_the_cap() -> None:
    """From the base on."""
    policy = RetryPolicy(base=0.1, cap=1.0)
    assert [policy.ceiling(safe(), attempt) for attempt in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize("reason", sorted(FAST_REASONS))
def test_a_conflict_waits_on_the_short_scale(reason: str) -> None:
    """Two writers that met in a deadlock should not wait as long as for a full disk."""
    policy = RetryPolicy(fast_base=0.01, fast_cap=0.05)
    assert [policy.ceiling(safe(reason), attempt) for attempt in range(1, 5)] == [0.01, 0.02, 0.04, 0.05]
    assert policy.ceiling(safe("capacity"), 1) == 0.1


def test_a_wait_that_would_reach_the_deadline_is_not_begun() -> None:
    """It could only end in a timeout, later."""
    assert decided(safe(), left=0.11) == Wait(0.1)
    assert decided(safe(), left=0.1) == Stop("deadline")
    assert decided(timeout(), left=0.0) == Stop("deadline")
    assert RetryPolicy().decide(safe(), attempt=1, repeatable=False, left=0.0, draw=0.0) == Stop("deadline")


@given(policies, errors, st.integers(1, 200), st.booleans(), st.tuples(st.floats(0, 1e6), st.floats(0, 1)))
def test_a_wait_keeps_every_limit(
    policy: RetryPolicy, error: BackendError, attempt: int, repeatable: bool, left_and_draw: tuple[float, float]
) -> None:
    """Shorter than the time that is left, at most its ceiling, within the attempts, and only where it is right."""
    left, draw = left_and_draw
    decision = policy.decide(error, attempt=attempt, repeatable=repeatable, left=left, draw=draw)
    if isinstance(decision, Stop):
        assert decision.reason in {"error", "repeat", "attempts", "deadline"}
        return
    assert 0 <= decision.seconds < left
    assert decision.seconds <= policy.ceiling(error, attempt)
    assert attempt < policy.attempts
    assert error.retry is not Retry.NEVER
    assert repeatable or error.outcome is Outcome.NOT_APPLIED


@given(policies, errors, st.integers(1, 5000))
def test_a_ceiling_is_finite_and_capped(policy: RetryPolicy, error: BackendError, attempt: int) -> None:
    """However often it was tried."""
    ceiling = policy.ceiling(error, attempt)
    assert 0 <= ceiling <= max(policy.cap, policy.fast_cap)
    assert math.isfinite(ceiling)


@given(policies, errors, st.integers(1, 50), st.floats(0, 1), st.floats(0, 1))
def test_jitter_is_full_and_rises_with_the_draw(
    policy: RetryPolicy, error: BackendError, attempt: int, one: float, other: float
) -> None:
    """From nothing to the ceiling, in proportion: that is what spreads a crowd."""

    def drawn(draw: float) -> Wait | Stop:
        return policy.decide(error, attempt=attempt, repeatable=True, left=math.inf, draw=draw)

    less, more = drawn(min(one, other)), drawn(max(one, other))
    if isinstance(less, Wait) and isinstance(more, Wait):
        assert drawn(0.0) == Wait(0.0)
        assert less.seconds <= more.seconds
        assert drawn(1.0) == Wait(policy.ceiling(error, attempt))


@given(st.lists(st.sampled_from(Outcome), min_size=1))
def test_the_worst_outcome_does_not_depend_on_the_order(outcomes: list[Outcome]) -> None:
    """Unknown beats partial beats not applied."""
    worst = Outcome.NOT_APPLIED
    for outcome in outcomes:
        worst = worse(worst, outcome)
    order = [Outcome.NOT_APPLIED, Outcome.PARTIAL, Outcome.UNKNOWN]
    assert worst is max(outcomes, key=order.index)


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"attempts": -1}, {"base": -0.1}, {"cap": math.inf}, {"fast_base": math.nan}, {"fast_cap": -1}],
)
def test_a_policy_that_cannot_be_kept_is_refused(wrong: dict[str, float]) -> None:
    """With the name of the number."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)  # type: ignore[arg-type]
