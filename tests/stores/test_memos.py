"""Tests of what is remembered about keys without a value: bounded, for a while, and never beyond a write."""

from __future__ import annotations

from wellwired.stores._fence import Fence
from wellwired.stores._memos import Memos
from wellwired.testing.clock import VirtualClock


def test_a_memo_holds_for_its_time(virtual_clock: VirtualClock) -> None:
    """It is found until its time has passed, its own if it was given one."""
    fence = Fence()
    memos = Memos[str](5.0, fence, virtual_clock)
    memos.note("a", fence.ticket("a"), "x")
    memos.note("b", fence.ticket("b"), "y", 10.0)
    found = memos.find("a")
    assert found is not None and found.value == "x"
    virtual_clock.advance(5.0)
    assert memos.find("a") is None and memos.find("b") is not None and len(memos) == 1


def test_a_memo_ends_with_the_next_write(virtual_clock: VirtualClock) -> None:
    """A write that begins ends it, and what was learned before or during a write is not noted."""
    fence = Fence()
    memos = Memos[str](5.0, fence, virtual_clock)
    before = fence.ticket("a")
    memos.note("a", before, "x")
    with fence.writing(["a"]):
        assert memos.find("a") is None
        memos.note("a", before, "x")
        memos.note("a", fence.ticket("a"), "x")
        assert memos.find("a") is None
    memos.note("a", before, "x")
    assert memos.find("a") is None


def test_the_book_is_bounded(virtual_clock: VirtualClock) -> None:
    """The oldest memo goes when there are too many."""
    fence = Fence()
    memos = Memos[int](5.0, fence, virtual_clock, limit=2)
    for number, key in enumerate("aba" + "c"):
        memos.note(key, fence.ticket(key), number)
    assert [key for key in "abc" if memos.find(key)] == ["a", "c"]
    memos.forget("a")
    memos.forget("never")
    assert memos.find("a") is None


def test_a_child_remembers_nothing(virtual_clock: VirtualClock) -> None:
    """After a fork the fence begins anew, and so do the memos, whoever held the lock."""
    fence = Fence()
    memos = Memos[int](5.0, fence, virtual_clock)
    memos.note("a", fence.ticket("a"), 1)
    memos._lock.acquire()
    memos.after_fork()
    memos.note("b", fence.ticket("b"), 1)
    assert memos.find("a") is None and memos.find("b") is not None
