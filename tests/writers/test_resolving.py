"""A COMMIT whose answer was lost is asked about: what is certain is said, and the rest stays open."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from tests.servers import PrivateServer
from tests.writers.proxy import Fault, Proxy
from tests.writers.sql_kit import accounts, count, insert_one, metadata, running, write
from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteError
from wellwired.handlers import FunctionHandler, Registry, after_commit
from wellwired.middleware import SILENT, RetryPolicy
from wellwired.operations import WriteRequest
from wellwired.writers import WriteManager
from wellwired.writers._resolving import resolved
from wellwired.writers._transaction import Transaction
from wellwired.writers._xids import begin_numbered
from wellwired.writers.idempotency import create_tables, table
from wellwired.writers.sql import SQLWriter

SERVERS = ["mariadb", "postgresql"]
on_servers = pytest.mark.parametrize("sql_url", SERVERS, indirect=True)
on_postgresql = pytest.mark.parametrize("sql_url", ["postgresql"], indirect=True)


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the table of accounts and the table of keys."""
    metadata.create_all(sql_engine)
    create_tables(sql_engine)
    return sql_engine


@pytest.fixture
def proxy(engine: sa.Engine) -> Iterator[Proxy]:
    """Between a writer and the database of `engine`."""
    assert engine.url.port is not None
    with Proxy(engine.url.port) as proxy:
        yield proxy


@pytest.fixture
def through(engine: sa.Engine, proxy: Proxy) -> Iterator[sa.Engine]:
    """An engine whose connections go through the proxy."""
    made = sa.create_engine(engine.url.set(port=proxy.port))
    with made.connect():  # a driver may send a COMMIT of its own when it connects
        pass
    yield made
    made.dispose()


def opaque(request: WriteRequest, connection: sa.Connection) -> dict[int, str]:
    """Returns what JSON would give back as something else."""
    insert_one(request, connection)
    return {1: "one"}


def outcome_of(transaction: Transaction, failure: BackendError) -> Outcome | None:
    """What is found out of a transaction; None if it is committed."""
    try:
        resolved(transaction, failure)
    except WriteError as error:
        return error.outcome
    return None


class TestByKey:
    """The row of an idempotency key is a witness, on every database."""

    @on_servers
    def test_a_commit_whose_answer_was_lost_is_a_success(
        self, engine: sa.Engine, proxy: Proxy, through: sa.Engine
    ) -> None:
        """The server has it: the result is the handler's own, with a warning, and its callbacks run."""
        done: list[int] = []

        def work(request: WriteRequest, connection: sa.Connection) -> dict[int, str]:
            after_commit(lambda: done.append(count(engine)))
            return opaque(request, connection)

        proxy.arm(Fault.LOSE_ANSWER)
        result = write(SQLWriter("sql.main", through), work, key="k")

        assert (result.data, result.replayed) == ({1: "one"}, False)
        assert len(result.warnings) == 1
        assert "it is committed" in result.warnings[0]
        assert (done, count(engine)) == ([1], 1)

    @on_servers
    @pytest.mark.parametrize("fault", [Fault.LOSE_REQUEST, Fault.TEAR])
    def test_a_commit_that_never_arrived_is_not_applied(
        self, engine: sa.Engine, proxy: Proxy, through: sa.Engine, fault: Fault
    ) -> None:
        """The server has rolled back when the connection broke: certain, and safe to send again."""
        proxy.arm(fault)
        with pytest.raises(BackendError) as caught:
            write(SQLWriter("sql.main", through), key="k")

        error = caught.value
        assert (error.outcome, error.retry, error.phase) == (Outcome.NOT_APPLIED, Retry.SAFE, Phase.COMMIT)
        assert (count(engine), count(engine, table)) == (0, 0)

    @on_servers
    def test_a_commit_that_may_still_come_stays_open(self, engine: sa.Engine, proxy: Proxy, through: sa.Engine) -> None:
        """While the server holds the transaction open nobody can tell: UNKNOWN, by the end of the grace."""
        writer = SQLWriter("sql.main", through, commit_grace=0.4)
        proxy.arm(Fault.SILENCE)
        began = Deadline.after(0).at

        with pytest.raises(BackendError) as caught:
            write(writer, key="k", seconds=20)

        assert Deadline.after(0).at - began < 5
        assert (caught.value.outcome, caught.value.retry) == (Outcome.UNKNOWN, Retry.IF_IDEMPOTENT)

    @on_servers
    def test_a_row_of_another_attempt_is_no_witness(
        self, engine: sa.Engine, proxy: Proxy, through: sa.Engine, mocker: Any
    ) -> None:
        """If another sending of the key was first to commit after ours was lost, ours is not applied."""
        import wellwired.writers._resolving as resolving

        usual = resolving._by_key

        def overtaken(*given: Any) -> Any:
            write(SQLWriter("sql.main", engine), key="k")
            return usual(*given)

        mocker.patch("wellwired.writers._resolving._by_key", overtaken)
        proxy.arm(Fault.LOSE_REQUEST)
        with pytest.raises(BackendError) as caught:
            write(SQLWriter("sql.main", through), key="k")

        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert count(engine) == 1

    @on_servers
    @pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST])
    def test_a_transaction_is_found_by_one_of_its_keys(
        self, engine: sa.Engine, proxy: Proxy, through: sa.Engine, fault: Fault
    ) -> None:
        """One keyed write tells for all; a key of a nested block that was undone tells nothing and is not asked."""
        handlers = Registry(FunctionHandler(insert_one, type="insert", backend="sql"))
        manager = WriteManager([SQLWriter("sql.main", through, handlers=handlers)], logger=SILENT)

        def row(number: int, key: str | None = None) -> WriteRequest:
            return WriteRequest("sql.main", "insert", {"id": number, "balance": 0}, idempotency_key=key)

        errors: list[WriteError] = []
        done: list[str] = []
        warnings: list[str] = []
        try:
            with manager.transaction("sql.main") as tx:
                with suppress(LookupError), tx.nested():
                    tx.write(row(1, "undone"))
                    raise LookupError
                tx.write(row(2))
                tx.write(row(3, "kept"))
                tx.after_commit(lambda: done.append("done"))
                proxy.arm(fault)
            warnings += tx.warnings
        except WriteError as error:
            errors.append(error)

        if fault is Fault.LOSE_ANSWER:
            assert (errors, done, count(engine)) == ([], ["done"], 2)
            assert "it is committed" in warnings[0]
        else:
            assert [(error.outcome, error.retry) for error in errors] == [(Outcome.NOT_APPLIED, Retry.SAFE)]
            assert (done, count(engine)) == ([], 0)


@pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("committed", [True, False])
def test_a_disk_error_at_commit_is_asked_about_in_a_file_too(engine: sa.Engine, mocker: Any, committed: bool) -> None:
    """SQLite cannot say what became of a COMMIT that met an I/O error; the key's row can."""
    usual, met = engine.dialect.do_commit, []

    def broken(connection: Any) -> None:
        if met:
            return usual(connection)
        met.append(1)
        usual(connection) if committed else connection.rollback()
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"
        raise error

    mocker.patch.object(engine.dialect, "do_commit", broken)
    writer = SQLWriter("sql.main", engine)
    if committed:
        assert "it is committed" in write(writer, key="k").warnings[0]
    else:
        with pytest.raises(BackendError) as caught:
            write(writer, key="k")
        assert (caught.value.outcome, caught.value.retry) == (Outcome.NOT_APPLIED, Retry.SAFE)

    assert count(engine) == committed


@on_postgresql
class TestByNumber:
    """PostgreSQL knows a transaction by its number, with `resolve=True`."""

    def test_a_commit_whose_answer_was_lost_is_a_success(
        self, engine: sa.Engine, proxy: Proxy, through: sa.Engine
    ) -> None:
        """No key, and certain all the same."""
        writer = SQLWriter("sql.main", through, resolve=True)
        assert writer.capabilities.resolves_unknown
        proxy.arm(Fault.LOSE_ANSWER)

        result = write(writer)

        assert result.data == 1
        assert "it is committed" in result.warnings[0]
        assert count(engine) == 1

    def test_a_commit_that_never_arrived_is_not_applied_and_is_retried(
        self, engine: sa.Engine, proxy: Proxy, through: sa.Engine
    ) -> None:
        """What was UNKNOWN, and so never retried, is now safe to send again, and the manager does."""
        handlers = Registry(FunctionHandler(insert_one, type="insert", backend="sql"))
        writer = SQLWriter("sql.main", through, handlers=handlers, resolve=True)
        manager = WriteManager([writer], logger=SILENT, retry=RetryPolicy(base=0.001))
        proxy.arm(Fault.LOSE_REQUEST)

        result = manager.write(WriteRequest("sql.main", "insert", {"id": 1, "balance": 0}))

        assert (result.attempts, result.warnings, count(engine)) == (2, (), 1)

    def test_without_it_the_outcome_stays_open(self, engine: sa.Engine, proxy: Proxy, through: sa.Engine) -> None:
        """The number is read only where that was asked for."""
        writer = SQLWriter("sql.main", through)
        assert not writer.capabilities.resolves_unknown
        proxy.arm(Fault.LOSE_ANSWER)

        with pytest.raises(BackendError) as caught:
            write(writer)

        assert caught.value.outcome is Outcome.UNKNOWN

    def test_a_commit_that_may_still_come_stays_open(self, engine: sa.Engine, proxy: Proxy, through: sa.Engine) -> None:
        """A transaction in progress is asked about until the grace ends, and not longer."""
        writer = SQLWriter("sql.main", through, resolve=True, commit_grace=0.4)
        proxy.arm(Fault.SILENCE)
        with pytest.raises(BackendError) as caught:
            write(writer, seconds=20)

        assert caught.value.outcome is Outcome.UNKNOWN

    def test_a_transaction_in_progress_is_neither_committed_nor_not(self, engine: sa.Engine) -> None:
        """Asked while it is open nobody can tell; afterwards it is told how it ended."""
        database = SQLWriter("sql.main", engine, resolve=True)._database
        request = WriteRequest("sql.main", "test", None)
        open_ = BackendError("no answer", outcome=Outcome.UNKNOWN, phase=Phase.COMMIT)
        for ending, expected in (("commit", None), ("undo", Outcome.NOT_APPLIED)):
            transaction = Transaction(database, request, Deadline.after(20))
            transaction.open()
            transaction.grace = Deadline.after(0.3)
            assert outcome_of(transaction, open_) is Outcome.UNKNOWN
            getattr(transaction, ending)()
            transaction.grace = Deadline.after(20)
            assert outcome_of(transaction, open_) is expected
            transaction.close()

    def test_a_transaction_begins_as_the_application_has_set_it(self, engine: sa.Engine) -> None:
        """The isolation level holds although the driver does not send BEGIN."""
        serial = sa.create_engine(engine.url, isolation_level="SERIALIZABLE")
        writer = SQLWriter("sql.main", serial, resolve=True)

        result = write(writer, lambda _r, c: c.scalar(sa.text("SHOW transaction_isolation")))

        assert result.data == "serializable"
        serial.dispose()

    def test_a_transaction_that_is_open_already_is_not_numbered(self, engine: sa.Engine) -> None:
        """A connection whose transaction others have begun is left as it is."""
        with engine.connect() as connection:
            connection.execute(sa.select(accounts))
            assert begin_numbered(connection.connection.driver_connection) is None

    def test_many_threads_write_with_numbers(self, engine: sa.Engine) -> None:
        """Nothing else changes: every row is there once."""
        writer = SQLWriter("sql.main", engine, resolve=True)
        with running(*(lambda n=n: write(writer, payload={"id": n, "balance": 0}, seconds=20) for n in range(8))):
            pass

        assert count(engine) == 8


