"""Group commit: who leads, who goes along, and that nobody fails for a neighbour's sake; by events, without sleeps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from tests.writers.many_kit import handlers, manage, metadata, person, rows_of
from tests.writers.sql_kit import running
from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Retry, WriteError, WriteTimeoutError
from wellwired.handlers import Handler, handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers import GroupCommit
from wellwired.writers._answers import Answer
from wellwired.writers._group import Group
from wellwired.writers.sql import SQLWriter

doer = handlers["add"]


class Stage:
    """A group whose writes are played by the test.

    Args:
        policy: the group's.
        answer: gives the answer of each request of a batch.
    """

    def __init__(
        self, policy: GroupCommit | None = None, answer: Callable[[WriteRequest], Answer] | None = None
    ) -> None:
        self.batches: list[list[str]] = []
        self.deadlines: list[Deadline] = []
        self.alone: list[str] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.first = True
        self._answer = answer or (lambda request: WriteResult(data=f"group {request.payload}"))
        self.group = Group(policy or GroupCommit(), alone=self._alone, together=self._together)

    def _alone(self, request: WriteRequest, _handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        if deadline.passed:
            raise WriteTimeoutError("late")
        self.alone.append(request.payload)
        if self.first:  # the first one leads until the test says so
            self.first = False
            self.entered.set()
            assert self.go_on.wait(30)
        return WriteResult(data=f"alone {request.payload}")

    def _together(self, requests: Sequence[WriteRequest], _handler: Handler, deadline: Deadline) -> Sequence[Answer]:
        self.batches.append([request.payload for request in requests])
        self.deadlines.append(deadline)
        return [self._answer(request) for request in requests]

    def write(
        self, name: str, *, key: str | None = None, deadline: Deadline | None = None, by: Any = doer
    ) -> WriteResult[Any]:
        """One write."""
        request = WriteRequest("sql.main", "add", name, idempotency_key=key)
        return self.group.write(request, by, deadline or Deadline.after(30))

    def queued(self, number: int) -> None:
        """Waits until so many are waiting."""
        ends = Deadline.after(20)
        while self.group.waiting < number:
            assert not ends.passed, "they do not queue up"
            threading.Event().wait(0.001)


def answered(stage: Stage, *writes: Callable[[], Any]) -> list[Any]:
    """Has one write lead while the others queue up behind it in order; gives what each got, the leader's first."""
    answers: dict[int, Any] = {}

    def kept(number: int, work: Callable[[], Any]) -> Callable[[], Any]:
        def body() -> None:
            try:
                answers[number] = work()
            except WriteError as error:
                answers[number] = error

        return body

    with running(kept(0, writes[0])):
        # A group of one writes alone, holding the lead.
        assert stage.entered.wait(20)
        threads = []
        for number, work in enumerate(writes[1:], 1):
            threads.append(threading.Thread(target=kept(number, work)))
            threads[-1].start()
            stage.queued(number)
        stage.go_on.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive(), "a follower hangs"
    return [answers[number] for number in range(len(writes))]


def test_one_alone_writes_as_without_a_group() -> None:
    """Without company there is no batch, and nobody waits."""
    stage = Stage()
    stage.go_on.set()

    assert stage.write("a").data == "alone a"
    assert stage.write("b").data == "alone b"
    assert stage.batches == []
    assert stage.group.waiting == 0


def test_who_comes_meanwhile_goes_together() -> None:
    """While one writes the others queue up, and the first of them leads all of them in their order."""
    stage = Stage()

    results = answered(stage, *[lambda name=name: stage.write(name) for name in "abcd"])

    assert [result.data for result in results] == ["alone a", "group b", "group c", "group d"]
    assert stage.batches == [["b", "c", "d"]]


def test_a_group_is_no_larger_than_allowed() -> None:
    """The rest is led by its own first."""
    stage = Stage(GroupCommit(max_batch=2))

    answered(stage, *[lambda name=name: stage.write(name) for name in "abcdef"])

    assert [len(batch) for batch in stage.batches][:2] == [2, 2]
    assert sorted(name for batch in stage.batches for name in batch) + stage.alone[1:] == list("bcdef")


def test_one_bad_one_fails_alone() -> None:
    """An error that is about one request is raised for it, and for nobody else."""
    bad = BackendError("no", reason="constraint")
    stage = Stage(answer=lambda request: bad if request.payload == "c" else WriteResult(data=request.payload))

    results = answered(stage, *[lambda name=name: stage.write(name) for name in "abcd"])

    assert results[2] is bad
    assert [results[at].data for at in (0, 1, 3)] == ["alone a", "b", "d"]
    assert stage.alone == ["a"]


