"""The second half of the writer suite: keys, several writes in one transaction, batches, threads and forks."""

from __future__ import annotations

import functools
import os
import signal
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    InvalidRequestError,
    Outcome,
    Retry,
    WriteError,
    WriteTimeoutError,
)
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing._suite import SECRET, Common, look_over
from wellwired.testing.clock import VirtualClock
from wellwired.writers.protocol import Transacts, Unit, Writer, WriterCapabilities, WritesMany

__all__ = ["Batches", "Keys", "Processes", "Units"]

_THREADS = 6
_JOIN = 60.0


def _together(*works: Callable[[], Any]) -> list[Any]:
    """What each gives or raises, all of them run at once."""
    barrier, answers = threading.Barrier(len(works)), list[Any]()

    def run(work: Callable[[], Any]) -> None:
        barrier.wait(_JOIN)
        try:
            answers.append(work())
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            answers.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_JOIN)
    assert not any(thread.is_alive() for thread in threads), "a writing thread hangs"
    return answers


def _until_done(send: Callable[[], WriteResult[Any]]) -> WriteResult[Any]:
    """Sends again while that is said to be safe, as the manager would."""
    for _ in range(100):
        try:
            return send()
        except WriteError as error:
            look_over(error)
            if error.retry is not Retry.SAFE:
                raise
    raise AssertionError("a hundred attempts, and each was said to be safe to send again")


class Keys(Common):
    """A write with an idempotency key takes effect once, for a writer that promises to keep keys."""

    @pytest.fixture
    def keeping(self, promised: WriterCapabilities) -> None:
        """Only for a writer whose capabilities say so."""
        if not promised.idempotency:
            pytest.skip("the writer does not promise to keep idempotency keys")

    @pytest.mark.usefixtures("keeping")
    def test_a_key_is_one_write(self, writer: Writer) -> None:
        """Sent again it is not done again; the answer is the first one's, and says that it is."""
        handler = self.handler(writer)
        first = self.send(writer, handler, key="k1")
        again = self.send(writer, handler, key="k1")
        assert (first.replayed, again.replayed) == (False, True)
        assert first.data == again.data == "one" and self.there(writer) == ["one"]

    @pytest.mark.usefixtures("keeping")
    def test_another_key_is_another_write(self, writer: Writer) -> None:
        """So is the same key of another type, and a write without a key."""
        handler, other = self.handler(writer), self.handler(writer)
        self.send(writer, handler, key="k1")
        self.send(writer, handler, key="k2")
        self.send(writer, other, key="k1")
        self.send(writer, handler)
        assert self.there(writer) == ["one"] * 4

    @pytest.mark.usefixtures("keeping")
    def test_a_key_with_another_payload_is_refused(self, writer: Writer) -> None:
        """It is no retry of the first write, and nothing of it is applied."""
        handler = self.handler(writer)
        self.send(writer, handler, key="k1")
        error = self.failing(lambda: self.send(writer, handler, text="two", key="k1"))
        assert isinstance(error, InvalidRequestError) and error.outcome is Outcome.NOT_APPLIED
        assert self.there(writer) == ["one"]

    @pytest.mark.usefixtures("keeping")
    def test_the_key_of_a_failed_write_is_free(self, writer: Writer) -> None:
        """What was not applied may be sent again under its key, and is done then."""
        failing = [True]

        def work(request: WriteRequest, connection: Any) -> str:
            if failing.pop() if failing else False:
                raise ValueError(SECRET)
            return self.puts(request, connection)

        handler = self.handler(writer, work)
        self.failing(lambda: self.send(writer, handler, key="k1"))
        assert not self.send(writer, handler, key="k1").replayed
        assert self.there(writer) == ["one"]

    @pytest.mark.usefixtures("keeping")
    def test_racing_threads_with_one_key_are_one_write(self, writer: Writer) -> None:
        """One does it, all others are told its result."""
        handler = self.handler(writer)
        send = [lambda: _until_done(lambda: self.send(writer, handler, key="k1"))] * _THREADS
        answers = _together(*send)
        assert [answer for answer in answers if isinstance(answer, BaseException)] == []
        assert sorted(answer.replayed for answer in answers) == [False] + [True] * (_THREADS - 1)
        assert self.there(writer) == ["one"]


