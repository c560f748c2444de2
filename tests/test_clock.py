"""Tests of clocks and deadlines."""

from __future__ import annotations

import math
import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.clock import SYSTEM, Clock, Deadline, SystemClock
from wellwired.testing.clock import VirtualClock

seconds = st.floats(min_value=0, max_value=1e6, allow_nan=False)


@pytest.mark.parametrize(
    "clock", [SYSTEM, SystemClock(), VirtualClock()], ids=["SYSTEM", "SystemClock", "VirtualClock"]
)
def test_every_clock_is_one(clock: object) -> None:
    """Each offers what `Clock` asks for."""
    assert isinstance(clock, Clock)


def test_the_system_clock_is_the_machine_s() -> None:
    """Its readings lie between two of the machine's own."""
    before = (time.monotonic(), time.time())
    reading = (SYSTEM.monotonic(), SYSTEM.wall())
    after = (time.monotonic(), time.time())
    assert before <= reading <= after or before[0] <= reading[0] <= after[0]
    assert before[1] - 1 <= reading[1] <= after[1] + 1


@pytest.mark.parametrize(("asked", "slept"), [(0.25, [0.25]), (0, []), (-1, [])])
def test_the_system_clock_sleeps_only_forward(
    asked: float, slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zero or less returns at once, without an error."""
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    SYSTEM.sleep(asked)
    assert naps == slept


def test_the_system_clock_says_what_it_is() -> None:
    """Its repr is short enough for a log line."""
    assert repr(SYSTEM) == "SystemClock()"


@given(seconds, seconds)
def test_a_deadline_counts_down_and_stops_at_zero(wait: float, passed: float) -> None:
    """What is left falls with the time that passes and is never negative; the deadline has passed when it is zero."""
    clock = VirtualClock()
    deadline = Deadline.after(wait, clock)
    clock.advance(passed)
    assert deadline.left() == pytest.approx(max(0.0, wait - passed), abs=1e-6)
    assert deadline.passed == (deadline.left() == 0.0)


def test_a_deadline_of_zero_seconds_has_come(virtual_clock: VirtualClock) -> None:
    """The moment itself belongs to what is too late."""
    assert Deadline.after(0, virtual_clock).passed


def test_never_does_not_come(virtual_clock: VirtualClock) -> None:
    """Infinity stays infinite however long one waits."""
    deadline = Deadline.never(virtual_clock)
    virtual_clock.advance(1e12)
    assert deadline.left() == math.inf and not deadline.passed


@given(seconds, st.none() | seconds)
def test_sooner_never_extends(wait: float, limit: float | None) -> None:
    """A step's own limit can only shorten what is left of the whole; None leaves it as it is."""
    clock = VirtualClock()
    whole = Deadline.after(wait, clock)
    step = whole.sooner(limit)
    assert step.at == min(whole.at, math.inf if limit is None else clock.monotonic() + limit)
    assert step.clock is clock
    assert (step is whole) == (limit is None or whole.at <= clock.monotonic() + limit)


@given(seconds, st.lists(st.tuples(seconds, st.none() | seconds), max_size=8))
def test_a_deadline_never_grows_on_its_way_down(wait: float, steps: list[tuple[float, float | None]]) -> None:
    """However many steps take their own limits, and however long each works, none has more than the one above it."""
    clock = VirtualClock()
    outer = Deadline.after(wait, clock)
    for worked, limit in steps:
        inner = outer.sooner(limit)
        assert inner.at <= outer.at and inner.left() <= outer.left()
        assert limit is None or inner.left() <= limit or inner.left() == pytest.approx(limit)
        before = inner.left()
        clock.advance(worked)
        assert inner.left() <= before and (inner.passed or not outer.passed)
        assert inner.passed == (inner.left() == 0.0)
        outer = inner


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.none() | seconds)
def test_what_is_left_is_a_time_that_can_be_waited_for(at: float, limit: float | None) -> None:
    """Whatever the moment, also one in the past: never negative, and finite unless it never comes."""
    deadline = Deadline(at, VirtualClock()).sooner(limit)
    assert 0.0 <= deadline.left() < math.inf
    assert Deadline.never(VirtualClock()).sooner(limit).left() == (math.inf if limit is None else pytest.approx(limit))


def test_sooner_than_never_is_the_limit(virtual_clock: VirtualClock) -> None:
    """Without a whole deadline the step's limit is what counts."""
    assert Deadline.never(virtual_clock).sooner(2.0).left() == 2.0


@pytest.mark.parametrize("name", ["at", "clock"])
def test_a_deadline_cannot_be_moved(name: str) -> None:
    """Everyone who shares one relies on it."""
    deadline: Any = Deadline.after(1)
    with pytest.raises(AttributeError):
        setattr(deadline, name, 5.0)


def test_a_deadline_on_the_system_clock_pickles() -> None:
    """It is a plain value."""
    deadline = Deadline(5.0)
    assert pickle.loads(pickle.dumps(deadline)).at == 5.0
