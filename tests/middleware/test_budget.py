"""Tests of the budget for retries."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.middleware.kit import safe, timeout, unknown
from wellwired.errors import WriteError
from wellwired.middleware import RetryBudget


def test_a_retry_costs_and_a_success_pays_back() -> None:
    """Up to the capacity, from which it starts."""
    budget = RetryBudget(10, cost=5)
    assert budget.spend("sql.main", safe())
    assert budget.left("sql.main") == 5
    for _ in range(20):
        budget.refund("sql.main")
    assert budget.left("sql.main") == 10


def test_an_empty_purse_allows_nothing_and_loses_nothing() -> None:
    """What is too little stays, and successes add to it."""
    budget = RetryBudget(7, cost=5)
    assert budget.spend("sql.main", safe())
    assert not budget.spend("sql.main", safe())
    assert budget.left("sql.main") == 2
    for _ in range(3):
        budget.refund("sql.main")
    assert budget.spend("sql.main", safe())


@pytest.mark.parametrize("error", [timeout(), unknown()])
def test_what_held_the_backend_longest_costs_more(error: WriteError) -> None:
    """A timeout, or an answer that never came."""
    budget = RetryBudget(20, cost=5, heavy_cost=10)
    budget.spend("sql.main", error)
    assert budget.left("sql.main") == 10


def test_each_target_has_its_own_purse() -> None:
    """One dead backend does not stop the retries of another."""
    budget = RetryBudget(5, cost=5)
    assert budget.spend("sql.main", safe())
    assert budget.spend("redis.cache", safe())
    assert not budget.spend("sql.main", safe())


def test_a_success_without_a_failure_before_it_makes_no_purse() -> None:
    """The path of a write that succeeds stays light."""
    budget = RetryBudget()
    budget.refund("sql.main")
    assert budget.left("sql.main") == 100


@given(
    st.integers(1, 40),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 5),
    st.lists(st.sampled_from(["retry", "heavy", "success"]), max_size=60),
)
def test_a_purse_behaves_like_a_number(capacity: int, cost: int, heavy: int, refund: int, steps: list[str]) -> None:
    """Never below nothing, never above its capacity, spent and refunded exactly."""
    budget, tokens, spent = RetryBudget(capacity, cost=cost, heavy_cost=heavy, refund=refund), capacity, False
    for step in steps:
        if step == "success":
            budget.refund("t")
            tokens = min(capacity, tokens + refund) if spent else tokens
        else:
            price = cost if step == "retry" else heavy
            allowed = budget.spend("t", safe() if step == "retry" else timeout())
            spent = True
            assert allowed == (price <= tokens)
            tokens -= price if allowed else 0
        assert budget.left("t") == tokens


def test_racing_threads_cannot_spend_more_than_there_is() -> None:
    """Sixty-four tokens buy sixty-four retries, whoever asks."""
    budget, start = RetryBudget(64, cost=1), threading.Barrier(8)
    bought: list[bool] = []

    def buy() -> None:
        start.wait()
        bought.extend(budget.spend("t", safe()) for _ in range(100))

    threads = [threading.Thread(target=buy) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bought.count(True) == 64
    assert budget.left("t") == 0


@pytest.mark.parametrize("name", ["capacity", "cost", "heavy_cost", "refund"])
def test_a_number_below_one_is_refused(name: str) -> None:
    """It would make a budget that allows everything or nothing."""
    with pytest.raises(ValueError, match="1 or more"):
        RetryBudget(**{name: 0})
