"""Tests of the way of a write, from the caller to the writer and back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import CapturingLogger

from tests.writers.manager_kit import (
    SECRET,
    Acting,
    Counted,
    failure,
    lost,
    managed,
    noting,
    put,
    request,
)
from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    ErrorCode,
    InvalidRequestError,
    Outcome,
    RegistrationError,
    Retry,
    TypeNotSupportedError,
    WriteError,
    WriterNotFoundError,
)
from wellwired.handlers import Registry, handler
from wellwired.middleware import SILENT, WriteNext
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import MemoryWriter, WriteManager


class Profile(msgspec.Struct, frozen=True):
    """A payload model."""

    id: int
    password: str = ""


def test_a_write_reaches_its_writer_and_handler(virtual_clock: VirtualClock) -> None:
    """And its result comes back with the handler's answer and the time that it took."""

    @handler("slow")
    def slow(request: WriteRequest, connection: Any) -> str:
        virtual_clock.advance(0.25)
        connection["done"] = request.payload
        return "done"

    manager, writer = managed(clock=virtual_clock)
    writer.register_handler(slow)
    result = manager.write(request("slow"))
    assert result == WriteResult(True, "written", "done", 1, 0.25)
    assert writer.data == {"done": {"key": "a", "value": SECRET}}


def test_targets_lead_to_their_writers() -> None:
    """Each write to the one whose target it names, by whichever of its names."""
    main = MemoryWriter("sql.main", targets=["mysql.main"], handlers=Registry(put))
    cache = MemoryWriter("redis.cache", handlers=Registry(put))
    manager = WriteManager([main, cache], logger=SILENT)
    for target in ("sql.main", "redis.cache", "mysql.main"):
        manager.write(request(target=target))
    assert [written.target for written in main.written] == ["sql.main", "mysql.main"]
    assert [written.target for written in cache.written] == ["redis.cache"]
    assert manager.writers == (main, cache)
    assert repr(manager) == "WriteManager(sql.main, redis.cache)"


def test_a_type_is_added_without_touching_the_manager() -> None:
    """The writer is told, and the next write finds it."""
    manager, writer = managed()
    assert isinstance(failure(manager, request("later")), TypeNotSupportedError)
    writer.register_handler(handler("later")(lambda request, connection: "now"))
    assert manager.write(request("later")).data == "now"


