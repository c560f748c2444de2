"""Several writes in one transaction, on real databases: all or nothing, nested, once, and in time."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from tests.writers.manager_kit import Counted
from tests.writers.sql_kit import accounts, count, metadata, running
from tests.writers.transactions_kit import add, codes, deposit, doing, insert, row
from wellwired.errors import (
    BackendError,
    InvalidRequestError,
    Outcome,
    Phase,
    Retry,
    TypeNotSupportedError,
    WriteError,
    WriteTimeoutError,
)
from wellwired.handlers import FunctionHandler, Registry, after_commit
from wellwired.middleware import SILENT, RetryPolicy
from wellwired.operations import WriteRequest
from wellwired.writers import WriteManager
from wellwired.writers.idempotency import create_tables, table
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


class TestAllOrNothing:
    """One commit for several writes."""

    def test_several_writes_are_committed_together(self, manager: WriteManager, engine: sa.Engine) -> None:
        """Nothing is there before the block's end, everything after it, whichever of the writer's targets is named."""
        with manager.transaction("sql.main") as tx:
            results = [tx.write(row(1)), tx.write(row(2, "sql.also"))]
            if engine.dialect.name != "sqlite":
                assert count(engine) == 0

        assert [result.data for result in results] == [1, 2]
        assert count(engine) == 2

    def test_what_leaves_the_block_rolls_back_and_passes_unchanged(
        self, manager: WriteManager, engine: sa.Engine
    ) -> None:
        """The block's own exception reaches the caller as the same object, and nothing is applied."""
        own = LookupError("mine")

        with pytest.raises(LookupError) as caught, manager.transaction("sql.main") as tx:
            tx.write(row(1))
            raise own

        assert caught.value is own
        assert count(engine) == 0
        assert manager.write(row(1)).success

    def test_a_failing_write_rolls_back_those_before_it(self, manager: WriteManager, engine: sa.Engine) -> None:
        """The third write fails: its own error comes out, and the first two are gone with it."""
        with pytest.raises(BackendError) as caught, manager.transaction("sql.main") as tx:
            tx.write(row(1))
            tx.write(row(2))
            tx.write(row(2))

        error = caught.value
        assert (error.reason, error.outcome, error.type, error.phase) == (
            "duplicate",
            Outcome.NOT_APPLIED,
            "insert",
            Phase.EXECUTE,
        )
        assert count(engine) == 0

    def test_a_swallowed_failure_commits_nothing(self, manager: WriteManager, engine: sa.Engine) -> None:
        """Who catches the error of a write and goes on is told at the next write, and again at the end."""
        again: list[WriteError] = []
        with pytest.raises(BackendError) as caught, manager.transaction("sql.main") as tx:
            tx.write(row(1))
            with suppress(BackendError):
                tx.write(row(1))
            try:
                tx.write(row(2))
            except BackendError as error:
                again.append(error)

        assert [again[0].reason, caught.value.reason] == ["spoilt", "spoilt"]
        assert isinstance(caught.value.__cause__, BackendError)
        assert caught.value.__cause__.reason == "duplicate"
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert count(engine) == 0

    def test_a_swallowed_refusal_commits_nothing_either(self, manager: WriteManager, engine: sa.Engine) -> None:
        """All or nothing holds for a request that was refused before it was sent, too."""
        with pytest.raises(BackendError) as caught, manager.transaction("sql.main") as tx:
            tx.write(row(1))
            with suppress(TypeNotSupportedError):
                tx.write(doing("unheard_of"))

        assert caught.value.reason == "spoilt"
        assert count(engine) == 0

    def test_a_handler_that_swallows_an_error_that_failed_the_transaction_fails(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """Where the database has failed the transaction, the write that did it is the one to say so."""

        def careless(_request: WriteRequest, connection: sa.Connection) -> None:
            with suppress(exc.DBAPIError):
                connection.execute(accounts.insert(), {"id": 1, "balance": -1})

        add(handlers, "careless", careless)
        if engine.dialect.name != "postgresql":
            with manager.transaction("sql.main") as tx:
                tx.write(doing("careless"))
            return
        with pytest.raises(BackendError) as caught, manager.transaction("sql.main") as tx:
            tx.write(row(2))
            tx.write(doing("careless"))

        assert (caught.value.type, caught.value.reason) == ("careless", "constraint")
        assert count(engine) == 0

    def test_a_handler_that_commits_by_the_back_door_leaves_the_outcome_open(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry, metrics: Counted
    ) -> None:
        """What it committed stays, so neither its own write nor the others are called "not applied"."""

        def sly(_request: WriteRequest, connection: sa.Connection) -> None:
            transaction = connection.get_transaction()
            assert transaction is not None
            transaction.commit()

        add(handlers, "sly", sly)
        with pytest.raises(BackendError) as caught, manager.transaction("sql.main") as tx:
            tx.write(row(1))
            tx.write(doing("sly"))

        assert caught.value.outcome is Outcome.UNKNOWN
        assert {event.outcome for event in metrics.events} == {"UNKNOWN"}
        assert count(engine) == 1

    def test_an_interruption_passes_and_leaves_nothing(self, manager: WriteManager, engine: sa.Engine) -> None:
        """What is no Exception goes through, everything is rolled back, and the connection is usable."""
        with pytest.raises(KeyboardInterrupt), manager.transaction("sql.main") as tx:
            tx.write(row(1))
            raise KeyboardInterrupt

        assert count(engine) == 0
        assert manager.write(row(1)).success

    def test_an_interruption_inside_a_handler_commits_nothing(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """Even if the block swallows it, the transaction is not committed."""

        def interrupted(_request: WriteRequest, _connection: sa.Connection) -> None:
            raise KeyboardInterrupt

        add(handlers, "interrupted", interrupted)
        with pytest.raises(BackendError) as caught, manager.transaction("sql.main") as tx:
            tx.write(row(1))
            with suppress(KeyboardInterrupt):
                tx.write(doing("interrupted"))

        assert caught.value.reason == "spoilt"
        assert count(engine) == 0

    def test_an_empty_block_is_no_error(self, manager: WriteManager) -> None:
        """A transaction in which nothing is written ends quietly."""
        with manager.transaction("sql.main") as tx:
            assert tx.target == "sql.main"

        assert tx.warnings == ()


class TestNested:
    """Parts that may fail alone."""

    def test_a_nested_block_fails_alone(self, manager: WriteManager, engine: sa.Engine) -> None:
        """An exception that leaves it undoes its writes and no others, and the transaction goes on."""
        with manager.transaction("sql.main") as tx:
            tx.write(row(1))
            with pytest.raises(BackendError), tx.nested():
                tx.write(row(2))
                tx.write(row(1))
            with suppress(LookupError), tx.nested():
                tx.write(row(3))
                raise LookupError
            tx.write(row(4))

        with engine.connect() as connection:
            assert list(connection.scalars(sa.select(accounts.c.id).order_by(accounts.c.id))) == [1, 4]

    def test_a_nested_block_that_swallows_its_failure_is_undone(self, manager: WriteManager, engine: sa.Engine) -> None:
        """All or nothing holds for a nested block as well: its end raises, and the outer one can go on."""
        with manager.transaction("sql.main") as tx:
            tx.write(row(1))
            with pytest.raises(BackendError, match="nothing of it"), tx.nested():
                tx.write(row(2))
                with suppress(BackendError):
                    tx.write(row(1))
            tx.write(row(3))

        assert count(engine) == 2

    def test_blocks_stand_in_one_another(self, manager: WriteManager, engine: sa.Engine) -> None:
        """An inner part that held is undone with the outer part that failed."""
        with manager.transaction("sql.main") as tx:
            tx.write(row(1))
            with suppress(LookupError), tx.nested():
                with tx.nested():
                    tx.write(row(2))
                with suppress(BackendError), tx.nested():
                    tx.write(row(2))
                raise LookupError
            with tx.nested(), tx.nested():
                tx.write(row(3))

        with engine.connect() as connection:
            assert list(connection.scalars(sa.select(accounts.c.id).order_by(accounts.c.id))) == [1, 3]

    def test_a_transaction_inside_one_of_its_target_is_a_part_of_it(
        self, manager: WriteManager, engine: sa.Engine
    ) -> None:
        """Opened on the same thread it joins: its failure is undone alone, its success waits for the outer commit."""
        with pytest.raises(LookupError), manager.transaction("sql.main") as outer:
            outer.write(row(1))
            with manager.transaction("sql.also") as inner:
                inner.write(row(2))
            assert manager.transact("sql.main", lambda tx: tx.write(row(3)).data).data == 3
            with suppress(BackendError), manager.transaction("sql.main") as inner:
                inner.write(row(2))
            outer.write(row(4))
            raise LookupError

        assert count(engine) == 0

    @pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
    def test_a_transaction_of_another_thread_is_its_own(self, manager: WriteManager, engine: sa.Engine) -> None:
        """Another thread does not join, and may not use this one's."""
        errors: list[Any] = []

        def other(tx: WriteTransaction) -> None:
            with manager.transaction("sql.main") as own:
                own.write(row(2))
            try:
                tx.write(row(3))
            except BackendError as error:
                errors.append(error.reason)

        with suppress(LookupError), manager.transaction("sql.main") as tx:
            tx.write(row(1))
            with running(lambda: other(tx)):
                pass
            raise LookupError

        assert errors == ["thread"]
        assert count(engine) == 1

    @pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
    @pytest.mark.parametrize("raising", [False, True])
    def test_a_block_that_another_thread_leaves_is_rolled_back(
        self, manager: WriteManager, engine: sa.Engine, raising: bool
    ) -> None:
        """Nothing is committed from there, and nothing stays open."""
        block = manager.transaction("sql.main")
        block.__enter__().write(row(1))
        given = (LookupError, LookupError(), None) if raising else (None, None, None)
        with running(lambda: block.__exit__(*given)) as results:
            pass

        assert type(results[0]) is (bool if raising else BackendError), results
        assert count(engine) == 0
        assert manager.write(row(1)).success

    @pytest.mark.parametrize("sql_url", ["postgresql"], indirect=True)
    @pytest.mark.parametrize("raising", [False, True])
    def test_a_forked_child_has_no_share_in_it(self, manager: WriteManager, engine: sa.Engine, raising: bool) -> None:
        """It may neither write nor end what its parent has open, however it leaves the block."""
        refused: list[str] = []
        parent = os.getpid()
        try:
            with manager.transaction("sql.main") as tx:
                tx.write(row(1))
                child = os.fork()
                if child == 0:
                    try:
                        tx.write(row(2))
                    except BackendError as error:
                        refused.append(error.reason)
                    if raising:
                        raise LookupError
                else:
                    assert os.waitpid(child, 0)[1] == 0
        except (BackendError, LookupError) as error:
            if os.getpid() != parent:
                os._exit(0 if refused == ["thread"] and isinstance(error, LookupError) is raising else 1)
            raise
        finally:
            if os.getpid() != parent:
                os._exit(2)

        assert count(engine) == 1

    @pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
    def test_a_roll_back_of_sqlites_own_ends_the_whole_transaction(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """Where the database has rolled everything back, a nested block cannot save the rest."""

        def ending(_request: WriteRequest, connection: sa.Connection) -> None:
            connection.exec_driver_sql("INSERT OR ROLLBACK INTO accounts VALUES (1, 0)")

        add(handlers, "ending", ending)
        with pytest.raises(BackendError) as caught, manager.transaction("sql.main") as tx:
            tx.write(row(1))
            with suppress(BackendError), tx.nested():
                tx.write(doing("ending"))
            tx.write(row(2))

        assert caught.value.reason == "spoilt"
        assert count(engine) == 0

    @pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
    def test_a_deadlock_inside_a_nested_block_leaves_no_half(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """MariaDB has ended the whole transaction, and it fails; PostgreSQL has not, and it is committed whole."""
        with engine.begin() as connection:
            connection.execute(accounts.insert(), [{"id": 1, "balance": 0}, {"id": 2, "balance": 0}])
        both, ended = threading.Barrier(2), []

        def lock(request: WriteRequest, connection: sa.Connection) -> None:
            number = request.payload["id"]
            connection.execute(accounts.update().where(accounts.c.id == number).values(balance=accounts.c.balance + 1))

        add(handlers, "lock", lock)

        def cross(first: int, second: int) -> None:
            try:
                with manager.transaction("sql.main") as tx:
                    tx.write(row(10 + first))
                    tx.write(doing("lock", id=first))
                    both.wait(20)
                    with suppress(WriteError), tx.nested():
                        tx.write(doing("lock", id=second))
                    tx.write(row(20 + first))
            except BackendError as error:
                ended.append(error.reason)

        with running(lambda: cross(1, 2), lambda: cross(2, 1)):
            pass

        with engine.connect() as connection:
            made = set(connection.scalars(sa.select(accounts.c.id))) - {1, 2}
        if engine.dialect.name == "postgresql":
            assert (made, ended) == ({11, 12, 21, 22}, [])
        else:
            assert ended == ["spoilt"]
            assert made in ({11, 21}, {12, 22})


class TestKeys:
    """Idempotency keys inside transactions."""

    def start(self, engine: sa.Engine) -> None:
        """An account with nothing in it."""
        with engine.begin() as connection:
            connection.execute(accounts.insert(), {"id": 1, "balance": 0})

    def keyed(self, key: str = "k", amount: int = 5) -> WriteRequest:
        """A deposit with a key."""
        return WriteRequest("sql.main", "deposit", {"amount": amount}, idempotency_key=key)

    def balance(self, engine: sa.Engine) -> int:
        """The committed balance."""
        with engine.connect() as connection:
            return int(connection.scalar(sa.select(accounts.c.balance).where(accounts.c.id == 1)) or 0)

    def test_a_key_that_was_used_is_replayed_among_other_writes(self, manager: WriteManager, engine: sa.Engine) -> None:
        """Done before by itself or in another transaction: the stored result, no effect, and the rest commits."""
        self.start(engine)
        manager.write(self.keyed())

        with manager.transaction("sql.main") as tx:
            tx.write(row(2))
            again = tx.write(self.keyed())
            new = tx.write(self.keyed("other", 2))
            twice = tx.write(self.keyed("other", 2))
            tx.write(row(3))

        assert (again.data, again.replayed) == ({"balance": 5}, True)
        assert (new.data, new.replayed) == ({"balance": 7}, False)
        assert (twice.data, twice.replayed) == ({"balance": 7}, True)
        assert manager.write(self.keyed("other", 2)).replayed
        assert (self.balance(engine), count(engine)) == (7, 3)

    def test_a_key_is_taken_with_its_transaction_or_not_at_all(self, manager: WriteManager, engine: sa.Engine) -> None:
        """A transaction, or a nested block, that is rolled back leaves the key free."""
        self.start(engine)
        with suppress(LookupError), manager.transaction("sql.main") as tx:
            tx.write(self.keyed())
            raise LookupError
        with manager.transaction("sql.main") as tx, suppress(LookupError), tx.nested():
            tx.write(self.keyed())
            raise LookupError
        assert count(engine, table) == 0

        assert not manager.write(self.keyed()).replayed
        assert self.balance(engine) == 5

    def test_another_payload_with_the_key_fails_the_transaction(self, manager: WriteManager, engine: sa.Engine) -> None:
        """A key that was used for something else is INVALID_REQUEST, and a nested block may survive it."""
        self.start(engine)
        manager.write(self.keyed())

        with pytest.raises(InvalidRequestError) as caught, manager.transaction("sql.main") as tx:
            tx.write(self.keyed(amount=6))
        with manager.transaction("sql.main") as tx:
            with suppress(InvalidRequestError), tx.nested():
                tx.write(self.keyed(amount=6))
            tx.write(row(2))

        assert caught.value.reason == "key_reused"
        assert (self.balance(engine), count(engine)) == (5, 2)

    def test_a_key_taken_after_the_view_of_the_data_can_be_retried(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """A transaction that looked at the data before another one took the key replays, at the latest when run again.

        MariaDB and MySQL keep the view of the first SELECT: the key's row cannot be seen, which is a conflict to be
        retried and no wrong answer.
        """
        self.start(engine)
        add(handlers, "look", lambda _r, c: c.execute(sa.select(accounts)).all())
        runs: list[int] = []

        def work(tx: WriteTransaction) -> Any:
            tx.write(doing("look"))
            if not runs and engine.dialect.name != "sqlite":
                with running(lambda: manager.write(self.keyed())):
                    pass
            runs.append(1)
            return tx.write(self.keyed()).replayed

        if engine.dialect.name == "sqlite":
            manager.write(self.keyed())
        result = manager.transact("sql.main", work)

        assert result.data is True
        assert result.attempts == len(runs) <= 2
        assert self.balance(engine) == 5

    def test_many_threads_with_one_key_are_one_write(self, manager: WriteManager, engine: sa.Engine) -> None:
        """Sent by six threads, each in a transaction of its own, it is done once, and each gets the same result."""
        self.start(engine)
        start = threading.Barrier(6)

        def send(number: int) -> Any:
            def work(tx: WriteTransaction) -> Any:
                tx.write(row(number))
                return tx.write(self.keyed())

            start.wait(10)
            return manager.transact("sql.main", work).data

        with running(*(lambda n=n: send(n) for n in range(10, 16))) as results:
            pass

        assert [result.data for result in results] == [{"balance": 5}] * 6
        assert sum(not result.replayed for result in results) == 1
        assert (self.balance(engine), count(engine)) == (5, 7)


class TestTime:
    """One deadline for the whole transaction."""

    def test_a_transaction_that_is_late_is_not_committed(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """The deadline passes in the block, outside any statement: TIMEOUT from its end, and nothing is applied."""
        with pytest.raises(WriteTimeoutError) as caught, manager.transaction("sql.main", timeout=0.3) as tx:
            tx.write(row(1))
            threading.Event().wait(0.4)

        assert (caught.value.outcome, caught.value.retry) == (Outcome.NOT_APPLIED, Retry.SAFE)
        assert count(engine) == 0
        assert manager.write(row(1)).success

    def test_a_slow_statement_is_ended_at_the_deadline(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """The whole transaction has one leash: what is left of it holds for the third write as well."""
        naps = {"postgresql": "SELECT pg_sleep(60)", "mysql": "SELECT SLEEP(60)"}
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        statement = naps.get(engine.dialect.name, endless)
        add(handlers, "slow", lambda _r, c: c.execute(sa.text(statement)).all())

        with pytest.raises(WriteTimeoutError) as caught, manager.transaction("sql.main", timeout=0.5) as tx:
            tx.write(row(1))
            tx.write(row(2))
            tx.write(doing("slow"))

        assert (caught.value.type, caught.value.outcome) == ("slow", Outcome.NOT_APPLIED)
        assert count(engine) == 0

    def test_a_deadline_cannot_be_saved_by_a_nested_block(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """What the deadline has cut off is lost with the whole transaction."""
        with pytest.raises(WriteError) as caught, manager.transaction("sql.main", timeout=0.3) as tx:
            tx.write(row(1))
            with suppress(WriteTimeoutError), tx.nested():
                threading.Event().wait(0.4)
                tx.write(row(2))
            tx.write(row(3))

        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert count(engine) == 0

    @pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
    def test_a_write_past_the_transaction_is_refused_at_once(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """On SQLite this thread would wait for itself: it is told so, and not after its timeout."""
        with manager.transaction("sql.main") as tx:
            tx.write(row(1))
            with pytest.raises(BackendError, match="through that transaction") as caught:
                manager.write(row(2))
            tx.write(row(3))

        add(handlers, "within", lambda _r, _c: manager.write(row(4)).data)
        with pytest.raises(BackendError, match="through that transaction"):
            manager.write(doing("within"))

        assert (caught.value.reason, caught.value.retry) == ("nested", Retry.NEVER)
        assert count(engine) == 2

    @pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
    def test_a_write_past_the_transaction_is_its_own_on_a_server(
        self, manager: WriteManager, engine: sa.Engine
    ) -> None:
        """Where there is a connection for it, it has a transaction of its own and stays when this one is undone."""
        with suppress(LookupError), manager.transaction("sql.main") as tx:
            tx.write(row(1))
            manager.write(row(2))
            raise LookupError

        assert count(engine) == 1


class TestAround:
    """What stands around a transaction: checks, middleware, observers, callbacks."""

    def test_what_does_not_belong_here_is_refused(self, manager: WriteManager, engine: sa.Engine) -> None:
        """Another writer's target, a timeout of one's own, a bad payload: INVALID_REQUEST, which names the field."""
        other = SQLWriter("sql.other", engine, handlers=Registry(FunctionHandler(insert, type="insert")))
        manager.register(other)
        wrong = {
            "target": row(1, "sql.other"),
            "timeout": row(1, timeout=3.0),
            "payload": WriteRequest("sql.main", "insert", 5),
        }
        for reason, request in wrong.items():
            with pytest.raises(InvalidRequestError) as caught, manager.transaction("sql.main") as tx:
                tx.write(request)
            assert caught.value.reason == reason

        assert count(engine) == 0

    def test_a_closed_manager_opens_none_and_lets_open_ones_end(self, manager: WriteManager, engine: sa.Engine) -> None:
        """What is on its way when the manager is closed ends as it would have."""
        with manager.transaction("sql.main") as tx:
            manager.close()
            tx.write(row(1))
            with pytest.raises(BackendError, match="closed"):
                manager.transaction("sql.main")

        assert count(engine) == 1
        with pytest.raises(BackendError, match="over"):
            tx.write(row(2))

    def test_each_request_is_told_once_when_its_end_is_known(self, manager: WriteManager, metrics: Counted) -> None:
        """Nothing is told inside the block; afterwards each request has its verdict, and the transaction its own."""
        with manager.transaction("sql.main") as tx:
            tx.write(row(1))
            with suppress(BackendError), tx.nested():
                tx.write(row(2))
                tx.write(row(1))
            assert metrics.events == []
        assert codes(metrics) == [
            ("insert", "APPLIED", ""),
            ("insert", "NOT_APPLIED", "rolled_back"),
            ("insert", "NOT_APPLIED", "duplicate"),
            ("transaction", "APPLIED", ""),
        ]

        metrics.events.clear()
        with suppress(LookupError), manager.transaction("sql.main", meta={"trace_id": "t"}) as tx:
            tx.write(row(5))
            raise LookupError
        assert codes(metrics) == [
            ("insert", "NOT_APPLIED", "rolled_back"),
            ("transaction", "NOT_APPLIED", "rolled_back"),
        ]
        assert metrics.events[-1].meta == {"trace_id": "t"}

    def test_middleware_stands_around_each_write(self, manager: WriteManager, engine: sa.Engine) -> None:
        """Both kinds see a write inside a transaction; one that refuses it fails the transaction."""
        seen: list[str] = []

        def watching(name: str, forbid: int = 0) -> Any:
            def wrap(next: Any) -> Any:
                def call(operation: Any) -> Any:
                    seen.append(f"{name}{operation.request.payload['id']}")
                    if operation.request.payload["id"] == forbid:
                        raise InvalidRequestError("forbidden", reason="forbidden")
                    return next(operation)

                return call

            return wrap

        manager.use(watching("around", forbid=3))
        manager.use(watching("each"), each_attempt=True)
        with manager.transaction("sql.main") as tx:
            tx.write(row(1))
        with pytest.raises(InvalidRequestError, match="forbidden"), manager.transaction("sql.main") as tx:
            tx.write(row(2))
            tx.write(row(3))

        assert seen == ["around1", "each1", "around2", "each2", "around3"]
        assert count(engine) == 1

    def test_callbacks_run_after_the_outermost_commit(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """In order, once, with the connection given back; those of an undone block and of a failed write do not."""
        done: list[str] = []

        def asking(request: WriteRequest, connection: sa.Connection) -> None:
            name = request.payload["name"]
            after_commit(lambda: done.append(f"{name} {count(engine)}"))
            insert(WriteRequest("", "", {"id": request.payload["id"], "balance": 0}), connection)

        add(handlers, "asking", asking)
        with manager.transaction("sql.main") as tx:
            tx.write(doing("asking", id=1, name="first"))
            with suppress(LookupError), tx.nested():
                tx.write(doing("asking", id=2, name="undone"))
                tx.after_commit(lambda: done.append("undone too"))
                raise LookupError
            with manager.transaction("sql.main") as inner:
                inner.write(doing("asking", id=3, name="second"))
            tx.after_commit(lambda: 1 // 0)
            tx.after_commit(lambda: done.append(f"third {manager.write(row(4)).data}"))
            assert done == []

        assert done == ["first 2", "second 2", "third 4"]
        assert len(tx.warnings) == 1
        assert "ZeroDivisionError" in tx.warnings[0]

        done.clear()
        with suppress(LookupError), manager.transaction("sql.main") as tx:
            tx.write(doing("asking", id=5, name="never"))
            raise LookupError
        assert done == []

    def test_a_write_of_a_callback_has_its_own_retries(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry
    ) -> None:
        """It is not inside the attempt any more, which nobody repeats: by itself, and after `transact`."""
        attempts: list[int] = []

        def shaky(_request: WriteRequest, _connection: sa.Connection) -> None:
            attempts.append(1)
            raise BackendError("in the way", retry=Retry.SAFE, reason="lock")

        def asking(_request: WriteRequest, _connection: sa.Connection) -> None:
            after_commit(lambda: manager.write(doing("shaky")))

        add(handlers, "shaky", shaky)
        add(handlers, "asking", asking)

        assert len(manager.write(doing("asking")).warnings) == 1
        assert len(attempts) == 3
        assert len(manager.transact("sql.main", lambda tx: tx.write(doing("asking"))).warnings) == 1
        assert len(attempts) == 6


class TestTransact:
    """A block that may be run again."""

    def test_what_is_certainly_not_applied_is_run_again(
        self, manager: WriteManager, engine: sa.Engine, handlers: Registry, metrics: Counted
    ) -> None:
        """A conflict is retried as a whole, on a fresh transaction, and is told once."""
        runs: list[int] = []
        done: list[int] = []

        def shaky(_request: WriteRequest, _connection: sa.Connection) -> None:
            after_commit(lambda: done.append(len(runs)))
            if len(runs) < 3:
                raise BackendError("in the way", retry=Retry.SAFE, reason="lock")

        add(handlers, "shaky", shaky)

        def work(tx: WriteTransaction) -> str:
            runs.append(1)
            tx.write(row(len(runs)))
            tx.write(doing("shaky"))
            return "done"

        result = manager.transact("sql.main", work)

        assert (result.data, result.attempts, result.message) == ("done", 3, "committed")
        assert result.duration > 0
        assert (done, count(engine)) == ([3], 1)
        assert [event.type for event in metrics.events] == ["insert", "shaky", "transaction"]
        assert metrics.events[-1].attempts == 3

    def test_what_is_not_to_be_retried_is_run_once(self, manager: WriteManager, engine: sa.Engine) -> None:
        """A duplicate, and whatever the function raises by itself, come out after one run, unchanged."""
        runs: list[int] = []

        def duplicate(tx: WriteTransaction) -> None:
            runs.append(1)
            tx.write(row(1))
            tx.write(row(1))

        def broken(_tx: WriteTransaction) -> None:
            runs.append(1)
            raise LookupError

        with pytest.raises(BackendError) as caught:
            manager.transact("sql.main", duplicate)
        with pytest.raises(LookupError):
            manager.transact("sql.main", broken)

        assert (caught.value.reason, len(runs), count(engine)) == ("duplicate", 2, 0)

    def test_a_block_that_is_never_free_ends_as_exhausted(
        self, manager: WriteManager, handlers: Registry, metrics: Counted
    ) -> None:
        """After the last attempt the answer is RETRY_EXHAUSTED, told once."""

        def busy(_request: WriteRequest, _connection: sa.Connection) -> None:
            raise BackendError("in the way", retry=Retry.SAFE, reason="lock")

        add(handlers, "busy", busy)

        with pytest.raises(WriteError) as caught:
            manager.transact("sql.main", lambda tx: tx.write(doing("busy")))

        assert (caught.value.code, caught.value.attempts) == ("RETRY_EXHAUSTED", 3)
        assert [(event.type, event.code) for event in metrics.events] == [
            ("busy", "BACKEND"),
            ("transaction", "RETRY_EXHAUSTED"),
        ]
