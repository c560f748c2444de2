"""Tests of the clock that tests move by hand."""

from __future__ import annotations

import threading

import pytest

from wellwired.testing.clock import VirtualClock


def test_time_stands_still(virtual_clock: VirtualClock) -> None:
    """Two readings are the same until somebody moves it."""
    assert virtual_clock.monotonic() == virtual_clock.monotonic() == 1_000.0
    assert virtual_clock.wall() == 1_700_000_000.0


def test_a_sleep_is_an_advance_that_is_noted(virtual_clock: VirtualClock) -> None:
    """Who sleeps returns at once; both clocks have moved, and the nap is on record."""
    virtual_clock.sleep(60)
    assert (virtual_clock.monotonic(), virtual_clock.wall()) == (1_060.0, 1_700_000_060.0)
    assert virtual_clock.naps == [60]


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_sleep_of_nothing_is_no_nap(virtual_clock: VirtualClock, seconds: float) -> None:
    """As on the system's clock, zero or less returns at once."""
    virtual_clock.sleep(seconds)
    assert virtual_clock.naps == [] and virtual_clock.monotonic() == 1_000.0


def test_an_advance_is_no_nap(virtual_clock: VirtualClock) -> None:
    """What the test does itself is not counted as the code's waiting."""
    virtual_clock.advance(5)
    assert virtual_clock.monotonic() == 1_005.0 and virtual_clock.naps == []


def test_monotonic_time_does_not_go_back(virtual_clock: VirtualClock) -> None:
    """A negative advance is refused, with what to use instead."""
    with pytest.raises(ValueError, match="step_wall"):
        virtual_clock.advance(-1)
    assert virtual_clock.monotonic() == 1_000.0


@pytest.mark.parametrize("step", [3_600.0, -3_600.0])
def test_the_time_of_day_steps_alone(virtual_clock: VirtualClock, step: float) -> None:
    """An administrator who sets the clock changes no age and no deadline."""
    virtual_clock.step_wall(step)
    assert virtual_clock.wall() == 1_700_000_000.0 + step
    assert virtual_clock.monotonic() == 1_000.0


def test_racing_sleepers_lose_no_time(virtual_clock: VirtualClock) -> None:
    """Every nap of every thread is in the sum and on record."""
    barrier = threading.Barrier(8)

    def sleeper() -> None:
        barrier.wait()
        for _ in range(200):
            virtual_clock.sleep(1)

    threads = [threading.Thread(target=sleeper) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert virtual_clock.monotonic() == 1_000.0 + 1_600
    assert len(virtual_clock.naps) == 1_600
