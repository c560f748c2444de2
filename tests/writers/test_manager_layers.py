"""Tests of what stands around a write: middleware, metrics and the log."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import CapturingLogger

from tests.writers.manager_kit import (
    SECRET,
    Counted,
    failure,
    lost,
    managed,
    noting,
    open_commit,
    request,
)
from wellwired.clock import Deadline
from wellwired.errors import (
    RegistrationError,
    TypeNotSupportedError,
    WriteError,
)
from wellwired.middleware import WriteEvent, WriteNext
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock


def test_middleware_stands_around_the_write_and_later_ones_run_first() -> None:
    """Once for a write, however often it is tried."""
    notes: list[Any] = []
    manager, writer = managed(middleware=[noting("first", notes), noting("second", notes)])
    manager.use(noting("third", notes))
    writer.fail_next(lost())
    manager.write(request())
    assert notes == [("third", 1), ("second", 1), ("first", 1)]


def test_middleware_can_stand_around_each_attempt() -> None:
    """If it asks to."""
    notes: list[Any] = []
    manager, writer = managed(middleware=[noting("write", notes)])
    manager.use(noting("inner", notes), noting("outer", notes), each_attempt=True)
    writer.fail_next(lost())
    manager.write(request())
    assert notes == [("write", 1), ("outer", 1), ("inner", 1), ("outer", 2), ("inner", 2)]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=6), st.integers(0, 2))
def test_the_order_holds_however_middleware_was_added(added: list[tuple[bool, int]], failures: int) -> None:
    """One by one or several at once, for the write or for each attempt, in any sequence: later ones run first, those
    for the write once, those for an attempt at each, and within the others.
    """
    notes: list[Any] = []
    manager, writer = managed()
    around, each = list[str](), list[str]()
    for number, (each_attempt, several) in enumerate(added):
        names = [f"{number}.{part}" for part in range(several)]
        manager.use(*(noting(name, notes) for name in names), each_attempt=each_attempt)
        (each if each_attempt else around).extend(names)
    writer.fail_next(*(lost() for _ in range(failures)))
    result = manager.write(request())
    attempts = [(name, attempt) for attempt in range(1, failures + 2) for name in reversed(each)]
    assert notes == [(name, 1) for name in reversed(around)] + attempts
    assert result.attempts == failures + 1


def test_middleware_does_not_see_what_was_refused() -> None:
    """It can rely on a valid request, a writer and a handler."""
    notes: list[Any] = []
    manager, _ = managed(middleware=[noting("seen", notes)])
    failure(manager, request("putt"))
    assert notes == []


def test_middleware_sees_what_is_written_and_until_when(virtual_clock: VirtualClock) -> None:
    """The operation has the request, the writer, the deadline, and whether it may be repeated."""
    seen: list[WriteOperation] = []

    def looking(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            seen.append(operation)
            return next(operation)

        return call

    manager, _ = managed(clock=virtual_clock, middleware=[looking])
    sent = request()
    manager.write(sent)
    now = virtual_clock.monotonic()
    assert seen == [WriteOperation(sent, "sql.main", Deadline(now + 5.0, virtual_clock), False, 1, now)]


def test_a_chain_is_built_when_something_is_registered() -> None:
    """Not at each write."""
    built: list[int] = []

    def counting(next: WriteNext) -> WriteNext:
        built.append(1)
        return next

    manager, _ = managed(middleware=[counting])
    for _ in range(5):
        manager.write(request())
    assert len(built) == 1


def test_a_middleware_that_is_none_leaves_the_others_in_place() -> None:
    """It is refused by name when it is added, and writes go on as before."""
    notes: list[Any] = []
    manager, _ = managed(middleware=[noting("good", notes)])

    def wrong(next: WriteNext) -> Any:
        return None

    with pytest.raises(RegistrationError, match="gave no call"):
        manager.use(noting("never", notes), wrong)
    manager.use(noting("late", notes))
    manager.write(request())
    assert notes == [("late", 1), ("good", 1)]


@pytest.mark.parametrize("each_attempt", [False, True])
def test_no_middleware_can_undo_a_commit(each_attempt: bool) -> None:
    """Wherever it stands: the write is a success, is not sent again, and carries a warning."""

    def late(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            next(operation)
            raise lost()

        return call

    manager, writer = managed()
    manager.use(late, each_attempt=each_attempt)
    result = manager.write(request())
    assert (result.data, result.attempts, len(result.warnings)) == ("a", 1, 1)
    assert len(writer.written) == 1


def test_a_middleware_may_change_what_is_written() -> None:
    """Its type as well: the handler is looked up where the write is made."""

    def renamed(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            changed = WriteRequest("sql.main", operation.request.payload["key"], {"key": "b"})
            return next(WriteOperation(changed, operation.writer, operation.deadline))

        return call

    manager, writer = managed(middleware=[renamed])
    assert manager.write(request(payload={"key": "put"})).data == "b"
    assert isinstance(failure(manager, request(payload={"key": "putt"})), TypeNotSupportedError)
    assert len(writer.tried) == 1


class Broken:
    """Metrics that fail."""

    def record(self, event: WriteEvent, /) -> None:
        """Quotes what it should not."""
        raise OSError(SECRET)


def test_metrics_that_fail_cannot_undo_a_commit() -> None:
    """The result has a warning, a failure has a note, a refusal as well."""
    manager, writer = managed(metrics=Broken())
    result = manager.write(request())
    assert result.warnings == ("the observer Broken failed: OSError",)
    writer.fail_next(open_commit())
    assert failure(manager, request()).__notes__ == ["the observer Broken failed: OSError"]
    assert failure(manager, request("putt")).__notes__ == ["the observer Broken failed: OSError"]


def test_a_write_is_one_event_and_one_line() -> None:
    """Metrics first, then the log, and the payload in neither."""
    order: list[str] = []
    metrics, logger = Counted(), CapturingLogger()

    class Ordered(Counted):
        def record(self, event: Any, /) -> None:
            order.append("metrics")
            metrics.record(event)

    class Log:
        def info(self, event: str, /, **fields: Any) -> None:
            order.append("log")
            logger.info(event, **fields)

        warning = error = info

    manager, _ = managed(metrics=Ordered(), logger=Log())
    manager.write(request(meta={"trace_id": "t1", "who": {"password": SECRET}}))
    assert order == ["metrics", "log"]
    fields = logger.calls[0].kwargs
    assert {"target": "sql.main", "type": "put", "code": "OK", "trace_id": "t1"}.items() <= fields.items()
    assert SECRET not in f"{logger.calls}{metrics.events}"


def test_a_payload_is_in_no_error_log_or_event(capsys: pytest.CaptureFixture[str]) -> None:
    """Planted everywhere a caller can put something, and looked for wherever something comes out."""
    metrics = Counted()
    before = structlog.get_config()
    structlog.configure(processors=[structlog.processors.JSONRenderer()], cache_logger_on_first_use=False)
    try:
        manager, writer = managed(metrics=metrics, logger=None)
        secrets: dict[str, Any] = {
            "payload": {"key": "a", "value": SECRET},
            "meta": {"token": SECRET, "deep": [SECRET]},
        }
        results: list[Any] = [manager.write(request(**secrets))]
        writer.fail_next(lost(), lost(), lost(), KeyError(SECRET), open_commit())
        results += [failure(manager, request(**secrets)) for _ in range(3)]
        results.append(failure(manager, request("putt", idempotency_key=SECRET, **secrets)))
        results.append(failure(manager, request(idempotency_key=SECRET, **secrets)))
        results.append(failure(manager, request(payload={"value": SECRET, 1: SECRET})))
    finally:
        structlog.configure(**before)
    shown = f"{results!r}{[str(result) for result in results]}{metrics.events!r}{manager!r}{capsys.readouterr()}"
    assert shown.count("wellwired.write") == 7
    assert SECRET not in shown.replace(f"data={SECRET!r}", "")
    assert not any(SECRET in str(vars(result)) for result in results if isinstance(result, WriteError))


def test_the_log_is_that_of_the_application(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a logger it is structlog's, as it is configured."""
    before = structlog.get_config()
    structlog.configure(processors=[structlog.processors.KeyValueRenderer(key_order=["event", "code"])])
    try:
        managed(logger=None)[0].write(request())
    finally:
        structlog.configure(**before)
    assert capsys.readouterr().out.startswith("event='wellwired.write' code='OK'")
