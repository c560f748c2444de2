"""Transactions on servers that fail, and what follows them: evictions, dead letters, the circuit breaker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa

from tests.writers.manager_kit import Counted
from tests.writers.proxy import Fault, Proxy
from tests.writers.sql_kit import accounts, count, metadata
from tests.writers.transactions_kit import add, codes, deposit, doing, insert, row
from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    Outcome,
    Phase,
    Retry,
    WriteTimeoutError,
)
from wellwired.handlers import FunctionHandler, Registry
from wellwired.middleware import SILENT, RetryPolicy
from wellwired.middleware.breaker import BreakerPolicy
from wellwired.operations import WriteRequest
from wellwired.writers import WriteManager
from wellwired.writers.idempotency import create_tables
from wellwired.writers.sql import SQLWriter
from wellwired.writers.transactions import WriteTransaction


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the table of accounts and the table of keys."""
    metadata.create_all(sql_engine)
    create_tables(sql_engine)
    return sql_engine


@pytest.fixture
def metrics() -> Counted:
    """What was told of."""
    return Counted()


@pytest.fixture
def handlers() -> Registry:
    """The handlers; a test may add to them."""
    return Registry(
        FunctionHandler(insert, type="insert", backend="sql"), FunctionHandler(deposit, type="deposit", backend="sql")
    )


@pytest.fixture
def manager(engine: sa.Engine, handlers: Registry, metrics: Counted) -> WriteManager:
    """A manager over a writer on the database, with patience for a loaded machine."""
    writer = SQLWriter("sql.main", engine, handlers=handlers, targets=["sql.also"])
    return WriteManager([writer], timeout=20, logger=SILENT, metrics=metrics, retry=RetryPolicy(base=0.001))


