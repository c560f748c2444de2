"""Tests of time limits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.middleware.kit import Scripted, operation, safe
from wellwired.errors import Outcome, Phase, Retry, WriteTimeoutError
from wellwired.middleware import RetryPolicy, chain, retrying, time_limit
from wellwired.testing.clock import VirtualClock


def test_what_is_in_time_passes_unchanged(virtual_clock: VirtualClock) -> None:
    """The same operation, with the deadline that it had."""
    endpoint, given = Scripted(), operation(virtual_clock)
    chain(endpoint, [time_limit()])(given)
    assert endpoint.seen == [given]


def test_what_is_too_late_does_not_start(virtual_clock: VirtualClock) -> None:
    """It is a timeout of which nothing is applied, and nothing was sent."""
    endpoint, late = Scripted(), operation(virtual_clock, timeout=1.0)
    virtual_clock.advance(1.0)
    with pytest.raises(WriteTimeoutError) as caught:
        chain(endpoint, [time_limit()])(late)
    error = caught.value
    assert (error.outcome, error.phase, error.retry) == (Outcome.NOT_APPLIED, Phase.ADMIT, Retry.SAFE)
    assert (error.target, error.type, error.attempts) == ("sql.main", "profile", 0)
    assert endpoint.seen == []


@given(st.floats(0.001, 1e4), st.floats(0.001, 1e4))
def test_a_limit_never_moves_a_deadline_away(timeout: float, limit: float) -> None:
    """The nearer of the two counts."""
    endpoint, given = Scripted(), operation(timeout=timeout)
    chain(endpoint, [time_limit(limit)])(given)
    now = given.deadline.clock.monotonic()
    assert endpoint.seen[0].deadline.at == min(given.deadline.at, now + limit)
    assert endpoint.seen[0].deadline.at <= given.deadline.at


def test_within_the_retries_it_limits_each_attempt(virtual_clock: VirtualClock) -> None:
    """Each has the limit from its own beginning, and none more than is left of the write."""

    def slow() -> Exception:
        virtual_clock.advance(2.0)
        return safe()

    endpoint, given = Scripted(slow, slow), operation(virtual_clock, timeout=5.0)
    started = virtual_clock.monotonic()
    layers = [time_limit(2.0), retrying(RetryPolicy(), clock=virtual_clock, random=lambda: 0.0)]
    chain(endpoint, layers)(given)
    assert [seen.deadline.at - started for seen in endpoint.seen] == [2.0, 4.0, 5.0]


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_a_limit_that_is_none_is_refused(seconds: float) -> None:
    """Zero would refuse everything, and for ever is what no limit means."""
    with pytest.raises(ValueError, match="time limit"):
        time_limit(seconds)
