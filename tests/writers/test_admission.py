"""Tests of what a request must be."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.writers.manager_kit import SECRET, put, request
from wellwired.errors import InvalidRequestError, Outcome
from wellwired.handlers import handler
from wellwired.operations import WriteRequest
from wellwired.writers import MemoryWriter
from wellwired.writers.admission import check_request, no_type, no_writer, repeatable

LONG = "x" * 129

WRONG: list[tuple[str, Any]] = [
    *(("target", value) for value in ("", " ", LONG, None, 7, b"sql.main", ["sql.main"], "sql\nmain", "sql\x00main")),
    *(("type", value) for value in ("", "\t", LONG, None, 7, ["put"], "put\r\nX: y")),
    *(("timeout", value) for value in (0, -1, 0.0, math.inf, -math.inf, math.nan, "5", True, [5], 10**7, 10**400)),
    *(("idempotency_key", value) for value in ("", LONG, 7, b"key", ["key"])),
    *(("meta", value) for value in (None, [], "trace", 7, {1: "x"}, {"ok": 1, None: 2}, [("a", 1)])),
]


def refused(candidate: Any) -> InvalidRequestError:
    """How a request is refused."""
    with pytest.raises(InvalidRequestError) as caught:
        check_request(candidate)
    return caught.value


@pytest.mark.parametrize(("field", "value"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_field_is_named_and_not_shown(field: str, value: Any) -> None:
    """The first word of the message and the reason are the field's name."""
    error = refused(request(**{field: value}))
    assert error.message.startswith(f"{field} ")
    assert error.reason == field
    assert error.outcome is Outcome.NOT_APPLIED
    assert repr(value) not in f"{error!s}{error!r}{vars(error)}" or len(repr(value)) < 5


@pytest.mark.parametrize("value", [None, 7, {"target": "sql.main"}, "request"])
def test_what_is_no_request_is_refused(value: Any) -> None:
    """As an invalid request like any other."""
    assert refused(value).reason == "request"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"timeout": 1},
        {"timeout": 0.001},
        {"idempotency_key": "k" * 128},
        {"meta": {"a": object()}},
        {"meta": MappingProxyType({"a": 1})},
        {"target": "x" * 128},
        {"target": "mysql.main"},
        {"type": "прописать профиль"},
    ],
)
def test_what_is_right_passes(fields: dict[str, Any]) -> None:
    """Names may be in any script, meta may hold anything under names."""
    check_request(request(**fields))


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers()),
    st.dictionaries(st.text(), st.text()), st.dictionaries(st.integers(), st.text()),
)  # fmt: skip


@given(target=anything, kind=anything, meta=anything, timeout=anything, key=anything)
def test_anything_is_either_right_or_an_invalid_request(
    target: Any, kind: Any, meta: Any, timeout: Any, key: Any
) -> None:
    """No other exception, whatever a caller hands over."""
    right = (
        isinstance(target, str) and isinstance(kind, str) and isinstance(meta, dict)
        and (timeout is None or isinstance(timeout, int | float)) and (key is None or isinstance(key, str))
    )  # fmt: skip
    try:
        check_request(WriteRequest(target, kind, {}, meta, timeout, key))
    except InvalidRequestError:
        return
    assert right
    assert timeout is None or 0 < timeout <= 1_000_000


@handler("safe", idempotent=True)
def safe(request: WriteRequest, connection: Any) -> None:
    """Nothing, as often as one likes."""


def test_what_may_be_sent_twice() -> None:
    """What is idempotent, and what has a key at a writer that keeps keys; nothing else."""
    plain, keeper = MemoryWriter("sql.main"), MemoryWriter("sql.main", keeps_keys=True)
    assert not repeatable(request(), put, plain)
    assert not repeatable(request(), put, keeper)
    assert repeatable(request(idempotency_key="k"), put, keeper)
    assert repeatable(request(), safe, plain)
    assert repeatable(request(idempotency_key="k"), safe, plain)


def test_a_key_that_cannot_be_kept_is_refused() -> None:
    """To take it and not to keep it would be a promise broken in silence."""
    with pytest.raises(InvalidRequestError) as caught:
        repeatable(request(idempotency_key=SECRET), put, MemoryWriter("sql.main"))
    assert caught.value.reason == "idempotency_key"
    assert "'sql.main' stores no keys" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_an_unknown_target_gets_a_hint() -> None:
    """The near one, or those that there are."""
    near = no_writer(request(target="sql.mian"), ["redis.cache", "sql.main"])
    assert near.message == "no writer for the target 'sql.mian'; did you mean 'sql.main'?"
    far = no_writer(request(target="nowhere"), ["sql.main", "redis.cache"])
    assert far.message.endswith("known: redis.cache, sql.main")
    many = no_writer(request(target="nowhere"), [f"shard.{number:02}" for number in range(25)])
    assert "shard.19 and 5 more" in many.message
    assert "no target is registered" in no_writer(request(), []).message


def test_an_unknown_type_gets_a_hint() -> None:
    """And the name of the writer."""
    error = no_type(request(type="user_profile_updat"), "sql.main", ["user_profile_update"])
    assert error.message == (
        "the writer 'sql.main' has no handler for the type 'user_profile_updat'; "
        "did you mean 'user_profile_update'?"
    )  # fmt: skip
    assert (error.target, error.type) == ("sql.main", "user_profile_updat")