@pytest.mark.parametrize(
    ("fields", "kind", "reason"),
    [
        ({"target": ""}, InvalidRequestError, "target"),
        ({"type": ["put"]}, InvalidRequestError, "type"),
        ({"timeout": -1}, InvalidRequestError, "timeout"),
        ({"meta": 7}, InvalidRequestError, "meta"),
        ({"idempotency_key": ""}, InvalidRequestError, "idempotency_key"),
        ({"idempotency_key": SECRET}, InvalidRequestError, "idempotency_key"),
        ({"payload": SECRET}, InvalidRequestError, "payload"),
        ({"target": "sql.mian"}, WriterNotFoundError, "target"),
        ({"type": "putt"}, TypeNotSupportedError, "type"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_sent(
    fields: dict[str, Any], kind: type[WriteError], reason: str
) -> None:
    """By an error of its kind, told to metrics and log like every other end of a write, without a value."""
    metrics, logger = Counted(), CapturingLogger()
    manager, writer = managed(metrics=metrics, logger=logger)
    error = failure(manager, request(**fields))
    assert type(error) is kind
    assert (error.reason, error.outcome, error.attempts) == (reason, Outcome.NOT_APPLIED, 0)
    assert writer.tried == ()
    assert [event.code for event in metrics.events] == [error.code]
    assert [(call.method_name, call.kwargs["code"]) for call in logger.calls] == [("warning", error.code)]
    assert SECRET not in f"{error!s}{error!r}{vars(error)}{logger.calls}{metrics.events}"


def test_what_is_no_request_is_an_invalid_one() -> None:
    """With an event that names nothing."""
    metrics = Counted()
    manager, _ = managed(metrics=metrics)
    assert isinstance(failure(manager, {"target": "sql.main"}), InvalidRequestError)
    assert metrics.events[0][:4] == ("", "", "", "INVALID_REQUEST")


def test_a_refusal_says_what_would_have_been_right() -> None:
    """Near misses of targets and types; of a writer that does not list its types, nothing is made up."""
    manager, _ = managed()
    assert "did you mean 'sql.main'?" in str(failure(manager, request(target="sql.man")))
    assert "did you mean 'put'?" in str(failure(manager, request("putt")))
    bare = WriteManager([Acting(lambda request, deadline: WriteResult())], logger=SILENT)
    told = str(failure(bare, request("missing")))
    assert "type 'missing'; register one" in told and "no type is registered" not in told


def test_the_writer_is_told_to_metrics_if_it_was_found() -> None:
    """So that a wrong type or payload is counted where it belongs, and an invented target nowhere."""
    metrics = Counted()
    manager, _ = managed(metrics=metrics)
    failure(manager, request("putt"))
    failure(manager, request(payload=7))
    failure(manager, request(target="nowhere"))
    assert [event.writer for event in metrics.events] == ["sql.main", "sql.main", ""]


def test_a_payload_is_converted_once_for_all_attempts() -> None:
    """Middleware and handler see the model."""
    seen: list[Any] = []

    @handler("profile", payload=Profile)
    def profile(request: WriteRequest, connection: Any) -> None:
        seen.append(request.payload)

    manager, writer = managed()
    writer.register_handler(profile)
    writer.fail_next(lost())
    manager.use(noting("seen", seen))
    assert manager.write(request("profile", payload={"id": 7})).attempts == 2
    assert seen == [("seen", 1), Profile(7)]
    error = failure(manager, request("profile", payload={"id": SECRET}))
    assert error.message == "the payload does not fit Profile: id: Expected `int`, got `str`"


def test_a_handler_cannot_spoil_its_payload() -> None:
    """What it takes out is there again at the next attempt, and in the caller's hands."""

    @handler("greedy")
    def greedy(request: WriteRequest, connection: Any) -> list[Any]:
        taken = [request.payload.pop("key"), request.payload["tags"].pop()]
        connection["taken"] = taken
        return taken

    manager, writer = managed()
    writer.register_handler(greedy)
    writer.fail_next(lost(), applied=True)
    payload = {"key": "a", "tags": ["x", "y"]}
    result = manager.write(request("greedy", payload=payload))
    assert (result.data, result.attempts) == (["a", "y"], 2)
    assert payload == {"key": "a", "tags": ["x", "y"]}


def test_a_payload_in_itself_is_refused() -> None:
    """It cannot be copied, let alone written."""
    payload: dict[str, Any] = {"key": "a"}
    payload["self"] = payload
    assert isinstance(failure(managed()[0], request(payload=payload)), InvalidRequestError)


def test_a_fault_of_a_handler_is_an_error_of_the_backend() -> None:
    """Rolled back, not retried, with the class of the exception and not its text."""

    @handler("faulty")
    def faulty(request: WriteRequest, connection: Any) -> None:
        connection["half"] = 1
        raise KeyError(request.payload["value"])

    manager, writer = managed()
    writer.register_handler(faulty)
    error = failure(manager, request("faulty"))
    assert (error.code, error.outcome, error.retry) == (ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER)
    assert (error.reason, error.attempts) == ("handler", 1)
    assert "KeyError" in str(error)
    assert SECRET not in str(error)
    assert writer.data == {}


@pytest.mark.parametrize("answer", [None, True, {"success": True}, WriteResult, WriteResult(False, "no")])
def test_a_writer_that_returns_no_result_is_named(answer: Any) -> None:
    """What became of the data is not known, and the error says so."""
    manager = WriteManager([Acting(lambda request, deadline: answer)], logger=SILENT)
    error = failure(manager, request())
    assert (error.outcome, error.retry, error.reason) == (Outcome.UNKNOWN, Retry.NEVER, "writer")
    assert "'sql.main'" in str(error)


def test_a_writer_that_raises_anything_is_named() -> None:
    """Only a `WriteError` says what became of the data."""

    def act(request: WriteRequest, deadline: Deadline) -> Any:
        raise RuntimeError(SECRET)

    error = failure(WriteManager([Acting(act)], logger=SILENT), request())
    assert (error.outcome, error.reason, error.attempts) == (Outcome.UNKNOWN, "writer", 1)
    assert isinstance(error.__cause__, RuntimeError)
    assert SECRET not in str(error)


def test_a_writer_that_cannot_even_be_asked_is_an_error_like_any_other() -> None:
    """Nothing was sent."""

    class Mute(MemoryWriter):
        def find_handler(self, type: str, /) -> Any:
            raise RuntimeError(SECRET)

    metrics = Counted()
    manager, _ = managed(Mute("sql.main"), metrics=metrics)
    error = failure(manager, request())
    assert (error.code, error.outcome, error.reason) == (ErrorCode.BACKEND, Outcome.NOT_APPLIED, "wiring")
    assert SECRET not in str(error)
    assert [event.code for event in metrics.events] == ["BACKEND"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_a_program_passes_untouched(stop: type[BaseException]) -> None:
    """From a handler, through everything."""

    @handler("stop")
    def stopping(request: WriteRequest, connection: Any) -> None:
        raise stop

    manager, writer = managed()
    writer.register_handler(stopping)
    with pytest.raises(stop):
        manager.write(request("stop"))
    assert manager.write(request()).success


def test_many_writes_are_answered_by_position() -> None:
    """Each for itself: a result or its error, and no exception."""
    manager, writer = managed()
    writer.fail_next(BackendError("refused", reason="constraint"))
    answers = manager.write_many(
        [request(payload={"key": "1"}), request(payload={"key": "2"}), request("putt"), request(payload={"key": "3"})]
    )
    assert [type(answer) for answer in answers] == [BackendError, WriteResult, TypeNotSupportedError, WriteResult]
    assert [answer.data for answer in answers if isinstance(answer, WriteResult)] == ["2", "3"]
    assert all(answer.__traceback__ is None for answer in answers if isinstance(answer, WriteError))
    assert manager.write_many([]) == []


@given(st.lists(st.sampled_from(["good", "bad type", "bad payload", "refused"]), max_size=12))
def test_a_bad_item_takes_no_good_one_with_it(kinds: list[str]) -> None:
    """As many answers as requests, in order, and exactly the good ones are written."""
    manager, writer = managed()
    writer.register_handler(handler("no")(lambda request, connection: connection["missing"]))
    made: dict[str, Callable[[int], WriteRequest]] = {
        "good": lambda number: request(payload={"key": str(number)}),
        "bad type": lambda number: request("putt"),
        "bad payload": lambda number: request(payload=number),
        "refused": lambda number: request("no"),
    }
    answers = manager.write_many(made[kind](number) for number, kind in enumerate(kinds))
    assert [isinstance(answer, WriteResult) for answer in answers] == [kind == "good" for kind in kinds]
    assert sorted(writer.data) == sorted(str(number) for number, kind in enumerate(kinds) if kind == "good")


def test_what_ends_a_program_ends_a_batch() -> None:
    """It is no answer of an item."""
    manager, writer = managed()

    @handler("stop")
    def stopping(request: WriteRequest, connection: Any) -> None:
        raise KeyboardInterrupt

    writer.register_handler(stopping)
    with pytest.raises(KeyboardInterrupt):
        manager.write_many([request(), request("stop"), request()], ordered=True)
    assert len(writer.written) == 1


def test_a_closed_manager_refuses() -> None:
    """Nothing is sent, the writers are left to their makers, and closing again does nothing."""
    manager, writer = managed()
    manager.close()
    manager.close()
    error = failure(manager, request())
    assert (error.code, error.reason, error.outcome) == (ErrorCode.BACKEND, "closed", Outcome.NOT_APPLIED)
    assert writer.tried == ()
    other, _ = managed(writer)
    assert other.write(request()).success


def test_a_second_writer_for_a_target_is_refused() -> None:
    """See the directory; the first one goes on."""
    manager, writer = managed()
    with pytest.raises(RegistrationError, match="already has a writer"):
        manager.register(MemoryWriter("sql.main"))
    manager.register(writer)
    assert manager.write(request()).success


def test_writes_race_with_registrations() -> None:
    """No write is lost, fails or meets half a chain while writers, handlers and middleware are added."""
    manager, writer = managed(clock=None)
    start, done = threading.Barrier(5), threading.Event()
    faults: list[Exception] = []
    counted: list[int] = []

    def counting(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            counted.append(1)
            return next(operation)

        return call

    def write(part: int) -> None:
        start.wait()
        number = 0
        while not done.is_set() or number < 50:
            number += 1
            try:
                manager.write(request(payload={"key": f"{part}.{number}"}))
            except Exception as error:  # noqa: BLE001 - whatever it is, the test fails on it
                faults.append(error)

    threads = [threading.Thread(target=write, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    start.wait()
    for number in range(30):
        manager.register(MemoryWriter(f"more.{number}", handlers=Registry(put)))
        writer.register_handler(handler(f"more {number}")(lambda request, connection: None))
        manager.use(counting, each_attempt=bool(number % 2))
        assert manager.write(request(target=f"more.{number}")).success
    done.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(writer.written) == len(writer.data) >= 200
    counted.clear()
    manager.write(request())
    assert len(counted) == 30


def test_a_forked_child_can_register_and_write() -> None:
    """Even if another thread of the parent was registering at that moment."""
    manager, _ = managed()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with manager._registering:
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        manager.use(noting("child", []))
        os._exit(0 if manager.write(request()).success else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0
