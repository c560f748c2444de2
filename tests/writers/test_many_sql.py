"""A batch in a database: an answer for each, the good ones committed together, the bad ones alone with their error."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, exc

from tests.writers.many_kit import Answer, batch, compare, handlers, metadata, people, person, rows_of, shown
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Retry, WriteError
from wellwired.handlers import after_commit, handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers.idempotency import create_tables
from wellwired.writers.protocol import WritesMany, capabilities_of
from wellwired.writers.sql import SQLWriter


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the tables."""
    metadata.create_all(sql_engine)
    create_tables(sql_engine)
    return sql_engine


@pytest.fixture
def writer(engine: sa.Engine) -> SQLWriter:
    """A writer on it."""
    return SQLWriter("sql.main", engine)


def commits(engine: sa.Engine) -> list[Any]:
    """A list that grows with every COMMIT."""
    seen: list[Any] = []
    event.listen(engine, "commit", seen.append)
    return seen


def one_by_one(request: WriteRequest, connection: sa.Connection) -> int:
    """Inserts a person."""
    connection.execute(people.insert(), request.payload)
    return int(request.payload["id"])


single = handler("add", backend="sql")(one_by_one)


def test_the_sql_writer_says_that_it_writes_many(writer: SQLWriter) -> None:
    """It has the ability, and its capabilities name it."""
    assert isinstance(writer, WritesMany)
    assert capabilities_of(writer).batches


