"""The Django writer inside `atomic` blocks of the application's: what is said, what follows, and what is undone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import IntegrityError, connections, transaction

from tests.integrations.django.writer_kit import Account, Alias, Owner, balances, doing, insert, ledger, on, write
from tests.writers.sql_kit import running
from wellwired.clock import Deadline
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Retry, WriteTimeoutError
from wellwired.handlers import Registry, after_commit
from wellwired.integrations.django.writer import DjangoWriter
from wellwired.middleware import RetryPolicy
from wellwired.operations import WriteRequest
from wellwired.stores import DelegatedStore, Layer, MemoryStore
from wellwired.testing.clock import VirtualClock
from wellwired.writers import WriteManager


@pytest.fixture
def alias(sql_url: str) -> Iterator[Alias]:
    """A fresh database with its tables."""
    with ledger(sql_url) as made:
        yield made


@pytest.fixture
def writer(alias: Alias) -> DjangoWriter:
    """A writer on it."""
    return DjangoWriter(alias.name)


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def info(self, event: str, /, **fields: Any) -> None:
        """Keeps a line."""
        self.lines.append({"event": event, **fields})

    warning = error = info


class TestWhatIsSaid:
    """A write in a block that is not the writer's is not committed, and nobody says that it is."""

    def test_alone_it_is_committed(self, alias: Alias, writer: DjangoWriter) -> None:
        """Without a block around it the write is committed when it returns, and is not pending."""
        result = write(writer)
        assert (result.pending, result.message) == (False, "committed")
        assert balances(alias) == {1: 10}

    def test_inside_it_is_pending_until_the_block_commits(self, alias: Alias, writer: DjangoWriter) -> None:
        """It is there for the block itself, and for nobody else before the block's end."""
        with transaction.atomic(using=alias.name):
            result = write(writer)
            assert result.pending and "when the transaction around it is committed" in result.message
            assert Account.objects.using(alias.name).count() == 1
            assert balances(alias) == {}
        assert balances(alias) == {1: 10}

    def test_it_goes_with_the_block(self, alias: Alias, writer: DjangoWriter) -> None:
        """A block that is rolled back takes the pending write with it."""
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias.name):
            assert write(writer).pending
            raise ZeroDivisionError
        assert balances(alias) == {}

    def test_a_nested_block_takes_its_writes_alone(self, alias: Alias, writer: DjangoWriter) -> None:
        """What was written in an inner block that fails is undone; what was written around it stays."""
        with transaction.atomic(using=alias.name):
            write(writer)
            with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias.name):
                write(writer, payload={"id": 2, "balance": 0})
                raise ZeroDivisionError
            write(writer, payload={"id": 3, "balance": 0})
        assert balances(alias) == {1: 10, 3: 0}

    def test_log_and_metrics_say_so(self, alias: Alias) -> None:
        """The outcome in the log is PENDING for what is not committed yet, and APPLIED for what is."""
        log = Lines()
        writer = DjangoWriter(alias.name, Registry(doing(insert)))
        manager = WriteManager([writer], logger=log)
        with transaction.atomic(using=alias.name):
            manager.write(WriteRequest(writer.name, "test", {"id": 1, "balance": 0}))
            manager.write_many([WriteRequest(writer.name, "test", {"id": n, "balance": 0}) for n in (2, 3)])
        manager.write(WriteRequest(writer.name, "test", {"id": 4, "balance": 0}))
        assert [line.get("outcome") for line in log.lines if line["event"] == "wellwired.write"] == [
            "PENDING",
            "APPLIED",
        ]
        (many,) = (line for line in log.lines if line["event"] == "wellwired.write_many")
        assert (many["pending"], many["applied"]) == (2, 0)

    def test_a_write_in_a_handler_is_a_part_of_its_write(self, alias: Alias) -> None:
        """A handler that writes through the manager to the same database does so in its own transaction."""
        seen: list[bool] = []

        def outer(request: WriteRequest, connection: Any) -> None:
            inner = WriteRequest(request.target, "inner", {"id": 2, "balance": 0})
            seen.append(manager.write(inner).pending)
            raise ZeroDivisionError

        inner = doing(insert)
        inner.type = "inner"
        writer = DjangoWriter(alias.name, Registry(doing(outer), inner))
        manager = WriteManager([writer])
        with pytest.raises(BackendError):
            manager.write(WriteRequest(writer.name, "test", {}))
        assert (seen, balances(alias)) == ([True], {})

    def test_a_block_can_be_refused(self, alias: Alias) -> None:
        """With `require_durable` a write in a block is an INVALID_REQUEST, and the block is as it was."""
        writer = DjangoWriter(alias.name, require_durable=True)
        with transaction.atomic(using=alias.name):
            with pytest.raises(InvalidRequestError, match="require_durable=True") as caught:
                write(writer)
            assert Account.objects.using(alias.name).count() == 0
        assert (caught.value.reason, caught.value.outcome) == ("surrounded", Outcome.NOT_APPLIED)
        assert not write(writer).pending

    def test_a_block_of_another_database_is_none(self, alias: Alias, writer: DjangoWriter) -> None:
        """Only a block on the writer's own alias surrounds its writes."""
        with transaction.atomic(using="default"):
            assert not write(writer).pending
            assert balances(alias) == {1: 10}


