"""Tests of the values that flow through middleware and handlers."""

from __future__ import annotations

import dataclasses
import pickle
import traceback
from typing import Any

import pytest

from wellwired.clock import Deadline
from wellwired.operations import StoreOperation, StoreVerb, WriteOperation, WriteRequest, WriteResult

SECRET = "hunter2"

REQUEST = WriteRequest(
    target="sql.main",
    type="user_profile_update",
    payload={"password": SECRET},
    meta={"token": SECRET},
    timeout=2.0,
    idempotency_key=f"key-{SECRET}",
)

VALUES: list[Any] = [
    REQUEST,
    WriteResult(data={"password": SECRET}, message="1 row"),
    WriteOperation(request=REQUEST, writer="sql.main", deadline=Deadline.never()),
    StoreOperation(StoreVerb.SET, "users", ("user:1",), value=SECRET, options={"token": SECRET}),
]

every_value = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


@every_value
def test_a_repr_leaks_neither_payload_nor_value(value: Any) -> None:
    """A log line or a debugger's view of one shows what it is about and not what is in it."""
    assert SECRET not in repr(value) + str(value) + f"{value}" + f"{value!r}"


@every_value
def test_a_repr_says_what_it_is_about(value: Any) -> None:
    """The name of the target, writer, store or outcome is there."""
    assert any(word in repr(value) for word in ("sql.main", "users", "1 row"))


@every_value
def test_a_traceback_leaks_nothing(value: Any) -> None:
    """An error that quotes one in its message is safe to log."""
    try:
        raise RuntimeError(f"could not do {value}")
    except RuntimeError:
        assert SECRET not in traceback.format_exc()


@every_value
def test_a_value_cannot_be_changed(value: Any) -> None:
    """Middleware replaces an operation by another; it cannot change the one that others hold."""
    for field in dataclasses.fields(value):
        with pytest.raises(AttributeError):
            setattr(value, field.name, None)
    assert not hasattr(value, "__dict__")


@every_value
def test_a_value_pickles(value: Any) -> None:
    """A request, a result or an operation can be handed to another process, with all that it holds."""
    again = pickle.loads(pickle.dumps(value))
    names = [field.name for field in dataclasses.fields(value) if field.name != "deadline"]
    assert [getattr(again, name) for name in names] == [getattr(value, name) for name in names]


def test_a_request_needs_only_target_type_and_payload() -> None:
    """The rest has defaults that change nothing, and no two requests share a mutable one."""
    request = WriteRequest("sql.main", "user_profile_update", {})
    assert (request.timeout, request.idempotency_key, request.meta) == (None, None, {})
    assert request.meta is not WriteRequest("a", "b", {}).meta


def test_a_result_is_a_plain_success_by_default() -> None:
    """One attempt, nothing replayed, nothing to warn of."""
    result: WriteResult[int] = WriteResult(data=0)
    assert (result.success, result.data, result.attempts, result.replayed, result.warnings) == (True, 0, 1, False, ())


def test_the_data_of_a_result_has_the_type_that_the_handler_returns() -> None:
    """A type checker asks for no check of None that could never be true; `mypy --strict` reads this line."""
    order: int = WriteResult(data={"order": 7}).data["order"]
    assert order == 7 and WriteResult[None]().data is None


def test_the_key_of_an_operation_on_one_key() -> None:
    """A middleware for single keys need not unpack them."""
    assert StoreOperation(StoreVerb.GET, "users", ("user:1",)).key == "user:1"


def test_a_verb_is_its_method_s_name() -> None:
    """A middleware can compare the verb with the plain word."""
    assert str(StoreVerb.GET_OR_LOAD) == "get_or_load"
    assert f"{StoreVerb.SET}" == "set"


def test_a_request_about_another_payload_keeps_all_else() -> None:
    """Each field but the payload is the same, those that will be added one day included, and so is the class."""

    @dataclasses.dataclass(frozen=True)
    class Mine(WriteRequest):
        more: int = 0

    given = ("sql.main", "t", {"a": 1}, {"trace_id": "t"}, 2.5, "key", {"stores.users": ["user:1"]})
    assert len(given) == len(dataclasses.fields(WriteRequest))
    for request in (WriteRequest(*given), Mine(*given, more=7)):
        other = request.with_payload({"b": 2})
        assert other == dataclasses.replace(request, payload={"b": 2}) and type(other) is type(request)


def test_a_result_may_be_made_with_its_type() -> None:
    """`WriteResult[int](...)` is the same as without the brackets, and as hard to change."""
    result = WriteResult[int](data=5)

    assert (type(result), result, result.data) == (WriteResult, WriteResult(data=5), 5)
    for name in ("data", "other", "__orig_class__"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, name, 6)
    assert pickle.loads(pickle.dumps(result)) == result
