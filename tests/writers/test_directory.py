"""Tests of which writer serves which target."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from typing import Any

import pytest

from wellwired.errors import RegistrationError
from wellwired.writers import MemoryWriter
from wellwired.writers.directory import Directory, targets_of


def filled(*writers: Any) -> Directory:
    """A directory with these."""
    directory = Directory()
    for writer in writers:
        directory.register(writer)
    return directory


class Tenants(MemoryWriter):
    """A writer whose targets cannot be listed."""

    asked = 0

    def supports(self, target: str, /) -> bool:
        """Everything of a tenant."""
        self.asked += 1
        return target.startswith("tenant.")


def test_a_writer_is_found_by_each_of_its_targets() -> None:
    """Its name and its extra ones."""
    main, cache = MemoryWriter("sql.main", targets=["mysql.main"]), MemoryWriter("redis.cache")
    directory = filled(main, cache)
    assert directory.find("sql.main") is directory.find("mysql.main") is main
    assert directory.find("redis.cache") is cache
    assert directory.find("redis.main") is None
    assert directory.named("sql.main") is main
    assert directory.writers() == (main, cache)
    assert directory.targets() == ("mysql.main", "redis.cache", "sql.main")


def test_targets_that_cannot_be_listed_are_asked_for_once() -> None:
    """And the answer is remembered."""
    tenants = Tenants("tenant.0")
    directory = filled(tenants)
    before = tenants.asked
    assert directory.remembered("tenant.17") is None
    assert [directory.find("tenant.17") for _ in range(3)] == [tenants] * 3
    assert tenants.asked == before + 1
    assert directory.remembered("tenant.17") is tenants


def test_what_is_remembered_is_bounded() -> None:
    """A caller who makes targets up does not fill the memory."""
    directory = filled(Tenants("tenant.0"))
    assert all(directory.find(f"tenant.{number}") for number in range(3000))
    assert sum(directory.remembered(f"tenant.{number}") is not None for number in range(3000)) == 1024


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (MemoryWriter("a"), MemoryWriter("a")),
        (MemoryWriter("a", targets=["b"]), MemoryWriter("b")),
        (MemoryWriter("a"), MemoryWriter("b", targets=["a"])),
        (MemoryWriter("a", targets=["c"]), MemoryWriter("b", targets=["c"])),
        (Tenants("x"), MemoryWriter("tenant.1")),
        (MemoryWriter("tenant.1"), Tenants("x")),
    ],
)
def test_two_writers_cannot_share_a_target(first: MemoryWriter, second: MemoryWriter) -> None:
    """Which of them got a write would depend on the order of registration."""
    directory = filled(first)
    with pytest.raises(RegistrationError, match="already has a writer"):
        directory.register(second)
    assert directory.writers() == (first,)


def test_the_same_writer_may_come_twice() -> None:
    """To no effect."""
    writer = MemoryWriter("a")
    assert filled(writer, writer).writers() == (writer,)


@pytest.mark.parametrize("wrong", [object(), None, MemoryWriter(""), MemoryWriter("x" * 129), MemoryWriter])
def test_what_is_no_writer_is_refused(wrong: Any) -> None:
    """With what a writer needs."""
    with pytest.raises(RegistrationError, match="is no writer"):
        filled(wrong)


def test_a_writer_that_comes_later_is_found() -> None:
    """What was not found before is not remembered."""
    directory = filled()
    assert directory.find("a") is None
    late = MemoryWriter("a")
    directory.register(late)
    assert directory.find("a") is late


def test_a_writer_that_lists_nothing_has_its_name() -> None:
    """The protocol asks for no list."""

    class Bare:
        name = "bare"

    bare: Any = Bare()
    assert targets_of(bare) == ("bare",)


def test_racing_writers_cannot_both_claim_a_target() -> None:
    """Looking whether it is free and taking it is one step."""
    both = threading.Barrier(2)

    class Slow(MemoryWriter):
        def supports(self, target: str, /) -> bool:
            with suppress(threading.BrokenBarrierError):
                both.wait(0.2)
            return super().supports(target)

    directory = filled(Slow("slow"))
    refused: list[RegistrationError] = []

    def register() -> None:
        try:
            directory.register(MemoryWriter("wanted"))
        except RegistrationError as error:
            refused.append(error)

    threads = [threading.Thread(target=register) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1


def test_racing_registrations_and_lookups() -> None:
    """Nothing is lost, and a reader sees a writer as soon as its registration has returned."""
    directory, start = Directory(), threading.Barrier(4)
    missing: list[str] = []

    def register(part: int) -> None:
        start.wait()
        for number in range(50):
            name = f"w.{part}.{number}"
            directory.register(MemoryWriter(name))
            if directory.find(name) is None:
                missing.append(name)

    threads = [threading.Thread(target=register, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missing == []
    assert len(directory.writers()) == 200


def test_a_forked_child_can_register() -> None:
    """Even if another thread of the parent was registering at that moment."""
    directory = Directory()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with directory._registering:
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        directory.register(MemoryWriter("a"))
        os._exit(0 if directory.find("a") else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
