"""The Django writer when something breaks: deadlocks, killed sessions, dead and frozen servers, lost answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from tests.integrations.django.writer_kit import Account, Alias, balances, doing, insert, ledger, on, write
from tests.servers import PrivateServer
from tests.servers.private import free_port
from tests.writers.proxy import Fault, Proxy
from tests.writers.sql_kit import running
from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteTimeoutError
from wellwired.handlers import Registry, after_commit
from wellwired.integrations.django.writer import DjangoWriter
from wellwired.operations import WriteRequest
from wellwired.writers import WriteManager

SERVERS = ["mariadb", "postgresql"]


@pytest.fixture
def alias(sql_url: str) -> Iterator[Alias]:
    """A fresh database with its tables."""
    with ledger(sql_url) as made:
        yield made


@pytest.fixture
def writer(alias: Alias) -> DjangoWriter:
    """A writer on it."""
    return DjangoWriter(alias.name)


@pytest.fixture
def proxied(alias: Alias) -> Iterator[tuple[Proxy, DjangoWriter]]:
    """A writer whose connections go through a proxy to the database of `alias`."""
    port = alias.url.port
    assert port is not None
    # Django tells MySQL "SET AUTOCOMMIT" around a transaction: only a statement that begins with COMMIT is one.
    trigger = b"\x03COMMIT" if alias.kind == "mariadb" else b"COMMIT"
    with Proxy(port, trigger) as proxy, alias.through(proxy.port) as name:
        on(name).ensure_connection()
        yield proxy, DjangoWriter(name)
        connections[name].close()


def update(request: WriteRequest, connection: Any) -> int:
    """Changes every account."""
    return int(Account.objects.using(connection.alias).update(balance=2))


def _kill(alias: Alias, connection: Any) -> None:
    driver = connection.connection
    number = driver.thread_id() if alias.kind == "mariadb" else driver.info.backend_pid
    with alias.engine.begin() as other:
        other.exec_driver_sql(f"KILL {number}" if alias.kind == "mariadb" else f"SELECT pg_terminate_backend({number})")


@pytest.mark.parametrize("sql_url", SERVERS, indirect=True)
class TestServers:
    """Faults of a server and of the way to it."""

    def test_a_deadlock_is_safe_to_retry_for_one_and_nothing_for_the_other(
        self, alias: Alias, writer: DjangoWriter
    ) -> None:
        """Of two writes in a deadlock one is told to try again, not applied; swallowing it commits no tail."""
        for number in (1, 2):
            write(writer, payload={"id": number, "balance": 0})
        both = threading.Barrier(2)

        def crossing(first: int, second: int) -> Callable[[], Any]:
            def work(_request: WriteRequest, connection: Any) -> None:
                accounts = Account.objects.using(connection.alias)
                accounts.create(id=10 + first, balance=0)
                accounts.filter(id=first).update(balance=first)
                both.wait(10)
                try:
                    accounts.filter(id=second).update(balance=first)
                except DatabaseError:
                    if connection.vendor == "mysql":
                        accounts.create(id=20 + first, balance=0)

            def send() -> Any:
                try:
                    return write(writer, work, seconds=20)
                finally:
                    connections[alias.name].close()

            return send

        with running(crossing(1, 2), crossing(2, 1)) as results:
            pass
        (error,) = [result for result in results if isinstance(result, BaseException)]
        assert isinstance(error, BackendError)
        assert (error.reason, error.outcome, error.retry) == ("deadlock", Outcome.NOT_APPLIED, Retry.SAFE)
        assert error.backend_code in {1213, "40P01"}
        assert len(balances(alias)) == 3

    def test_the_servers_own_lock_timer_is_a_lock_and_safe(self, alias: Alias, writer: DjangoWriter) -> None:
        """A lock wait that the server ends before the deadline is a BACKEND error that may be retried."""
        write(writer)

        def want(request: WriteRequest, connection: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SET innodb_lock_wait_timeout = 1" if alias.kind == "mariadb" else "SET LOCAL lock_timeout = 100"
                )
            update(request, connection)

        with alias.engine.begin() as holder:
            holder.exec_driver_sql("UPDATE writer_kit_account SET balance = 1")
            with pytest.raises(BackendError) as caught:
                write(writer, want)
        assert (caught.value.reason, caught.value.retry) == ("lock", Retry.SAFE)
        assert caught.value.backend_code in {1205, "55P03"}

    def test_a_killed_session_is_lost_and_safe(self, alias: Alias, writer: DjangoWriter) -> None:
        """A session that an administrator ends in the middle of the work: not applied, safe, and the next is well."""

        def killed(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            _kill(alias, connection)
            update(request, connection)

        with pytest.raises(BackendError) as caught:
            write(writer, killed)
        assert (caught.value.outcome, caught.value.retry) == (Outcome.NOT_APPLIED, Retry.SAFE)
        assert caught.value.reason in {"connection", "shutdown"}
        assert balances(alias) == {}
        assert write(writer).success

    def test_a_connection_that_was_dead_before_the_write_is_made_anew(self, alias: Alias) -> None:
        """What died while it was idle is not applied and tried again on a new one, by the manager alone."""
        writer = DjangoWriter(alias.name, Registry(doing(insert)))
        manager = WriteManager([writer])
        manager.write(WriteRequest(writer.name, "test", {"id": 1, "balance": 0}))
        _kill(alias, on(alias.name))
        result = manager.write(WriteRequest(writer.name, "test", {"id": 2, "balance": 0}))
        assert result.attempts == 2 and balances(alias) == {1: 0, 2: 0}

    def test_what_others_have_left_behind_broken_is_made_anew(self, alias: Alias, writer: DjangoWriter) -> None:
        """A connection that its driver knows to be gone is dropped before the write, whatever Django makes of it."""
        transaction.set_autocommit(False, using=alias.name)
        _kill(alias, on(alias.name))
        with pytest.raises(DatabaseError):
            Account.objects.using(alias.name).count()
        if alias.kind == "postgresql" or not on(alias.name).connection.open:  # mysqlclient does not know it
            assert write(writer).message == "committed"
            assert balances(alias) == {1: 10}

    def test_djangos_health_checks_find_it_first(self, sql_url: str) -> None:
        """With CONN_HEALTH_CHECKS a dead connection is found before the write, once for a request."""
        with ledger(sql_url, CONN_HEALTH_CHECKS=True) as alias:
            writer = DjangoWriter(alias.name)
            write(writer)
            _kill(alias, on(alias.name))
            on(alias.name).close_if_unusable_or_obsolete()  # what Django does when a request begins
            assert write(writer, payload={"id": 2, "balance": 0}).success

    def test_a_timeout_ends_the_work_on_the_server_too(self, alias: Alias, writer: DjangoWriter) -> None:
        """What was cut off holds no locks for long: another write gets the row soon after."""
        write(writer)

        def slow(request: WriteRequest, connection: Any) -> None:
            update(request, connection)
            with connection.cursor() as cursor:
                cursor.execute("SELECT SLEEP(60)" if alias.kind == "mariadb" else "SELECT pg_sleep(60)")

        deadline = Deadline.after(0.2)
        with pytest.raises(WriteTimeoutError) as caught:
            write(writer, slow, deadline=deadline)
        assert time.monotonic() - deadline.at < 1
        assert caught.value.outcome is Outcome.NOT_APPLIED
        assert write(writer, update, seconds=5).data == 1

    def test_a_timeout_inside_a_block_ends_the_block(self, alias: Alias, writer: DjangoWriter) -> None:
        """A statement that hangs is cut at the deadline inside a block too; what was before it is lost with it."""

        def slow(request: WriteRequest, connection: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT SLEEP(60)" if alias.kind == "mariadb" else "SELECT pg_sleep(60)")

        deadline = Deadline.after(0.2)
        with transaction.atomic(using=alias.name):
            write(writer)
            with pytest.raises(WriteTimeoutError, match="leave its atomic block") as caught:
                write(writer, slow, deadline=deadline)
        assert time.monotonic() - deadline.at < 1
        assert caught.value.retry is Retry.NEVER
        assert balances(alias) == {}
        assert write(writer).success

    def test_a_commit_whose_answer_is_lost_is_unknown(self, alias: Alias, proxied: tuple[Proxy, DjangoWriter]) -> None:
        """COMMIT reached the server and its answer did not come back: UNKNOWN, and here it was applied."""
        proxy, writer = proxied
        seen: list[str] = []

        def work(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            after_commit(lambda: seen.append("never"))

        proxy.arm(Fault.LOSE_ANSWER)
        with pytest.raises(BackendError) as caught:
            write(writer, work)
        error = caught.value
        assert (error.outcome, error.retry, error.phase, error.reason) == (
            Outcome.UNKNOWN,
            Retry.IF_IDEMPOTENT,
            Phase.COMMIT,
            "commit_unknown",
        )
        assert (balances(alias), seen) == ({1: 10}, [])
        assert write(writer, payload={"id": 3, "balance": 0}).success

    def test_with_a_key_a_lost_answer_is_a_success_done_once(
        self, alias: Alias, proxied: tuple[Proxy, DjangoWriter]
    ) -> None:
        """The manager sends it again, and the stored result is replayed."""
        proxy, writer = proxied
        writer.register_handler(doing(insert))
        manager = WriteManager([writer])
        proxy.arm(Fault.LOSE_ANSWER)
        request = WriteRequest(writer.name, "test", {"id": 1, "balance": 10}, idempotency_key="k")
        result = manager.write(request)
        assert (result.attempts, result.replayed, result.data) == (2, True, 1)
        assert balances(alias) == {1: 10}

    def test_a_commit_that_was_lost_on_the_way_is_unknown_too(
        self, alias: Alias, proxied: tuple[Proxy, DjangoWriter]
    ) -> None:
        """COMMIT never arrived, which looks the same from here: UNKNOWN, and here it was not applied."""
        proxy, writer = proxied
        proxy.arm(Fault.LOSE_REQUEST)
        with pytest.raises(BackendError) as caught:
            write(writer)
        assert (caught.value.outcome, caught.value.phase) == (Outcome.UNKNOWN, Phase.COMMIT)
        assert balances(alias) == {}
        assert write(writer).success

    def test_a_commit_without_an_answer_ends_after_the_grace(
        self, alias: Alias, proxied: tuple[Proxy, DjangoWriter]
    ) -> None:
        """A silent server at COMMIT is waited for as long as the grace allows; then the outcome is UNKNOWN."""
        proxy, plain = proxied
        proxy.arm(Fault.SILENCE)
        began = time.monotonic()
        with pytest.raises(BackendError) as caught:
            write(DjangoWriter(plain.alias, commit_grace=0.2), seconds=30)
        assert time.monotonic() - began < 5
        assert (caught.value.outcome, caught.value.phase) == (Outcome.UNKNOWN, Phase.COMMIT)

    def test_without_grace_no_outcome_is_wrong(self, alias: Alias) -> None:
        """With a commit cut at any moment a success is there, an unknown may be, and the connection stays usable."""
        writer, done = DjangoWriter(alias.name, commit_grace=0.0), []
        for number in range(60):
            try:
                write(writer, payload={"id": number, "balance": 0})
                done.append(number)
            except BackendError as error:
                assert (error.outcome, error.phase) == (Outcome.UNKNOWN, Phase.COMMIT)  # noqa: PT017
            assert set(done) <= set(balances(alias))

    def test_what_is_lost_after_the_commit_is_no_error(self, alias: Alias, proxied: tuple[Proxy, DjangoWriter]) -> None:
        """Django goes on after COMMIT was answered, and may lose the connection there: a success, with what follows."""
        if alias.kind == "postgresql":
            pytest.skip("psycopg sends nothing after COMMIT")
        import MySQLdb  # type: ignore[import-untyped]

        proxy, writer = proxied
        seen: list[str] = []

        def work(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            transaction.on_commit(lambda: seen.append("django's"), using=connection.alias)
            after_commit(lambda: seen.append("ours"))
            proxy._trigger = b"AUTOCOMMIT = 1" if MySQLdb.__name__ == "pymysql" else b"autocommit=1"
            proxy.arm(Fault.LOSE_REQUEST)

        assert write(writer, work).message == "committed"
        assert [fault for _, fault in proxy.hits] == [Fault.LOSE_REQUEST]
        assert (balances(alias), seen) == ({1: 10}, ["django's", "ours"])
        assert write(writer, payload={"id": 3, "balance": 0}).success
        assert seen == ["django's", "ours"]

    def test_a_silent_server_in_the_middle_of_the_work_is_a_timeout(self, proxied: tuple[Proxy, DjangoWriter]) -> None:
        """A statement without an answer is given up at the deadline, though the server cannot be asked to stop."""
        proxy, writer = proxied
        write(writer)
        proxy._trigger = b"UPDATE"
        proxy.arm(Fault.SILENCE)
        deadline = Deadline.after(0.3)
        with pytest.raises(WriteTimeoutError) as caught:
            write(writer, update, deadline=deadline)
        assert time.monotonic() - deadline.at < 1
        assert caught.value.outcome is Outcome.NOT_APPLIED

    def test_a_server_that_nobody_runs_is_unreachable(self, alias: Alias) -> None:
        """A refused connection is not applied and safe to retry, with the phase of the checkout."""
        with alias.through(free_port()) as name, pytest.raises(BackendError) as caught:
            write(DjangoWriter(name))
        assert (caught.value.reason, caught.value.outcome, caught.value.retry, caught.value.phase) == (
            "connection",
            Outcome.NOT_APPLIED,
            Retry.SAFE,
            Phase.CHECKOUT,
        )


class TestPrivateServers:
    """Servers that are killed and frozen under a writer."""

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
        with ledger(server.url) as alias:
            writer = DjangoWriter(alias.name)
            write(writer, payload={"id": 7, "balance": 0})

            def dying(request: WriteRequest, connection: Any) -> None:
                insert(request, connection)
                server.kill()
                update(request, connection)

            for work in (dying, insert):
                with pytest.raises(BackendError) as caught:
                    write(writer, work)
                assert (caught.value.outcome, caught.value.retry) == (Outcome.NOT_APPLIED, Retry.SAFE)
                assert caught.value.reason in {"connection", "shutdown", "not_ready"}
            server.start()
            alias.engine.dispose()
            write(writer)
            assert balances(alias) == {1: 10, 7: 0}

    @pytest.mark.parametrize("connected", [True, False], ids=["connected", "not yet connected"])
    def test_a_frozen_server_is_a_timeout_at_the_deadline(self, server: PrivateServer, connected: bool) -> None:
        """A server that takes connections and answers nothing costs no more than the deadline, connected or not."""
        with ledger(server.url, CONN_HEALTH_CHECKS=True) as alias:
            writer = DjangoWriter(alias.name)
            write(writer)
            if connected:
                on(alias.name).health_check_done = False
            else:
                on(alias.name).close()
            server.pause()
            # mysqlclient counts the time for a connection in whole seconds.
            allowed = 1.5 if not connected and alias.kind == "mariadb" else 1.0
            deadline = Deadline.after(0.3)
            try:
                with pytest.raises(WriteTimeoutError) as caught:
                    write(writer, payload={"id": 2, "balance": 0}, deadline=deadline)
                assert time.monotonic() - deadline.at < allowed
            finally:
                server.resume()
            assert caught.value.outcome is Outcome.NOT_APPLIED
            assert balances(alias) == {1: 10}
            assert write(writer, payload={"id": 3, "balance": 0}).success

    @pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
    def test_a_server_that_freezes_at_the_end_hangs_nobody(self, server: PrivateServer, end: str) -> None:
        """COMMIT or ROLLBACK without an answer costs the grace; Django's next connection is not waited for either."""
        with ledger(server.url) as alias:
            writer = DjangoWriter(alias.name, commit_grace=0.3)

            def frozen(request: WriteRequest, connection: Any) -> None:
                insert(request, connection)
                server.pause()
                if end == "ROLLBACK":
                    raise ZeroDivisionError

            began = time.monotonic()
            try:
                with pytest.raises(BackendError) as caught:
                    write(writer, frozen, seconds=30)
                assert time.monotonic() - began < 3
            finally:
                server.resume()
            outcome = Outcome.UNKNOWN if end == "COMMIT" else Outcome.NOT_APPLIED
            assert caught.value.outcome is outcome
            assert write(writer, payload={"id": 3, "balance": 0}).success

    def test_a_server_that_freezes_in_a_block_hangs_nobody(self, server: PrivateServer) -> None:
        """The write ends at its deadline, and so does its block, whose connection has been dropped."""
        with ledger(server.url) as alias:
            writer = DjangoWriter(alias.name)
            deadline = Deadline.after(0)

            def frozen(request: WriteRequest, connection: Any) -> None:
                server.pause()
                update(request, connection)

            try:
                with transaction.atomic(using=alias.name):
                    write(writer)
                    deadline = Deadline.after(0.3)
                    with pytest.raises(WriteTimeoutError):
                        write(writer, frozen, deadline=deadline)
                assert time.monotonic() - deadline.at < 1.5
            finally:
                server.resume()
            assert balances(alias) == {}


@pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
class TestSQLite:
    """Faults of a file."""

    def test_a_busy_database_is_a_lock_and_safe(self, sql_url: str) -> None:
        """Another writer of the file, for longer than SQLite's own patience: a lock, safe to retry."""
        with ledger(sql_url, OPTIONS={"timeout": 0.05}) as alias, alias.engine.connect() as holder:
            holder.exec_driver_sql("BEGIN IMMEDIATE")
            with pytest.raises(BackendError) as caught:
                write(DjangoWriter(alias.name))
            holder.rollback()
        assert (caught.value.reason, caught.value.retry) == ("lock", Retry.SAFE)
        assert caught.value.backend_code == "SQLITE_BUSY"

    def test_a_busy_database_is_a_timeout_at_the_deadline(self, alias: Alias, writer: DjangoWriter) -> None:
        """SQLite's patience is cut to the time that is left, and is what it was afterwards."""
        write(writer)
        usual = on(alias.name).connection.execute("PRAGMA busy_timeout").fetchone()
        with alias.engine.connect() as holder:
            holder.exec_driver_sql("BEGIN IMMEDIATE")
            deadline = Deadline.after(0.15)
            with pytest.raises(WriteTimeoutError):
                write(writer, payload={"id": 2, "balance": 0}, deadline=deadline)
            assert time.monotonic() - deadline.at < 1
            holder.rollback()
        assert on(alias.name).connection.execute("PRAGMA busy_timeout").fetchone() == usual

    def test_work_is_interrupted_at_the_deadline(self, alias: Alias, writer: DjangoWriter) -> None:
        """A statement that computes for ever ends, and nothing is applied."""

        def endless(request: WriteRequest, connection: Any) -> None:
            insert(request, connection)
            with connection.cursor() as cursor:
                cursor.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n")

        deadline = Deadline.after(0.2)
        with pytest.raises(WriteTimeoutError):
            write(writer, endless, deadline=deadline)
        assert time.monotonic() - deadline.at < 1
        assert balances(alias) == {}
        assert write(writer).success

    def test_a_write_in_a_handler_leaves_the_outer_one_bounded(self, alias: Alias) -> None:
        """SQLite has one progress handler: when the inner write has ended, the outer one's deadline holds again."""
        writer = DjangoWriter(alias.name, Registry(doing(insert)))
        manager = WriteManager([writer])

        def endless(request: WriteRequest, connection: Any) -> None:
            manager.write(WriteRequest(writer.name, "test", {"id": 2, "balance": 0}))
            with connection.cursor() as cursor:
                cursor.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n")

        deadline = Deadline.after(0.3)
        with pytest.raises(WriteTimeoutError):
            write(writer, endless, deadline=deadline)
        assert time.monotonic() - deadline.at < 1
        assert balances(alias) == {}

    def test_so_does_a_write_by_another_writer_and_the_connection_is_left_as_it_was(self, alias: Alias) -> None:
        """Two writers on one alias know of each other's bounds, and neither takes them for how the connection is."""
        outer = DjangoWriter(alias.name, Registry())
        inner = DjangoWriter(alias.name, Registry(doing(insert)))
        connection = connections[alias.name]
        connection.ensure_connection()
        usual = connection.connection.execute("PRAGMA busy_timeout").fetchone()

        def endless(request: WriteRequest, connection: Any) -> None:
            write(inner, insert, {"id": 2, "balance": 0}, deadline=Deadline.after(0.2))
            with connection.cursor() as cursor:
                cursor.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT MAX(i) FROM n")

        def nested(request: WriteRequest, connection: Any) -> None:
            write(inner, insert, {"id": 3, "balance": 0}, deadline=Deadline.after(1))

        write(outer, nested, deadline=Deadline.after(2))
        write(inner, insert, {"id": 4, "balance": 0}, deadline=Deadline.after(1))
        assert connection.connection.execute("PRAGMA busy_timeout").fetchone() == usual
        deadline = Deadline.after(0.3)
        with pytest.raises(WriteTimeoutError):
            write(outer, endless, deadline=deadline)
        assert time.monotonic() - deadline.at < 1
        assert sorted(balances(alias)) == [3, 4]

    def test_it_takes_the_write_lock_at_once(self, alias: Alias, writer: DjangoWriter) -> None:
        """A write that reads first cannot meet another one that did the same; Django's own blocks stay as they are."""
        seen: list[bool] = []

        def reads(request: WriteRequest, connection: Any) -> None:
            Account.objects.using(connection.alias).count()
            with alias.engine.connect() as other:
                other.exec_driver_sql("PRAGMA busy_timeout = 0")
                try:
                    other.exec_driver_sql("BEGIN IMMEDIATE")
                except Exception:  # noqa: BLE001 - what is looked for
                    seen.append(True)

        write(writer, reads)
        assert seen == [True]
        assert "transaction_mode" not in vars(on(alias.name)) or on(alias.name).transaction_mode is None

    def test_a_commit_that_meets_a_reader_is_not_applied(self, alias: Alias, writer: DjangoWriter) -> None:
        """Without WAL, COMMIT waits for those who read, and gives up: a definite refusal, safe to retry."""
        write(writer)
        with alias.engine.connect() as reader:
            reader.exec_driver_sql("BEGIN")
            reader.exec_driver_sql("SELECT * FROM writer_kit_account").fetchall()
            short = DjangoWriter(alias.name, commit_grace=0.1)
            with pytest.raises(BackendError) as caught:
                write(short, payload={"id": 2, "balance": 0})
        error = caught.value
        assert (error.phase, error.outcome, error.retry) == (Phase.COMMIT, Outcome.NOT_APPLIED, Retry.SAFE)
        assert balances(alias) == {1: 10}
        assert write(writer, payload={"id": 2, "balance": 0}).success
