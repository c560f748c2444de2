"""Batches when something breaks in their middle or at their COMMIT: afterwards the table is what the answers say."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from tests.writers.many_kit import batch, compare, manage, metadata, people, person, rows_of, shown
from tests.writers.proxy import Fault, Proxy
from tests.writers.sql_kit import running
from wellwired.errors import Outcome, WriteTimeoutError
from wellwired.handlers import Registry, handler
from wellwired.handlers.sql import insert
from wellwired.middleware import SILENT, RetryPolicy
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers import GroupCommit, WriteManager
from wellwired.writers.idempotency import create_tables
from wellwired.writers.sql import SQLWriter

SERVERS = ["mariadb", "postgresql"]
MANY = 2_500
BAD: dict[int, dict[str, Any]] = {7: {"age": -1}, 1_200: {"email": "3@example.org"}, 2_300: {"age": None}}


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the tables."""
    metadata.create_all(sql_engine)
    create_tables(sql_engine)
    return sql_engine


def crowd(**fields: Any) -> list[WriteRequest]:
    """2,500 requests with three bad ones among them."""
    return [person(number, **fields, **BAD.get(number, {})) for number in range(MANY)]


def refused(answers: Sequence[Any]) -> dict[int, str]:
    """The reasons by position."""
    return {at: shown(answer)[0] for at, answer in enumerate(answers) if not isinstance(answer, WriteResult)}


