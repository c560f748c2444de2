"""Tests of a manager's deadlines and retries, on a clock that never sleeps."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import CapturingLogger

from tests.writers.manager_kit import (
    SECRET,
    Acting,
    Counted,
    failure,
    lost,
    managed,
    open_commit,
    put,
    request,
)
from wellwired.clock import Deadline
from wellwired.errors import (
    ErrorCode,
    Outcome,
    Retry,
    RetryExhaustedError,
    WriteTimeoutError,
)
from wellwired.handlers import Registry, handler
from wellwired.middleware import SILENT, RetryBudget, RetryPolicy, WriteNext
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import MemoryWriter, WriteManager


def test_a_write_has_the_time_of_its_request_or_the_managers(virtual_clock: VirtualClock) -> None:
    """As a moment from the call on, the same for every attempt."""
    seen: list[Deadline] = []

    def act(request: WriteRequest, deadline: Deadline) -> WriteResult[Any]:
        seen.append(deadline)
        return WriteResult()

    manager = WriteManager([Acting(act)], timeout=3.0, clock=virtual_clock, logger=SILENT)
    now = virtual_clock.monotonic()
    manager.write(request())
    manager.write(request(timeout=0.5))
    assert seen == [Deadline(now + 3.0, virtual_clock), Deadline(now + 0.5, virtual_clock)]


def test_nothing_is_sent_after_the_deadline(virtual_clock: VirtualClock) -> None:
    """Whatever used the time up on the way."""

    def dawdling(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            virtual_clock.advance(5.0)
            return next(operation)

        return call

    manager, writer = managed(clock=virtual_clock, middleware=[dawdling])
    error = failure(manager, request())
    assert isinstance(error, WriteTimeoutError)
    assert (error.outcome, error.target, error.type) == (Outcome.NOT_APPLIED, "sql.main", "put")
    assert writer.tried == ()


def test_retries_and_waits_fit_into_the_deadline(virtual_clock: VirtualClock) -> None:
    """All of them together; the answer comes in time."""

    def act(request: WriteRequest, deadline: Deadline) -> WriteResult[Any]:
        virtual_clock.advance(1.0)
        raise lost()

    policy = RetryPolicy(attempts=100, base=1.0, cap=1.0)
    manager = WriteManager([Acting(act)], clock=virtual_clock, logger=SILENT, retry=policy, random=lambda: 0.5)
    started = virtual_clock.monotonic()
    error = failure(manager, request(timeout=4.0))
    assert (type(error), error.reason, error.attempts) == (RetryExhaustedError, "deadline", 3)
    assert virtual_clock.monotonic() - started == 4.0


def test_an_attempt_can_have_less_time_than_the_write(virtual_clock: VirtualClock) -> None:
    """One that hangs leaves time for another."""
    left: list[float] = []

    def act(request: WriteRequest, deadline: Deadline) -> WriteResult[Any]:
        left.append(deadline.left())
        if len(left) == 1:
            virtual_clock.advance(deadline.left())
            raise WriteTimeoutError("too late", retry=Retry.SAFE)
        return WriteResult()

    manager = WriteManager(
        [Acting(act)], timeout=3.0, attempt_timeout=2.0, clock=virtual_clock, logger=SILENT, random=lambda: 0.0
    )
    assert manager.write(request()).attempts == 2
    assert left == [2.0, 1.0]


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"timeout": float("inf")}, {"attempt_timeout": -1}])
def test_a_time_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    """When the manager is made."""
    with pytest.raises(ValueError, match="seconds"):
        WriteManager(**wrong)


def test_a_fault_that_passes_is_not_noticed(virtual_clock: VirtualClock) -> None:
    """But for the number of attempts, the metrics and a line for each retry."""
    metrics, logger = Counted(), CapturingLogger()
    manager, writer = managed(clock=virtual_clock, metrics=metrics, logger=logger)
    writer.fail_next(lost(), lost())
    assert manager.write(request()).attempts == 3
    assert virtual_clock.naps == [0.1, 0.2]
    assert [event.attempts for event in metrics.events] == [3]
    assert [call.args[0] for call in logger.calls] == ["wellwired.retry", "wellwired.retry", "wellwired.write"]
    assert SECRET not in repr(logger.calls)


def test_an_open_outcome_is_not_sent_again() -> None:
    """The write took effect once, and the caller is told that nobody knows."""
    manager, writer = managed()
    writer.fail_next(open_commit(), applied=True)
    error = failure(manager, request())
    assert (error.code, error.outcome, error.attempts) == (ErrorCode.BACKEND, Outcome.UNKNOWN, 1)
    assert len(writer.written) == 1


def test_an_open_outcome_is_sent_again_where_that_is_harmless() -> None:
    """By a handler that is declared idempotent."""
    manager, writer = managed()
    same = handler("same", idempotent=True)(lambda request, connection: connection.update(a=1))
    writer.register_handler(same)
    writer.fail_next(open_commit(), applied=True)
    assert manager.write(request("same", idempotency_key="k")).attempts == 2
    assert len(writer.written) == 2
    assert writer.data == {"a": 1}


def test_a_writer_that_keeps_keys_may_be_asked_again() -> None:
    """It is its business that the write takes effect once."""
    manager, writer = managed(MemoryWriter("sql.main", handlers=Registry(put), keeps_keys=True))
    writer.fail_next(open_commit(), applied=True)
    assert manager.write(request(idempotency_key="k")).attempts == 2
    writer.fail_next(open_commit(), applied=True)
    assert failure(manager, request()).attempts == 1


def test_an_error_that_stays_is_told_with_all_it_took() -> None:
    """The number of attempts, the last cause, and the names that the writer left out."""
    manager, writer = managed()
    writer.fail_next(lost(), lost(), last := lost(backend_code=2006))
    error = failure(manager, request())
    assert isinstance(error, RetryExhaustedError)
    assert error.__cause__ is last
    assert (error.target, error.type, error.attempts, error.backend_code) == ("sql.main", "put", 3, 2006)


def test_a_failing_backend_is_not_flooded() -> None:
    """When the budget is spent, a write is one attempt; it is shared by all writes to a target."""
    manager, writer = managed(budget=RetryBudget(10, cost=5))
    for _ in range(10):
        writer.fail_next(lost(), lost(), lost())
        failure(manager, request())
        writer._faults.clear()
    assert len(writer.tried) == 10 + 2


def test_a_write_within_a_handler_is_tried_once() -> None:
    """The outer write repeats it: retries do not multiply."""
    inner, metrics = MemoryWriter("redis.cache", handlers=Registry(put)), Counted()
    manager, writer = managed(metrics=metrics)
    manager.register(inner)
    inner.fail_next(*(lost() for _ in range(20)))

    @handler("outer")
    def outer(request: WriteRequest, connection: Any) -> None:
        manager.write(WriteRequest("redis.cache", "put", {"key": "b"}))

    writer.register_handler(outer)
    error = failure(manager, request("outer"))
    assert (error.attempts, len(writer.tried), len(inner.tried)) == (3, 3, 3)
    assert [(event.writer, event.attempts) for event in metrics.events] == [("redis.cache", 1)] * 3 + [("sql.main", 3)]
