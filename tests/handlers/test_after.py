"""What is done after a commit: collected in order, run once, never an error."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from wellwired.errors import RegistrationError
from wellwired.handlers import after_commit
from wellwired.handlers.after import Collected


def test_callbacks_run_once_and_in_order() -> None:
    """What was given runs at `run`, in the order in which it was given, and not again."""
    done: list[int] = []
    collected = Collected()
    with collected:
        for number in range(3):
            after_commit(partial(done.append, number))
    assert done == []

    assert collected.run() == ()
    assert collected.run() == ()

    assert done == [0, 1, 2]


def test_a_callback_that_fails_is_a_line_and_stops_no_other() -> None:
    """A failure is named by its callback and its class, without what it says; the next callback runs."""
    done: list[str] = []

    def broken() -> None:
        raise ValueError("hunter2")

    collected = Collected()
    with collected:
        after_commit(broken)
        after_commit(lambda: done.append("next"))

    (line,) = collected.run()

    assert "broken" in line
    assert "ValueError" in line
    assert "hunter2" not in line
    assert done == ["next"]


def test_a_callback_of_a_callback_runs_after_the_others() -> None:
    """One that is given while they run is run as well, at the end."""
    done: list[str] = []
    collected = Collected()

    def first() -> None:
        after_commit(lambda: done.append("late"))
        done.append("first")

    with collected:
        after_commit(first)
        after_commit(lambda: done.append("second"))

    collected.run()

    assert done == ["first", "second", "late"]


def test_outside_a_write_it_is_refused() -> None:
    """Where nobody collects, a callback would be lost in silence, so it is an error: also in another thread."""
    errors: list[Exception] = []

    def other() -> None:
        try:
            after_commit(lambda: None)
        except RegistrationError as error:
            errors.append(error)

    with pytest.raises(RegistrationError, match="inside a handler"):
        after_commit(lambda: None)
    with Collected():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(10)

    assert len(errors) == 1


def test_a_write_within_a_write_has_its_own() -> None:
    """What a handler's own inner write collects is not the outer one's, and the outer one goes on afterwards."""
    outer, inner = Collected(), Collected()
    with outer:
        after_commit(lambda: None)
        with inner:
            after_commit(lambda: None)
        after_commit(lambda: None)

    assert (outer.mark, inner.mark) == (2, 1)


def test_what_came_after_a_mark_is_forgotten() -> None:
    """A savepoint that is rolled back takes its callbacks with it, and they alone."""
    done: list[str] = []
    collected = Collected()
    with collected:
        after_commit(lambda: done.append("kept"))
        mark = collected.mark
        after_commit(lambda: done.append("undone"))
        collected.cut(mark)
        after_commit(lambda: done.append("later"))

    collected.run()

    assert done == ["kept", "later"]
