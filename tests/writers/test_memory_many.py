"""Transactions, batches, callbacks and keys of the writer into memory: what a database promises, without one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.writers.manager_kit import SECRET
from wellwired.clock import Deadline
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Retry, WriteError, WriteTimeoutError
from wellwired.handlers import FunctionHandler, Handler, after_commit
from wellwired.handlers.after import Collected
from wellwired.middleware import SILENT
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import MemoryWriter, Transacts, WriteManager, WritesMany, capabilities_of

LOST = BackendError("lost", outcome=Outcome.UNKNOWN, retry=Retry.IF_IDEMPOTENT, target="m", type="t")


def put(request: WriteRequest, data: Any) -> Any:
    """Stores under each name how often it was stored; a bad one raises after it."""
    name = request.payload["name"]
    data[name] = data.get(name, 0) + 1
    after_commit(lambda: RAN.append(name))
    if name == "bad":
        raise KeyError(SECRET)
    return data[name]


RAN: list[str] = []
by: Handler = FunctionHandler(put, type="t")


def asked(name: str, key: str | None = None) -> WriteRequest:
    """A request to store a name."""
    return WriteRequest("m", "t", {"name": name}, idempotency_key=key)


@pytest.fixture
def writer() -> MemoryWriter:
    """An empty writer, and no callbacks that have run."""
    RAN.clear()
    return MemoryWriter("m", keeps_keys=True)


def batch(writer: MemoryWriter, *names: str, handler: Handler = by, **options: Any) -> list[Any]:
    """One attempt at many."""
    keys: Sequence[str | None] = options.pop("keys", None) or [None] * len(names)
    deadline: Deadline = options.pop("deadline", None) or Deadline.after(10)
    atomic: bool = options.pop("atomic", False)
    requests = [asked(name, key) for name, key in zip(names, keys, strict=True)]
    return list(writer.write_batch(requests, handler=handler, deadline=deadline, atomic=atomic))


def failure(act: Callable[..., object], *args: Any, **options: Any) -> WriteError:
    """How it fails."""
    with pytest.raises(WriteError) as caught:
        act(*args, **options)
    return caught.value


def test_it_says_what_it_can(writer: MemoryWriter) -> None:
    """All that a database can."""
    assert isinstance(writer, Transacts)
    assert isinstance(writer, WritesMany)
    said = capabilities_of(writer)
    assert (said.deadline, said.atomic, said.idempotency, said.savepoints) == ("fenced", True, True, True)
    assert not capabilities_of(MemoryWriter("m")).idempotency


class TestSingle:
    """One write."""

    def test_callbacks_run_after_the_write(self, writer: MemoryWriter) -> None:
        """Once, when the turn is given back; what fails is a warning."""
        free: list[bool] = []

        def look() -> None:
            thread = threading.Thread(target=lambda: free.append(bool(writer.data)))
            thread.start()
            thread.join(10)

        def work(_request: WriteRequest, data: Any) -> None:
            data["a"] = 1
            after_commit(look)
            after_commit(lambda: 1 / 0)

        result = writer.write(asked("a"), handler=FunctionHandler(work, type="t"), deadline=Deadline.after(10))

        assert free == [True]
        assert "ZeroDivisionError" in result.warnings[0]

    def test_callbacks_of_a_failed_write_do_not_run(self, writer: MemoryWriter) -> None:
        """Neither of one that raised, nor of one that was late."""
        failure(writer.write, asked("bad"), handler=by, deadline=Deadline.after(10))

        assert RAN == []

    def test_a_key_is_one_write(self, writer: MemoryWriter) -> None:
        """The stored result is replayed and nothing runs again; another payload is refused."""
        first = writer.write(asked("a", "k"), handler=by, deadline=Deadline.after(10))
        second = writer.write(asked("a", "k"), handler=by, deadline=Deadline.after(10))

        assert (first.data, first.replayed, second.data, second.replayed) == (1, False, 1, True)
        assert (writer.data, RAN, len(writer.written), len(writer.tried)) == ({"a": 1}, ["a"], 1, 2)
        refusal = failure(writer.write, asked("b", "k"), handler=by, deadline=Deadline.after(10))
        assert isinstance(refusal, InvalidRequestError)

    def test_a_lost_answer_is_found_by_its_key(self, writer: MemoryWriter) -> None:
        """As with a database: the data was changed, and sending it again replays."""
        writer.fail_next(LOST, applied=True)
        assert failure(writer.write, asked("a", "k"), handler=by, deadline=Deadline.after(10)) is LOST

        assert writer.write(asked("a", "k"), handler=by, deadline=Deadline.after(10)).replayed
        assert writer.data == {"a": 1}

    def test_a_result_that_cannot_be_kept_leaves_nothing(self, writer: MemoryWriter) -> None:
        """It is refused before anything counts."""

        def work(_request: WriteRequest, data: Any) -> object:
            data["a"] = 1
            return object()

        handler = FunctionHandler(work, type="t")
        assert failure(writer.write, asked("a", "k"), handler=handler, deadline=Deadline.after(10)).reason == "handler"
        assert writer.data == {}


class TestUnits:
    """Several writes in one transaction."""

    @pytest.fixture(autouse=True)
    def collected(self) -> Iterator[None]:
        """What a manager does around the writes of a transaction."""
        with Collected():
            yield

    def test_all_or_nothing(self, writer: MemoryWriter) -> None:
        """Writes see each other, others see them after the commit."""
        unit = writer.begin("m", deadline=Deadline.after(10))
        data = [unit.write(asked("a"), handler=by).data for _ in range(2)]

        assert (data, writer.data, writer.written) == ([1, 2], {}, ())
        unit.commit()
        assert unit.close() == ""
        assert (writer.data, len(writer.written)) == ({"a": 2}, 2)

    def test_others_wait_for_their_turn(self, writer: MemoryWriter) -> None:
        """A transaction has the writer for itself, and gives it back whatever became of it."""
        unit = writer.begin("m", deadline=Deadline.after(10))
        errors: list[WriteError] = []
        other = threading.Thread(
            target=lambda: errors.append(failure(writer.begin, "m", deadline=Deadline.after(0.01)))
        )
        other.start()
        other.join(10)
        unit.close()
        unit.close()

        assert [type(error) for error in errors] == [WriteTimeoutError]
        assert writer.write(asked("a"), handler=by, deadline=Deadline.after(1)).success

    def test_a_failure_spoils_it(self, writer: MemoryWriter) -> None:
        """Nothing is applied, and going on says why."""
        unit = writer.begin("m", deadline=Deadline.after(10))
        unit.write(asked("a"), handler=by)
        first = failure(unit.write, asked("bad"), handler=by)

        assert not unit.usable
        assert failure(unit.write, asked("a"), handler=by).reason == "spoilt"
        assert failure(unit.commit).__cause__ is first
        unit.close()
        assert writer.data == {}

    def test_a_savepoint_undoes_its_block(self, writer: MemoryWriter) -> None:
        """And it alone; it leaves the keys of its block free."""
        unit = writer.begin("m", deadline=Deadline.after(10))

        def block() -> None:
            with unit.savepoint():
                unit.write(asked("b", "k"), handler=by)
                unit.write(asked("bad"), handler=by)

        unit.write(asked("a"), handler=by)
        assert failure(block).reason == "handler"
        with unit.savepoint():
            assert not unit.write(asked("b", "k"), handler=by).replayed
        unit.commit()
        unit.close()

        assert writer.data == {"a": 1, "b": 1}
        assert writer.write(asked("b", "k"), handler=by, deadline=Deadline.after(1)).replayed

    def test_a_late_commit_applies_nothing(self, writer: MemoryWriter, virtual_clock: VirtualClock) -> None:
        """TIMEOUT means not applied."""
        unit = writer.begin("m", deadline=Deadline.after(5, virtual_clock))
        unit.write(asked("a"), handler=by)
        virtual_clock.advance(6)

        assert isinstance(failure(unit.commit), WriteTimeoutError)
        unit.close()
        assert writer.data == {}

    def test_failures_can_be_ordered(self, writer: MemoryWriter) -> None:
        """One for a write of it, one for its commit: with the data changed or not."""
        unit = writer.begin("m", deadline=Deadline.after(10))
        writer.fail_next(LOST, applied=True)
        unit.write(asked("a"), handler=by)
        assert failure(unit.commit) is LOST
        unit.close()
        unit = writer.begin("m", deadline=Deadline.after(10))
        writer.fail_next(ValueError())
        assert failure(unit.write, asked("a"), handler=by).reason == "handler"
        unit.close()

        assert writer.data == {"a": 1}

    def test_a_transaction_of_the_manager(self, writer: MemoryWriter) -> None:
        """Callbacks run after the outermost commit, in order, and not for a block that was undone."""
        writer.register_handler(by)
        manager = WriteManager([writer], logger=SILENT)

        def nested(tx: Any) -> None:
            with tx.nested():
                tx.write(asked("b"))
                tx.write(asked("bad"))

        with manager.transaction("m") as tx:
            tx.write(asked("a"))
            failure(nested, tx)
            tx.write(asked("c"))
            assert RAN == []

        assert RAN == ["a", "c"]
        assert writer.data == {"a": 1, "c": 1}


class TestBatches:
    """Many at once."""

    def test_a_bad_one_fails_alone(self, writer: MemoryWriter) -> None:
        """Each is answered at its position; callbacks run for what was applied."""
        answers = batch(writer, "a", "bad", "a", "b")

        assert [answer.data if isinstance(answer, WriteResult) else answer.reason for answer in answers] == [
            1,
            "handler",
            2,
            1,
        ]
        assert (writer.data, RAN) == ({"a": 2, "b": 1}, ["a", "a", "b"])

    def test_an_atomic_batch_is_all_or_nothing(self, writer: MemoryWriter) -> None:
        """The others say which one it was."""
        answers = batch(writer, "a", "bad", "b", atomic=True)

        assert [answer.reason for answer in answers] == ["atomic", "handler", "atomic"]
        assert (writer.data, writer.written, RAN) == ({}, (), [])
        assert all(answer.success for answer in batch(writer, "a", "b", atomic=True))

    def test_many_at_once(self, writer: MemoryWriter) -> None:
        """`handle_many` does them all, or, if it raises, they are done one by one."""
        calls: list[int] = []

        def many(requests: Sequence[WriteRequest], data: Any) -> list[Any]:
            calls.append(len(requests))
            return [put(request, data) for request in requests]

        handler = FunctionHandler(put, type="t", many=many)
        assert [answer.data for answer in batch(writer, "a", "b", handler=handler)] == [1, 1]
        answers = batch(writer, "a", "bad", handler=handler)

        assert [isinstance(answer, WriteError) for answer in answers] == [False, True]
        assert (calls, writer.data, RAN) == ([2, 2], {"a": 2, "b": 1}, ["a", "b", "a"])

    def test_keys_are_kept(self, writer: MemoryWriter) -> None:
        """Each by itself, within a batch and after it."""
        batch(writer, "a", "b", keys=["1", None])
        answers = batch(writer, "a", "b", keys=["1", "2"])

        assert [answer.replayed for answer in answers] == [True, False]
        assert writer.data == {"a": 1, "b": 2}

    def test_a_late_batch_applies_nothing(self, writer: MemoryWriter, virtual_clock: VirtualClock) -> None:
        """Each is a TIMEOUT of its own."""

        def slow(request: WriteRequest, data: Any) -> None:
            put(request, data)
            virtual_clock.advance(3)

        handler = FunctionHandler(slow, type="t")
        answers = batch(writer, "a", "b", handler=handler, deadline=Deadline.after(5, virtual_clock))

        assert [type(answer) for answer in answers] == [WriteTimeoutError] * 2
        assert answers[0] is not answers[1]
        assert (writer.data, RAN) == ({}, [])

    def test_failures_can_be_ordered(self, writer: MemoryWriter) -> None:
        """One for each request, with its data changed or not."""
        writer.fail_next(LOST, applied=True)
        writer.fail_next(ValueError())
        answers = batch(writer, "a", "b", "c")

        assert answers[0] is LOST
        assert (answers[1].reason, answers[2].success) == ("handler", True)
        assert writer.data == {"a": 1, "c": 1}

    def test_nothing_is_nothing(self, writer: MemoryWriter) -> None:
        """An empty batch is answered by an empty list."""
        assert batch(writer) == []