class TestServers:
    """Transactions on servers that fail."""

    pytestmark = pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)

    @pytest.fixture
    def proxied(self, engine: sa.Engine, handlers: Registry, metrics: Counted) -> Iterator[tuple[Proxy, WriteManager]]:
        """A manager whose connections go through a proxy."""
        assert engine.url.port is not None
        with Proxy(engine.url.port) as proxy:
            through = sa.create_engine(engine.url.set(port=proxy.port))
            with through.connect():
                pass
            writer = SQLWriter("sql.main", through, handlers=handlers, commit_grace=0.5)
            yield proxy, WriteManager([writer], timeout=20, logger=SILENT, metrics=metrics)
            through.dispose()

    @pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST, Fault.SILENCE])
    def test_a_commit_without_an_answer_leaves_all_of_it_open(
        self, engine: sa.Engine, proxied: tuple[Proxy, WriteManager], metrics: Counted, fault: Fault
    ) -> None:
        """UNKNOWN for the transaction and for each request, never TIMEOUT, and both rows are there or neither is."""
        proxy, manager = proxied
        done: list[int] = []
        with pytest.raises(BackendError) as caught, manager.transaction("sql.main") as tx:
            tx.write(row(1))
            tx.write(row(2))
            tx.after_commit(lambda: done.append(1))
            proxy.arm(fault)

        assert (caught.value.outcome, caught.value.phase, caught.value.reason) == (
            Outcome.UNKNOWN,
            Phase.COMMIT,
            "commit_unknown",
        )
        assert [event.outcome for event in metrics.events] == ["UNKNOWN"] * 3
        assert done == []
        if fault is not Fault.SILENCE:
            assert count(engine) == (2 if fault is Fault.LOSE_ANSWER else 0)

    def test_a_session_that_is_killed_inside_is_safe_to_run_again(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """Nothing is applied, a nested block cannot save it, and `transact` runs it again on another connection."""
        runs: list[int] = []

        def dying(_request: WriteRequest, connection: sa.Connection) -> None:
            if len(runs) == 1:
                _kill(engine, connection)
                connection.execute(sa.select(accounts)).all()

        add(handlers, "dying", dying)

        def work(tx: WriteTransaction) -> int:
            runs.append(1)
            tx.write(row(len(runs)))
            with tx.nested():
                tx.write(doing("dying"))
            return len(runs)

        result = manager.transact("sql.main", work)

        assert (result.data, result.attempts, count(engine)) == (2, 2, 1)

    def test_a_pool_without_room_is_told_and_never_opened(
        self, engine: sa.Engine, handlers: Registry, metrics: Counted
    ) -> None:
        """The block does not run; the error is a TIMEOUT, and the log knows of it."""
        small = sa.create_engine(engine.url, pool_size=1, max_overflow=0)
        writer = SQLWriter("sql.main", small, handlers=handlers)
        manager = WriteManager([writer], logger=SILENT, metrics=metrics)
        ran: list[int] = []
        with (
            small.connect(),
            pytest.raises(WriteTimeoutError),
            manager.transaction("sql.main", timeout=0.2),
        ):
            ran.append(1)

        assert ran == []
        assert codes(metrics) == [("transaction", "NOT_APPLIED", "pool")]
        small.dispose()


@pytest.mark.parametrize(
    "kind", [pytest.param(one, marks=getattr(pytest.mark, one)) for one in ("mariadb", "postgresql")]
)
def test_a_server_that_freezes_or_dies_inside_costs_no_more_than_the_deadline(
    kind: str, handlers: Registry, request: pytest.FixtureRequest
) -> None:
    """Frozen it is a TIMEOUT, dead it is "not applied, safe"; no part of either is there when it is back."""
    server = request.getfixturevalue(f"private_{kind}")()
    engine = sa.create_engine(server.url)
    metadata.create_all(engine)
    manager = WriteManager([SQLWriter("sql.main", engine, handlers=handlers)], timeout=20, logger=SILENT)

    deadline = Deadline.after(0.6)
    with pytest.raises(WriteTimeoutError) as late, manager.transaction("sql.main", timeout=0.6) as tx:
        tx.write(row(1))
        server.pause()
        tx.write(row(2))
    assert Deadline.after(0).at - deadline.at < 3
    server.resume()

    with pytest.raises(BackendError) as dead, manager.transaction("sql.main") as tx:
        tx.write(row(1))
        server.kill()
        tx.write(row(2))
    server.start()

    assert (late.value.outcome, dead.value.outcome) == (Outcome.NOT_APPLIED, Outcome.NOT_APPLIED)
    assert dead.value.retry is Retry.SAFE
    assert manager.transact("sql.main", lambda tx: tx.write(row(3)).data).data == 3
    assert count(engine) == 1
    engine.dispose()


@pytest.mark.parametrize("sql_url", ["postgresql"], indirect=True)
def test_a_constraint_that_is_checked_at_commit_is_a_definite_refusal(
    manager: WriteManager, engine: sa.Engine, handlers: Registry
) -> None:
    """A server's own error at COMMIT is certain: not applied, from the end of the block, with its code."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE owned (id int REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED)")
    add(handlers, "own", lambda r, c: c.execute(sa.text("INSERT INTO owned VALUES (:id)"), r.payload))

    with pytest.raises(BackendError) as caught, manager.transaction("sql.main") as tx:
        tx.write(row(1))
        tx.write(doing("own", id=99))

    error = caught.value
    assert (error.outcome, error.reason, error.backend_code, error.phase) == (
        Outcome.NOT_APPLIED,
        "constraint",
        "23503",
        Phase.COMMIT,
    )
    assert count(engine) == 0


class TestAftermath:
    """What follows a transaction: evictions, dead letters, the circuit breaker."""

    class Letters:
        """Dead letters in a list."""

        def __init__(self) -> None:
            self.letters: list[Any] = []

        def keep(self, letters: Any, /) -> None:
            """Keeps them."""
            self.letters += letters

    def test_letters_are_kept_of_what_failed_at_its_end_and_of_nothing_else(
        self, engine: sa.Engine, handlers: Registry
    ) -> None:
        """All the requests of a commit that failed, together; none of a block that was left early, by whatever."""
        letters = self.Letters()
        writer = SQLWriter("sql.main", engine, handlers=handlers)
        manager = WriteManager([writer], logger=SILENT, dead_letters=letters)
        with suppress(LookupError), manager.transaction("sql.main") as tx:
            tx.write(row(1))
            raise LookupError
        with suppress(BackendError), manager.transaction("sql.main") as tx:
            tx.write(row(1))
            tx.write(row(1))
        assert letters.letters == []

        with suppress(WriteTimeoutError), manager.transaction("sql.main", timeout=0.3) as tx:
            tx.write(row(1))
            tx.write(row(2))
            threading.Event().wait(0.4)

        assert [letter.type for letter in letters.letters] == ["insert", "insert"]
        assert len({letter.unit for letter in letters.letters}) == 1

    def test_an_open_circuit_opens_no_transaction(self, handlers: Registry) -> None:
        """A backend that is left alone is left alone by transactions as well, and theirs count."""
        nowhere = sa.create_engine("postgresql+psycopg://postgres@127.0.0.1:1/nothing")
        manager = WriteManager(
            [SQLWriter("sql.main", nowhere, handlers=handlers)],
            logger=SILENT,
            breaker=BreakerPolicy(calls=2, pause=60),
        )
        reasons = []
        for _ in range(4):
            with pytest.raises(BackendError) as caught, manager.transaction("sql.main"):
                pass
            reasons.append(caught.value.reason)

        assert reasons == ["connection", "connection", "circuit_open", "circuit_open"]
        nowhere.dispose()

    def test_a_failure_elsewhere_opens_no_circuit_here(self, sqlite_url: str, handlers: Registry) -> None:
        """A block that fails because another backend is gone says nothing about its own."""
        nowhere = sa.create_engine("postgresql+psycopg://postgres@127.0.0.1:1/nothing")
        here = sa.create_engine(sqlite_url)
        metadata.create_all(here)
        writers = [SQLWriter("sql.main", here, handlers=handlers), SQLWriter("sql.gone", nowhere, handlers=handlers)]
        manager = WriteManager(
            writers,
            logger=SILENT,
            retry=RetryPolicy(attempts=1),
            breaker=BreakerPolicy(calls=2, pause=60),
        )
        for _ in range(3):
            with pytest.raises(BackendError), manager.transaction("sql.main"):
                manager.write(row(1, "sql.gone"))

        with manager.transaction("sql.main") as tx:
            tx.write(row(1))

        assert count(here) == 1
        here.dispose()
        nowhere.dispose()


def _kill(engine: sa.Engine, connection: sa.Connection) -> None:
    postgresql = engine.dialect.name == "postgresql"
    session = connection.scalar(sa.text("SELECT pg_backend_pid()" if postgresql else "SELECT CONNECTION_ID()"))
    with engine.connect() as other:
        other.exec_driver_sql(f"SELECT pg_terminate_backend({session})" if postgresql else f"KILL {session}")