@pytest.mark.parametrize("sql_url", SERVERS, indirect=True)
class TestServers:
    """On a server, through a proxy where the way to it is to break."""

    @pytest.fixture
    def proxied(self, engine: sa.Engine) -> Iterator[tuple[Proxy, SQLWriter]]:
        """A writer whose connections go through a proxy."""
        port = engine.url.port
        assert port is not None
        with Proxy(port) as proxy:
            through = sa.create_engine(engine.url.set(port=proxy.port))
            with through.connect():
                pass
            yield proxy, SQLWriter("sql.main", through)
            through.dispose()

    def test_a_connection_that_breaks_in_the_middle_is_mended(
        self, engine: sa.Engine, proxied: tuple[Proxy, SQLWriter]
    ) -> None:
        """The chunk under way is rolled back and sent again as a whole; good ones are there once."""
        proxy, writer = proxied
        proxy._trigger = b"1700@example.org"
        proxy.arm(Fault.LOSE_REQUEST)
        requests = crowd()

        answers = manage(writer).write_many(requests)

        assert refused(answers) == {7: "constraint", 1_200: "duplicate", 2_300: "constraint"}
        assert {answer.attempts for answer in answers[1_000:1_100]} == {2}
        assert {answer.attempts for answer in answers[:5]} == {1}
        compare(engine, requests, answers)

    @pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST])
    def test_a_commit_without_an_answer_leaves_its_chunk_unknown(
        self, engine: sa.Engine, proxied: tuple[Proxy, SQLWriter], fault: Fault
    ) -> None:
        """All of the chunk but its bad ones are UNKNOWN, all of them there or none, and the next chunks are done."""
        proxy, writer = proxied
        proxy.arm(fault)
        requests = crowd()

        answers = manage(writer).write_many(requests)

        outcomes = {shown(answer) for answer in answers[:1_000]}
        assert outcomes == {("commit_unknown", Outcome.UNKNOWN), ("constraint", Outcome.NOT_APPLIED)}
        assert {shown(answer)[1] for answer in answers[1_000:]} == {"APPLIED", Outcome.NOT_APPLIED}
        there = rows_of(engine) & set(range(1_000))
        assert len(there) == (999 if fault is Fault.LOSE_ANSWER else 0)
        compare(engine, requests, answers)

    @pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST])
    def test_with_keys_a_commit_without_an_answer_is_cleared_up(
        self, engine: sa.Engine, proxied: tuple[Proxy, SQLWriter], fault: Fault
    ) -> None:
        """The rows of the keys tell what became of it: in the end each good one is there once, and known to be."""
        proxy, writer = proxied
        proxy.arm(fault)
        requests = [person(number, key=f"k{number}") for number in range(300)]
        requests[17] = person(17, key="k17", age=-1)

        answers = manage(writer).write_many(requests)

        assert refused(answers) == {17: "constraint"}
        compare(engine, requests, answers)

    @pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.LOSE_REQUEST])
    def test_one_attempt_finds_out_by_the_keys_what_became_of_its_commit(
        self, engine: sa.Engine, proxied: tuple[Proxy, SQLWriter], fault: Fault
    ) -> None:
        """It is a success with a warning, or not applied and safe to send again; UNKNOWN it is not."""
        proxy, writer = proxied
        proxy.arm(fault)
        requests = [person(number, key=f"k{number}", age=-1 if number == 0 else 1) for number in range(20)]

        answers = batch(writer, requests)

        late = fault is Fault.LOSE_ANSWER
        assert {shown(answer)[1] for answer in answers[1:]} == {"APPLIED" if late else Outcome.NOT_APPLIED}
        assert all(bool(answer.warnings) is late for answer in answers[1:] if isinstance(answer, WriteResult))
        compare(engine, requests, answers)

    def test_a_batch_with_keys_may_be_sent_again(self, engine: sa.Engine) -> None:
        """Sent twice as a whole, everything is there once, and answered alike."""
        manager = manage(SQLWriter("sql.main", engine))
        requests = [person(number, key=f"k{number}") for number in range(1_200)]

        first = manager.write_many(requests[:700])
        again = manager.write_many(requests)

        assert first.failed == again.failed == {}
        assert [a.replayed for a in again if isinstance(a, WriteResult)] == [True] * 700 + [False] * 500
        compare(engine, requests, again)

    def test_a_deadlock_in_the_middle_is_tried_again_as_a_whole(self, engine: sa.Engine) -> None:
        """Of two batches that lock the same rows crosswise one is rolled back and sent again; both are done."""
        manage(SQLWriter("sql.main", engine)).write_many([person(1), person(2)])
        both = threading.Barrier(2)

        @handler("swap", backend="sql", idempotent=True)
        def swap(request: WriteRequest, connection: sa.Connection) -> None:
            connection.execute(people.update().where(people.c.id == request.payload["id"]).values(age=41))
            if request.payload.get("meet") and not met.is_set():
                both.wait(20)
                met.set()

        met = threading.Event()
        manager = WriteManager([SQLWriter("sql.main", engine, handlers=Registry(swap))], logger=SILENT, timeout=30.0)

        def send(first: int, second: int) -> Any:
            payloads: list[dict[str, Any]] = [{"id": first, "meet": True}, {"id": second}]
            return manager.write_many([WriteRequest("sql.main", "swap", payload) for payload in payloads])

        with running(lambda: send(1, 2), lambda: send(2, 1)) as results:
            pass

        assert [answers.failed for answers in results] == [{}, {}]
        assert sorted({answer.attempts for answers in results for answer in answers}) == [1, 2]

    def test_a_deadline_in_the_middle_leaves_nothing_of_its_chunk(self, engine: sa.Engine) -> None:
        """TIMEOUT means that none of the chunk is applied; chunks before it stay."""
        nap = "SELECT pg_sleep(60)" if engine.dialect.name == "postgresql" else "SELECT SLEEP(60)"

        @handler("slow", backend="sql")
        def slow(request: WriteRequest, connection: sa.Connection) -> None:
            connection.execute(people.insert(), request.payload)
            if request.payload["id"] == 25:
                connection.execute(sa.text(nap))

        writer = SQLWriter("sql.main", engine, handlers=Registry(slow), batch_size=20)
        manager = WriteManager([writer], logger=SILENT, timeout=1.5, retry=RetryPolicy(attempts=1))
        requests = [person(number, "slow") for number in range(60)]

        answers = manager.write_many(requests)

        assert all(isinstance(answer, WriteTimeoutError) for answer in answers[20:40])
        assert rows_of(engine) == set(range(20)) | set(range(40, 60))
        compare(engine, requests, answers)

    def test_a_lock_held_by_another_is_waited_for_no_longer_than_the_deadline(self, engine: sa.Engine) -> None:
        """A chunk that has to wait for a row gives up at its deadline, and nothing of it is there."""
        manager = manage(SQLWriter("sql.main", engine))
        manager.write_many([person(1), person(2)])

        with engine.connect() as holder:
            holder.execute(people.update().where(people.c.id == 2).values(age=1))
            changes = [WriteRequest("sql.main", "change", {"id": number, "age": 9}, timeout=0.4) for number in (1, 2)]
            answers = manager.write_many(changes)

        assert all(isinstance(answer, WriteTimeoutError) for answer in answers)
        with engine.connect() as connection:
            assert set(connection.scalars(sa.select(people.c.age))) == {30}

    def test_a_group_commit_without_an_answer_is_unknown_for_all_of_it(
        self, engine: sa.Engine, proxied: tuple[Proxy, SQLWriter]
    ) -> None:
        """With writes of many threads in one COMMIT whose answer is lost, each is UNKNOWN or done, and told rightly."""
        proxy, plain = proxied
        add = insert(people, type="add")
        through = plain._database.engine
        writer = SQLWriter("sql.main", through, handlers=Registry(add), group_commit={"add": GroupCommit()})
        manager = WriteManager([writer], logger=SILENT, timeout=30.0)
        start = threading.Barrier(8)
        requests = [person(number) for number in range(64)]
        answers: dict[int, Any] = {}

        def send(thread: int) -> None:
            start.wait(20)
            for number in range(thread * 8, thread * 8 + 8):
                if number == 20:
                    proxy.arm(Fault.LOSE_ANSWER)
                try:
                    answers[number] = manager.write(requests[number])
                except Exception as error:  # noqa: BLE001 - compared below
                    answers[number] = error

        with running(*[lambda thread=thread: send(thread) for thread in range(8)]):
            pass

        assert any(shown(answer)[1] is Outcome.UNKNOWN for answer in answers.values())
        compare(engine, requests, [answers[number] for number in range(64)])