class Units(Common):
    """Several writes in one transaction, for a writer that is `Transacts`."""

    @pytest.fixture
    def begin(self, writer: Writer) -> Callable[..., Unit]:
        """Begins a unit; only for a writer that can."""
        if not isinstance(writer, Transacts):
            pytest.skip("the writer is not Transacts: it has no begin()")
        given: Transacts = writer

        def begin(deadline: Deadline | None = None) -> Unit:
            return given.begin(writer.name, deadline=deadline or Deadline.after(60))

        return begin

    def test_all_of_a_unit_is_there_after_its_commit(self, writer: Writer, begin: Callable[..., Unit]) -> None:
        """And nothing of it before."""
        handler, unit = self.handler(writer), begin()
        try:
            unit.write(self.request(writer, handler.type, "one"), handler=handler)
            unit.write(self.request(writer, handler.type, "two"), handler=handler)
            assert unit.usable and self.there(writer) == []
            unit.commit()
        finally:
            unit.close()
        assert self.there(writer) == ["one", "two"]

    def test_nothing_of_a_unit_is_there_without_a_commit(self, writer: Writer, begin: Callable[..., Unit]) -> None:
        """Neither after a roll-back, nor if it is only closed."""
        handler = self.handler(writer)
        for undo in (True, False):
            unit = begin()
            unit.write(self.request(writer, handler.type), handler=handler)
            if undo:
                unit.rollback()
            unit.close()
            assert self.there(writer) == []
        self.send(writer, handler, text="next")
        assert self.there(writer) == ["next"]

    def test_a_write_that_fails_ends_its_unit(self, writer: Writer, begin: Callable[..., Unit]) -> None:
        """The unit is not usable any more, its commit is refused, and nothing of it is applied."""
        good, bad, unit = self.handler(writer), self.handler(writer, _raising), begin()
        try:
            unit.write(self.request(writer, good.type), handler=good)
            self.failing(lambda: unit.write(self.request(writer, bad.type), handler=bad))
            assert not unit.usable
            assert self.failing(unit.commit).outcome is Outcome.NOT_APPLIED
        finally:
            unit.close()
        assert self.there(writer) == []

    def test_a_unit_that_is_late_is_not_committed(
        self, writer: Writer, begin: Callable[..., Unit], promised: WriterCapabilities
    ) -> None:
        """Its commit is a TIMEOUT, and nothing of it is applied."""
        if promised.deadline != "fenced":
            pytest.skip("the writer does not promise that a TIMEOUT is never applied: its deadline is best effort")
        clock, handler = VirtualClock(), self.handler(writer)
        unit = begin(Deadline.after(50, clock))
        try:
            unit.write(self.request(writer, handler.type), handler=handler)
            clock.advance(100)
            assert isinstance(self.failing(unit.commit), WriteTimeoutError)
        finally:
            unit.close()
        assert self.there(writer) == []

    def test_a_savepoint_undoes_its_block_alone(
        self, writer: Writer, begin: Callable[..., Unit], promised: WriterCapabilities
    ) -> None:
        """What failed inside is undone; what was before and what follows is committed. Without savepoints: refused."""
        handler, bad, unit = self.handler(writer), self.handler(writer, self._put_and_raise), begin()

        def block() -> None:
            with unit.savepoint():
                unit.write(self.request(writer, handler.type, "inside"), handler=handler)
                unit.write(self.request(writer, bad.type, "inside"), handler=bad)

        try:
            unit.write(self.request(writer, handler.type, "before"), handler=handler)
            error = self.failing(block)
            if not promised.savepoints:
                assert isinstance(error, BackendError) and error.reason == "savepoint"
                return
            assert error.reason == "handler" and unit.usable
            unit.write(self.request(writer, handler.type, "after"), handler=handler)
            unit.commit()
        finally:
            unit.close()
        assert self.there(writer) == ["after", "before"]

    def _put_and_raise(self, _request: WriteRequest, connection: Any) -> None:
        self.put(connection, "inside")
        raise ValueError(SECRET)