class TestWhatFollows:
    """What is to follow the commit waits for the block's, and is dropped with it."""

    def test_callbacks_wait_for_the_block(self, alias: Alias, writer: DjangoWriter) -> None:
        """Those of `after_commit` and of Django's `on_commit` run when the outermost block has committed."""
        seen: list[str] = []

        def work(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            transaction.on_commit(lambda: seen.append(f"django {balances(alias)}"), using=alias.name)
            after_commit(lambda: seen.append(f"ours {balances(alias)}"))

        with transaction.atomic(using=alias.name), transaction.atomic(using=alias.name):
            write(writer, work)
            assert seen == []
        assert seen == ["django {1: 10}", "ours {1: 10}"]

    def test_callbacks_go_with_the_block(self, alias: Alias, writer: DjangoWriter) -> None:
        """Nothing runs for a block that is rolled back, nor later."""
        seen: list[str] = []

        def work(request: WriteRequest, connection: Any) -> None:
            after_commit(lambda: seen.append("never"))

        with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias.name):
            with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias.name):
                write(writer, work)
                raise ZeroDivisionError
            write(writer, work)
            raise ZeroDivisionError
        write(writer)
        assert seen == []

    def test_a_callback_that_fails_later_is_logged(
        self, alias: Alias, writer: DjangoWriter, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The block's end is no error, the next callback runs, and the line names the callback."""
        seen: list[str] = []

        def fails() -> None:
            raise ValueError("hidden")

        def work(request: WriteRequest, connection: Any) -> None:
            after_commit(fails)
            after_commit(lambda: seen.append("next"))

        with transaction.atomic(using=alias.name):
            write(writer, work)
        assert seen == ["next"]
        assert "fails failed after the commit: ValueError" in caplog.text and "hidden" not in caplog.text

    def test_stores_are_evicted_when_the_block_commits(self, alias: Alias) -> None:
        """A copy that somebody reads again before the commit is stale then, and leaves with it."""
        below = MemoryStore()
        store: DelegatedStore[str] = DelegatedStore([Layer(MemoryStore(), name="copies"), Layer(below, primary=True)])
        store.set("account:1", "old")
        writer = DjangoWriter(alias.name, Registry(doing(insert)))
        manager = WriteManager([writer], stores={"stores.accounts": store})
        request = WriteRequest(writer.name, "test", {"id": 1, "balance": 0}, changes={"stores.accounts": ["account:1"]})
        held = [lambda: store.lookup("account:1").layer]  # type: ignore[union-attr]
        for send in (
            lambda: manager.write(request),
            lambda: manager.write_many([request]),
            lambda: manager.write_many([request.with_payload({"id": n, "balance": 0}) for n in (1, 2)]),
            lambda: _in_transaction(manager, request),
        ):
            store.get("account:1")
            with transaction.atomic(using=alias.name):
                send()
                assert held[0]() == "copies", "evicted before the commit: a reader would fill it with what was"
            assert held[0]() != "copies"
            Account.objects.using(alias.name).all().delete()
        store.get("account:1")
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias.name):
            manager.write(request)
            raise ZeroDivisionError
        assert held[0]() == "copies", "nothing has changed, so nothing is evicted"

    def test_a_transaction_of_the_manager_is_a_part_of_the_block(self, alias: Alias) -> None:
        """So are its callbacks; and `transact` says that it is pending."""
        seen: list[str] = []
        writer = DjangoWriter(alias.name, Registry(doing(insert)))
        manager = WriteManager([writer])
        with transaction.atomic(using=alias.name):
            with manager.transaction(writer.name) as tx:
                assert tx.write(WriteRequest(writer.name, "test", {"id": 1, "balance": 0})).pending
                tx.after_commit(lambda: seen.append("after"))
            second = WriteRequest(writer.name, "test", {"id": 2, "balance": 0})
            assert manager.transact(writer.name, lambda tx: tx.write(second).data).pending
            assert (tx.pending, seen, balances(alias)) == (True, [], {})
        assert (seen, balances(alias)) == (["after"], {1: 0, 2: 0})


