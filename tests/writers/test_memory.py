"""Tests of the writer into memory."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.writers.manager_kit import SECRET, put, request
from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    InvalidRequestError,
    Outcome,
    Phase,
    RegistrationError,
    Retry,
    WriteError,
    WriteTimeoutError,
)
from wellwired.handlers import FunctionHandler, Handler, Registry, handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import KeepsKeys, Listed, MemoryView, MemoryWriter, Writer


def acting(work: Any) -> FunctionHandler[Any, Any]:
    """A handler that does this with the view."""

    @handler("act")
    def act(request: WriteRequest, connection: Any) -> Any:
        return work(connection)

    return act


def written(writer: MemoryWriter, by: Handler = put, deadline: Deadline | None = None) -> WriteResult[Any]:
    """One attempt."""
    return writer.write(request(), handler=by, deadline=deadline or Deadline.after(10))


def failure(writer: MemoryWriter, by: Handler = put, deadline: Deadline | None = None) -> WriteError:
    """How an attempt fails."""
    with pytest.raises(WriteError) as caught:
        written(writer, by, deadline)
    return caught.value


@pytest.fixture
def writer() -> MemoryWriter:
    """A writer with something in it."""
    writer = MemoryWriter("sql.main", targets=["mysql.main"])

    def fill(connection: Any) -> None:
        connection.update({"a": {"tags": [1]}, "b": 2})

    written(writer, acting(fill))
    return writer


def test_it_is_a_writer(writer: MemoryWriter) -> None:
    """With the ability to list; keys are kept if that is asked for."""
    assert isinstance(writer, Writer)
    assert isinstance(writer, Listed)
    assert isinstance(writer, KeepsKeys)
    assert not writer.keeps_keys
    assert MemoryWriter("sql.main", keeps_keys=True).keeps_keys
    assert writer.targets == ("sql.main", "mysql.main")
    assert [writer.supports(target) for target in ("sql.main", "mysql.main", "sql.other")] == [True, True, False]


def test_handlers_for_memory_or_for_any_backend_are_found(writer: MemoryWriter) -> None:
    """Those for a database are not: they would be handed a mapping."""
    writer.register_handler(put)
    writer.register_handler(acting(len))
    writer.register_handler(handler("sql", backend="sql")(lambda request, connection: None))
    assert writer.find_handler("put") is put
    assert writer.find_handler("sql") is None
    assert writer.types() == ("act", "put")
    with pytest.raises(RegistrationError):
        writer.register_handler(acting(len))


def test_a_registry_may_be_shared() -> None:
    """What is registered later is found by every writer that has it."""
    registry = Registry()
    one, other = MemoryWriter("a", handlers=registry), MemoryWriter("b", handlers=registry)
    one.register_handler(put)
    assert other.find_handler("put") is put


def test_a_success_is_applied_and_recorded() -> None:
    """With what the handler returned."""
    writer = MemoryWriter("sql.main")
    result = written(writer)
    assert (result.success, result.data) == (True, "a")
    assert writer.data == {"a": SECRET}
    assert writer.written == writer.tried == (request(),)
    assert SECRET not in repr(writer)


def half(connection: Any) -> None:
    """Changes everything there is, then fails."""
    connection["a"]["tags"].append(2)
    connection["c"] = 3
    del connection["b"]
    raise KeyError(SECRET)


def test_a_failure_leaves_nothing(writer: MemoryWriter) -> None:
    """Not even what the handler changed in place."""
    before = writer.data
    error = failure(writer, acting(half))
    assert writer.data == before == {"a": {"tags": [1]}, "b": 2}
    assert isinstance(error, BackendError)
    assert (error.outcome, error.retry, error.reason) == (Outcome.NOT_APPLIED, Retry.NEVER, "handler")
    assert error.phase is Phase.EXECUTE
    assert isinstance(error.__cause__, KeyError)
    assert SECRET not in str(error)
    assert len(writer.tried) == 2
    assert len(writer.written) == 1


def test_a_handler_may_refuse_by_itself(writer: MemoryWriter) -> None:
    """Its `WriteError` is passed on as it is, and nothing is applied."""
    refusal = InvalidRequestError("not this one")

    def refuse(connection: Any) -> None:
        connection["c"] = 3
        raise refusal

    assert failure(writer, acting(refuse)) is refusal
    assert "c" not in writer.data


def test_what_ends_a_program_leaves_nothing(writer: MemoryWriter) -> None:
    """And opens the lock."""

    def stop(connection: Any) -> None:
        connection["c"] = 3
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(writer, acting(stop))
    assert "c" not in writer.data
    assert written(writer).success


def test_a_handler_that_is_too_late_leaves_nothing(writer: MemoryWriter, virtual_clock: VirtualClock) -> None:
    """A timeout means that nothing is applied."""

    def slow(connection: Any) -> None:
        connection["c"] = 3
        virtual_clock.advance(1.0)

    error = failure(writer, acting(slow), Deadline.after(1.0, virtual_clock))
    assert isinstance(error, WriteTimeoutError)
    assert (error.phase, error.outcome, error.retry) == (Phase.EXECUTE, Outcome.NOT_APPLIED, Retry.SAFE)
    assert "c" not in writer.data


def test_waiting_for_its_turn_counts_against_the_deadline(writer: MemoryWriter, virtual_clock: VirtualClock) -> None:
    """One write runs at a time; who cannot wait any longer has not been tried."""
    held, done = threading.Event(), threading.Event()

    def hold(connection: Any) -> None:
        held.set()
        done.wait(10)

    thread = threading.Thread(target=written, args=(writer, acting(hold)))
    thread.start()
    held.wait(10)
    began = time.monotonic()
    error = failure(writer, put, Deadline.after(0.0, virtual_clock))
    assert time.monotonic() - began < 2
    done.set()
    thread.join()
    assert (type(error), error.phase) == (WriteTimeoutError, Phase.CHECKOUT)
    assert len(writer.tried) == 2


def test_a_failure_can_be_ordered(writer: MemoryWriter) -> None:
    """For the next attempts, one each; after them all is well."""
    first, second = BackendError("lost", retry=Retry.SAFE), BackendError("full")
    writer.fail_next(first, second)
    assert failure(writer) is first
    assert failure(writer) is second
    assert written(writer).success
    assert (len(writer.tried), len(writer.written)) == (4, 2)


def test_a_lost_answer_can_be_ordered(writer: MemoryWriter) -> None:
    """The data is changed and the caller gets the error all the same."""
    lost = BackendError("no answer", outcome=Outcome.UNKNOWN)
    writer.fail_next(lost, applied=True)
    assert failure(writer) is lost
    assert writer.data["a"] == SECRET


def test_an_ordered_fault_of_a_handler_is_one(writer: MemoryWriter) -> None:
    """Anything but a `WriteError` is treated as if the handler had raised it."""
    writer.fail_next(KeyError("x"))
    assert failure(writer).reason == "handler"


def test_a_writer_can_begin_anew(writer: MemoryWriter) -> None:
    """Between two tests; its handlers stay."""
    writer.register_handler(put)
    writer.fail_next(BackendError("lost"))
    writer.reset()
    assert (writer.data, writer.written, writer.tried) == ({}, (), ())
    assert written(writer).success
    assert writer.types() == ("put",)


def test_types_without_a_handler_can_be_recorded() -> None:
    """For tests that only ask what was sent."""
    writer = MemoryWriter("sql.main", records_all=True)
    found = writer.find_handler("whatever")
    assert found is not None
    assert written(writer, found).data is None
    assert writer.written == (request(),)
    assert writer.types() == ()
    assert MemoryWriter().find_handler("whatever") is None


def test_a_write_within_a_write(writer: MemoryWriter) -> None:
    """Is a write of its own, as over a second connection: what it commits stays when the outer one fails."""

    def outer(connection: Any) -> None:
        connection["outer"] = 1
        written(writer)
        assert "outer" not in writer.data
        raise ValueError

    failure(writer, acting(outer))
    assert writer.data["a"] == SECRET
    assert "outer" not in writer.data


def test_a_view_ends_with_its_write(writer: MemoryWriter) -> None:
    """A handler that keeps its connection is told so, and changes nothing."""
    kept: list[Any] = []
    written(writer, acting(kept.append))
    with pytest.raises(RuntimeError, match="the write is over"):
        kept[0]["c"] = 3
    with pytest.raises(RuntimeError, match="the write is over"):
        kept[0]["a"]


def test_the_data_that_is_shown_is_a_copy(writer: MemoryWriter) -> None:
    """A test cannot change what was written."""
    writer.data["a"]["tags"].append(9)
    assert writer.data["a"] == {"tags": [1]}


keys = st.sampled_from("abc")
steps = st.one_of(
    st.tuples(st.just("set"), keys, st.lists(st.integers(), max_size=2)),
    st.tuples(st.just("grow"), keys, st.integers()),
    st.tuples(st.just("drop"), keys, st.none()),
)


@given(st.dictionaries(keys, st.lists(st.integers(), max_size=2)), st.lists(steps, max_size=12))
def test_a_view_is_a_dict_that_waits(before: dict[str, list[int]], changes: list[tuple[str, str, Any]]) -> None:
    """Whatever is done to it reads like a dict, changes nothing before it is applied, and everything then."""
    data = {key: list(value) for key, value in before.items()}
    model = {key: list(value) for key, value in before.items()}
    view = MemoryView(data)
    for what, key, value in changes:
        for target in (view, model):
            if what == "set":
                target[key] = list(value)
            elif what == "grow" and key in target:
                target[key].append(value)
            elif what == "drop":
                assert (key in target) == (target.pop(key, None) is not None)
        assert (dict(view), len(view), sorted(view)) == (model, len(model), sorted(model))
        assert data == before
    with pytest.raises(KeyError):
        view["missing"]
    with pytest.raises(KeyError):
        del view["missing"]
    view.apply()
    assert data == model


def test_racing_writes_lose_nothing() -> None:
    """Reading, changing and writing back is one step for each write."""
    writer, start = MemoryWriter(), threading.Barrier(8)

    def count(connection: Any) -> None:
        connection["n"] = connection.get("n", 0) + 1

    def run() -> None:
        start.wait()
        for _ in range(100):
            written(writer, acting(count))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.data == {"n": 800}
    assert len(writer.written) == 800
