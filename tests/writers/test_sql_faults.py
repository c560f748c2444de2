"""The SQL writer when something breaks: real deadlocks, killed sessions, dead and frozen servers, lost answers."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.pool import StaticPool

from tests.servers import PrivateServer
from tests.servers.private import free_port
from tests.writers.proxy import Fault, Proxy
from tests.writers.sql_kit import accounts, count, insert_one, metadata, running, until_done, write
from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteTimeoutError
from wellwired.operations import WriteRequest
from wellwired.writers.sql import SQLWriter

SERVERS = ["mariadb", "postgresql"]


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the table of accounts."""
    metadata.create_all(sql_engine)
    return sql_engine


@pytest.fixture
def proxied(engine: sa.Engine) -> Iterator[tuple[Proxy, SQLWriter]]:
    """A writer whose connections go through a proxy to the database of `engine`."""
    port = engine.url.port
    assert port is not None
    with Proxy(port) as proxy:
        through = sa.create_engine(engine.url.set(port=proxy.port))
        with through.connect():  # a driver may send a COMMIT of its own when it connects
            pass
        yield proxy, SQLWriter("sql.main", through)
        through.dispose()


@pytest.mark.parametrize("sql_url", SERVERS, indirect=True)
class TestServers:
    """Faults of a server and of the way to it."""

    def test_a_deadlock_is_safe_to_retry_for_one_and_nothing_for_the_other(self, engine: sa.Engine) -> None:
        """Of two writers in a deadlock one is told to try again, not applied; the other succeeds."""
        writer = SQLWriter("sql.main", engine)
        for number in (1, 2):
            write(writer, payload={"id": number, "balance": 0})
        both = threading.Barrier(2)

        def crossing(first: int, second: int) -> Callable[[WriteRequest, sa.Connection], None]:
            def work(_request: WriteRequest, connection: sa.Connection) -> None:
                connection.execute(accounts.update().where(accounts.c.id == first).values(balance=first))
                both.wait(10)
                connection.execute(accounts.update().where(accounts.c.id == second).values(balance=first))

            return work

        with running(
            lambda: write(writer, crossing(1, 2), seconds=20), lambda: write(writer, crossing(2, 1), seconds=20)
        ) as results:
            pass

        (error,) = [result for result in results if isinstance(result, BaseException)]
        assert isinstance(error, BackendError)
        assert (error.reason, error.outcome, error.retry) == ("deadlock", Outcome.NOT_APPLIED, Retry.SAFE)
        assert error.backend_code in {1213, "40P01"}
        with engine.connect() as connection:
            assert len(set(connection.scalars(sa.select(accounts.c.balance)))) == 1

    def test_a_swallowed_deadlock_commits_no_tail(self, engine: sa.Engine) -> None:
        """A handler that goes on after a deadlock does not get the rest of its work committed without the start."""
        writer = SQLWriter("sql.main", engine)
        for number in (1, 2):
            write(writer, payload={"id": number, "balance": 0})
        both = threading.Barrier(2)

        def crossing(first: int, second: int) -> Callable[[WriteRequest, sa.Connection], None]:
            def work(_request: WriteRequest, connection: sa.Connection) -> None:
                connection.execute(accounts.insert(), {"id": 10 + first, "balance": 0})
                connection.execute(accounts.update().where(accounts.c.id == first).values(balance=first))
                both.wait(10)
                try:
                    connection.execute(accounts.update().where(accounts.c.id == second).values(balance=first))
                except exc.OperationalError:
                    if connection.dialect.name != "postgresql":
                        connection.execute(accounts.insert(), {"id": 20 + first, "balance": 0})

            return work

        with running(
            lambda: write(writer, crossing(1, 2), seconds=20), lambda: write(writer, crossing(2, 1), seconds=20)
        ) as results:
            pass

        (error,) = [result for result in results if isinstance(result, BaseException)]
        assert isinstance(error, BackendError)
        assert (error.reason, error.outcome) == ("deadlock", Outcome.NOT_APPLIED)
        assert count(engine) == 3

    def test_the_servers_own_lock_timer_is_a_lock_and_safe(self, engine: sa.Engine) -> None:
        """A lock wait that the server ends before the deadline is a BACKEND error that may be retried."""
        writer = SQLWriter("sql.main", engine)
        write(writer)
        setting = (
            "SET SESSION innodb_lock_wait_timeout = 1"
            if engine.dialect.name != "postgresql"
            else "SET LOCAL lock_timeout = 100"
        )

        def want(_request: WriteRequest, connection: sa.Connection) -> None:
            connection.exec_driver_sql(setting)
            connection.execute(accounts.update().values(balance=2))

        with engine.connect() as holder:
            holder.execute(accounts.update().values(balance=1))
            with pytest.raises(BackendError) as caught:
                write(writer, want)

        assert (caught.value.reason, caught.value.retry) == ("lock", Retry.SAFE)
        assert caught.value.backend_code in {1205, "55P03"}

    def test_a_killed_session_is_lost_and_safe(self, engine: sa.Engine) -> None:
        """A session that an administrator ends in the middle of the work: not applied, safe, and the pool recovers."""
        writer = SQLWriter("sql.main", engine)

        def killed(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            with engine.connect() as other:
                if engine.dialect.name == "postgresql":
                    session = connection.scalar(sa.text("SELECT pg_backend_pid()"))
                    other.execute(sa.text(f"SELECT pg_terminate_backend({session})"))
                else:
                    session = connection.scalar(sa.text("SELECT connection_id()"))
                    other.exec_driver_sql(f"KILL {session}")
            connection.execute(sa.select(accounts)).all()

        with pytest.raises(BackendError) as caught:
            write(writer, killed)

        assert (caught.value.outcome, caught.value.retry) == (Outcome.NOT_APPLIED, Retry.SAFE)
        assert caught.value.reason in {"connection", "shutdown"}
        assert count(engine) == 0
        assert write(writer).success

    def test_a_timeout_ends_the_work_on_the_server_too(self, engine: sa.Engine) -> None:
        """What was cut off holds no locks for long: another write gets the row soon after."""
        writer = SQLWriter("sql.main", engine)
        write(writer)
        nap = "SELECT pg_sleep(60)" if engine.dialect.name == "postgresql" else "SELECT SLEEP(60)"

        def slow(_request: WriteRequest, connection: sa.Connection) -> None:
            connection.execute(accounts.update().values(balance=1))
            connection.execute(sa.text(nap))

        with pytest.raises(WriteTimeoutError):
            write(writer, slow, seconds=0.2)

        assert write(writer, lambda _r, c: c.execute(accounts.update().values(balance=2)).rowcount, seconds=5).data == 1

    def test_a_commit_whose_answer_is_lost_is_unknown(
        self, engine: sa.Engine, proxied: tuple[Proxy, SQLWriter]
    ) -> None:
        """COMMIT reached the server and its answer did not come back: UNKNOWN, and here it was applied."""
        proxy, writer = proxied
        write(writer, payload={"id": 7, "balance": 0})
        proxy.arm(Fault.LOSE_ANSWER)

        with pytest.raises(BackendError) as caught:
            write(writer)

        error = caught.value
        assert (error.outcome, error.retry, error.phase, error.reason) == (
            Outcome.UNKNOWN,
            Retry.IF_IDEMPOTENT,
            Phase.COMMIT,
            "commit_unknown",
        )
        assert count(engine) == 2
        assert write(writer, payload={"id": 3, "balance": 0}).success

    def test_a_commit_that_was_lost_on_the_way_is_unknown_too(
        self, engine: sa.Engine, proxied: tuple[Proxy, SQLWriter]
    ) -> None:
        """COMMIT never arrived, which looks the same from here: UNKNOWN, and here it was not applied."""
        proxy, writer = proxied
        proxy.arm(Fault.LOSE_REQUEST)

        with pytest.raises(BackendError) as caught:
            write(writer)

        assert (caught.value.outcome, caught.value.phase) == (Outcome.UNKNOWN, Phase.COMMIT)
        assert count(engine) == 0

    def test_a_commit_without_an_answer_ends_after_the_grace(
        self, engine: sa.Engine, proxied: tuple[Proxy, SQLWriter]
    ) -> None:
        """A silent server at COMMIT is waited for as long as the grace allows; then the outcome is UNKNOWN."""
        proxy, plain = proxied
        writer = SQLWriter("sql.main", plain._database.engine, commit_grace=0.2)
        proxy.arm(Fault.SILENCE)

        began = Deadline.after(0).at
        with pytest.raises(BackendError) as caught:
            write(writer, seconds=30)

        assert Deadline.after(0).at - began < 5
        assert (caught.value.outcome, caught.value.phase) == (Outcome.UNKNOWN, Phase.COMMIT)

    def test_without_grace_no_outcome_is_wrong_and_no_connection_spoilt(self, engine: sa.Engine) -> None:
        """With a commit cut at any moment a success is there, an unknown may be, and the pool stays usable."""
        writer = SQLWriter("sql.main", engine, commit_grace=0.0)
        done = []
        for number in range(60):
            try:
                write(writer, payload={"id": number, "balance": 0})
                done.append(number)
            except BackendError as error:
                assert (error.outcome, error.phase) == (Outcome.UNKNOWN, Phase.COMMIT)  # noqa: PT017
            with engine.connect() as connection:
                assert set(done) <= set(connection.scalars(sa.select(accounts.c.id)))

    def test_a_silent_server_in_the_middle_of_the_work_is_a_timeout(self, proxied: tuple[Proxy, SQLWriter]) -> None:
        """A statement without an answer is given up at the deadline, though the server cannot be asked to stop."""
        proxy, writer = proxied
        write(writer)
        proxy._trigger = b"UPDATE"
        proxy.arm(Fault.SILENCE)

        deadline = Deadline.after(0.3)
        with pytest.raises(WriteTimeoutError) as caught:
            write(writer, lambda _r, c: c.execute(accounts.update().values(balance=2)), deadline=deadline)

        assert Deadline.after(0).at - deadline.at < 1
        assert caught.value.outcome is Outcome.NOT_APPLIED

    def test_a_server_that_nobody_runs_is_unreachable(self, engine: sa.Engine) -> None:
        """A refused connection is not applied and safe to retry, with the phase of the checkout."""
        nowhere = sa.create_engine(engine.url.set(port=free_port()))

        with pytest.raises(BackendError) as caught:
            write(SQLWriter("sql.main", nowhere))

        assert (caught.value.reason, caught.value.outcome, caught.value.retry, caught.value.phase) == (
            "connection",
            Outcome.NOT_APPLIED,
            Retry.SAFE,
            Phase.CHECKOUT,
        )
        nowhere.dispose()


class TestPrivateServers:
    """Servers that are killed under a writer."""

    @pytest.fixture(params=[pytest.param("mariadb", marks=pytest.mark.mariadb), "postgresql"])
    def server(
        self,
        request: pytest.FixtureRequest,
        private_mariadb: Callable[..., PrivateServer],
        private_postgresql: Callable[..., PrivateServer],
    ) -> PrivateServer:
        """A server of the test's own."""
        return private_mariadb() if request.param == "mariadb" else private_postgresql()

    def test_a_server_that_dies_under_the_work_gives_safe_errors_until_it_is_back(self, server: PrivateServer) -> None:
        """In the middle, and at the next attempts, a dead server is "not applied, safe"; then writing goes on."""
        engine = sa.create_engine(server.url)
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)
        write(writer, payload={"id": 7, "balance": 0})

        def dying(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            server.kill()
            connection.execute(sa.select(accounts)).all()

        for work in (dying, insert_one):
            with pytest.raises(BackendError) as caught:
                write(writer, work)
            assert (caught.value.outcome, caught.value.retry) == (Outcome.NOT_APPLIED, Retry.SAFE)
            assert caught.value.reason in {"connection", "shutdown", "not_ready"}

        server.start()
        until_done(lambda: write(writer))
        assert count(engine) == 2
        engine.dispose()

    def test_a_frozen_server_is_a_timeout_at_the_deadline(self, server: PrivateServer) -> None:
        """A server that holds its connections and answers nothing costs no more than the deadline."""
        engine = sa.create_engine(server.url)
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)
        write(writer)
        server.pause()

        deadline = Deadline.after(0.3)
        with pytest.raises(WriteTimeoutError) as caught:
            write(writer, payload={"id": 2, "balance": 0}, deadline=deadline)

        assert Deadline.after(0).at - deadline.at < 2
        assert caught.value.outcome is Outcome.NOT_APPLIED
        server.resume()
        assert count(engine) == 1
        engine.dispose()


@pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
class TestSQLite:
    """Faults of a file."""

    def test_a_busy_database_is_a_lock_and_safe(self, sql_url: str) -> None:
        """Another writer of the file, for longer than SQLite's own patience: a lock, safe to retry."""
        engine = sa.create_engine(sql_url, connect_args={"timeout": 0.05})
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)

        with engine.connect() as holder:
            holder.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(BackendError) as caught:
                write(writer)
            holder.rollback()

        assert (caught.value.reason, caught.value.retry, caught.value.phase) == ("lock", Retry.SAFE, Phase.BEGIN)
        assert caught.value.backend_code == "SQLITE_BUSY"
        assert write(writer).success
        engine.dispose()

    def test_a_reader_in_the_way_of_commit_is_not_applied(self, engine: sa.Engine) -> None:
        """With a rollback journal COMMIT waits for readers, for the grace at most, and then nothing is applied."""
        writer = SQLWriter("sql.main", engine, commit_grace=0.05)
        write(writer)

        with engine.connect() as reader:
            result = reader.exec_driver_sql("SELECT id FROM accounts UNION ALL SELECT 2")
            result.fetchone()
            began = Deadline.after(0).at
            with pytest.raises(BackendError) as caught:
                write(writer, payload={"id": 2, "balance": 0})
            assert Deadline.after(0).at - began < 2
            result.close()

        assert (caught.value.outcome, caught.value.retry, caught.value.phase) == (
            Outcome.NOT_APPLIED,
            Retry.SAFE,
            Phase.COMMIT,
        )
        assert count(engine) == 1
        assert write(writer, payload={"id": 2, "balance": 0}).success

    def test_a_full_disk_is_capacity(self, engine: sa.Engine) -> None:
        """A database that may not grow is out of capacity: not applied, to be retried slowly."""
        writer = SQLWriter("sql.main", engine)

        def fill(_request: WriteRequest, connection: sa.Connection) -> None:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
            connection.execute(accounts.insert(), [{"id": n, "balance": 0} for n in range(5_000)])

        with pytest.raises(BackendError) as caught:
            write(writer, fill)

        assert (caught.value.reason, caught.value.outcome, caught.value.retry) == (
            "capacity",
            Outcome.NOT_APPLIED,
            Retry.SAFE,
        )
        assert count(engine) == 0

    def test_a_roll_back_of_sqlites_own_is_no_success(self, engine: sa.Engine) -> None:
        """SQLite may end the transaction by itself; a handler that goes on does not commit a tail."""
        writer = SQLWriter("sql.main", engine)
        write(writer)

        def careless(_request: WriteRequest, connection: sa.Connection) -> None:
            connection.execute(accounts.insert(), {"id": 2, "balance": 0})
            try:
                connection.exec_driver_sql("INSERT OR ROLLBACK INTO accounts VALUES (1, 0)")
            except exc.IntegrityError:
                return

        with pytest.raises(BackendError) as caught:
            write(writer, careless)

        assert (caught.value.reason, caught.value.outcome) == ("duplicate", Outcome.NOT_APPLIED)
        assert count(engine) == 1

    def test_a_roll_back_that_fails_costs_the_connection(self, sql_url: str) -> None:
        """What could not be rolled back is closed, which rolls it back, and the next write has another connection."""
        stubborn: list[sqlite3.Connection] = []

        class Stubborn(sqlite3.Connection):
            def rollback(self) -> None:
                if self in stubborn:
                    raise sqlite3.OperationalError("no")
                super().rollback()

        engine = sa.create_engine(sql_url, connect_args={"factory": Stubborn}, pool_reset_on_return=None)
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)

        def broken(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            driver = connection.connection.driver_connection
            assert driver is not None
            stubborn.append(driver)
            raise ValueError

        with pytest.raises(BackendError) as caught:
            write(writer, broken)

        assert (caught.value.reason, caught.value.outcome) == ("handler", Outcome.NOT_APPLIED)
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            stubborn[0].execute("SELECT 1")
        assert write(writer).success
        assert count(engine) == 1
        engine.dispose()

    def test_an_engine_with_its_own_begin_is_served(self, sql_url: str) -> None:
        """The documented recipes for SQLite's transactions do not get in the way."""
        engine = sa.create_engine(sql_url)

        @event.listens_for(engine, "connect")
        def manual(driver: Any, _record: Any) -> None:
            driver.isolation_level = None

        @event.listens_for(engine, "begin")
        def begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN")

        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)

        assert write(writer).success
        with pytest.raises(BackendError):
            write(writer)
        assert count(engine) == 1
        engine.dispose()

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 has this since Python 3.12")
    @pytest.mark.parametrize("mode", [False, -1])
    def test_the_drivers_own_transaction_modes_are_served(self, sql_url: str, mode: int) -> None:
        """Whether the driver begins transactions as PEP 249 says, or as it always did."""
        engine = sa.create_engine(sql_url, connect_args={"autocommit": mode})
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)

        assert write(writer).success
        with pytest.raises(BackendError) as caught:
            write(writer)
        assert caught.value.reason == "duplicate"
        assert count(engine) == 1
        engine.dispose()

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="sqlite3 has this since Python 3.12")
    def test_the_drivers_autocommit_is_refused(self, sql_url: str) -> None:
        """A driver that commits every statement cannot keep the promises."""
        engine = sa.create_engine(sql_url, connect_args={"autocommit": True})
        with pytest.raises(BackendError) as caught:
            write(SQLWriter("sql.main", engine))

        assert (caught.value.reason, caught.value.outcome) == ("autocommit", Outcome.NOT_APPLIED)
        engine.dispose()

    def test_a_database_in_memory_that_threads_share_is_served(self, sql_url: str) -> None:
        """One connection for all threads: they take turns, and an interruption does not lose the database."""
        engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine)

        def interrupted(_request: WriteRequest, _connection: sa.Connection) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(writer, interrupted)
        works = [lambda n=n: write(writer, payload={"id": n, "balance": 0}, seconds=20) for n in range(8)]
        with running(*works) as results:
            pass

        assert all(result.success for result in results)
        assert count(engine) == 8
        engine.dispose()
