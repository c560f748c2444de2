"""The Django writer by itself: what it tells of real errors, keys, several writes, callbacks, and where it refuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connections, transaction

from tests.integrations.django.writer_kit import (
    Account,
    Alias,
    Entry,
    Owner,
    balances,
    doing,
    insert,
    ledger,
    on,
    write,
)
from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    InvalidRequestError,
    Outcome,
    Phase,
    RegistrationError,
    Retry,
    WriteError,
    WriteTimeoutError,
)
from wellwired.handlers import FunctionHandler, Registry, after_commit
from wellwired.integrations.django.writer import DjangoWriter, ddl, drop_key_table, purge_keys
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import WriteManager
from wellwired.writers.idempotency import create_tables
from wellwired.writers.idempotency import ddl as sql_ddl


@pytest.fixture
def alias(sql_url: str) -> Iterator[Alias]:
    """A fresh database with its tables."""
    with ledger(sql_url) as made:
        yield made


@pytest.fixture
def writer(alias: Alias) -> DjangoWriter:
    """A writer on it."""
    return DjangoWriter(alias.name)


def orphan(request: WriteRequest, connection: Any) -> None:
    """Refers to an account that is not there."""
    Owner.objects.using(connection.alias).create(account_id=99)


class TestErrors:
    """What the database refuses is told by its own code, whatever class Django files it under."""

    def test_something_that_is_there_already(self, alias: Alias, writer: DjangoWriter) -> None:
        """A duplicate is for good, and has the database's own code."""
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
        assert error.backend_code in {1062, "23505", "SQLITE_CONSTRAINT_PRIMARYKEY"}
        assert not isinstance(error.__cause__, DatabaseError), "the cause is the driver's own exception"

    def test_a_rule_of_the_tables(self, alias: Alias, writer: DjangoWriter) -> None:
        """A check that fails is a constraint, which MySQL's drivers call an operational error."""
        with pytest.raises(BackendError) as caught:
            write(writer, payload={"id": 1, "balance": -1})
        assert (caught.value.reason, caught.value.retry) == ("constraint", Retry.NEVER)
        assert caught.value.backend_code in {4025, "23514", "SQLITE_CONSTRAINT_CHECK"}

    def test_a_reference_to_nothing(self, alias: Alias, writer: DjangoWriter) -> None:
        """Where the database looks at it only when it commits, COMMIT's refusal is definite: not applied."""
        with pytest.raises(BackendError) as caught:
            write(writer, orphan)
        error = caught.value
        assert (error.reason, error.outcome, error.retry) == ("constraint", Outcome.NOT_APPLIED, Retry.NEVER)
        assert error.phase is (Phase.EXECUTE if alias.kind == "mariadb" else Phase.COMMIT)
        assert alias.rows("writer_kit_owner") == []
        assert write(writer).message == "committed"

    def test_a_table_that_is_not_there(self, alias: Alias, writer: DjangoWriter) -> None:
        """A statement that the database does not know is the handler's fault, and for good."""

        def wrong(request: WriteRequest, connection: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO nothing VALUES (1)")

        with pytest.raises(BackendError) as caught:
            write(writer, wrong)
        assert (caught.value.reason, caught.value.retry) == ("statement", Retry.NEVER)

    def test_what_the_orm_refuses_by_itself_is_the_handlers(self, alias: Alias, writer: DjangoWriter) -> None:
        """An exception of Django's own, without a code, is no news from the database."""

        def missing(request: WriteRequest, connection: Any) -> None:
            Account(id=99, balance=1).save(using=connection.alias, force_update=True)

        for work in (missing, lambda _request, connection: transaction.commit(using=connection.alias)):
            with pytest.raises(BackendError) as caught:
                write(writer, work)
            assert (caught.value.reason, caught.value.outcome) == ("handler", Outcome.NOT_APPLIED)

    def test_a_swallowed_error_commits_nothing(self, alias: Alias, writer: DjangoWriter) -> None:
        """What Django has marked for rollback is an error and no silent success, and says what the first error was."""

        def swallows(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            with pytest.raises(IntegrityError):
                insert(request, connection)

        def marks(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            transaction.set_rollback(True, using=connection.alias)

        for work, reason in ((swallows, "duplicate"), (marks, "handler")):
            with pytest.raises(BackendError) as caught:
                write(writer, work)
            assert (caught.value.reason, caught.value.outcome) == (reason, Outcome.NOT_APPLIED)
            assert balances(alias) == {}

    def test_a_handlers_own_block_undoes_a_part(self, alias: Alias, writer: DjangoWriter) -> None:
        """An error that an inner `atomic` block has undone is no reason for another."""

        def careful(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            with pytest.raises(IntegrityError), transaction.atomic(using=connection.alias):
                insert(request, connection)

        assert write(writer, careful).success
        assert balances(alias) == {1: 10}


class TestCallbacks:
    """What follows the commit."""

    def test_they_run_in_order_after_the_commit(self, alias: Alias, writer: DjangoWriter) -> None:
        """Django's own first, then those of `after_commit`; each finds the write committed and no block open."""
        seen: list[Any] = []

        def look(who: str) -> Callable[[], None]:
            return lambda: seen.append((who, balances(alias), on(alias.name).in_atomic_block))

        def work(request: WriteRequest, connection: Any) -> None:
            after_commit(look("ours"))
            transaction.on_commit(look("django's"), using=connection.alias)
            insert(request, connection)

        write(writer, work)
        assert seen == [("django's", {1: 10}, False), ("ours", {1: 10}, False)]

    def test_one_that_fails_is_a_warning(
        self, alias: Alias, writer: DjangoWriter, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The write is a success all the same, and the next ones run; Django logs the traceback."""
        seen: list[str] = []

        def fails() -> None:
            raise ValueError("hidden")

        def work(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            transaction.on_commit(fails, using=connection.alias)
            transaction.on_commit(lambda: seen.append("next"), using=connection.alias)
            after_commit(fails)

        result = write(writer, work)
        assert len(result.warnings) == 2 and all(
            "fails failed after the commit: ValueError" in w for w in result.warnings
        )
        assert (seen, balances(alias)) == (["next"], {1: 10})
        assert "on_commit" in caplog.text

    def test_none_runs_for_a_write_that_failed(self, alias: Alias, writer: DjangoWriter) -> None:
        """Nor at the next write on the connection."""
        seen: list[str] = []

        def work(request: WriteRequest, connection: Any) -> None:
            transaction.on_commit(lambda: seen.append("never"), using=connection.alias)
            raise ZeroDivisionError

        with pytest.raises(BackendError):
            write(writer, work)
        write(writer)
        assert seen == []

    def test_one_may_write(self, alias: Alias) -> None:
        """A write of a callback is a transaction of its own, and its failure is a warning of the first."""
        writer = DjangoWriter(alias.name, Registry(doing(insert)))
        manager = WriteManager([writer])
        results: list[WriteResult[Any]] = []

        def again() -> None:
            results.append(manager.write(WriteRequest(writer.name, "test", {"id": 2, "balance": 0})))
            with transaction.atomic(using=alias.name):
                Account.objects.using(alias.name).create(id=3, balance=0)
            manager.write(WriteRequest(writer.name, "test", {"id": 2, "balance": 0}))

        def work(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            transaction.on_commit(again, using=connection.alias)

        first = write(writer, work)
        assert [result.pending for result in results] == [False]
        assert len(first.warnings) == 1 and balances(alias) == {1: 10, 2: 0, 3: 0}

    def test_it_leaves_the_connection_as_it_found_it(self, alias: Alias, writer: DjangoWriter) -> None:
        """After a success and a failure nothing of the writer's is on Django's connection."""
        write(writer)
        with pytest.raises(BackendError):
            write(writer)
        connection = on(alias.name)
        assert not {"commit", "on_commit", "get_new_connection", "Database"} & vars(connection).keys()
        assert (connection.execute_wrappers, connection.run_on_commit, connection.in_atomic_block) == ([], [], False)
        assert connection.autocommit and connection.savepoint_ids == []

    def test_an_end_in_the_middle_of_the_roll_back_leaves_nothing(self, alias: Alias, writer: DjangoWriter) -> None:
        """It is heard, nothing is committed, and no later write runs the callbacks of this one."""
        seen: list[str] = []

        def work(request: WriteRequest, connection: Any) -> None:
            def interrupted() -> None:
                raise KeyboardInterrupt

            insert(request, connection)
            transaction.on_commit(lambda: seen.append("ran"), using=connection.alias)
            connection._rollback = interrupted
            raise ValueError

        with pytest.raises(KeyboardInterrupt):
            write(writer, work)
        connection = on(alias.name)
        del vars(connection)["_rollback"]
        assert (connection.connection, connection.execute_wrappers, connection.in_atomic_block) == (None, [], False)
        assert not {"commit", "rollback", "on_commit", "get_new_connection"} & vars(connection).keys()
        assert write(writer, payload={"id": 2, "balance": 0}).success
        assert balances(alias) == {2: 0} and seen == []


class TestKeys:
    """Idempotency keys, in the table that a migration makes."""

    def test_a_key_is_kept_until_it_expires(self, alias: Alias) -> None:
        """After its time it is a new write; `purge_keys` deletes what has expired and nothing else."""
        clock = VirtualClock()
        writer = DjangoWriter(alias.name, clock=clock, key_ttl=60)
        assert not write(writer, key="k").replayed
        assert write(writer, key="k").replayed
        assert purge_keys(alias.name, clock=clock) == 0
        clock.advance(61)
        assert not write(writer, lambda _r, _c: None, key="k").replayed
        clock.advance(61)
        assert purge_keys(alias.name, clock=clock, chunk=1) == 1
        assert alias.rows("wellwired_idempotency") == []

    def test_a_key_goes_with_the_block_around_it(self, alias: Alias, writer: DjangoWriter) -> None:
        """Rolled back with the block it is free again; committed with it, it is kept. Replays inside are pending."""
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias.name):
            assert not write(writer, key="k").replayed
            replay = write(writer, key="k")
            assert replay.replayed and replay.pending
            raise ZeroDivisionError
        with transaction.atomic(using=alias.name):
            assert not write(writer, key="k").replayed
        assert write(writer, key="k").replayed and balances(alias) == {1: 10}

    def test_another_payload_is_refused_and_its_block_goes_on(self, alias: Alias, writer: DjangoWriter) -> None:
        """The same key with another payload is an INVALID_REQUEST."""
        write(writer, key="k")
        with transaction.atomic(using=alias.name):
            with pytest.raises(InvalidRequestError, match="used before with another payload"):
                write(writer, payload={"id": 2, "balance": 0}, key="k")
            write(writer, payload={"id": 3, "balance": 0})
        assert balances(alias) == {1: 10, 3: 0}

    def test_without_the_table_it_says_how_to_make_it(self, alias: Alias, writer: DjangoWriter) -> None:
        """The error names what a migration has to call."""
        with connections[alias.name].schema_editor() as editor:
            drop_key_table(None, editor)
        with pytest.raises(BackendError, match=r"RunPython\(.*create_key_table\)") as caught:
            write(writer, key="k")
        assert caught.value.reason == "no_key_table"

    def test_the_table_is_the_sql_writers(self, alias: Alias, writer: DjangoWriter) -> None:
        """Both may work on one database; creating it twice, by either, changes nothing."""
        create_tables(alias.engine)
        assert write(writer, key="k").success
        assert "\n".join(f"{statement};" for statement in ddl(on(alias.name).vendor)) == sql_ddl(alias.engine)

    def test_keys_in_a_transaction_and_in_a_batch(self, alias: Alias) -> None:
        """What was done before is replayed among others, and the others are done."""
        writer = DjangoWriter(alias.name, Registry(doing(insert)))
        manager = WriteManager([writer])

        def keyed(number: int) -> WriteRequest:
            return WriteRequest(writer.name, "test", {"id": number, "balance": 0}, idempotency_key=f"k{number}")

        manager.write(keyed(1))
        with manager.transaction(writer.name) as tx:
            assert [tx.write(keyed(n)).replayed for n in (2, 1, 2)] == [False, True, True]
        answers = manager.write_many([keyed(n) for n in (1, 2, 3)])
        assert [answer.replayed for answer in answers] == [True, True, False]  # type: ignore[union-attr]
        assert balances(alias) == {1: 0, 2: 0, 3: 0}


class TestSeveral:
    """Transactions and batches of the manager's."""

    def test_a_nested_part_is_undone_alone(self, alias: Alias) -> None:
        """A savepoint undoes what its block has written, and what Django would have called after it."""
        seen: list[str] = []

        def work(request: WriteRequest, connection: Any) -> None:
            number = request.payload["id"]
            after_commit(lambda: seen.append(f"ours {number}"))
            transaction.on_commit(lambda: seen.append(f"django's {number}"), using=connection.alias)
            insert(request, connection)

        writer = DjangoWriter(alias.name, Registry(doing(work)))
        manager = WriteManager([writer])

        def one(number: int) -> WriteRequest:
            return WriteRequest(writer.name, "test", {"id": number, "balance": 0})

        with manager.transaction(writer.name) as tx:
            tx.write(one(1))
            with pytest.raises(BackendError, match="exists already"), tx.nested():
                tx.write(one(2))
                tx.write(one(1))
            Account.objects.using(alias.name).create(id=9, balance=0)  # the ORM takes part in it
            tx.write(one(3))
            assert balances(alias) == {}
        assert balances(alias) == {1: 0, 3: 0, 9: 0}
        assert sorted(seen) == ["django's 1", "django's 3", "ours 1", "ours 3"]

    def test_a_bad_one_is_found_among_many(self, alias: Alias) -> None:
        """`bulk_create` of many is halved until the bad ones are alone; the others are committed."""
        calls: list[int] = []

        def many(requests: Sequence[WriteRequest], connection: Any) -> list[None]:
            calls.append(len(requests))
            Account.objects.using(connection.alias).bulk_create([Account(**one.payload) for one in requests])
            return [None] * len(requests)

        handler = FunctionHandler[Any, Any](insert, type="test", backend="django", many=many)
        writer = DjangoWriter(alias.name, Registry(handler))
        manager = WriteManager([writer])
        requests = [
            WriteRequest(writer.name, "test", {"id": n, "balance": -1 if n in (3, 40) else 0}) for n in range(64)
        ]
        answers = manager.write_many(requests)
        assert list(answers.failed) == [3, 40]
        assert {error.reason for error in answers.failed.values()} == {"constraint"}
        assert len(balances(alias)) == 62 and calls[0] == 64
        with transaction.atomic(using=alias.name):
            again = manager.write_many([one for at, one in enumerate(requests) if at not in (3, 40)], atomic=True)
        assert len(again.failed) == 62 and len(balances(alias)) == 62

    def test_what_is_refused_at_commit_is_found_too(self, alias: Alias) -> None:
        """Where the constraint is looked at by COMMIT, it is the transactions that are halved."""

        def work(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            if request.payload["id"] == 2:
                orphan(request, connection)

        writer = DjangoWriter(alias.name, Registry(doing(work)))
        answers = WriteManager([writer]).write_many(
            [WriteRequest(writer.name, "test", {"id": n, "balance": 0}) for n in range(5)]
        )
        assert list(answers.failed) == [2] and balances(alias) == dict.fromkeys((0, 1, 3, 4), 0)

    def test_threads_have_transactions_of_their_own(self, alias: Alias, writer: DjangoWriter) -> None:
        """A write of another thread is no part of this one's block."""
        if alias.kind == "sqlite":
            pytest.skip("SQLite has one writer at a time")
        results: list[Any] = []

        def other() -> None:
            results.append(write(writer, payload={"id": 2, "balance": 0}).pending)
            connections[alias.name].close()

        with transaction.atomic(using=alias.name):
            write(writer)
            thread = threading.Thread(target=other)
            thread.start()
            thread.join(20)
            assert (results, balances(alias)) == ([False], {2: 0})


class TestPlaces:
    """Where it refuses to work, and says why."""

    def test_an_event_loops_thread_is_told_what_to_do(self, alias: Alias) -> None:
        """Django lets nobody use a database there; that is the caller's error and not the database's."""
        writer = DjangoWriter(alias.name, Registry(doing(insert)))
        manager = WriteManager([writer])
        request = WriteRequest(writer.name, "test", {"id": 1, "balance": 0})

        async def view() -> WriteResult[Any]:
            return manager.write(request)

        for send in (view, view):
            with pytest.raises(InvalidRequestError, match="sync_to_async") as caught:
                asyncio.run(send())
            assert (caught.value.reason, caught.value.outcome) == ("async", Outcome.NOT_APPLIED)
            on(alias.name).ensure_connection()  # the second time there is a connection already

        async def right() -> WriteResult[Any]:
            return await asyncio.to_thread(_closing, alias, lambda: manager.write(request))

        assert asyncio.run(right()).success and balances(alias) == {1: 0}

    def test_an_alias_that_is_not_there(self) -> None:
        """It is refused when it is made, with those that there are."""
        with pytest.raises(RegistrationError, match=r"DATABASES has no 'nowhere'; known: default"):
            DjangoWriter("nowhere")

    def test_a_connection_that_cannot_be_used_says_so(self, sql_url: str) -> None:
        """What is neither the database's nor the handler's fault names the alias, and is not tried again."""
        with ledger(sql_url) as alias:
            writer = DjangoWriter(alias.name)
            on(alias.name).close()
            on(alias.name).settings_dict["TIME_ZONE"] = "Nowhere/Nothing"
            connections.settings[alias.name]["OPTIONS"]["isolation_level"] = "nonsense"
            if alias.kind == "sqlite":
                connections[alias.name].settings_dict["OPTIONS"]["transaction_mode"] = "NONSENSE"
            with pytest.raises(WriteError, match=alias.name) as caught:
                write(writer)
            assert (caught.value.outcome, caught.value.retry) == (Outcome.NOT_APPLIED, Retry.NEVER)

    def test_a_size_of_nothing(self, alias: Alias) -> None:
        """A batch has one at least."""
        with pytest.raises(ValueError, match="batch_size"):
            DjangoWriter(alias.name, batch_size=0)

    def test_further_targets_and_a_name(self, alias: Alias) -> None:
        """Its own target is `django.<alias>`; handlers of other backends are not its."""
        handlers = Registry(doing(insert), FunctionHandler[Any, Any](insert, type="other", backend="sql"))
        writer = DjangoWriter(alias.name, handlers, targets=["orders"])
        assert writer.targets == (f"django.{alias.name}", "orders")
        assert writer.supports("orders") and not writer.supports("django.default")
        assert writer.types() == ("test",) and repr(writer) == f"DjangoWriter({alias.name!r})"

    def test_a_rule_of_the_applications(self, alias: Alias, sql_url: str) -> None:
        """A code may mean something else to an application than to the tables."""
        from wellwired.writers.classification import Kind, Rule

        code = {"sqlite": 1555, "mariadb": 1062, "postgresql": "23505"}[alias.kind]
        writer = DjangoWriter(alias.name, rules={code: Rule(Kind.CONFLICT, "taken")})
        write(writer)
        with pytest.raises(BackendError, match=r"\(taken\)") as caught:
            write(writer)
        assert (caught.value.reason, caught.value.retry) == ("taken", Retry.SAFE)


def _closing(alias: Alias, work: Callable[[], WriteResult[Any]]) -> WriteResult[Any]:
    try:
        return work()
    finally:
        connections[alias.name].close()


def test_a_late_write_does_not_begin(sqlite_url: str) -> None:
    """With no time left nothing is sent, and the handler is not called."""
    with ledger(sqlite_url) as alias:
        called: list[int] = []
        with pytest.raises(WriteTimeoutError) as caught:
            write(DjangoWriter(alias.name), lambda _r, _c: called.append(1), deadline=Deadline.after(-1))
        assert (called, caught.value.retry) == ([], Retry.SAFE)
        assert Entry.objects.using(alias.name).count() == 0