class Batches(Common):
    """Many writes at once, for a writer that is `WritesMany`."""

    @pytest.fixture
    def batch(self, writer: Writer) -> Callable[..., list[Any]]:
        """Writes texts as one batch; only for a writer that can."""
        if not isinstance(writer, WritesMany):
            pytest.skip("the writer is not WritesMany: it has no write_batch()")
        many: WritesMany = writer

        def work(request: WriteRequest, connection: Any) -> str:
            if request.payload["text"] == "bad":
                raise ValueError(SECRET)
            return self.puts(request, connection)

        def batch(*texts: str, deadline: Deadline | None = None, atomic: bool = False) -> list[Any]:
            handler = self.handler(writer, work)
            requests: Sequence[WriteRequest] = [self.request(writer, handler.type, text) for text in texts]
            until = deadline or Deadline.after(60)
            answers = many.write_batch(requests, handler=handler, deadline=until, atomic=atomic)
            assert len(answers) == len(texts), "a batch answers for each of its requests"
            for answer in answers:
                assert isinstance(answer, WriteResult | WriteError)
                if isinstance(answer, WriteError):
                    look_over(answer)
            return list(answers)

        return batch

    def test_a_batch_is_answered_by_position(self, writer: Writer, batch: Callable[..., list[Any]]) -> None:
        """Each request has its own result, where it stood."""
        answers = batch("a", "b", "c")
        assert [answer.data for answer in answers] == ["a", "b", "c"]
        assert self.there(writer) == ["a", "b", "c"]

    def test_a_bad_one_takes_no_good_one_with_it(self, writer: Writer, batch: Callable[..., list[Any]]) -> None:
        """Its error stands at its position, and the others took effect; each error is an object of its own."""
        answers = batch("a", "bad", "b", "bad")
        assert [isinstance(answer, WriteError) for answer in answers] == [False, True, False, True]
        assert answers[1] is not answers[3] and answers[1].outcome is Outcome.NOT_APPLIED
        assert self.there(writer) == ["a", "b"]

    def test_all_or_nothing(
        self, writer: Writer, batch: Callable[..., list[Any]], promised: WriterCapabilities
    ) -> None:
        """With `atomic` a bad one leaves nothing of the others; a writer that cannot promise that refuses."""
        answers = batch("a", "bad", "b", atomic=True)
        assert all(isinstance(answer, WriteError) for answer in answers)
        assert {answer.outcome for answer in answers} == {Outcome.NOT_APPLIED}
        assert self.there(writer) == []
        if not promised.atomic:
            return
        assert [answer.reason for answer in answers] == ["atomic", "handler", "atomic"]
        assert all(isinstance(answer, WriteResult) for answer in batch("a", "b", atomic=True))
        assert self.there(writer) == ["a", "b"]

    def test_a_batch_that_comes_too_late_does_nothing(
        self, writer: Writer, batch: Callable[..., list[Any]], promised: WriterCapabilities
    ) -> None:
        """Each of its requests is a TIMEOUT, and nothing is applied."""
        if promised.deadline != "fenced":
            pytest.skip("the writer does not promise that a TIMEOUT is never applied: its deadline is best effort")
        clock = VirtualClock()
        deadline = Deadline.after(1, clock)
        clock.advance(2)
        assert {type(answer) for answer in batch("a", "b", deadline=deadline)} == {WriteTimeoutError}
        assert self.there(writer) == []

    def test_an_empty_batch_is_no_batch(self, writer: Writer, batch: Callable[..., list[Any]]) -> None:
        """Nothing is asked, nothing is answered, nothing is done."""
        assert batch() == [] and self.there(writer) == []


class Processes(Common):
    """Threads and forks."""

    def test_threads_share_it(self, writer: Writer) -> None:
        """Many threads write at once, and each success is there once."""
        handler = self.handler(writer)

        def five(number: int) -> Callable[[], Any]:
            def work() -> None:
                for turn in range(5):
                    _until_done(functools.partial(self.send, writer, handler, text=f"t{number}x{turn}"))

            return work

        assert _together(*map(five, range(_THREADS))) == [None] * _THREADS
        assert self.there(writer) == sorted(f"t{number}x{turn}" for number in range(_THREADS) for turn in range(5))

    def test_a_forked_child_writes(self, writer: Writer) -> None:
        """It writes on connections of its own, and neither process disturbs the other."""
        if not hasattr(os, "fork"):
            pytest.skip("there is no fork here")
        handler = self.handler(writer)
        self.send(writer, handler, text="parent")
        child = self._forked(writer, lambda: self.send(writer, handler, text="child", deadline=Deadline.after(20)))
        assert child == 0, f"the child's write failed, or hung: status {child}"
        self.send(writer, handler, text="parent")
        expected = ["child", "parent", "parent"] if self.shared else ["parent", "parent"]
        assert self.there(writer) == expected, f"the suite was told that shared is {self.shared}"

    def _forked(self, writer: Writer, work: Callable[[], Any]) -> int:
        with warnings.catch_warnings():
            # Python 3.12 and later warn that there are threads: a server that forks its workers has some, too.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child:
            return os.waitpid(child, 0)[1]
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            self.after_fork(writer)
            work()
            status = 0
        finally:
            os._exit(status)


def _raising(_request: WriteRequest, _connection: Any) -> None:
    raise ValueError(SECRET)
