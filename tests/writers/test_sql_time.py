"""The SQL writer and time, and the engines that applications hand it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc

from tests.writers.sql_kit import accounts, count, insert_one, metadata, running, write
from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    Outcome,
    Phase,
    Retry,
    WriteTimeoutError,
)
from wellwired.operations import WriteRequest
from wellwired.testing.clock import VirtualClock
from wellwired.writers.sql import SQLWriter


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the table of accounts."""
    metadata.create_all(sql_engine)
    return sql_engine


@pytest.fixture
def writer(engine: sa.Engine) -> SQLWriter:
    """A writer on it."""
    return SQLWriter("sql.main", engine)


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[sa.Engine]:
    """A fresh SQLite file with the table of accounts."""
    engine = sa.create_engine(sqlite_url)
    metadata.create_all(engine)
    yield engine
    engine.dispose()


class TestDeadline:
    """TIMEOUT means not applied."""

    def test_work_that_ends_late_is_not_committed(
        self, writer: SQLWriter, engine: sa.Engine, virtual_clock: VirtualClock
    ) -> None:
        """The fence stands before COMMIT: a handler that used up the time is rolled back."""

        def slow(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            virtual_clock.advance(6)

        with pytest.raises(WriteTimeoutError) as caught:
            write(writer, slow, deadline=Deadline.after(5, virtual_clock))

        assert (caught.value.outcome, caught.value.phase) == (Outcome.NOT_APPLIED, Phase.EXECUTE)
        assert count(engine) == 0
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]

    def test_a_slow_statement_is_ended_at_the_deadline(
        self, sql_url: str, writer: SQLWriter, engine: sa.Engine
    ) -> None:
        """A statement that runs on is cut off, and the next write is served."""
        never_ending = {
            "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c",
            "mysql": "SELECT SLEEP(30)",
            "mariadb": "SELECT SLEEP(30)",
            "postgresql": "SELECT pg_sleep(30)",
        }[engine.dialect.name]

        def slow(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            connection.execute(sa.text(never_ending))

        clock = Deadline.after(0.3)
        with pytest.raises(WriteTimeoutError) as caught:
            write(writer, slow, deadline=clock)

        assert clock.clock.monotonic() - clock.at < 1.0
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert write(writer).success
        assert count(engine) == 1

    def test_a_lock_is_waited_for_no_longer_than_the_deadline(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A row that another transaction holds is a TIMEOUT at the deadline, not when the database is tired."""
        write(writer)
        other = sa.create_engine(engine.url)
        holder = SQLWriter("sql.other", other)
        held, release = threading.Event(), threading.Event()

        def hold(_request: WriteRequest, connection: sa.Connection) -> None:
            connection.execute(accounts.update().values(balance=1))
            held.set()
            release.wait(20)

        def want(_request: WriteRequest, connection: sa.Connection) -> None:
            connection.execute(accounts.update().values(balance=2))

        with running(lambda: write(holder, hold)) as results:
            assert held.wait(10)
            deadline = Deadline.after(0.3)
            with pytest.raises(WriteTimeoutError) as caught:
                write(writer, want, deadline=deadline)
            assert deadline.clock.monotonic() - deadline.at < 1.0
            release.set()

        other.dispose()
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert results[0].success
        with engine.connect() as connection:
            assert connection.scalar(sa.select(accounts.c.balance)) == 1

    def test_a_full_pool_is_waited_for_no_longer_than_the_deadline(self, sql_url: str) -> None:
        """With every connection in use the write gives up in the checkout, at its deadline."""
        engine = sa.create_engine(sql_url, pool_size=1, max_overflow=0)
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)
        held, release = threading.Event(), threading.Event()

        def hold(_request: WriteRequest, _connection: sa.Connection) -> None:
            held.set()
            release.wait(20)

        with running(lambda: write(writer, hold)):
            assert held.wait(10)
            with pytest.raises(WriteTimeoutError) as caught:
                write(writer, seconds=0.1)
            release.set()

        assert (caught.value.reason, caught.value.phase) == ("pool", Phase.CHECKOUT)
        assert write(writer).success
        engine.dispose()

    def test_a_pool_that_others_have_emptied_is_waited_for_no_longer_either(self, sql_url: str) -> None:
        """Connections that the application holds itself count as well."""
        engine = sa.create_engine(sql_url, pool_size=1, max_overflow=0, pool_timeout=30)
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)

        with engine.connect():
            deadline = Deadline.after(0.1)
            with pytest.raises(WriteTimeoutError) as caught:
                write(writer, deadline=deadline)
            assert deadline.clock.monotonic() - deadline.at < 1.0

        assert (caught.value.reason, caught.value.phase) == ("pool", Phase.CHECKOUT)
        assert write(writer).success
        engine.dispose()

    def test_a_checkout_that_used_up_the_time_is_not_begun(
        self, writer: SQLWriter, engine: sa.Engine, virtual_clock: VirtualClock
    ) -> None:
        """If getting a connection took too long the handler is not even called, and the connection is kept."""
        event.listen(engine, "checkout", lambda *_: virtual_clock.advance(6))

        with pytest.raises(WriteTimeoutError, match="before the work began") as caught:
            write(writer, lambda _r, _c: pytest.fail("called"), deadline=Deadline.after(5, virtual_clock))

        assert (caught.value.phase, caught.value.retry) == (Phase.BEGIN, Retry.SAFE)
        assert write(writer).success

    def test_a_pool_that_gives_up_before_the_deadline_is_a_safe_error(
        self, writer: SQLWriter, engine: sa.Engine
    ) -> None:
        """The pool's own patience may be shorter than the write's: not applied, to be tried again."""
        event.listen(engine, "checkout", _refuse)

        with pytest.raises(BackendError) as caught:
            write(writer)

        assert (caught.value.reason, caught.value.phase, caught.value.retry, caught.value.outcome) == (
            "pool",
            Phase.CHECKOUT,
            Retry.SAFE,
            Outcome.NOT_APPLIED,
        )


def _refuse(*_: Any) -> None:
    raise exc.TimeoutError("no connection", code="3o7r")


class TestEngines:
    """Engines as applications make them."""

    def test_an_engine_in_autocommit_is_refused(self, sql_url: str) -> None:
        """Where every statement commits by itself no promise can be kept; SQLite's is overruled by our own BEGIN."""
        engine = sa.create_engine(sql_url, isolation_level="AUTOCOMMIT")
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)

        def broken(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            raise ValueError

        with pytest.raises(BackendError) as caught:
            write(writer, broken)

        assert caught.value.reason == ("handler" if engine.dialect.name == "sqlite" else "autocommit")
        assert count(engine) == 0
        engine.dispose()

    def test_the_engine_is_left_as_it_was(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """The application's own use of the engine, commits and settings are as before a write."""
        write(writer)

        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5_000
            connection.execute(accounts.insert(), {"id": 7, "balance": 0})
            connection.commit()

        assert count(engine) == 2

    def test_trouble_after_the_commit_is_a_warning(self, sqlite_engine: sa.Engine) -> None:
        """What goes wrong on the way back to the pool changes nothing about what was committed."""
        opened: list[Any] = []

        def broken(*_: Any) -> None:
            raise ValueError("secret")

        sqlite_engine.dispose()
        event.listen(sqlite_engine, "connect", lambda driver, _record: opened.append(driver))
        event.listen(sqlite_engine, "checkin", broken)
        result = write(SQLWriter("sql.main", sqlite_engine))
        event.remove(sqlite_engine, "checkin", broken)

        assert result.success
        assert result.warnings == ("the connection was not returned to its pool: ValueError",)
        assert count(sqlite_engine) == 1
        for driver in opened:
            driver.close()

    def test_the_deadline_does_not_outlive_the_write(self, sqlite_engine: sa.Engine) -> None:
        """What stops SQLite at the deadline is taken off: the application's long query later is not interrupted."""
        deadline = Deadline.after(0.2)
        write(SQLWriter("sql.main", sqlite_engine), deadline=deadline)
        threading.Event().wait(deadline.left() + 0.01)

        query = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 50000) SELECT count(*) FROM c"
        with sqlite_engine.connect() as connection:
            assert connection.exec_driver_sql(query).scalar() == 50_000

    def test_many_threads_write_at_once(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """Writes from many threads neither lose nor double anything, nor wait for each other without need."""

        def some(first: int) -> None:
            for number in range(first, first + 10):
                write(writer, payload={"id": number, "balance": 0}, seconds=20)

        with running(*[lambda first=first: some(first) for first in range(0, 80, 10)]) as results:
            pass

        assert results == [None] * 8
        assert count(engine) == 80
