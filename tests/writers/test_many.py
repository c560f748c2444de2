"""Batches through the manager: an answer at each position, retries and deadlines for a chunk, one line in the log."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from tests.writers.manager_kit import Acting, Counted, lost, managed, open_commit, put, request
from tests.writers.many_kit import compare, handlers, manage, metadata, people, person, rows_of, shown
from wellwired.clock import Deadline
from wellwired.errors import BackendError, ErrorCode, Outcome, Retry, WriteError, WriteTimeoutError
from wellwired.handlers import Handler, Registry, handler
from wellwired.handlers.sql import insert
from wellwired.middleware import SILENT, BatchEvent, RetryBudget, RetryPolicy
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import Answers, MemoryWriter, WriteManager
from wellwired.writers.idempotency import create_tables
from wellwired.writers.sql import SQLWriter

Answer = WriteResult[Any] | WriteError


class Batched(Acting):
    """A writer of many that does what it is told with the payloads' keys."""

    def __init__(self, act: Callable[[list[str], Deadline, bool], Sequence[Any]], **options: Any) -> None:
        super().__init__(lambda request, deadline: WriteResult(data="alone"))
        self.batches: list[list[str]] = []
        self.handlers: list[Handler] = []
        self._act = act
        self.batch_size = options.pop("batch_size", 1_000)
        self.keeps_keys = options.pop("keeps_keys", False)

    def write_batch(
        self, requests: Sequence[WriteRequest], *, handler: Handler, deadline: Deadline, atomic: bool
    ) -> Sequence[Answer]:
        """Notes the batch and does it."""
        keys = [str(one.payload["key"]) for one in requests]
        self.batches.append(keys)
        self.handlers.append(handler)
        return self._act(keys, deadline, atomic)


def fine(keys: list[str], _deadline: Deadline, _atomic: bool) -> list[Answer]:
    """Every request is done."""
    return [WriteResult(data=key) for key in keys]


def led(writer: Any, **options: Any) -> WriteManager:
    """A silent manager over a writer, on a clock that does not sleep, with the longest wait at every retry."""
    return WriteManager([writer], **{"logger": SILENT, "clock": VirtualClock(), "random": lambda: 1.0, **options})


def several(keys: str, **fields: Any) -> list[WriteRequest]:
    """A request for each letter."""
    return [request(payload={"key": key, "value": 1}, **fields) for key in keys]


def told(answers: Sequence[Answer]) -> list[Any]:
    """Data or reason of each."""
    return [answer.data if isinstance(answer, WriteResult) else answer.reason for answer in answers]


class TestWays:
    """Which way requests go."""

    def test_alike_ones_go_together(self) -> None:
        """Requests of one target and type are one call of the writer, answered by position."""
        writer = Batched(fine)

        answers = led(writer).write_many(several("abc"))

        assert writer.batches == [["a", "b", "c"]]
        assert told(answers) == ["a", "b", "c"]

    def test_one_alone_goes_alone(self) -> None:
        """A single request is a single write."""
        writer = Batched(fine)

        assert told(led(writer).write_many(several("a"))) == ["alone"]
        assert writer.batches == []

    def test_none_is_none(self) -> None:
        """An empty batch has no answers, atomic or not."""
        manager = led(Batched(fine))

        assert list(manager.write_many([])) == list(manager.write_many(iter(()), atomic=True)) == []

    def test_chunks_are_as_large_as_the_writer_says(self) -> None:
        """What is more goes in several calls."""
        writer = Batched(fine, batch_size=2)

        assert told(led(writer).write_many(several("abcde"))) == list("abcde")
        assert writer.batches == [["a", "b"], ["c", "d"], ["e"]]

    def test_types_are_apart_and_answers_by_position(self) -> None:
        """A mixture is sorted into groups, and its answers back into the caller's order."""
        writer = Batched(fine)
        requests = [one for pair in zip(several("abc"), several("xyz", type="other"), strict=True) for one in pair]

        answers = led(writer).write_many(requests)

        assert writer.batches == [["a", "b", "c"], ["x", "y", "z"]]
        assert told(answers) == ["a", "x", "b", "y", "c", "z"]

    def test_in_order_nothing_overtakes(self) -> None:
        """With `ordered` only neighbours go together."""
        writer = Batched(fine)

        led(writer).write_many([*several("ab"), *several("xy", type="other"), *several("cd")], ordered=True)

        assert writer.batches == [["a", "b"], ["x", "y"], ["c", "d"]]

    def test_a_writer_that_writes_one_is_asked_for_each(self) -> None:
        """Without the ability they go one by one."""
        manager, writer = managed()

        assert told(manager.write_many(several("ab"))) == ["a", "b"]
        assert len(writer.tried) == 2

    def test_invalid_ones_are_answered_without_the_others(self) -> None:
        """A wrong field, an unknown target or type, a payload that does not fit: each is an answer."""
        writer = Batched(fine)
        wrong: list[Any] = [
            object(),
            request(timeout=-1.0),
            request(target="nope"),
            request("missing"),
            request(payload=7),
        ]

        answers = led(writer).write_many([*several("a"), *wrong, *several("b")])

        assert [answers[at].code for at in answers.failed] == [  # type: ignore[union-attr]
            ErrorCode.INVALID_REQUEST,
            ErrorCode.INVALID_REQUEST,
            ErrorCode.WRITER_NOT_FOUND,
            ErrorCode.TYPE_NOT_SUPPORTED,
            ErrorCode.INVALID_REQUEST,
        ]
        assert writer.batches == [["a", "b"]]

    def test_a_closed_manager_refuses_each(self) -> None:
        """After `close` nothing is sent."""
        writer = Batched(fine)
        manager = led(writer)
        manager.close()

        assert told(manager.write_many(several("ab"))) == ["closed", "closed"]
        assert writer.batches == []

    def test_a_timeout_that_is_no_time_is_refused(self) -> None:
        """It is the one thing that raises."""
        with pytest.raises(ValueError, match="positive"):
            led(Batched(fine)).write_many(several("ab"), timeout=0)


