"""Tests of the budget for retries."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.middleware.kit import operation, safe, timeout, unknown
from wellwired.errors import WriteError
from wellwired.middleware import RetryBudget, chain, retrying
from wellwired.operations import WriteOperation, WriteResult
from wellwired.testing.clock import VirtualClock


def test_a_retry_costs_and_a_success_pays_back() -> None:
    """Up to the capacity, from which it starts."""
    budget = RetryBudget(10, cost=5)
    assert budget.spend("sql.main", safe())
    assert budget.left("sql.main") == 5
    for _ in range(20):
        budget.refund("sql.main")
    assert budget.left("sql.main") == 10


@pytest.mark.parametrize("error", [safe(), timeout(), unknown()])
def test_a_retry_that_succeeds_puts_back_what_it_took(error: WriteError) -> None:
    """A conflict that a second attempt settles is no failing backend, however often it comes."""
    budget = RetryBudget(10)
    for _ in range(100):
        assert budget.spend("sql.main", error)
        budget.refund("sql.main", error)
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
    assert budget.left("sql.main") == 500


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


def load(failing: Callable[[], bool], writes: int) -> Counter[str]:
    """What the default policy and budget make of so many writes, and how it ended.

    Args:
        failing: whether the next attempt fails.
        writes: how many there are.

    Returns:
        How many first attempts and retries (``again``) there were, by how they ended: ``first good``, ``again bad``, …
    """
    clock, made = VirtualClock(), Counter[str]()

    def endpoint(given: WriteOperation) -> WriteResult[Any]:
        bad = failing()
        made[f"{'first' if given.attempt == 1 else 'again'} {'bad' if bad else 'good'}"] += 1
        if bad:
            raise safe()
        return WriteResult()

    call = chain(endpoint, [retrying(clock=clock, random=lambda: 0.0, budget=RetryBudget())])
    for _ in range(writes):
        with suppress(WriteError):
            call(operation(clock, timeout=3600))
    return made


def test_a_backend_that_is_gone_is_not_flooded() -> None:
    """Of ten thousand writes a hundred are tried again in vain, once; without a budget it would be twenty thousand."""
    assert load(lambda: True, 10_000) == {"first bad": 10_000, "again bad": 100}


def test_a_backend_that_fails_now_and_then_gets_what_it_needs() -> None:
    """One attempt in twenty fails: every one of them is tried again, and all writes succeed."""
    numbers = itertools.count(1)
    made = load(lambda: next(numbers) % 20 == 0, 10_000)
    assert made["first good"] + made["again good"] == 10_000


def test_conflicts_that_a_second_attempt_settles_never_empty_a_purse() -> None:
    """Every write of a thousand meets a deadlock first: all of them are tried again, and succeed."""
    numbers = itertools.count(1)
    assert load(lambda: next(numbers) % 2 == 1, 1_000) == {"first bad": 1_000, "again good": 1_000}


@given(st.integers(0, 100), st.integers(0, 1_000_000))
@settings(max_examples=30)
def test_load_never_multiplies(percent: int, seed: int) -> None:
    """Whatever share of attempts fails: retries in vain are a full purse, and a fifth of good writes."""
    draw = random.Random(seed)
    made = load(lambda: draw.random() * 100 < percent, 2_000)
    assert made["again bad"] <= 100 + made["first good"] / 5


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