def test_an_insert_that_is_refused_half_way_leaves_nothing_of_itself(engine: sa.Engine) -> None:
    """A driver's executemany that fails at its 1,800th row has left 1,799 in the transaction: they are undone."""
    manager = manage(SQLWriter("sql.main", engine, batch_size=2_500))
    requests = [person(number) for number in range(MANY)]
    requests[1_800] = person(1_800, email="4@example.org")

    answers = manager.write_many(requests, atomic=True)
    assert refused(answers)[1_800] == "duplicate"
    assert rows_of(engine) == set()

    answers = manager.write_many(requests)
    assert refused(answers) == {1_800: "duplicate"}
    compare(engine, requests, answers)


@pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
class TestSQLite:
    """In a file."""

    def test_a_busy_file_is_waited_for_no_longer_than_the_deadline(self, engine: sa.Engine) -> None:
        """Another writer of the file in the way: a TIMEOUT for each, and nothing is there."""
        manager = manage(SQLWriter("sql.main", engine))

        with engine.connect() as holder:
            holder.exec_driver_sql("BEGIN IMMEDIATE")
            answers = manager.write_many([person(1), person(2)], timeout=0.3)
            holder.rollback()

        assert all(isinstance(answer, WriteTimeoutError) for answer in answers)
        assert rows_of(engine) == set()

    def test_work_that_takes_too_long_is_cut_off(self, engine: sa.Engine) -> None:
        """A statement that outlasts the deadline is interrupted, and its whole chunk is undone."""

        @handler("endless", backend="sql")
        def endless(request: WriteRequest, connection: sa.Connection) -> None:
            connection.execute(people.insert(), request.payload)
            if request.payload["id"] == 2:
                connection.execute(
                    sa.text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
                )

        writer = SQLWriter("sql.main", engine, handlers=Registry(endless))
        answers = WriteManager([writer], logger=SILENT, timeout=0.3).write_many(
            [person(number, "endless") for number in range(4)]
        )

        assert all(isinstance(answer, WriteTimeoutError) for answer in answers)
        assert rows_of(engine) == set()