class TestRetries:
    """What is sent again, and what is not."""

    def test_a_transient_failure_sends_the_chunk_again(self) -> None:
        """What certainly was not applied is tried again as a whole, and says so."""
        failures = [lost, None]

        def once(keys: list[str], _deadline: Deadline, _atomic: bool) -> list[Any]:
            return [WriteResult(data=key) for key in keys] if failures.pop(0) is None else [lost() for _ in keys]

        writer, clock = Batched(once), VirtualClock()
        answers = led(writer, clock=clock).write_many(several("ab"))

        assert writer.batches == [["a", "b"], ["a", "b"]]
        assert [answer.attempts for answer in answers] == [2, 2]
        assert clock.monotonic() > VirtualClock().monotonic()

    def test_only_what_may_be_sent_again_is(self) -> None:
        """One that is done, and one that is refused for good, are left out of the next try."""
        turns: list[dict[str, Any]] = [
            {"a": WriteResult(data="a"), "b": lost(), "c": BackendError("no", reason="constraint")},
            {"b": WriteResult(data="b")},
        ]

        def by_turn(keys: list[str], _deadline: Deadline, _atomic: bool) -> list[Any]:
            turn = turns.pop(0)
            return [turn[key] for key in keys]

        writer = Batched(by_turn)
        answers = led(writer).write_many(several("abc"))

        assert writer.batches == [["a", "b", "c"], ["b"]]
        assert told(answers) == ["a", "b", "constraint"]
        assert [answer.attempts for answer in answers] == [1, 2, 1]

    def test_an_unknown_outcome_is_not_sent_again(self) -> None:
        """Each of the chunk is UNKNOWN, and none is tried twice."""
        writer = Batched(lambda keys, deadline, atomic: [open_commit() for _ in keys])

        answers = led(writer).write_many(several("ab"))

        assert [shown(answer) for answer in answers] == [("commit_unknown", Outcome.UNKNOWN)] * 2
        assert len(writer.batches) == 1

    def test_attempts_end_and_the_worst_outcome_is_kept(self) -> None:
        """After the last attempt each has a RETRY_EXHAUSTED of its own."""
        writer = Batched(lambda keys, deadline, atomic: [lost() for _ in keys])

        answers = led(writer, retry=RetryPolicy(attempts=3)).write_many(several("ab"))

        assert len(writer.batches) == 3
        assert {answer.code for answer in answers.failed.values()} == {ErrorCode.RETRY_EXHAUSTED}
        assert answers[0] is not answers[1]
        assert [answer.attempts for answer in answers] == [3, 3]

    def test_a_retry_costs_the_budget_once(self) -> None:
        """A thousand requests in one retry are one retry for the backend."""
        budget = RetryBudget(capacity=5, cost=5)
        writer = Batched(lambda keys, deadline, atomic: [lost() for _ in keys])

        answers = led(writer, budget=budget, retry=RetryPolicy(attempts=9)).write_many(several("abcdefgh"))

        assert len(writer.batches) == 2
        assert {answer.reason for answer in answers.failed.values()} == {"budget"}

    def test_a_chunk_that_comes_too_late_is_not_sent(self) -> None:
        """The time for all of them is kept across chunks: the rest is TIMEOUT, and nothing of it is sent."""
        clock = VirtualClock()

        def slow(keys: list[str], deadline: Deadline, _atomic: bool) -> list[Any]:
            clock.advance(3.0)
            return fine(keys, deadline, _atomic)

        writer = Batched(slow, batch_size=2)
        answers = led(writer, clock=clock).write_many(several("abcdefgh"), timeout=5.0)

        assert writer.batches == [["a", "b"], ["c", "d"]]
        assert told(answers)[:4] == list("abcd")
        assert all(isinstance(answer, WriteTimeoutError) for answer in answers[4:])

    def test_each_chunk_has_the_time_of_a_write(self) -> None:
        """Without a time for all of them, each chunk has the manager's, which begins with it."""
        clock = VirtualClock()
        given: list[float] = []

        def slow(keys: list[str], deadline: Deadline, _atomic: bool) -> list[Any]:
            given.append(deadline.left())
            clock.advance(3.0)
            return fine(keys, deadline, _atomic)

        writer = Batched(slow, batch_size=1_000)
        led(writer, clock=clock, timeout=4.0).write_many([*several("ab"), *several("cd", timeout=2.0)])

        assert given == [4.0, 2.0]

    def test_within_a_handler_it_is_tried_once(self) -> None:
        """A batch inside a write is repeated by the write, not by itself."""
        inner = Batched(lambda keys, deadline, atomic: [lost() for _ in keys])
        outer = MemoryWriter("memory")
        manager = WriteManager([inner, outer], logger=SILENT, clock=VirtualClock())

        @handler("outer")
        def outside(_request: WriteRequest, _connection: Any) -> int:
            return len(manager.write_many(several("ab")).failed)

        outer.register_handler(outside)
        assert manager.write(WriteRequest("memory", "outer", {})).data == 2
        assert len(inner.batches) == 1

    @pytest.mark.parametrize(
        "broken",
        [lambda keys, d, a: [], lambda keys, d, a: [1 for _ in keys], lambda keys, d, a: 1 // 0],
        ids=["short", "no answers", "raises"],
    )
    def test_a_writer_that_breaks_its_contract_leaves_all_unknown(self, broken: Any) -> None:
        """Nobody can say what became of the data."""
        answers = led(Batched(broken)).write_many(several("ab"))

        assert [shown(answer) for answer in answers] == [("writer", Outcome.UNKNOWN)] * 2

    def test_a_circuit_takes_a_batch_for_one_call(self) -> None:
        """Chunks that fail open the circuit, and an open one refuses a chunk without sending it."""
        from wellwired.middleware import BreakerPolicy

        writer = Batched(lambda keys, deadline, atomic: [lost() for _ in keys])
        manager = led(writer, breaker=BreakerPolicy(calls=2, failures=1.0), retry=RetryPolicy(attempts=1))
        for _ in range(2):
            assert told(manager.write_many(several("ab"))) == ["connection", "connection"]

        assert told(manager.write_many(several("ab"))) == ["circuit_open", "circuit_open"]
        assert len(writer.batches) == 2


class TestKeys:
    """Idempotency keys that are in a batch twice."""

    def test_the_same_request_twice_has_one_answer(self) -> None:
        """The second is not sent; it gets the first's answer, as replayed."""
        writer = Batched(fine, keeps_keys=True)
        requests = [*several("ab"), *several("c", idempotency_key="k"), *several("c", idempotency_key="k")]

        answers = led(writer).write_many(requests)

        assert writer.batches == [["a", "b", "c"]]
        assert told(answers) == ["a", "b", "c", "c"]
        assert [isinstance(answer, WriteResult) and answer.replayed for answer in answers] == [False] * 3 + [True]

    def test_the_same_key_with_another_payload_is_refused(self) -> None:
        """It is INVALID_REQUEST, as it would be one after the other; the first is done."""
        writer = Batched(fine, keeps_keys=True)
        requests = [*several("a", idempotency_key="k"), *several("b", idempotency_key="k"), *several("c")]

        assert told(led(writer).write_many(requests)) == ["a", "key_reused", "c"]

    def test_a_key_that_nobody_keeps_is_refused_alone(self) -> None:
        """The writer keeps none, and the handler is not idempotent."""
        assert told(led(Batched(fine)).write_many([*several("ab"), *several("c", idempotency_key="k")])) == [
            "a",
            "b",
            "idempotency_key",
        ]


class TestAtomic:
    """All or nothing, as far as the manager decides it."""

    def test_one_invalid_request_is_nothing(self) -> None:
        """Nothing is sent; the others say because of whom."""
        writer = Batched(fine)

        answers = led(writer).write_many([*several("a"), request(payload=7), *several("b")], atomic=True)

        assert told(answers) == ["atomic", "payload", "atomic"]
        assert "position 1" in str(answers[2])
        assert writer.batches == []

    def test_two_targets_cannot_be_one_transaction(self) -> None:
        """Each is INVALID_REQUEST."""
        other = Batched(fine)
        other.name = "sql.other"
        manager = WriteManager([Batched(fine), other], logger=SILENT)

        answers = manager.write_many([*several("a"), *several("b", target="sql.other")], atomic=True)

        assert [answer.code for answer in answers.failed.values()] == [ErrorCode.INVALID_REQUEST] * 2

    def test_a_writer_of_ones_cannot(self) -> None:
        """It is refused, and nothing is written."""
        manager, writer = led(act := Acting(lambda request, deadline: WriteResult())), act

        assert told(manager.write_many(several("ab"), atomic=True)) == ["atomic", "atomic"]
        assert isinstance(writer, Acting)

    def test_it_is_never_cut(self) -> None:
        """However many there are, they are one call."""
        writer = Batched(fine, batch_size=2)

        led(writer).write_many(several("abcde"), atomic=True)

        assert writer.batches == [list("abcde")]

    def test_a_transient_failure_sends_all_again(self) -> None:
        """And one that must not be sent again keeps all of them from it."""
        atomic = BackendError("another failed", retry=Retry.SAFE, reason="atomic")
        turns: list[list[Any]] = [[atomic, lost()], [WriteResult(), WriteResult()]]
        writer = Batched(lambda keys, deadline, atomic: turns.pop(0))
        assert led(writer).write_many(several("ab"), atomic=True).failed == {}

        turns[:] = [[atomic, BackendError("no", reason="constraint")]]
        assert told(led(writer).write_many(several("ab"), atomic=True)) == ["atomic", "constraint"]
        assert len(writer.batches) == 3


def both(notes: list[Any]) -> Any:
    """A middleware of single writes and of batches."""

    def single(next: Any) -> Any:
        return next

    def many(next: Any) -> Any:
        def call(operations: Sequence[WriteOperation]) -> Any:
            notes.append([str(one.request.payload["key"]) for one in operations])
            return next(operations)

        return call

    single.many = many  # type: ignore[attr-defined]
    return single


class TestMiddleware:
    """What stands around a batch."""

    def test_one_that_knows_single_writes_sees_each(self) -> None:
        """A batch goes through it one by one."""
        notes: list[str] = []

        def single(next: Any) -> Any:
            def call(operation: WriteOperation) -> Any:
                notes.append(operation.request.payload["key"])
                return next(operation)

            return call

        writer = Batched(fine)
        assert told(led(writer, middleware=[single]).write_many(several("ab"))) == ["alone", "alone"]
        assert notes == ["a", "b"]
        assert told(led(writer, middleware=[single]).write_many(several("ab"), atomic=True)) == ["atomic", "atomic"]

    @pytest.mark.parametrize("each", [False, True])
    def test_one_that_knows_batches_keeps_them(self, each: bool) -> None:
        """If all do, a batch stays a batch, in the order of registration."""
        notes: list[Any] = []
        writer = Batched(fine)
        manager = led(writer)
        manager.use(both(notes), each_attempt=each)

        assert told(manager.write_many(several("ab"))) == ["a", "b"]
        assert notes == [["a", "b"]]
        assert writer.batches == [["a", "b"]]

    def test_it_cannot_turn_what_was_done_into_an_error(self) -> None:
        """What it raises, or leaves out, after the commit is a warning."""

        def forgetful(next: Any) -> Any:
            def call(operations: Any) -> Any:
                next(operations)
                raise ZeroDivisionError

            return call

        def single(next: Any) -> Any:
            return next

        single.many = forgetful  # type: ignore[attr-defined]
        answers = led(Batched(fine), middleware=[single]).write_many(several("ab"))

        assert told(answers) == ["a", "b"]
        assert all(isinstance(answer, WriteResult) and "ZeroDivisionError" in answer.warnings[0] for answer in answers)

    def test_what_it_stops_is_not_applied(self) -> None:
        """Before the writer its exception is a `BackendError` of each, and nothing is sent."""

        def single(next: Any) -> Any:
            return next

        single.many = lambda _next: lambda operations: 1 // 0  # type: ignore[attr-defined]
        writer = Batched(fine)
        answers = led(writer, middleware=[single]).write_many(several("ab"))

        assert [shown(answer) for answer in answers] == [("middleware", Outcome.NOT_APPLIED)] * 2
        assert writer.batches == []

    def test_it_may_change_payloads(self) -> None:
        """The writer gets what it lets through."""

        def single(next: Any) -> Any:
            return next

        def louder(next: Any) -> Any:
            def call(operations: Sequence[WriteOperation]) -> Any:
                from dataclasses import replace

                return next(
                    [
                        replace(o, request=o.request.with_payload({"key": o.request.payload["key"].upper()}))
                        for o in operations
                    ]
                )

            return call

        single.many = louder  # type: ignore[attr-defined]
        writer = Batched(fine)

        assert told(led(writer, middleware=[single]).write_many(several("ab"))) == ["A", "B"]


class TestTold:
    """Logs and metrics."""

    def test_a_group_is_one_line(self) -> None:
        """With the numbers of what became of its requests, and no payload."""
        mixed: list[Any] = [WriteResult(), lost(), WriteResult(replayed=True)]
        with structlog.testing.capture_logs() as lines:
            manager = led(Batched(lambda keys, d, a: mixed), logger=None, retry=RetryPolicy(attempts=1))
            manager.write_many(several("abc", meta={"trace_id": "t"}))

        (line,) = lines
        assert line["event"] == "wellwired.write_many"
        assert line["log_level"] == "error"
        assert (line["size"], line["applied"], line["replayed"], line["trace_id"]) == (3, 2, 1, "t")
        assert line["failed"] == {"BACKEND NOT_APPLIED": 1}
        assert line["reasons"] == {"connection": 1}

    def test_metrics_that_know_no_batches_count_each(self) -> None:
        """An event for each request."""
        metrics = Counted()

        led(Batched(fine), metrics=metrics).write_many(several("abc"))

        assert [(event.type, event.code) for event in metrics.events] == [("put", "OK")] * 3

    def test_metrics_that_know_batches_are_told_once(self) -> None:
        """One event for the group."""

        class Many(Counted):
            def __init__(self) -> None:
                super().__init__()
                self.many: list[BatchEvent] = []

            def record_many(self, event: BatchEvent, /) -> None:
                self.many.append(event)

        metrics = Many()
        led(Batched(fine), metrics=metrics).write_many(several("abc"))

        assert metrics.events == []
        assert [(event.size, event.applied, event.type) for event in metrics.many] == [(3, 3, "put")]

    def test_prometheus_counts_each_write(self) -> None:
        """The counter grows by the number of requests of each ending."""
        from prometheus_client import CollectorRegistry

        from wellwired.middleware.prometheus import PrometheusMetrics

        registry = CollectorRegistry()
        answers: list[Any] = [WriteResult(), BackendError("no", reason="constraint"), WriteResult()]
        led(Batched(lambda k, d, a: answers), metrics=PrometheusMetrics(registry=registry)).write_many(several("abc"))

        labels = {"writer": "sql.main", "target": "sql.main", "type": "put"}
        total = "wellwired_writes_total"
        assert registry.get_sample_value(total, {**labels, "code": "OK", "outcome": "APPLIED"}) == 2
        assert registry.get_sample_value(total, {**labels, "code": "BACKEND", "outcome": "NOT_APPLIED"}) == 1

    def test_a_failing_observer_is_a_warning(self) -> None:
        """It changes no answer."""

        class Broken:
            def record(self, event: Any, /) -> None:
                raise ZeroDivisionError

        answers = led(Batched(fine), metrics=Broken()).write_many(several("ab"))

        assert all(isinstance(answer, WriteResult) and "ZeroDivisionError" in answer.warnings[0] for answer in answers)


class TestAnswers:
    """The list of answers."""

    def test_errors_are_raised_on_demand(self) -> None:
        """`raise_for_errors` raises all of them in one group, each with its position."""
        answers = led(Batched(lambda keys, d, a: [WriteResult(), BackendError("no")])).write_many(several("ab"))

        with pytest.raises(ExceptionGroup) as caught:
            answers.raise_for_errors()

        assert caught.value.exceptions == (answers.failed[1],)
        assert answers.failed[1].__notes__ == ["position 1 of the batch"]
        led(Batched(fine)).write_many(several("ab")).raise_for_errors()

    def test_it_is_a_sequence(self) -> None:
        """It has a length, indexes from both ends, slices, iterates and compares like a list."""
        first: list[Answer] = [WriteResult(data=1), WriteResult(data=2)]
        second: list[Answer] = [WriteResult(data=3)]
        answers = Answers([first, [], second])

        assert len(answers) == 3
        assert (answers[2], answers[-3], answers[1:]) == (second[0], first[0], [first[1], second[0]])
        assert list(answers) == [*first, *second]
        assert answers == [*first, *second]
        assert answers != first
        with pytest.raises(IndexError):
            answers[3]

    @pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
    def test_results_are_made_once_and_travel(self, sql_engine: sa.Engine) -> None:
        """The same object at each look, with its duration; and a pickle has all of them."""
        metadata.create_all(sql_engine)
        answers = manage(SQLWriter("sql.main", sql_engine)).write_many([person(1), person(2), person(3)])

        assert answers[1] is answers[-2]
        assert all(answer.duration > 0 for answer in answers if isinstance(answer, WriteResult))
        assert pickle.loads(pickle.dumps(answers)) == answers


class TestSQL:
    """The whole way to a database."""

    @pytest.fixture
    def engine(self, sql_engine: sa.Engine) -> sa.Engine:
        """A fresh database with the tables."""
        metadata.create_all(sql_engine)
        create_tables(sql_engine)
        return sql_engine

    def test_twenty_five_hundred_rows_with_a_few_bad_ones(self, engine: sa.Engine) -> None:
        """Three chunks; each bad one has its reason; the table is what the answers say."""
        manager = manage(SQLWriter("sql.main", engine))
        requests = [person(number) for number in range(2_500)]
        requests[5] = person(5, age=-1)
        requests[999] = person(999, email="1@example.org")
        requests[2_400] = person(2_400, age=None)

        answers = manager.write_many(requests)

        assert {at: error.reason for at, error in answers.failed.items()} == {
            5: "constraint",
            999: "duplicate",
            2_400: "constraint",
        }
        compare(engine, requests, answers)

    def test_an_atomic_batch_may_have_several_types(self, engine: sa.Engine) -> None:
        """In their order, in one transaction: all of it or nothing."""
        manager = manage(SQLWriter("sql.main", engine))
        manager.write_many([person(1), person(2)])
        mixture = [
            WriteRequest("sql.main", "drop", {"id": 1}),
            person(1, email="new"),
            WriteRequest("sql.main", "change", {"id": 2, "age": 50}),
            WriteRequest("sql.main", "count", {"value": 1}),
        ]

        assert told(manager.write_many([*mixture, person(3, age=-1)], atomic=True)) == ["atomic"] * 4 + ["constraint"]
        assert rows_of(engine) == {1, 2}
        answers = manager.write_many(mixture, atomic=True)
        assert answers.failed == {}
        assert [a.data for a in answers if isinstance(a, WriteResult)][:3] == [{"rows": 1}, {"id": 1}, {"rows": 1}]

    def test_the_stores_forget_what_a_batch_changed(self, engine: sa.Engine) -> None:
        """The keys of committed requests are evicted once, those of refused ones are not."""

        class Evicting:
            def __init__(self) -> None:
                self.evicted: list[tuple[str, ...]] = []

            def evict(self, keys: tuple[str, ...], /) -> object:
                self.evicted.append(tuple(keys))
                return None

        store = Evicting()
        named = insert(people, type="named", changes=lambda request: {"stores.people": [f"p:{request.payload.id}"]})
        writer = SQLWriter("sql.main", engine, handlers=Registry(named))
        manager = WriteManager([writer], logger=SILENT, stores={"stores.people": store})

        manager.write_many([person(1, "named"), person(2, "named", age=-1), person(3, "named")])

        assert store.evicted == [("p:1", "p:3")]


def test_the_kit_and_the_handlers_agree() -> None:
    """Every handler of the kit is filed under its own type."""
    assert {name: one.type for name, one in handlers.items()} == {name: name for name in handlers}
    assert put.type == "put"
