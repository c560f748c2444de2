"""The gate before a pool: no more inside than there are places, and nobody waits past his deadline."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

from tests.writers.sql_kit import running
from wellwired.clock import Deadline
from wellwired.testing.clock import VirtualClock
from wellwired.writers._gate import Gate
from wellwired.writers._pool import gate_for


class TestGate:
    """Places, room and deadlines."""

    def test_it_lets_in_as_many_as_there_are_places(self) -> None:
        """The next one waits until somebody leaves, or gives up at its deadline."""
        gate = Gate(2)
        assert gate.enter(Deadline.after(1))
        assert gate.enter(Deadline.after(1))

        assert not gate.enter(Deadline.after(0.02))
        gate.leave()
        assert gate.enter(Deadline.after(1))

    def test_a_place_that_comes_free_is_taken_by_one_who_waits(self) -> None:
        """Waiting ends as soon as somebody leaves."""
        gate = Gate(1)
        gate.enter(Deadline.never())

        with running(lambda: gate.enter(Deadline.never())) as results:
            gate.leave()

        assert results == [True]

    def test_no_number_of_threads_gets_more_in(self) -> None:
        """The count holds under racing threads."""
        gate, lock = Gate(3), threading.Lock()
        inside, most = 0, 0

        def work() -> None:
            nonlocal inside, most
            for _ in range(50):
                assert gate.enter(Deadline.after(20))
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1
                gate.leave()

        with running(*[work] * 8) as results:
            pass

        assert results == [None] * 8
        assert most <= 3

    def test_without_places_everyone_is_let_in(self) -> None:
        """A pool without a limit needs no gate."""
        gate = Gate(None)

        assert all(gate.enter(Deadline.after(0)) for _ in range(100))
        gate.leave()

    def test_room_is_waited_for_as_well(self, virtual_clock: VirtualClock) -> None:
        """If others have emptied the pool it is asked again and again, in short naps."""
        answers = iter([False, False, True])
        gate = Gate(1, lambda: next(answers))

        assert gate.enter(Deadline.after(1, virtual_clock))
        assert len(virtual_clock.naps) == 2

    def test_without_room_the_place_is_given_back(self, virtual_clock: VirtualClock) -> None:
        """Whoever gives up takes nothing with him."""
        full = True
        gate = Gate(1, lambda: not full)

        assert not gate.enter(Deadline.after(1, virtual_clock))
        assert virtual_clock.monotonic() == pytest.approx(1_001.0)
        full = False
        assert gate.enter(Deadline.after(1, virtual_clock))

    def test_a_child_finds_every_place_free(self) -> None:
        """Places that the parent's threads held are not theirs in the child."""
        gate = Gate(1)
        gate.enter(Deadline.never())

        gate.renew()

        assert gate.enter(Deadline.after(0))


class TestPools:
    """How many places an engine's pool is good for."""

    @pytest.mark.parametrize(
        ("url", "options", "places"),
        [
            ("postgresql+psycopg://h/d", {"pool_size": 3, "max_overflow": 4}, 7),
            ("postgresql+psycopg://h/d", {"pool_size": 3, "max_overflow": -1}, None),
            ("postgresql+psycopg://h/d", {"pool_size": 0}, None),
            ("mysql+pymysql://h/d", {"poolclass": NullPool}, None),
            ("sqlite:///x.db", {"pool_size": 3, "max_overflow": 4}, 1),
            ("sqlite:///x.db", {"pool_size": 0}, 1),
            ("sqlite://", {"poolclass": StaticPool}, 1),
            ("sqlite://", {}, 1),
        ],
    )
    def test_it_has_a_place_for_each_connection(self, url: str, options: dict[str, object], places: int | None) -> None:
        """As many as the pool can give; on SQLite one, for it has one writer."""
        engine = sa.create_engine(url, **options)

        assert gate_for(engine).places == places
        engine.dispose()

    def test_a_pool_that_was_made_anew_is_the_one_that_is_asked(self, virtual_clock: VirtualClock) -> None:
        """An engine may be disposed of while a writer has it."""
        engine = sa.create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0)
        gate = gate_for(engine)
        taken = engine.connect()
        assert not gate.enter(Deadline.after(0.1, virtual_clock))

        engine.dispose()
        assert gate.enter(Deadline.after(0.1, virtual_clock))
        taken.invalidate()
        taken.close()
        engine.dispose()


def test_who_has_the_only_place_would_wait_for_itself() -> None:
    """A thread is told so before it waits; another thread, or a gate with two places, waits as usual."""
    gate, wide = Gate(1), Gate(2)
    assert not gate.shut_here
    assert gate.enter(Deadline.after(5))
    assert wide.enter(Deadline.after(5))
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(gate.shut_here))
    thread.start()
    thread.join(10)

    assert (gate.shut_here, wide.shut_here, seen) == (True, False, [False])
    gate.leave()
    assert not gate.shut_here