class TestGoodAndBad:
    """Who is refused, and who is not."""

    @pytest.mark.parametrize("chosen", [handlers["add"], single], ids=["handle_many", "handle"])
    def test_good_ones_are_one_transaction(self, writer: SQLWriter, engine: sa.Engine, chosen: Any) -> None:
        """A batch without faults is committed once, with the data of each by position."""
        seen = commits(engine)

        answers = batch(writer, [person(number) for number in range(50)], handler=chosen)

        assert len(seen) == 1
        wanted = [{"id": number} for number in range(50)] if chosen is not single else list(range(50))
        assert [answer.data for answer in answers if isinstance(answer, WriteResult)] == wanted
        assert rows_of(engine) == set(range(50))

    @pytest.mark.parametrize("chosen", [handlers["add"], single], ids=["handle_many", "handle"])
    def test_bad_ones_have_their_own_error_and_take_no_good_one_with_them(
        self, writer: SQLWriter, engine: sa.Engine, chosen: Any
    ) -> None:
        """Of 2,500 rows a duplicate, one against a check and one without a value fail, each for its own reason."""
        batch(writer, [person(9_999, email="7@example.org")])
        requests = [person(number) for number in range(2_500)]
        requests[100] = person(100, age=-1)
        requests[1_800] = person(1_800, age=None)

        answers = batch(writer, requests, handler=chosen)

        failed = {at: shown(answer) for at, answer in enumerate(answers) if isinstance(answer, WriteError)}
        assert failed == {
            7: ("duplicate", Outcome.NOT_APPLIED),
            100: ("constraint", Outcome.NOT_APPLIED),
            1_800: ("constraint", Outcome.NOT_APPLIED),
        }
        compare(engine, requests, answers, was=[9_999])

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
    @given(bad=st.sets(st.integers(0, 39), max_size=40), many=st.booleans())
    def test_any_set_of_bad_ones(self, engine: sa.Engine, bad: set[int], many: bool) -> None:
        """Whichever are bad, exactly they fail and exactly the others are there."""
        with engine.begin() as connection:
            connection.execute(people.delete())
        requests = [person(number, age=-1 if number in bad else 1) for number in range(40)]

        answers = batch(SQLWriter("sql.main", engine), requests, handler=handlers["add"] if many else single)

        assert {at for at, answer in enumerate(answers) if isinstance(answer, WriteError)} == bad
        compare(engine, requests, answers)

    def test_the_second_of_two_with_one_key_is_the_duplicate(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """What depends on an earlier one is judged after it, as if they came one by one."""
        answers = batch(writer, [person(1), person(2), person(1, email="other"), person(3)])

        assert [shown(answer)[0] for answer in answers] == ["", "", "duplicate", ""]
        assert rows_of(engine) == {1, 2, 3}

    def test_all_bad_is_nothing(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """With nothing good in it, nothing is committed."""
        seen = commits(engine)

        answers = batch(writer, [person(number, age=-1) for number in range(5)])

        assert [shown(answer)[0] for answer in answers] == ["constraint"] * 5
        assert seen == []

    def test_each_error_is_an_object_of_its_own_about_its_own_request(self, writer: SQLWriter) -> None:
        """Nobody's note lands on another's error."""
        answers = batch(writer, [person(number, age=-1) for number in range(3)])

        assert len({id(answer) for answer in answers}) == 3
        assert all(isinstance(a, BackendError) and a.target == "sql.main" and a.type == "add" for a in answers)

    def test_a_bug_of_the_handler_is_about_its_request(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """What `handle_many` raises is looked for by halves like anything else."""

        def many(requests: Sequence[WriteRequest], connection: sa.Connection) -> list[int]:
            return [one_by_one(request, connection) if request.payload["id"] != 3 else 1 // 0 for request in requests]

        def one(request: WriteRequest, connection: sa.Connection) -> int:
            return many([request], connection)[0]

        answers = batch(writer, [person(n) for n in range(8)], handler=handler("add", backend="sql", many=many)(one))

        assert [shown(answer)[0] for answer in answers] == ["", "", "", "handler", "", "", "", ""]
        assert rows_of(engine) == set(range(8)) - {3}

    def test_an_error_of_the_handlers_own_that_may_be_sent_again_ends_no_neighbour(
        self, writer: SQLWriter, engine: sa.Engine
    ) -> None:
        """A handler that asks for another try asks for its own request alone."""

        @handler("add", backend="sql")
        def busy(request: WriteRequest, connection: sa.Connection) -> int:
            if request.payload["id"] == 2:
                raise BackendError("come again", retry=Retry.SAFE, reason="busy")
            return one_by_one(request, connection)

        answers = batch(writer, [person(n) for n in range(4)], handler=busy)

        assert [shown(answer)[0] for answer in answers] == ["", "", "busy", ""]
        assert rows_of(engine) == {0, 1, 3}

    def test_handle_many_that_loses_count_is_a_fault_of_the_handler(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """Fewer values than requests cannot be answered by position: one by one it is done right."""
        short = handler("add", backend="sql", many=lambda requests, connection: [0])(one_by_one)

        answers = batch(writer, [person(1), person(2)], handler=short)

        assert [shown(answer)[0] for answer in answers] == ["", ""]
        assert rows_of(engine) == {1, 2}

    def test_a_swallowed_error_commits_no_tail(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A handler that goes on after a refused statement spoils nobody else's write."""

        @handler("add", backend="sql")
        def careless(request: WriteRequest, connection: sa.Connection) -> int:
            try:
                return one_by_one(request, connection)
            except exc.IntegrityError:
                return -1

        requests = [person(1), person(1, email="b"), person(2)]
        answers = batch(writer, requests, handler=careless)

        assert rows_of(engine) == {1, 2}
        assert isinstance(answers[0], WriteResult)
        assert isinstance(answers[2], WriteResult)

    def test_each_try_has_a_payload_of_its_own(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """What a handler takes out of its payload is there again at the next try, and never gone for the caller."""

        @handler("add", backend="sql")
        def greedy(request: WriteRequest, connection: sa.Connection) -> int:
            number = request.payload.pop("id")
            connection.execute(people.insert(), {"id": number, **request.payload})
            return int(number)

        requests = [person(1), person(2, age=-1), person(3)]
        answers = batch(writer, requests, handler=greedy)

        assert [shown(answer)[0] for answer in answers] == ["", "constraint", ""]
        assert [request.payload["id"] for request in requests] == [1, 2, 3]
        assert rows_of(engine) == {1, 3}

    @pytest.mark.parametrize("sql_url", ["postgresql"], indirect=True)
    def test_what_commit_refuses_is_found_too(self, engine: sa.Engine, writer: SQLWriter) -> None:
        """A constraint that is checked at COMMIT fails one request and not its neighbours."""
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "ALTER TABLE people ADD CONSTRAINT later UNIQUE (age) DEFERRABLE INITIALLY DEFERRED"
            )
        requests = [person(number, age=number) for number in range(20)]
        requests[13] = person(13, age=4)

        answers = batch(writer, requests)

        assert {at: shown(a)[0] for at, a in enumerate(answers) if isinstance(a, WriteError)} == {13: "duplicate"}
        compare(engine, requests, answers)

    @pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
    def test_a_row_that_rolls_everything_back_is_found_too(self, engine: sa.Engine) -> None:
        """SQLite may be told to undo the whole transaction at a conflict: the others are done again without it."""

        @handler("add", backend="sql")
        def harsh(request: WriteRequest, connection: sa.Connection) -> None:
            connection.execute(people.insert().prefix_with("OR ROLLBACK"), request.payload)

        requests = [person(number) for number in range(10)]
        requests[6] = person(2, email="again")
        answers = batch(SQLWriter("sql.main", engine), requests, handler=harsh)

        assert {at: shown(a)[0] for at, a in enumerate(answers) if isinstance(a, WriteError)} == {6: "duplicate"}
        assert rows_of(engine) == set(range(10)) - {6}


class TestAtomic:
    """All or nothing."""

    @pytest.mark.parametrize("chosen", [handlers["add"], single], ids=["handle_many", "handle"])
    def test_one_bad_one_undoes_all(self, writer: SQLWriter, engine: sa.Engine, chosen: Any) -> None:
        """The bad one says why; each other that nothing of it is applied, and because of whom."""
        requests = [person(number) for number in range(30)]
        requests[17] = person(17, age=-1)

        answers = batch(writer, requests, handler=chosen, atomic=True)

        assert [at for at, answer in enumerate(answers) if shown(answer)[0] == "constraint"] == [17]
        others = [answer for at, answer in enumerate(answers) if at != 17]
        assert {shown(answer) for answer in others} == {("atomic", Outcome.NOT_APPLIED)}
        assert "position 17" in str(others[0])
        assert rows_of(engine) == set()

    def test_all_good_is_all(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """Without a bad one it is one commit."""
        seen = commits(engine)

        answers = batch(writer, [person(number) for number in range(30)], atomic=True)

        assert all(isinstance(answer, WriteResult) for answer in answers)
        assert len(seen) == 1
        assert rows_of(engine) == set(range(30))


class TestKeys:
    """Idempotency keys within a batch."""

    def test_keys_take_effect_once(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A batch that is sent again is replayed, answer by answer, whatever is new in it is done."""
        first = batch(writer, [person(number, key=f"k{number}") for number in range(20)])
        again = batch(writer, [person(number, key=f"k{number}") for number in range(10, 30)])

        assert not any(answer.replayed for answer in first if isinstance(answer, WriteResult))
        assert [isinstance(a, WriteResult) and a.replayed for a in again] == [True] * 10 + [False] * 10
        assert [a.data for a in again if isinstance(a, WriteResult)] == [{"id": number} for number in range(10, 30)]
        assert rows_of(engine) == set(range(30))

    def test_a_key_with_another_payload_is_refused_alone(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """Only the request whose key was used for something else is INVALID_REQUEST."""
        batch(writer, [person(1, key="k")])

        answers = batch(writer, [person(2), person(3, key="k"), person(4, key="new")])

        assert [shown(answer)[0] for answer in answers] == ["", "key_reused", ""]
        assert isinstance(answers[1], InvalidRequestError)
        assert rows_of(engine) == {1, 2, 4}

    @pytest.mark.parametrize("chosen", [handlers["add"], single], ids=["handle_many", "handle"])
    def test_a_failed_write_leaves_its_key_free(self, writer: SQLWriter, engine: sa.Engine, chosen: Any) -> None:
        """The key of a bad one may be used for a better one; the keys of good ones are taken."""
        batch(writer, [person(1, key="a"), person(2, key="b", age=-1), person(3, key="c")], handler=chosen)

        answers = batch(writer, [person(1, key="a"), person(4, key="b"), person(3, key="c")], handler=chosen)

        assert [a.replayed for a in answers if isinstance(a, WriteResult)] == [True, False, True]
        assert rows_of(engine) == {1, 3, 4}

    def test_two_batches_with_the_same_keys_at_once_are_one(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """Sent by four threads in four orders, each key takes effect once and everyone is told so."""
        start = threading.Barrier(4)
        results: list[list[Answer]] = []

        def send(turn: int) -> None:
            requests = [person(number, key=f"k{number}") for number in range(40)]
            start.wait(20)
            results.append(batch(writer, requests[turn * 10 :] + requests[: turn * 10]))

        threads = [threading.Thread(target=send, args=(turn,)) for turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
            assert not thread.is_alive()

        for answers in results:
            assert all(
                isinstance(answer, WriteResult)
                or (answer.outcome is Outcome.NOT_APPLIED and answer.retry is Retry.SAFE)
                for answer in answers
            )
        done = [a for answers in results for a in answers if isinstance(a, WriteResult) and not a.replayed]
        new = [int((answer.data or {})["id"]) for answer in done]
        assert sorted(new) == list(range(40))
        assert rows_of(engine) == set(range(40))

    def test_a_result_without_json_form_fails_alone(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """A result that cannot be stored under its key is rolled back, and it alone."""

        @handler("add", backend="sql")
        def opaque(request: WriteRequest, connection: sa.Connection) -> Any:
            one_by_one(request, connection)
            return object() if request.payload["id"] == 2 else request.payload["id"]

        answers = batch(writer, [person(number, key=f"k{number}") for number in (1, 2, 3)], handler=opaque)

        assert [shown(answer)[0] for answer in answers] == ["", "handler", ""]
        assert rows_of(engine) == {1, 3}

    def test_an_atomic_batch_with_a_reused_key_is_refused_as_a_whole(
        self, writer: SQLWriter, engine: sa.Engine
    ) -> None:
        """The request whose key was used for another payload undoes the rest."""
        batch(writer, [person(1, key="k")])

        answers = batch(writer, [person(2), person(3, key="k")], atomic=True)

        assert [shown(answer)[0] for answer in answers] == ["atomic", "key_reused"]
        assert rows_of(engine) == {1}


class TestAfterCommit:
    """Callbacks of handlers."""

    def test_callbacks_run_after_the_commit_for_committed_ones_only(self, writer: SQLWriter, engine: sa.Engine) -> None:
        """Each good one's callback runs once, in order, when its row can be seen; a bad one's never."""
        told: list[tuple[int, int]] = []

        @handler("add", backend="sql")
        def telling(request: WriteRequest, connection: sa.Connection) -> int:
            number = int(request.payload["id"])
            after_commit(lambda: told.append((number, len(rows_of(engine)))))
            return one_by_one(request, connection)

        batch(writer, [person(n, age=-1 if n == 3 else 1) for n in range(6)], handler=telling)

        assert told == [(n, 5) for n in (0, 1, 2, 4, 5)]

    def test_what_is_undone_after_its_handler_tells_nobody(self, writer: SQLWriter) -> None:
        """A result that cannot be stored under its key undoes its row, and its callback does not run."""
        told: list[int] = []

        @handler("add", backend="sql")
        def opaque(request: WriteRequest, connection: sa.Connection) -> Any:
            number = one_by_one(request, connection)
            after_commit(lambda: told.append(number))
            return object() if number == 2 else number

        batch(writer, [person(number, key=f"k{number}") for number in (1, 2, 3)], handler=opaque)

        assert told == [1, 3]

    def test_a_failing_callback_is_a_warning_for_its_own_call(self, writer: SQLWriter) -> None:
        """What goes wrong after the commit changes no answer into an error."""

        @handler("add", backend="sql")
        def failing(request: WriteRequest, connection: sa.Connection) -> int:
            after_commit(lambda: 1 // 0)
            return one_by_one(request, connection)

        answers = batch(writer, [person(1), person(2)], handler=failing)

        assert all(isinstance(a, WriteResult) and "ZeroDivisionError" in a.warnings[0] for a in answers)
