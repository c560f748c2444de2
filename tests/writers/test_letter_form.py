"""Tests of how a payload is written down in a letter, and read again."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Hashable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.writers._letter_form import read, written

atoms: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.datetimes(timezones=st.sampled_from([None, UTC])),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.uuids(),
)


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Containers of every kind that keeps its form."""
    keys = st.one_of(st.text(), st.integers(), st.tuples(st.text(), st.dates()))
    hashable = inner.filter(lambda value: isinstance(value, Hashable) and not isinstance(value, tuple))
    return st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.sets(hashable, max_size=3),
        st.frozensets(hashable, max_size=3),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.sampled_from(["$bytes", "$dict", "$"]), inner, max_size=2),
    )


@given(st.recursive(atoms, grown, max_leaves=12))
def test_what_is_written_is_read_as_it_was(value: Any) -> None:
    """Value and type, whatever JSON has no word for."""
    back = read(written(value))
    assert back == value
    assert type(back) is type(value)


def test_numbers_that_are_none_come_back() -> None:
    """JSON has no word for them."""
    assert str(read(written([float("nan"), float("inf"), float("-inf")]))) == "[nan, inf, -inf]"


class Shade(enum.Enum):
    """An enumeration."""

    DARK = "dark"


class Name(str):
    """A text of a library's own, as SQLAlchemy has one."""


class Point(NamedTuple):
    """A pair."""

    x: int
    y: int


class ByMsgspec(msgspec.Struct, rename="camel"):
    """A model of msgspec."""

    user_id: int
    born: date
    note: str | msgspec.UnsetType = msgspec.UNSET


class ByPydantic(pydantic.BaseModel):
    """A model of pydantic."""

    user_id: int = pydantic.Field(alias="userId")
    born: date


@dataclasses.dataclass
class ByDataclass:
    """A dataclass."""

    user_id: int
    seen: set[str] = dataclasses.field(default_factory=set)
    double: int = dataclasses.field(init=False, default=0)


class Attribute(NamedTuple):
    """What attrs says of an attribute."""

    name: str
    alias: str
    init: bool = True


class ByAttrs:
    """A class as attrs makes them."""

    __attrs_attrs__ = (Attribute("_user_id", "user_id"), Attribute("double", "double", init=False))

    def __init__(self, user_id: int) -> None:
        self._user_id = user_id


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (ByMsgspec(1, date(2000, 1, 2)), {"userId": 1, "born": date(2000, 1, 2)}),
        (ByPydantic(userId=1, born=date(2000, 1, 2)), {"userId": 1, "born": date(2000, 1, 2)}),
        (ByDataclass(1, {"a"}), {"user_id": 1, "seen": {"a"}}),
        (ByAttrs(1), {"user_id": 1}),
        (Shade.DARK, "dark"),
        (Name("users"), "users"),
        (Point(1, 2), (1, 2)),
    ],
)
def test_a_model_becomes_what_it_is_made_of(value: Any, back: Any) -> None:
    """By the names that it takes; what is at heart a plain value becomes that."""
    assert read(written({"it": value})) == {"it": back}


def test_what_has_no_form_is_refused_by_its_type() -> None:
    """And never by what it says."""
    with pytest.raises(TypeError, match="a object has no form"):
        written({"a": [object()]})


def test_a_payload_in_itself_is_refused() -> None:
    """It would never end."""
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ValueError, match="deeper"):
        written(ring)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"$date":"hunter2"}',
        '{"$other":1}',
        '{"$decimal":"hunter2"}',
        '{"$set":[[1]]}',
        '{"$uuid":1}',
        "\udcff",
    ],
)
def test_damage_is_named_without_what_was_there(text: str) -> None:
    """A replay reports it and goes on."""
    with pytest.raises(ValueError, match="damaged") as caught:
        read(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


def test_times_keep_their_zone() -> None:
    """A moment stays the same moment."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    assert read(written([moment, time(1, 2), timedelta(days=-1, seconds=3), Decimal("1.10"), UUID(int=5)])) == [
        moment,
        time(1, 2),
        timedelta(days=-1, seconds=3),
        Decimal("1.10"),
        UUID(int=5),
    ]
