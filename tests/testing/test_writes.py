"""Recorded writes: what a test is told about what was written, and what it is shown when it expected other writes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tests.testing.shop import Shop, orders, place
from wellwired import WriteManager, WriteRequest, handler
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Retry
from wellwired.operations import WriteResult
from wellwired.testing import RecordedWrites
from wellwired.testing.writes import Written
from wellwired.writers import MemoryWriter


@dataclass(frozen=True)
class Order:
    """A payload model."""

    id: int
    note: str = ""


@handler("order_add", payload=Order)
def add(request: WriteRequest, data: Any) -> int:
    """Keeps an order."""
    data[request.payload.id] = request.payload.note
    return len(data)


@handler("visit")
def visit(request: WriteRequest, data: Any) -> None:
    """Counts a visit, and plays with its payload."""
    data["visits"] = data.get("visits", 0) + 1
    request.payload["page"] = "changed"


@pytest.fixture
def writer() -> MemoryWriter:
    """A writer that can all there is."""
    made = MemoryWriter("sql.main", keeps_keys=True)
    made.register_handler(add)
    made.register_handler(visit)
    return made


@pytest.fixture
def writes() -> RecordedWrites:
    """The recorder."""
    return RecordedWrites()


@pytest.fixture
def manager(writer: MemoryWriter, writes: RecordedWrites) -> WriteManager:
    """A manager whose writes are recorded."""
    from wellwired.middleware import RetryPolicy

    return WriteManager([writer], middleware=[writes], retry=RetryPolicy(attempts=2, base=0.001, cap=0.001))


def order(id: int, note: str = "") -> WriteRequest:
    """A request for an order."""
    return WriteRequest("sql.main", "order_add", {"id": id, "note": note})


def test_a_write_is_recorded_with_its_result(manager: WriteManager, writes: RecordedWrites) -> None:
    """Its request as the handler saw it, and what its caller got."""
    result = manager.write(order(1))
    (one,) = writes
    assert (one.request.payload, one.writer, one.error, one.applied) == (Order(1), "sql.main", None, True)
    assert one.result is not None and one.result.data == result.data == 1
    assert writes.assert_wrote("sql.main", "order_add", payload={"id": 1}, times=1) == [one]
    assert writes.assert_wrote("sql.main", "order_add", payload=Order(1)) == [one]


def test_a_payload_is_what_it_was(manager: WriteManager, writes: RecordedWrites) -> None:
    """What a handler or the caller does to it later is not seen."""
    payload = {"page": "a"}
    manager.write(WriteRequest("sql.main", "visit", payload))
    payload["page"] = "b"
    writes.assert_wrote("sql.main", "visit", payload={"page": "a"})


def test_a_failed_write_is_recorded_once(manager: WriteManager, writer: MemoryWriter, writes: RecordedWrites) -> None:
    """With the error of its caller, however often it was tried; it counts as written by nobody."""
    writer.fail_next(*(BackendError("gone", retry=Retry.SAFE) for _ in range(2)))
    with pytest.raises(Exception, match="RETRY_EXHAUSTED"):
        manager.write(order(1))
    (one,) = writes
    assert one.error is not None and one.error.attempts == 2 and not one.applied and one.result is None
    writes.assert_nothing_written()


def test_an_unknown_outcome_is_not_nothing(manager: WriteManager, writer: MemoryWriter, writes: RecordedWrites) -> None:
    """A write that may have taken effect is neither written nor nothing."""
    writer.fail_next(BackendError("lost", outcome=Outcome.UNKNOWN), applied=True)
    with pytest.raises(BackendError):
        manager.write(order(1))
    with pytest.raises(AssertionError, match=r"nothing should .* there was:\n  sql.main order_add .*: BACKEND UNKNOWN"):
        writes.assert_nothing_written()
    with pytest.raises(AssertionError, match=r"no write of sql\.main order_add took effect"):
        writes.assert_wrote("sql.main", "order_add")


def test_a_batch_stays_a_batch(manager: WriteManager, writer: MemoryWriter, writes: RecordedWrites) -> None:
    """Each of its requests is recorded with its own answer, and they go to the writer together."""
    answers = manager.write_many([order(1), order(2), order(3)], atomic=True)
    assert not answers.failed and [one.result.data for one in writes if one.result] == [1, 2, 3]
    assert [one.request.payload.id for one in writes.of("sql.main", "order_add")] == [1, 2, 3]


def test_a_transaction_decides_about_its_writes(manager: WriteManager, writes: RecordedWrites) -> None:
    """They are open until it ends; then they are what it became."""
    with manager.transaction("sql.main") as tx:
        tx.write(order(1))
        assert writes[0].open and not writes[0].applied and "still open" in repr(writes[0])
        with suppress(KeyError), tx.nested():
            tx.write(order(2))
            raise KeyError
    assert [(one.request.payload.id, one.applied) for one in writes] == [(1, True), (2, False)]
    assert writes[1].error is not None and writes[1].error.reason == "rolled_back"


def test_a_pending_write_is_shown_as_one() -> None:
    """Nobody is told what becomes of the transaction around it, so whoever reads the list should know."""
    written = Written(order(1), "django.default", WriteResult(pending=True))
    assert written.applied and "if the transaction around it is committed" in repr(written)


def test_a_rolled_back_transaction_wrote_nothing(manager: WriteManager, writes: RecordedWrites) -> None:
    """Although each of its writes had succeeded."""

    def work(manager: WriteManager) -> None:
        with manager.transaction("sql.main") as tx:
            tx.write(order(1))
            raise KeyError

    with pytest.raises(KeyError):
        work(manager)
    assert len(writes) == 1
    writes.assert_nothing_written()


def test_the_message_shows_what_was_written(
    manager: WriteManager, writer: MemoryWriter, writes: RecordedWrites
) -> None:
    """Whoever reads the report sees the difference, and needs no debugger."""
    with pytest.raises(AssertionError, match=r"no write of a b took effect.*one at least should.*nothing was written"):
        writes.assert_wrote("a", "b")
    manager.write(order(1, "tea"))
    manager.write(WriteRequest("sql.main", "order_add", {"id": 1}, idempotency_key="k"))
    manager.write(WriteRequest("sql.main", "order_add", {"id": 1}, idempotency_key="k"))
    with pytest.raises(AssertionError) as caught:
        writes.assert_wrote("sql.main", "order_add", payload={"id": 1}, times=1)
    assert str(caught.value).splitlines() == [
        "3 writes of sql.main order_add {'id': 1} took effect, and 1 should have; there were:",
        "  sql.main order_add Order(id=1, note='tea'): written",
        "  sql.main order_add Order(id=1, note=''): written",
        "  sql.main order_add Order(id=1, note=''): written, by an earlier write with its key",
    ]


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [({"id": 1}, True), ({"id": 1, "note": "tea"}, True), ({"id": 2}, False), ({"other": 1}, False), ({}, True)],
)
def test_a_payload_is_compared_by_the_fields_that_are_given(
    manager: WriteManager, writes: RecordedWrites, wanted: Any, fits: bool
) -> None:
    """So that a test says what it is about, and no more."""
    manager.write(order(1, "tea"))
    if fits:
        writes.assert_wrote("sql.main", "order_add", payload=wanted)
    else:
        with pytest.raises(AssertionError):
            writes.assert_wrote("sql.main", "order_add", payload=wanted)


def test_a_refused_request_is_no_write(manager: WriteManager, writes: RecordedWrites) -> None:
    """It never came as far as a middleware."""
    with pytest.raises(InvalidRequestError):
        manager.write(WriteRequest("sql.main", "order_add", {"nothing": 1}))
    assert len(writes) == 0


def test_records_can_be_forgotten(manager: WriteManager, writes: RecordedWrites) -> None:
    """Before the part of a test that is about writes."""
    manager.write(order(1))
    writes.clear()
    writes.assert_nothing_written()
    assert repr(writes) == "<0 recorded writes>" and isinstance(writes[:], list)


@pytest.fixture
def wellwired_container_source() -> Any:
    """The shop."""
    return Shop


def test_the_fixture_records_the_container_s_writes(wellwired_in_memory: Any, wellwired_writes: RecordedWrites) -> None:
    """Outside of whatever middleware the application has, and whoever writes."""
    orders.create(wellwired_in_memory.sql["main"]())
    wellwired_in_memory.desk().writes.write(place("o-1"))
    (one,) = wellwired_writes.assert_wrote("sql.main", "order_add", payload={"order_id": "o-1"}, times=1)
    assert isinstance(one, Written)
