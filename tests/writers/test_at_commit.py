"""What servers and drivers do when something happens at COMMIT, or late: facts that the writer relies on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from tests.servers import PrivateServer
from tests.writers.proxy import Fault, Hit, Proxy
from tests.writers.sql_kit import accounts, count, insert_one, metadata, running, write
from tests.writers.wire import WIRES, Message, Moment
from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteTimeoutError
from wellwired.operations import WriteRequest
from wellwired.writers._cutting import Cutter, killing
from wellwired.writers.sql import SQLWriter

SERVERS = ["mariadb", "postgresql"]

SLOW_COMMIT = """
CREATE FUNCTION nap() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON accounts DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION nap()
"""


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the table of accounts."""
    metadata.create_all(sql_engine)
    return sql_engine


@contextmanager
def during_commit(engine: sa.Engine, words: str, waits: str) -> Iterator[None]:
    """Does something to the one session whose COMMIT waits for something."""

    def act() -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
            question = f"SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event = '{waits}'"
            while (number := other.scalar(sa.text(question))) is None:
                pass
            other.execute(sa.text(f"SELECT {words}({number})"))

    with running(act):
        yield


@pytest.mark.parametrize("sql_url", ["postgresql"], indirect=True)
class TestPostgreSQL:
    """A COMMIT that takes long, because of a deferred trigger."""

    @pytest.fixture
    def slow(self, engine: sa.Engine) -> sa.Engine:
        """A database whose COMMIT sleeps."""
        with engine.begin() as connection:
            connection.exec_driver_sql(SLOW_COMMIT)
        return engine

    def test_a_session_ended_during_commit_leaves_the_outcome_open(self, slow: sa.Engine) -> None:
        """57P01 at COMMIT may be before or after the commit record: UNKNOWN. Here it was before."""
        with during_commit(slow, "pg_terminate_backend", "PgSleep"), pytest.raises(BackendError) as caught:
            write(SQLWriter("sql.main", slow, commit_grace=20))

        error = caught.value
        assert (error.outcome, error.phase, error.backend_code) == (Outcome.UNKNOWN, Phase.COMMIT, "57P01")
        assert error.retry is Retry.IF_IDEMPOTENT
        assert count(slow) == 0

    def test_a_cancel_during_commit_leaves_the_outcome_open(self, slow: sa.Engine) -> None:
        """57014 at COMMIT, by an administrator or a timer: UNKNOWN, and the connection is dropped."""
        with during_commit(slow, "pg_cancel_backend", "PgSleep"), pytest.raises(BackendError) as caught:
            write(SQLWriter("sql.main", slow, commit_grace=20))

        assert (caught.value.outcome, caught.value.backend_code) == (Outcome.UNKNOWN, "57014")
        assert count(slow) == 0

    def test_a_deferred_constraint_at_commit_is_not_applied(self, engine: sa.Engine) -> None:
        """A refusal by COMMIT comes before the commit record, and is definite."""
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TABLE owners (id INT REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)"
            )

        def orphan(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            connection.exec_driver_sql("INSERT INTO owners VALUES (9)")

        with pytest.raises(BackendError) as caught:
            write(SQLWriter("sql.main", engine), orphan)

        error = caught.value
        assert (error.outcome, error.phase, error.backend_code) == (Outcome.NOT_APPLIED, Phase.COMMIT, "23503")
        assert count(engine) == 0

    def test_a_transaction_that_failed_is_no_success(self, engine: sa.Engine) -> None:
        """PostgreSQL answers COMMIT of a failed transaction with a ROLLBACK and no error; the writer does not ask."""

        def careless(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            driver: Any = connection.connection.driver_connection
            with pytest.raises(Exception, match="division"):
                driver.execute("SELECT 1 / 0")

        with pytest.raises(BackendError) as caught:
            write(SQLWriter("sql.main", engine), careless)

        assert (caught.value.outcome, caught.value.retry) == (Outcome.NOT_APPLIED, Retry.NEVER)
        assert count(engine) == 0


@pytest.mark.postgresql
class TestSynchronousStandby:
    """A COMMIT that is done here and waits for a standby that does not exist."""

    @pytest.fixture
    def engine(self, private_postgresql: Callable[..., PrivateServer]) -> Iterator[sa.Engine]:
        """A database of the test's own; its first table is made without waiting."""
        server = private_postgresql(synchronous_standby_names="nobody")
        engine = sa.create_engine(server.url)
        patient = sa.create_engine(server.url, connect_args={"options": "-c synchronous_commit=local"})
        metadata.create_all(patient)
        patient.dispose()
        yield engine
        engine.dispose()

    def test_a_cancelled_wait_is_a_success_and_an_ended_one_is_open(self, engine: sa.Engine) -> None:
        """After the commit record a cancel changes nothing: success. A session that is ended there is UNKNOWN."""
        writer = SQLWriter("sql.main", engine, commit_grace=20)
        with during_commit(engine, "pg_cancel_backend", "SyncRep"):
            assert write(writer).success
        with during_commit(engine, "pg_terminate_backend", "SyncRep"), pytest.raises(BackendError) as caught:
            write(writer, payload={"id": 2, "balance": 0})

        assert (caught.value.outcome, caught.value.phase) == (Outcome.UNKNOWN, Phase.COMMIT)
        assert count(engine) == 2


@pytest.mark.parametrize("sql_url", ["mariadb"], indirect=True)
class TestMariaDB:
    """Errors that end a statement, and those that end the transaction."""

    @pytest.mark.parametrize("code", [1969, 1317])
    def test_a_timer_ends_the_statement_and_not_the_transaction(self, engine: sa.Engine, code: int) -> None:
        """What went before a statement that max_statement_time or KILL QUERY has ended is still there to commit."""
        endless = "SELECT COUNT(*) FROM seq_1_to_100000 a JOIN seq_1_to_100000 b"

        def work(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            number = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
            killer = threading.Thread(target=_kill_query, args=(engine, number))
            words = f"SET STATEMENT max_statement_time = 0.05 FOR {endless}" if code == 1969 else endless
            if code == 1317:
                killer.start()
            with pytest.raises(Exception, match=str(code)):
                connection.exec_driver_sql(words)
            if code == 1317:
                killer.join(10)

        assert write(SQLWriter("sql.main", engine), work).success
        assert count(engine) == 1

    def test_a_lock_timeout_rolls_only_the_statement_back(self, engine: sa.Engine) -> None:
        """The head would be committed without the tail: so a swallowed 1205 is a failure, and nothing is applied."""
        writer = SQLWriter("sql.main", engine)
        write(writer, payload={"id": 7, "balance": 0})

        def work(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            with pytest.raises(Exception, match="1205"):
                connection.exec_driver_sql("SELECT * FROM accounts WHERE id = 7 FOR UPDATE NOWAIT")
            assert connection.scalar(sa.select(sa.func.count()).select_from(accounts)) == 2

        with engine.connect() as holder:
            holder.exec_driver_sql("SELECT * FROM accounts WHERE id = 7 FOR UPDATE")
            with pytest.raises(BackendError) as caught:
                write(writer, work)

        assert (caught.value.reason, caught.value.outcome) == ("lock", Outcome.NOT_APPLIED)
        assert count(engine) == 1


def _kill_query(engine: sa.Engine, number: Any) -> None:
    running_it = f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {number} AND info LIKE '%%seq_1%%'"
    with engine.connect() as connection:
        while not connection.exec_driver_sql(running_it).scalar():
            connection.rollback()
        connection.exec_driver_sql(f"KILL QUERY {number}")


@pytest.mark.parametrize("sql_url", SERVERS, indirect=True)
class TestCancelling:
    """Requests to end a session that come late, or not at all."""

    def test_a_request_that_comes_late_hits_nobody(self, engine: sa.Engine) -> None:
        """The session that was to be ended is gone, and those that came after it are left alone."""
        victim = engine.connect()
        ask = Cutter(killing(engine))._request(victim.connection.driver_connection)
        assert ask is not None
        victim.invalidate()
        victim.close()

        others = [engine.connect() for _ in range(4)]
        for other in others:
            other.execute(sa.select(accounts))
        if engine.dialect.name == "postgresql":
            ask()
        else:
            with pytest.raises(Exception, match="1094"):  # there is no such session
                ask()
        for other in others:
            assert other.execute(sa.select(accounts)).all() == []
            other.close()

    def test_nobody_asks_to_end_a_commit(self, engine: sa.Engine, request: pytest.FixtureRequest) -> None:
        """A COMMIT that outlasts its grace is left to the server: the socket is closed, and no cancel is sent."""
        seen: list[Moment] = []
        port = engine.url.port
        assert port is not None

        def judge(_number: int, _before: int, message: Message) -> Hit | None:
            seen.append(message.moment)
            return Hit(Fault.SILENCE, 30.0) if message.moment is Moment.COMMIT and armed else None

        armed: list[bool] = []
        with Proxy(port, wire=WIRES[request.node.callspec.params["sql_url"]], judge=judge) as proxy:
            through = sa.create_engine(engine.url.set(port=proxy.port))
            with through.connect():
                pass
            armed.append(True)
            with pytest.raises(BackendError) as caught:
                write(SQLWriter("sql.main", through, commit_grace=0.1))
            through.dispose()

        assert caught.value.outcome is Outcome.UNKNOWN
        assert Moment.COMMIT in seen and Moment.CANCEL not in seen

    def test_a_timeout_is_true_though_nobody_could_end_the_session(
        self, engine: sa.Engine, request: pytest.FixtureRequest
    ) -> None:
        """If the request to end it is lost, the statement runs on and its transaction is rolled back all the same."""
        port = engine.url.port
        assert port is not None

        def judge(_number: int, _before: int, message: Message) -> Hit | None:
            return Hit(Fault.LOSE_REQUEST) if message.moment is Moment.CANCEL else None

        nap = "SELECT pg_sleep(0.6)" if engine.dialect.name == "postgresql" else "SELECT SLEEP(0.6)"

        def slow(given: WriteRequest, connection: sa.Connection) -> None:
            insert_one(given, connection)
            connection.exec_driver_sql(nap)

        with Proxy(port, wire=WIRES[request.node.callspec.params["sql_url"]], judge=judge) as proxy:
            through = sa.create_engine(engine.url.set(port=proxy.port))
            writer = SQLWriter("sql.main", through)
            with pytest.raises(WriteTimeoutError):
                write(writer, slow, seconds=0.2)
            # The same row: it waits until the server is done with the first, and would be a duplicate of it.
            assert write(writer, seconds=20).data == 1
            assert (Moment.CANCEL, Fault.LOSE_REQUEST) in proxy.hits
            through.dispose()

        assert count(engine) == 1
