"""Tests of the journal of open resources."""

from __future__ import annotations

import gc
import warnings
from typing import Any

from tests.containers.forking import in_child
from tests.containers.racing import race
from wellwired.containers import providers
from wellwired.containers._journal import Journal


def test_entries_stand_in_the_order_of_opening_and_once() -> None:
    """Added twice it stands where it was first; struck out it is gone, and striking out again is nothing."""
    first, second = providers.Resource(dict[str, Any]), providers.Resource(list[Any])
    journal = Journal()
    for one in (first, second, first):
        journal.add(one)
    assert journal.entries() == (first, second)
    journal.remove(first)
    journal.remove(first)
    assert journal.entries() == (second,)
    journal.remove(second)


def test_racing_writers_lose_nothing() -> None:
    """Entries of eight threads are all there."""
    resources = [providers.Resource(dict[str, Any]) for _ in range(80)]
    journal = Journal()
    turns = iter(range(8))

    def write() -> None:
        start = next(turns) * 10
        for one in resources[start : start + 10]:
            journal.add(one)

    race(write)
    assert set(journal.entries()) == set(resources)
    for one in resources:
        journal.remove(one)


def test_dropped_with_entries_it_warns() -> None:
    """The warning names what is open and says what to do."""
    journal = Journal()
    resource = providers.Resource(dict[str, Any])
    resource.name = "sql.main"
    journal.add(resource)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del journal
        gc.collect()
    assert [one.category for one in caught] == [ResourceWarning]
    assert "dropped while open: sql.main" in str(caught[0].message)


def test_a_child_says_nothing_of_its_parents_entries() -> None:
    """Only the process that opened them has forgotten to close them."""
    journal = Journal()
    resource = providers.Resource(dict[str, Any])
    journal.add(resource)

    def child() -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            journal.__del__()
            inherited = len(caught)
            journal.renew()
            journal.__del__()
        return inherited * 10 + len(caught)

    assert in_child(child) == 1
    journal.remove(resource)


def test_an_empty_one_goes_in_silence() -> None:
    """With warnings as errors, dropping an empty journal is fine."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Journal().__del__()
