"""The SQL writer on SQLite, MariaDB and PostgreSQL: what is committed, and what is said when nothing is."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from tests.writers.sql_kit import accounts, count, insert_one, metadata, write
from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    InvalidRequestError,
    Outcome,
    Phase,
    Retry,
)
from wellwired.handlers import Registry, handler
from wellwired.operations import WriteRequest
from wellwired.writers import KeepsKeys, Listed, Writer
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


class TestSuccess:
    """What a write that takes effect does."""

    def test_a_write_is_committed_and_reports_what_the_handler_returned(
        self, writer: SQLWriter, engine: sa.Engine
    ) -> None:
        """A success has the handler's result as its data, and the row is there for others."""
        result = write(writer)

        assert (result.success, result.data, result.message, result.replayed) == (True, 1, "committed", False)
        assert count(engine) == 1

    def test_the_connection_is_back_in_the_pool_and_clean(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """After a write nothing is checked out, and the next user of the connection is in no transaction."""
        write(writer)

        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        with engine.connect() as connection:
            assert not connection.in_transaction()
            connection.execute(sa.select(accounts)).all()
            connection.rollback()

    def test_a_savepoint_undoes_a_part(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A handler may undo a part of its work by a savepoint and go on."""
        write(writer)

        def careful(_request: WriteRequest, connection: sa.Connection) -> str:
            try:
                with connection.begin_nested():
                    connection.execute(accounts.insert(), {"id": 1, "balance": 0})
            except exc.IntegrityError:
                connection.execute(accounts.insert(), {"id": 2, "balance": 0})
                return "second"
            return "first"

        assert write(writer, careful).data == "second"
        assert count(engine) == 2

    def test_a_handler_that_sends_nothing_succeeds(self, writer: SQLWriter) -> None:
        """A write without a statement is a success."""
        assert write(writer, lambda _r, _c: "nothing to do").data == "nothing to do"

    def test_without_a_deadline_it_takes_its_time(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A deadline that never comes is allowed."""
        write(writer, deadline=Deadline.never())

        assert count(engine) == 1


class TestIdentity:
    """What a writer says about itself."""

    def test_it_supports_its_name_and_its_further_targets(self, engine: sa.Engine) -> None:
        """The name is the first target; others are supported too; everything else is not."""
        writer = SQLWriter("sql.main", engine, targets=["mysql.main", "sql.main"])

        assert writer.targets == ("sql.main", "mysql.main")
        assert writer.supports("sql.main")
        assert writer.supports("mysql.main")
        assert not writer.supports("sql.other")

    def test_it_is_a_writer_that_lists_and_keeps_keys(self, writer: SQLWriter) -> None:
        """It has the abilities that the manager looks for."""
        assert isinstance(writer, Writer)
        assert isinstance(writer, Listed)
        assert isinstance(writer, KeepsKeys)
        assert writer.keeps_keys

    def test_handlers_are_found_by_type_for_this_backend(self, engine: sa.Engine) -> None:
        """Handlers for sql and for any backend are found; those for another are not."""

        @handler("a", backend="sql")
        def first(_request: WriteRequest, _connection: Any) -> None: ...

        @handler("b", backend="redis")
        def second(_request: WriteRequest, _connection: Any) -> None: ...

        @handler("c")
        def third(_request: WriteRequest, _connection: Any) -> None: ...

        writer = SQLWriter("sql.main", engine, handlers=Registry(first, second))
        writer.register_handler(third)

        assert writer.find_handler("a") is first
        assert writer.find_handler("b") is None
        assert writer.find_handler("c") is third
        assert writer.types() == ("a", "c")

    def test_its_repr_shows_no_url(self, writer: SQLWriter) -> None:
        """The representation names the target and the dialect, not where the database is."""
        assert repr(writer).startswith("SQLWriter('sql.main', ")
        assert "://" not in repr(writer)


class TestDatabaseErrors:
    """What the database refuses."""

    def test_a_duplicate_key_is_permanent(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A second row with the same key: BACKEND, not applied, never to be retried, with the native code."""
        write(writer)

        with pytest.raises(BackendError) as caught:
            write(writer)

        error = caught.value
        assert (error.reason, error.outcome, error.retry, error.phase) == (
            "duplicate",
            Outcome.NOT_APPLIED,
            Retry.NEVER,
            Phase.EXECUTE,
        )
        assert error.backend_code in {"SQLITE_CONSTRAINT_PRIMARYKEY", 1062, "23505"}
        assert (error.target, error.type) == ("sql.main", "test")
        assert isinstance(error.__cause__, exc.DBAPIError)
        assert count(engine) == 1

    def test_a_violated_check_is_permanent(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A CHECK constraint is a constraint on every database, whatever class its driver files it under."""
        with pytest.raises(BackendError) as caught:
            write(writer, payload={"id": 1, "balance": -1})

        assert (caught.value.reason, caught.value.retry) == ("constraint", Retry.NEVER)
        assert caught.value.backend_code in {"SQLITE_CONSTRAINT_CHECK", 4025, "23514"}
        assert count(engine) == 0

    def test_a_missing_table_is_permanent(self, writer: SQLWriter) -> None:
        """A statement that the database cannot understand is never retried."""
        with pytest.raises(BackendError) as caught:
            write(writer, lambda _r, c: c.execute(sa.text("INSERT INTO nowhere VALUES (1)")))

        assert (caught.value.reason, caught.value.retry) == ("statement", Retry.NEVER)

    def test_no_error_text_shows_the_payload(self, writer: SQLWriter) -> None:
        """What was to be written is in no text of the error."""
        write(writer)
        with pytest.raises(BackendError) as caught:
            write(writer, payload={"id": 1, "balance": 987_654})

        assert "987654" not in str(caught.value)
        assert "987654" not in repr(caught.value)


class TestHandlerErrors:
    """What a handler gets wrong."""

    def test_what_a_handler_raises_is_rolled_back_and_named(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """An exception of the handler's own: reason "handler", nothing applied, its class named."""

        def broken(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            raise KeyError("colour")

        with pytest.raises(BackendError, match="KeyError") as caught:
            write(writer, broken)

        assert (caught.value.reason, caught.value.outcome, caught.value.retry) == (
            "handler",
            Outcome.NOT_APPLIED,
            Retry.NEVER,
        )
        assert "colour" not in str(caught.value)
        assert count(engine) == 0

    def test_a_write_error_of_a_handler_passes_with_its_facts_filled(
        self, writer: SQLWriter, engine: sa.Engine
    ) -> None:
        """A handler may raise the library's own errors; target, type and phase are added."""

        def picky(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            raise InvalidRequestError("too young", reason="age")

        with pytest.raises(InvalidRequestError, match="too young") as caught:
            write(writer, picky)

        assert (caught.value.target, caught.value.type, caught.value.phase) == ("sql.main", "test", Phase.EXECUTE)
        assert caught.value.reason == "age"
        assert count(engine) == 0

    @pytest.mark.parametrize("what", ["commit", "rollback", "close"])
    def test_a_handler_cannot_end_the_transaction(self, writer: SQLWriter, engine: sa.Engine, what: str) -> None:
        """commit, rollback and close are refused before anything is sent, so nothing is applied."""

        def meddling(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            getattr(connection, what)()

        with pytest.raises(BackendError, match="must not") as caught:
            write(writer, meddling)

        assert (caught.value.reason, caught.value.outcome) == ("handler", Outcome.NOT_APPLIED)
        assert count(engine) == 0

    def test_a_commit_by_the_back_door_is_reported_as_open(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A handler that commits through the transaction object has applied something: the outcome is UNKNOWN."""

        def sly(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            transaction = connection.get_transaction()
            assert transaction is not None
            transaction.commit()

        with pytest.raises(BackendError, match="itself") as caught:
            write(writer, sly)

        assert (caught.value.reason, caught.value.outcome, caught.value.retry) == (
            "handler",
            Outcome.UNKNOWN,
            Retry.NEVER,
        )
        assert count(engine) == 1

    def test_a_swallowed_error_that_failed_the_transaction_is_no_success(
        self, sql_url: str, writer: SQLWriter, engine: sa.Engine
    ) -> None:
        """PostgreSQL turns COMMIT of a failed transaction into a roll-back without a word; the writer does not."""
        write(writer)

        def careless(_request: WriteRequest, connection: sa.Connection) -> None:
            connection.execute(accounts.insert(), {"id": 2, "balance": 0})
            try:
                connection.execute(accounts.insert(), {"id": 1, "balance": 0})
            except exc.IntegrityError:
                return

        if sql_url.startswith("postgresql"):
            with pytest.raises(BackendError) as caught:
                write(writer, careless)
            assert (caught.value.reason, caught.value.outcome) == ("duplicate", Outcome.NOT_APPLIED)
            assert count(engine) == 1
        else:
            write(writer, careless)
            assert count(engine) == 2

    def test_an_interruption_passes_and_leaves_nothing(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """What is no Exception (an interrupt, an exit) goes through as it is; nothing is applied or kept open."""

        def interrupted(request: WriteRequest, connection: sa.Connection) -> None:
            insert_one(request, connection)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(writer, interrupted)

        assert count(engine) == 0
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        assert write(writer).success


def test_the_pool_rolls_nothing_back(engine: sa.Engine, writer: SQLWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer has ended the transaction itself: the pool's ROLLBACK would come for nothing, and know no deadline."""
    undone: list[Any] = []
    roll_back = engine.dialect.do_rollback

    def do_rollback(connection: Any) -> None:
        undone.append(connection)
        roll_back(connection)

    monkeypatch.setattr(engine.dialect, "do_rollback", do_rollback)
    write(writer)
    assert undone == []
    with pytest.raises(BackendError):
        write(writer)
    assert undone == []
    assert count(engine) == 1
