"""Tests of the threads that make calls with a limit: nobody waits longer, and nothing piles up."""

from __future__ import annotations

import contextvars
import threading
from typing import Any

import pytest

from tests.stores.fakes import Gate, in_threads
from wellwired.stores._callers import Callers, NoAnswer

where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="")


def test_an_answer_is_handed_over() -> None:
    """What the call returned or raised is what the caller gets, made in the caller's context by another thread."""
    callers = Callers("t", 2)
    where.set("here")

    def call(one: int, *, two: int) -> tuple[int, str, bool]:
        return one + two, where.get(), threading.current_thread() is threading.main_thread()

    assert callers.call(10, call, None, 1, two=2) == (3, "here", False)
    with pytest.raises(ZeroDivisionError):
        callers.call(10, lambda: 1 // 0)


def test_nobody_waits_longer_than_told() -> None:
    """A call that hangs is given up, and what it brings later is handed to who has a use for it."""
    callers, gate, late = Callers("t", 1), Gate(), threading.Event()
    answers: list[Any] = []

    def hang() -> str:
        gate()
        return "late"

    def take(answer: str) -> None:
        answers.append(answer)
        late.set()

    with pytest.raises(NoAnswer):
        callers.call(0.01, hang, take)
    gate.open()
    assert late.wait(10) and answers == ["late"]


def test_threads_are_bounded_and_what_waits_in_vain_is_never_made() -> None:
    """When all threads hang, further calls are given up in line; once that is over, calls are made again."""
    callers, gate = Callers("t", 2), Gate()
    made: list[int] = []
    for _ in range(2):
        with pytest.raises(NoAnswer):
            callers.call(0.01, gate)
    assert callers.busy == 2
    with pytest.raises(NoAnswer):
        callers.call(0.01, made.append, None, 1)
    gate.open()
    assert callers.call(10, made.append, None, 2) is None
    assert made == [2]


def test_as_many_as_allowed_are_made_at_once() -> None:
    """Calls do not wait for one another as long as there are threads for them."""
    callers, together = Callers("t", 4), threading.Barrier(4)
    results = in_threads(*[lambda: callers.call(10, together.wait, None, 10) for _ in range(4)])
    assert sorted(results) == [0, 1, 2, 3]


def test_an_idle_thread_ends_and_another_begins() -> None:
    """Threads that have nothing to do go away; the next call starts one."""
    callers = Callers("idle-t", 2, idle=0.001)
    for _ in range(20):
        thread = callers.call(10, threading.current_thread)
        thread.join(10)
        assert not thread.is_alive()


def test_work_without_a_waiter_is_bounded() -> None:
    """Background work is taken up to a number and refused beyond it."""
    callers, gate, done = Callers("t", 1), Gate(), threading.Event()
    assert callers.start(gate, 1) and gate.reached.wait(10)
    assert callers.start(done.set, 1) and not callers.start(done.set, 1)
    gate.open()
    assert done.wait(10)


def test_a_failing_receiver_costs_no_thread() -> None:
    """What raises on receiving a late answer is logged, and the thread goes on."""
    callers, gate = Callers("t", 1), Gate()
    with pytest.raises(NoAnswer):
        callers.call(0.01, gate, lambda _: 1 // 0)
    gate.open()
    assert callers.call(10, str, None, 1) == "1"


def test_a_child_begins_without_threads() -> None:
    """After a fork the threads of the parent count no more."""
    callers, gate = Callers("t", 1), Gate()
    with pytest.raises(NoAnswer):
        callers.call(0.01, gate)
    callers.after_fork()
    assert callers.busy == 0 and callers.call(10, str, None, 1) == "1"
    gate.open()