def test_what_ended_the_transaction_sends_each_to_try_alone() -> None:
    """A deadlock or a lost connection may have been a neighbour's fault: each tries by itself, once."""
    stage = Stage(answer=lambda request: BackendError("deadlock", retry=Retry.SAFE, reason="deadlock"))

    results = answered(stage, *[lambda name=name: stage.write(name) for name in "abc"])

    assert [result.data for result in results] == ["alone a", "alone b", "alone c"]
    assert stage.batches == [["b", "c"]]


def test_a_commit_without_an_answer_leaves_all_of_them_unknown() -> None:
    """Nobody tries again what may have been applied."""
    lost = BackendError("no answer", outcome=Outcome.UNKNOWN, retry=Retry.IF_IDEMPOTENT, reason="commit_unknown")
    stage = Stage(answer=lambda request: lost)

    results = answered(stage, *[lambda name=name: stage.write(name) for name in "abc"])

    assert [getattr(result, "outcome", None) for result in results] == [None, Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert stage.alone == ["a"]


def test_the_nearest_deadline_is_the_groups() -> None:
    """And one who had more time tries alone when the group ran out of it."""
    stage = Stage(answer=lambda request: WriteTimeoutError("late", retry=Retry.SAFE))
    near = Deadline.after(25)

    results = answered(
        stage, lambda: stage.write("a"), lambda: stage.write("b"), lambda: stage.write("c", deadline=near)
    )

    assert stage.deadlines == [near]
    assert [result.data for result in results] == ["alone a", "alone b", "alone c"]


def test_one_whose_deadline_passes_in_the_queue_leaves_not_applied() -> None:
    """It is a TIMEOUT, it is not written, and the others go on without it."""
    stage = Stage()
    outcome: list[Any] = []

    def late() -> Any:
        try:
            stage.write("late", deadline=Deadline.after(0.05))
        except WriteError as error:
            outcome.append(error)
            stage.go_on.set()
            raise
        return None

    with running(lambda: stage.write("a"), *[]) as results:
        assert stage.entered.wait(20)
        with running(late) as followers:
            pass
    assert isinstance(followers[0], WriteTimeoutError)
    assert (outcome[0].outcome, outcome[0].reason) == (Outcome.NOT_APPLIED, "pool")
    assert results[0].data == "alone a"
    assert stage.batches == []
    assert stage.group.waiting == 0
    assert stage.write("next").data == "alone next"


def test_two_with_one_key_go_one_after_the_other() -> None:
    """The second is for the next group, where it finds what the first has left."""
    stage = Stage()

    answered(
        stage,
        lambda: stage.write("a"),
        lambda: stage.write("b", key="k"),
        lambda: stage.write("c", key="k"),
        lambda: stage.write("d"),
    )

    assert stage.batches == [["b", "d"]]
    assert stage.alone == ["a", "c"]


def test_handlers_are_not_mixed() -> None:
    """One whose handler was replaced meanwhile is for another group."""
    stage = Stage()

    answered(stage, lambda: stage.write("a"), lambda: stage.write("b"), lambda: stage.write("c", by=object()))

    assert stage.alone == ["a", "b", "c"]


def test_a_leader_that_is_ended_leaves_the_others_unknown_and_not_waiting() -> None:
    """What ends a program passes on its own thread; those who went along are told that nobody knows."""

    def ending(request: WriteRequest) -> Answer:
        raise KeyboardInterrupt

    stage = Stage(answer=ending)
    ended: list[Any] = []

    def leader() -> Any:
        try:
            return stage.write("b")
        except KeyboardInterrupt as error:
            ended.append(error)
            return None

    results = answered(stage, lambda: stage.write("a"), leader, lambda: stage.write("c"))

    assert len(ended) == 1
    assert (results[2].outcome, results[2].reason) == (Outcome.UNKNOWN, "interrupted")
    assert stage.write("d").data == "alone d"


def test_a_leader_may_wait_for_company() -> None:
    """With linger it waits until the group is full, and no longer."""
    stage = Stage(GroupCommit(max_batch=3, linger=25.0))
    stage.first = False

    with running(*[lambda name=name: stage.write(name) for name in "abc"]) as results:
        pass

    assert sorted(result.data for result in results) == ["group a", "group b", "group c"]
    assert len(stage.batches) == 1


def test_linger_is_bounded_by_the_deadline() -> None:
    """Who would wait past its deadline for company does not: it is a TIMEOUT at the deadline."""
    stage = Stage(GroupCommit(linger=60.0))

    with pytest.raises(WriteTimeoutError):
        stage.write("a", deadline=Deadline.after(0.05))


def test_a_handlers_own_write_does_not_wait_for_its_own_group() -> None:
    """A write of the type within a handler of the type goes alone."""
    stage = Stage()

    def nested(request: WriteRequest) -> Answer:
        return stage.write("inner") if request.payload == "b" else WriteResult(data="c")

    stage._answer = nested
    results = answered(stage, *[lambda name=name: stage.write(name) for name in "abc"])

    assert [result.data for result in results] == ["alone a", "alone inner", "c"]


@pytest.mark.parametrize("wrong", [{"max_batch": 1}, {"linger": -1.0}, {"linger": float("inf")}])
def test_a_policy_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    """A group of one, or a wait without end, is a mistake."""
    with pytest.raises(ValueError, match="group commit"):
        GroupCommit(**wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_does_not_wait_for_its_parents_leader() -> None:
    """A fork while someone leads: the child's first write leads by itself."""
    stage = Stage()
    with running(lambda: stage.write("a")):
        assert stage.entered.wait(20)
        child = os.fork()
        if child == 0:  # pragma: no cover - in the child
            done = stage.write("b", deadline=Deadline.after(20)).data == "alone b"
            os._exit(0 if done else 1)
        _, status = os.waitpid(child, 0)
        stage.go_on.set()
    assert os.waitstatus_to_exitcode(status) == 0


class TestDatabase:
    """On a database, with threads."""

    @pytest.fixture
    def engine(self, sql_engine: sa.Engine) -> sa.Engine:
        """A fresh database with the tables."""
        metadata.create_all(sql_engine)
        return sql_engine

    def test_sixteen_threads_share_commits_and_each_has_its_own_answer(self, engine: sa.Engine) -> None:
        """Every good row is there, every bad one has its own error, and there are fewer commits than writes."""
        writer = SQLWriter("sql.main", engine, group_commit={"add": GroupCommit(max_batch=32)})
        manager = manage(writer)
        commits: list[Any] = []
        event.listen(engine, "commit", commits.append)
        start = threading.Barrier(16)

        def send(thread: int) -> list[Any]:
            start.wait(20)
            outcomes: list[Any] = []
            for turn in range(20):
                number = thread * 100 + turn
                try:
                    outcomes.append(manager.write(person(number, age=-1 if number % 10 == 7 else 1)).data)
                except WriteError as error:
                    outcomes.append((number, error.reason))
            return outcomes

        with running(*[lambda thread=thread: send(thread) for thread in range(16)]) as results:
            pass

        numbers = [thread * 100 + turn for thread in range(16) for turn in range(20)]
        good = {number for number in numbers if number % 10 != 7}
        assert rows_of(engine) == good
        got = [one for outcomes in results for one in outcomes]
        assert sorted(one["id"] for one in got if isinstance(one, dict)) == sorted(good)
        assert sorted(one for one in got if not isinstance(one, dict)) == sorted(
            (number, "constraint") for number in numbers if number not in good
        )
        assert len(commits) < len(good)

    @pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
    def test_a_write_inside_a_transaction_of_its_thread_is_refused_at_once(self, engine: sa.Engine) -> None:
        """On SQLite it would wait for itself, in a group as well as alone."""
        manager = manage(SQLWriter("sql.main", engine, group_commit={"add": GroupCommit()}))

        with manager.transaction("sql.main"), pytest.raises(BackendError) as caught:
            manager.write(person(1))

        assert caught.value.outcome is Outcome.NOT_APPLIED

    @pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
    def test_other_types_are_left_alone(self, engine: sa.Engine) -> None:
        """A type without a policy writes as ever."""

        @handler("mine", backend="sql")
        def mine(request: WriteRequest, _connection: sa.Connection) -> str:
            return threading.current_thread().name

        writer = SQLWriter("sql.main", engine, group_commit={"add": GroupCommit()})
        writer.register_handler(mine)

        assert manage(writer).write(WriteRequest("sql.main", "mine", {})).data == threading.current_thread().name
