"""The damage log: every value that could not be read is counted and told."""

from __future__ import annotations

import logging
import threading

import pytest

from wellwired.stores.damage import Damage, DamageLog, Reason


def test_damages_are_counted_by_reason() -> None:
    """The counts are a copy, by reason, and there is a total."""
    log = DamageLog("users")
    assert dict(log.counts) == {} and log.total == 0
    log.note("a", Reason.CHECKSUM)
    log.note("b", Reason.CHECKSUM)
    log.note("a", Reason.FOREIGN)
    assert log.counts == {Reason.CHECKSUM: 2, Reason.FOREIGN: 1} and log.total == 3


def test_listeners_are_told_in_order() -> None:
    """Each listener gets each later damage, in the order of registration."""
    told: list[tuple[str, Damage]] = []
    log = DamageLog("users")
    log.note("early", Reason.KEY)
    log.listen(lambda damage: told.append(("first", damage)))
    log.listen(lambda damage: told.append(("second", damage)))
    log.note("a", Reason.VALUE)
    damage = Damage("users", "a", Reason.VALUE)
    assert told == [("first", damage), ("second", damage)]


def test_a_failing_listener_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What a listener raises is logged; the next one is told all the same."""
    told: list[Damage] = []
    log = DamageLog("users")

    def fail(damage: Damage) -> None:
        raise RuntimeError("no")

    log.listen(fail)
    log.listen(told.append)
    with caplog.at_level(logging.ERROR, "wellwired.stores"):
        log.note("a", Reason.VERSION)
    assert len(told) == 1 and "users" in caplog.text


def test_threads_lose_no_count() -> None:
    """Counts from many threads add up."""
    log = DamageLog("users")

    def work() -> None:
        for _ in range(500):
            log.note("a", Reason.CODEC)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.total == 2000