def _in_transaction(manager: WriteManager, request: WriteRequest) -> None:
    with manager.transaction(request.target) as tx:
        tx.write(request)


class TestWhatFails:
    """An error leaves the block as it was if a savepoint can undo it, and ends it if not."""

    def test_a_refusal_leaves_the_block_usable(self, alias: Alias, writer: DjangoWriter) -> None:
        """What the database refuses is undone alone, with what its handler did before it."""

        def twice(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            insert(request, connection)

        with transaction.atomic(using=alias.name):
            write(writer, payload={"id": 7, "balance": 0})
            with pytest.raises(BackendError) as caught:
                write(writer, twice)
            assert not on(alias.name).needs_rollback
            write(writer, payload={"id": 8, "balance": 0})
        assert (caught.value.reason, caught.value.outcome) == ("duplicate", Outcome.NOT_APPLIED)
        assert balances(alias) == {7: 0, 8: 0}

    def test_a_handlers_fault_leaves_the_block_usable(self, alias: Alias, writer: DjangoWriter) -> None:
        """So does an exception of the handler's own."""

        def fails(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            raise KeyError("x")

        with transaction.atomic(using=alias.name):
            with pytest.raises(BackendError, match="the handler raised KeyError"):
                write(writer, fails)
            write(writer, payload={"id": 8, "balance": 0})
        assert balances(alias) == {8: 0}

    def test_a_swallowed_error_is_no_success(self, alias: Alias, writer: DjangoWriter) -> None:
        """A handler that goes on after an error has its savepoint undone, and an error is raised for it."""

        def swallows(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            with pytest.raises(IntegrityError):
                insert(request, connection)

        with transaction.atomic(using=alias.name):
            with pytest.raises(BackendError) as caught:
                write(writer, swallows)
            write(writer, payload={"id": 8, "balance": 0})
        assert caught.value.reason == "duplicate"
        assert balances(alias) == {8: 0}

    def test_work_that_ends_late_is_undone(self, alias: Alias, writer: DjangoWriter) -> None:
        """The deadline is asked before the savepoint is given up; a TIMEOUT is not applied with the block either."""
        clock = VirtualClock()

        def late(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            clock.advance(100)

        with transaction.atomic(using=alias.name):
            with pytest.raises(WriteTimeoutError):
                write(writer, late, deadline=Deadline.after(50, clock))
            write(writer, payload={"id": 8, "balance": 0})
        assert balances(alias) == {8: 0}

    def test_a_block_that_has_failed_takes_no_more_writes(self, alias: Alias, writer: DjangoWriter) -> None:
        """What Django has marked for rollback is refused at once, and said to be so."""
        with pytest.raises(BackendError, match="give what may fail a block of its own") as caught:
            with transaction.atomic(using=alias.name):
                transaction.set_rollback(True, using=alias.name)
                write(writer)
        assert (caught.value.reason, caught.value.retry) == ("spoilt", Retry.NEVER)
        assert balances(alias) == {}

    def test_a_closed_connection_ends_the_block(self, alias: Alias, writer: DjangoWriter) -> None:
        """A handler that closes the connection leaves nothing, and a block that cannot be committed."""

        def closes(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            connection.close()

        with pytest.raises(BackendError, match="closed the connection") as caught:
            with transaction.atomic(using=alias.name):
                write(writer, payload={"id": 7, "balance": 0})
                write(writer, closes)
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert balances(alias) == {}
        assert not write(writer, payload={"id": 8, "balance": 0}).pending

    def test_manual_transactions_are_refused(self, alias: Alias, writer: DjangoWriter) -> None:
        """With autocommit off nobody can say when a write is committed; nothing of the caller's is touched."""
        transaction.set_autocommit(False, using=alias.name)
        try:
            Account.objects.using(alias.name).create(id=5, balance=5)
            for block in (True, False):
                with pytest.raises(BackendError, match="autocommit is off") as caught:
                    if block:
                        with transaction.atomic(using=alias.name):
                            write(writer)
                    else:
                        write(writer)
                assert caught.value.outcome is Outcome.NOT_APPLIED
            transaction.commit(using=alias.name)
        finally:
            transaction.set_autocommit(True, using=alias.name)
        assert balances(alias) == {5: 5}


@pytest.mark.parametrize("sql_url", ["mariadb", "postgresql"], indirect=True)
class TestConflicts:
    """Other transactions in the way of a write inside a block."""

    def test_a_deadlock_is_retried_only_if_a_savepoint_undid_it(self, alias: Alias) -> None:
        """On PostgreSQL the block goes on; on MySQL it is gone, and nobody tries again in it."""
        Account.objects.using(alias.name).bulk_create([Account(id=n, balance=0) for n in (1, 2)])
        met, tries = threading.Barrier(2, timeout=20), list[int]()

        def both(request: WriteRequest, connection: Any) -> None:
            tries.append(1)
            Account.objects.using(connection.alias).filter(id=1).update(balance=1)
            if len(tries) == 1:
                met.wait()
            Account.objects.using(connection.alias).filter(id=2).update(balance=1)

        writer = DjangoWriter(alias.name, Registry(doing(both)))
        manager = WriteManager([writer], retry=RetryPolicy(attempts=3))

        def crossing() -> None:
            with alias.engine.begin() as other:
                _weigh(alias, other)
                other.exec_driver_sql("UPDATE writer_kit_account SET balance = 9 WHERE id = 2")
                met.wait()
                other.exec_driver_sql("UPDATE writer_kit_account SET balance = 9 WHERE id = 1")

        def ours() -> tuple[Any, bool]:
            try:
                with transaction.atomic(using=alias.name):
                    _lighten(alias)
                    try:
                        return manager.write(WriteRequest(writer.name, "test", {})), on(alias.name).needs_rollback
                    except BackendError as error:
                        return error, on(alias.name).needs_rollback
            finally:
                connections[alias.name].close()

        with running(crossing, ours) as results:
            pass
        (answer, spoilt) = next(result for result in results if result is not None)
        if alias.kind == "mariadb":
            assert isinstance(answer, BackendError) and "leave its atomic block" in str(answer)
            assert (answer.reason, answer.retry, spoilt, len(tries)) == ("deadlock", Retry.NEVER, True, 1)
            assert balances(alias) == {1: 9, 2: 9}
        else:
            assert not isinstance(answer, BackendError) and answer.pending and not spoilt
            assert (len(tries), balances(alias)) == (2, {1: 1, 2: 1})

    def test_a_lock_that_is_not_had_leaves_the_block_usable(self, alias: Alias, writer: DjangoWriter) -> None:
        """A lock timeout is undone by the savepoint, and may be tried again inside."""
        Account.objects.using(alias.name).create(id=1, balance=0)

        def update(request: WriteRequest, connection: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SET innodb_lock_wait_timeout = 1" if alias.kind == "mariadb" else "SET LOCAL lock_timeout = 100"
                )
            Account.objects.using(connection.alias).filter(id=1).update(balance=1)

        with alias.engine.begin() as other:
            other.exec_driver_sql("UPDATE writer_kit_account SET balance = 9 WHERE id = 1")
            with transaction.atomic(using=alias.name):
                with pytest.raises(BackendError) as caught:
                    write(writer, update)
                write(writer, payload={"id": 2, "balance": 0})
        assert (caught.value.reason, caught.value.retry) == ("lock", Retry.SAFE)
        assert balances(alias) == {1: 9, 2: 0}

    def test_a_serialization_failure_is_not_tried_again_inside(self, alias: Alias) -> None:
        """The block's view of the data is what it is: the block as a whole must be run again."""
        if alias.kind == "mariadb":
            pytest.skip("MariaDB's snapshot isolation is an option of newer servers")
        Account.objects.using(alias.name).create(id=1, balance=0)
        tries: list[int] = []

        def update(request: WriteRequest, connection: Any) -> None:
            tries.append(1)
            Account.objects.using(connection.alias).filter(id=1).update(balance=1)

        writer = DjangoWriter(alias.name, Registry(doing(update)))
        manager = WriteManager([writer])
        with pytest.raises(BackendError) as caught, transaction.atomic(using=alias.name):
            with on(alias.name).cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            assert Account.objects.using(alias.name).count() == 1
            with alias.engine.begin() as other:
                other.exec_driver_sql("UPDATE writer_kit_account SET balance = 9 WHERE id = 1")
            try:
                manager.write(WriteRequest(writer.name, "test", {}))
            finally:
                assert on(alias.name).needs_rollback
        assert (caught.value.reason, caught.value.retry, tries) == ("serialization", Retry.NEVER, [1])
        assert caught.value.backend_code == "40001" and balances(alias) == {1: 9}

    def test_a_batch_that_ends_the_block_says_why(self, alias: Alias) -> None:
        """Each of its requests has the reason, and none is tried again in a block that is lost."""
        tries: list[int] = []

        def killed(request: WriteRequest, connection: Any) -> None:
            tries.append(request.payload["id"])
            insert(request, connection)
            _kill(alias, connection)
            insert(request, connection)

        writer = DjangoWriter(alias.name, Registry(doing(killed)))
        manager = WriteManager([writer])
        requests = [WriteRequest(writer.name, "test", {"id": n, "balance": 0}) for n in range(4)]
        with transaction.atomic(using=alias.name):
            answers = manager.write_many(requests)
        assert {(error.retry, error.outcome) for error in answers.failed.values()} == {
            (Retry.NEVER, Outcome.NOT_APPLIED)
        }
        assert {error.reason for error in answers.failed.values()} <= {"connection", "shutdown"}
        assert (len(answers.failed), tries, balances(alias)) == (4, [0], {})

    def test_a_killed_session_ends_the_block(self, alias: Alias, writer: DjangoWriter) -> None:
        """The block cannot be committed any more, whoever catches the error, and the next one is as good as ever."""

        def killed(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            _kill(alias, connection)
            insert(request, connection)

        with transaction.atomic(using=alias.name):
            write(writer, payload={"id": 7, "balance": 0})
            with pytest.raises(BackendError) as caught:
                write(writer, killed)
            with pytest.raises(BackendError, match="a block of its own"):
                write(writer)
        error = caught.value
        assert (error.outcome, error.retry) == (Outcome.NOT_APPLIED, Retry.NEVER)
        assert balances(alias) == {}
        write(writer, payload={"id": 8, "balance": 0})
        assert balances(alias) == {8: 0}


def _kill(alias: Alias, connection: Any) -> None:
    driver = connection.connection
    number = driver.thread_id() if alias.kind == "mariadb" else driver.info.backend_pid
    with alias.engine.begin() as other:
        other.exec_driver_sql(f"KILL {number}" if alias.kind == "mariadb" else f"SELECT pg_terminate_backend({number})")


def _weigh(alias: Alias, other: Any) -> None:
    """Makes this side of a deadlock the one that is spared."""
    if alias.kind == "postgresql":
        other.exec_driver_sql("SET LOCAL deadlock_timeout = '20s'")
        return
    for number in range(100, 130):  # InnoDB spares who has changed more
        other.exec_driver_sql(f"INSERT INTO writer_kit_entry (text) VALUES ('{number}')")


def _lighten(alias: Alias) -> None:
    if alias.kind == "postgresql":
        with on(alias.name).cursor() as cursor:
            cursor.execute("SET LOCAL deadlock_timeout = '10ms'")


def test_a_deferred_constraint_is_the_blocks(fresh_database: Callable[[str], str]) -> None:
    """What is looked at when the block commits fails there, and takes the pending write with it."""
    with ledger(fresh_database("postgresql")) as alias:
        writer = DjangoWriter(alias.name)

        def orphan(request: WriteRequest, connection: Any) -> None:
            Owner.objects.using(connection.alias).create(account_id=99)

        with pytest.raises(IntegrityError), transaction.atomic(using=alias.name):
            assert write(writer, orphan).pending
        assert alias.rows("writer_kit_owner") == []
