"""Fences in the process: which tickets are admitted, which writers are alone, who waits for whom."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stores.fakes import in_threads
from wellwired.stores._fence import Fence, Turns, Writing


def test_without_a_write_a_ticket_is_admitted() -> None:
    """Reads do not disturb one another."""
    fence = Fence()
    ticket = fence.ticket("a")
    fence.ticket("a")
    assert fence.admits("a", ticket) and fence.same("a", ticket)


def test_a_write_that_began_since_refuses() -> None:
    """From the moment at which it begins, and for ever."""
    fence = Fence()
    ticket = fence.ticket("a")
    with fence.writing(["a"]):
        assert not fence.admits("a", ticket) and not fence.same("a", ticket)
    assert not fence.admits("a", ticket)


def test_a_ticket_of_the_time_of_a_write_is_worth_nothing() -> None:
    """Neither while the write goes on nor afterwards: what was read may be old or new."""
    fence = Fence()
    with fence.writing(["a"]):
        ticket = fence.ticket("a")
        assert not fence.admits("a", ticket) and fence.same("a", ticket)
    assert not fence.admits("a", ticket) and not fence.same("a", ticket)
    assert fence.admits("a", fence.ticket("a"))


def test_a_write_that_ends_leaves_another_going_on() -> None:
    """The stripe is closed until the last writer has ended."""
    fence = Fence()
    with fence.writing(["a"]):
        with fence.writing(["a"]):
            pass
        assert not fence.admits("a", fence.ticket("a"))
    assert fence.admits("a", fence.ticket("a"))


def test_a_clear_concerns_every_key() -> None:
    """Whatever stripe a key is on."""
    fence = Fence(64)
    keys = [f"k{number}" for number in range(200)]
    tickets = {key: fence.ticket(key) for key in keys}
    with fence.writing(None):
        assert not any(fence.admits(key, tickets[key]) for key in keys)
        assert not any(fence.admits(key, fence.ticket(key)) for key in keys)


def test_a_writer_knows_whether_it_is_alone() -> None:
    """Undisturbed is who began alone and stayed alone; the second of two is not, nor is the first from then on."""
    fence = Fence()
    with fence.writing(["a"]) as first:
        assert first.undisturbed("a")
        with fence.writing(["a"]) as second:
            assert not first.undisturbed("a") and not second.undisturbed("a")
        assert not first.undisturbed("a") and not second.undisturbed("a")


def test_an_interrupted_beginning_leaves_nothing_closed() -> None:
    """If a writer is interrupted while it closes its stripes, those that it closed are opened again."""
    fence = Fence()

    class Interrupting(Fence):
        def begin(self, stripe: int) -> int:
            if stripe == 3:
                raise KeyboardInterrupt
            return fence.begin(stripe)

        def end(self, stripe: int) -> None:
            fence.end(stripe)

    with pytest.raises(KeyboardInterrupt), Writing(Interrupting(), [1, 2, 3]):
        pass
    assert fence._writers == [0] * len(fence._writers)


def test_a_writer_waits_for_who_holds_its_stripe() -> None:
    """While a fill lands on a stripe no write of it begins."""
    fence = Fence()
    begun = threading.Event()

    def write() -> None:
        with fence.writing(["a"]):
            begun.set()

    with fence.holding(["a", "b"]):
        ticket = fence.ticket("a")
        writer = threading.Thread(target=write)
        writer.start()
        assert not begun.wait(0.05) and fence.admits("a", ticket)
    writer.join(10)
    assert begun.is_set()


def test_many_who_hold_many_do_not_wait_for_each_other() -> None:
    """Holders of overlapping keys in any order, and writers among them, all come to an end."""
    fence, turns = Fence(8), Turns(8)
    keys = [f"k{number}" for number in range(30)]

    def work(step: int) -> None:
        mine = keys[step:] + keys[:step]
        for _ in range(100):
            with fence.holding(mine):
                pass
            with turns.taken(mine), turns.taken(mine[:1]), fence.writing(mine):
                pass
        with turns.taken(None), fence.writing(None):
            pass

    assert in_threads(*[lambda step=step: work(step) for step in range(6)]) == [None] * 6
    assert fence._writers == [0] * 8


@given(st.lists(st.sampled_from(["begin", "end", "ticket"]), max_size=40))
def test_a_ticket_is_admitted_exactly_if_nothing_happened(steps: list[str]) -> None:
    """For every order of beginnings, endings and tickets on one stripe."""
    fence = Fence(1)
    writers = 0
    tickets: list[list[int | bool]] = []
    for step in steps:
        if step == "ticket":
            tickets.append([fence.ticket("a"), writers == 0])
        elif step == "begin" or writers:
            fence.begin(0) if step == "begin" else fence.end(0)
            writers += 1 if step == "begin" else -1
            tickets = [[ticket, False] for ticket, _ in tickets]
        for ticket, good in tickets:
            assert fence.admits("a", ticket) is good


def test_a_child_has_an_open_fence() -> None:
    """After a fork nothing is closed, nobody holds anything, and no fill of the parent's is admitted."""
    fence, turns = Fence(), Turns()
    ticket = fence.ticket("a")
    fence.begin(0)

    def hold() -> None:
        for lock in fence._locks:
            lock.acquire()
        for turn in turns._locks:
            turn.acquire()

    assert in_threads(hold) == [None]
    fence.after_fork()
    turns.after_fork()
    assert not fence.admits("a", ticket) and fence.admits("a", fence.ticket("a"))

    def write() -> None:
        with turns.taken(None), fence.writing(None):
            pass

    assert in_threads(write) == [None]