class TestServers:
    """Servers that end while a write is open."""

    def test_a_number_says_nothing_at_another_server(
        self, private_postgresql: Callable[..., PrivateServer], mocker: Any
    ) -> None:
        """After a restart, as after a failover, nobody can be sure that it is the same server: UNKNOWN stays."""
        server = private_postgresql()
        engine = sa.create_engine(server.url)
        metadata.create_all(engine)
        port = engine.url.port
        assert port is not None
        with Proxy(port) as proxy:
            through = sa.create_engine(engine.url.set(port=proxy.port))
            with through.connect():
                pass
            writer = SQLWriter("sql.main", through, resolve=True, commit_grace=20)
            import wellwired.writers._resolving as resolving

            usual = resolving._by_number

            def restarted(*given: Any) -> Any:
                server.kill()
                server.start()
                return usual(*given)

            mocker.patch("wellwired.writers._resolving._by_number", restarted)
            proxy.arm(Fault.LOSE_ANSWER)
            with pytest.raises(BackendError) as caught:
                write(writer)
            through.dispose()

        assert caught.value.outcome is Outcome.UNKNOWN
        engine.dispose()

    def test_a_frozen_server_at_begin_is_given_up_at_the_deadline(
        self, private_postgresql: Callable[..., PrivateServer]
    ) -> None:
        """The packet with BEGIN and the number is waited for no longer than the rest."""
        server = private_postgresql()
        engine = sa.create_engine(server.url)
        metadata.create_all(engine)
        writer = SQLWriter("sql.main", engine, resolve=True)
        write(writer)
        server.pause()
        deadline = Deadline.after(0.4)
        try:
            with pytest.raises(WriteError) as caught:
                write(writer, payload={"id": 2, "balance": 0}, deadline=deadline)
            assert Deadline.after(0).at - deadline.at < 2
        finally:
            server.resume()

        assert (caught.value.code, caught.value.outcome) == ("TIMEOUT", Outcome.NOT_APPLIED)
        assert write(writer, payload={"id": 3, "balance": 0}).success
        assert count(engine) == 2
        engine.dispose()
