"""Tests of telling observers, and of how little they can change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.middleware.kit import SECRET, Scripted, never, operation, unknown
from wellwired.errors import WriteError
from wellwired.middleware import WriteEvent, chain, observed
from wellwired.middleware.observe import notify
from wellwired.operations import WriteResult
from wellwired.testing.clock import VirtualClock


class Broken:
    """An observer that fails."""

    def __call__(self, event: WriteEvent) -> None:
        """Quotes what it should not."""
        raise RuntimeError(SECRET)

    def record(self, event: WriteEvent) -> None:
        """Fails as well."""
        raise KeyError(SECRET)


def test_an_observer_is_told_of_a_success(virtual_clock: VirtualClock) -> None:
    """Once, with names, code, attempts and the seconds since the call came."""
    told: list[WriteEvent] = []
    given = operation(virtual_clock)
    virtual_clock.advance(0.5)

    def slow() -> WriteResult[Any]:
        virtual_clock.advance(0.25)
        return WriteResult(message="written", data=7, attempts=2, replayed=True)

    result = chain(Scripted(slow), [observed(told.append)])(given)
    assert result == WriteResult(message="written", data=7, attempts=2, duration=0.75, replayed=True)
    assert told == [
        WriteEvent("sql.main", "sql.main", "profile", "OK", "APPLIED", 2, 0.75, True, "", None, {"trace_id": "abc"})
    ]


def test_an_observer_is_told_of_a_failure(virtual_clock: VirtualClock) -> None:
    """And the error, which is the same one, gets the names that it lacks."""
    told: list[WriteEvent] = []
    error = unknown(backend_code=2013, attempts=1)
    with pytest.raises(WriteError) as caught:
        chain(Scripted(error), [observed(told.append)])(operation(virtual_clock))
    assert caught.value is error
    assert (error.target, error.type) == ("sql.main", "profile")
    event = told[0]
    assert event[:6] == ("sql.main", "sql.main", "profile", "BACKEND", "UNKNOWN", 1)
    assert (event.reason, event.backend_code) == ("commit_unknown", 2013)


def test_the_names_of_an_inner_write_stay(virtual_clock: VirtualClock) -> None:
    """An error that a handler passed on from another write says where that went."""
    error = never(target="redis.cache", type="cache_set")
    told: list[WriteEvent] = []
    with pytest.raises(WriteError):
        chain(Scripted(error), [observed(told.append)])(operation(virtual_clock))
    assert (error.target, error.type) == ("redis.cache", "cache_set")
    assert (told[0].target, told[0].type) == ("sql.main", "profile")


def test_an_observer_that_fails_cannot_undo_a_commit(virtual_clock: VirtualClock) -> None:
    """The result stands, with a warning that names the observer, and the others are told all the same."""
    told: list[WriteEvent] = []
    broken = Broken()
    layer = observed(broken, broken.record, told.append)
    result = chain(Scripted(WriteResult(warnings=("before",))), [layer])(operation(virtual_clock))
    assert result.success
    assert result.warnings == (
        "before",
        "the observer Broken failed: RuntimeError",
        "the observer Broken failed: KeyError",
    )
    assert len(told) == 1
    assert SECRET not in repr(result.warnings)


def test_an_observer_that_fails_does_not_replace_the_error(virtual_clock: VirtualClock) -> None:
    """The caller gets what happened to the write, with a note."""
    error = never()
    with pytest.raises(WriteError) as caught:
        chain(Scripted(error), [observed(Broken())])(operation(virtual_clock))
    assert caught.value is error
    assert error.__notes__ == ["the observer Broken failed: RuntimeError"]


def test_what_ends_a_program_is_not_an_event(virtual_clock: VirtualClock) -> None:
    """It passes untouched, and so does one that an observer raises."""
    told: list[WriteEvent] = []
    with pytest.raises(KeyboardInterrupt):
        chain(Scripted(KeyboardInterrupt()), [observed(told.append)])(operation(virtual_clock))
    assert told == []

    def stopping(event: WriteEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        notify([stopping], told)  # type: ignore[list-item]


def test_an_event_cannot_be_changed_and_its_repr_leaks_nothing(virtual_clock: VirtualClock) -> None:
    """Neither payload nor meta nor key stands in it."""
    told: list[WriteEvent] = []
    chain(Scripted(), [observed(told.append)])(operation(virtual_clock))
    assert repr(told[0]) == "<write 'profile' to 'sql.main': OK APPLIED, 1 attempts>"
    assert SECRET not in f"{told[0]!s}{tuple(told[0])}"
    with pytest.raises(AttributeError):
        told[0].code = "BACKEND"  # type: ignore[misc]
