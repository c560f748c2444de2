"""Tests of the circuit breaker: it opens on evidence, tries with a few calls, and closes when these succeed."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.middleware.breaker import Breaker, BreakerPolicy, BreakerState

POLICY = BreakerPolicy(window=10.0, calls=4, failures=0.5, pause=5.0, probes=2)


def failing(breaker: Breaker, now: float, calls: int, *, failed: bool = True) -> BreakerState | None:
    """Makes calls that all end in the same way; the last change of the state."""
    changed = None
    for _ in range(calls):
        era = breaker.admit(now)
        assert era is not None
        changed = breaker.note(era, now, failed=failed) or changed
    return changed


def opened(now: float = 0.0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker(POLICY)
    assert failing(breaker, now, 4) is BreakerState.OPEN
    return breaker


def test_too_few_calls_are_no_evidence() -> None:
    """Below the number of calls that it asks for, not even failures alone open it."""
    breaker = Breaker(POLICY)
    assert failing(breaker, 0.0, 3) is None and breaker.state is BreakerState.CLOSED


def test_a_smaller_share_of_failures_opens_nothing() -> None:
    """What fails less often than the policy says goes on being called."""
    breaker = Breaker(POLICY)
    for second in range(100):
        failing(breaker, second / 10, 2, failed=False)
        assert failing(breaker, second / 10, 1) is None


def test_what_lies_before_the_window_is_forgotten() -> None:
    """Failures of long ago are no evidence."""
    breaker = Breaker(POLICY)
    failing(breaker, 0.0, 3)
    assert failing(breaker, 11.0, 1) is None
    assert failing(breaker, 11.0, 3) is BreakerState.OPEN


def test_an_open_one_admits_nothing_and_says_for_how_long() -> None:
    """Until its pause is over no call is made."""
    breaker = opened()
    assert breaker.admit(4.9) is None
    assert breaker.retry_after(2.0) == 3.0 and breaker.retry_after(9.0) == 0.0
    assert breaker.admit(5.0) is not None and breaker.state is BreakerState.HALF_OPEN


def test_a_half_open_one_admits_a_few_at_once() -> None:
    """No more than its probes are on their way, whoever asks."""
    breaker = opened()
    assert [breaker.admit(5.0) is None for _ in range(4)] == [False, False, True, True]


def test_probes_that_succeed_close_it() -> None:
    """All of them have to; then counting begins anew."""
    breaker = opened()
    assert failing(breaker, 5.0, 1, failed=False) is None
    assert failing(breaker, 5.0, 1, failed=False) is BreakerState.CLOSED
    assert failing(breaker, 5.0, 3) is None


def test_a_probe_that_fails_opens_it_again() -> None:
    """One is enough, and the pause begins anew."""
    breaker = opened()
    assert failing(breaker, 5.0, 1) is BreakerState.OPEN
    assert breaker.admit(9.9) is None and breaker.retry_after(5.0) == 5.0


def test_a_probe_that_never_ends_blocks_it_only_for_a_while() -> None:
    """After another pause further probes are admitted."""
    breaker = opened()
    assert breaker.admit(5.0) is not None and breaker.admit(5.0) is not None
    assert breaker.admit(9.0) is None
    assert breaker.admit(10.0) is not None


def test_a_call_counts_only_in_its_own_era() -> None:
    """What was begun before it opened and ends afterwards is no probe."""
    breaker = Breaker(POLICY)
    early = breaker.admit(0.0)
    assert early is not None
    failing(breaker, 0.0, 4)
    probe = breaker.admit(5.0)
    assert breaker.note(early, 5.0, failed=False) is None and breaker.note(early, 5.0, failed=True) is None
    assert breaker.state is BreakerState.HALF_OPEN and probe != early


def test_slow_is_failed() -> None:
    """A call that took longer than the policy allows counts as failed although it succeeded."""
    breaker = Breaker(BreakerPolicy(calls=2, slow=0.1))
    for expected in (None, BreakerState.OPEN):
        era = breaker.admit(0.0)
        assert era is not None and breaker.note(era, 0.0, failed=False, seconds=0.2) is expected


def test_after_a_fork_the_state_stays() -> None:
    """A child goes on leaving an ill backend alone, and waits for no probe of its parent's."""
    breaker = opened()
    breaker.admit(5.0)
    breaker.admit(5.0)
    breaker._lock.acquire()
    breaker.after_fork()
    assert breaker.state is BreakerState.HALF_OPEN and breaker.admit(5.0) is not None


@pytest.mark.parametrize(
    "wrong", [{"window": 0}, {"calls": 0}, {"failures": 0}, {"failures": 1.1}, {"pause": 0}, {"probes": 0}, {"slow": 0}]
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    """A policy says at once what it cannot mean."""
    with pytest.raises(ValueError, match="breaker"):
        BreakerPolicy(**wrong)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=200))
def test_it_is_open_only_after_failures_and_never_for_ever(steps: list[tuple[float, bool]]) -> None:
    """Whatever happens: without a failure it is closed, and a pause after it opened it admits a call."""
    breaker, now = Breaker(POLICY), 0.0
    for pause, failed in steps:
        now += pause
        era = breaker.admit(now)
        if era is None:
            assert breaker.state is not BreakerState.CLOSED and breaker.retry_after(now) <= POLICY.pause
            assert Breaker.admit(breaker, now + POLICY.pause) is not None
            now += POLICY.pause
        else:
            breaker.note(era, now, failed=failed)
    assert any(failed for _, failed in steps) or breaker.state is BreakerState.CLOSED


def test_many_threads_may_use_it() -> None:
    """Counts are taken under a lock: exactly the probes are admitted, whoever comes."""
    breaker = opened()
    admitted: list[int] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait(10)
        era = breaker.admit(5.0)
        if era is not None:
            admitted.append(era)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(admitted) == POLICY.probes
