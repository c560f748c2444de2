"""Codecs: what goes in comes back equal, or is refused by the name of its type."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import math
import uuid
from contextlib import suppress
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.errors import CodecError
from wellwired.stores.codecs import Codec, JSONCodec, MsgpackCodec

SECRET = "hunter2"
FALSY: tuple[Any, ...] = (None, False, 0, 0.0, -0.0, "", [], {}, [None], {"": None}, [[]])
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)

both = pytest.mark.parametrize("codec", [MsgpackCodec(), JSONCodec()], ids=["msgpack", "json"])


class Profile(msgspec.Struct):
    """A struct, as an application may store it."""

    name: str
    born: dt.date
    tags: tuple[str, ...] = ()


class Plain(msgspec.Struct, eq=False):
    """A struct that equals only itself."""

    number: int


@dataclasses.dataclass
class Point:
    """A dataclass, as an application may store it."""

    x: float
    y: float


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


class Stranger:
    """A type that nothing knows; its text holds what must not be told."""

    def __repr__(self) -> str:
        return SECRET


@both
@pytest.mark.parametrize("value", FALSY, ids=repr)
def test_every_falsy_value_comes_back(codec: Codec, value: Any) -> None:
    """Nothing that is false in an `if` is lost, or becomes another thing that is."""
    back = codec.decode(codec.encode(value))
    assert back == value and type(back) is type(value)


@both
@given(value=PLAIN)
def test_plain_values_come_back_equal(codec: Codec, value: Any) -> None:
    """Any nesting of plain values survives."""
    assert codec.decode(codec.encode(value)) == value


def test_bytes_come_back_from_msgpack() -> None:
    """MessagePack knows bytes; JSON does not, and says so."""
    codec = MsgpackCodec()
    assert codec.decode(codec.encode({"raw": b"\x00\xff", "none": b""})) == {"raw": b"\x00\xff", "none": b""}
    with pytest.raises(CodecError, match=r"as something else.*JSONCodec\(bytes\)"):
        JSONCodec().encode(b"\x00")
    assert JSONCodec(bytes).decode(JSONCodec(bytes).encode(b"\x00")) == b"\x00"


def test_nan_comes_back_as_nan_or_is_refused() -> None:
    """A NaN equals nothing, itself included; that alone is no reason to refuse it."""
    codec = MsgpackCodec()
    back = codec.decode(codec.encode({"a": [math.nan, 1]}))
    assert math.isnan(back["a"][0]) and back["a"][1] == 1
    with pytest.raises(CodecError):
        JSONCodec().encode(math.nan)
    with pytest.raises(CodecError):
        codec.encode([math.nan, (1,)])


@both
@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {"a": (1,)},
        {1, 2},
        frozenset([1]),
        Decimal("1.0"),
        uuid.UUID(int=1),
        dt.date(2020, 1, 1),
        dt.datetime(2020, 1, 1),  # noqa: DTZ001 - a time without a zone is a value too
        dt.timedelta(1),
        Colour.RED,
        Profile("Ada", dt.date(1815, 12, 10)),
        Point(1.0, 2.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_come_back_as_something_else_is_refused(codec: Codec, value: Any) -> None:
    """Both formats would quietly turn these into lists, dicts or text; the error names the type and the way out."""
    with pytest.raises(CodecError, match="as something else; hand the codec its type"):
        codec.encode(value)


@both
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Stranger(), "Stranger"),
        ({"a": [Stranger()]}, "Stranger"),
        (1j, "complex"),
        (range(3), "range"),
        ("\ud800" + SECRET, "str"),
        (-(2**63) - 1, "int"),
        ({Stranger(): 1}, "dict|Stranger"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_encoded_is_named_by_type_and_never_shown(codec: Codec, value: Any, kind: str) -> None:
    """The error is a ValueError with the type's name in it, and without a trace of the value."""
    if codec.id == "json" and isinstance(value, int):
        pytest.skip("JSON has no limit for whole numbers")
    with pytest.raises(CodecError, match=kind) as caught:
        codec.encode(value)
    assert isinstance(caught.value, ValueError)
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None


@both
def test_values_without_end_are_refused(codec: Codec) -> None:
    """A list that contains itself ends in the same error as anything else that cannot be encoded."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(CodecError, match="contains itself or is too deep"):
        codec.encode(endless)


@pytest.mark.parametrize("make", [MsgpackCodec, JSONCodec])
@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Profile, Profile("Ada", dt.date(1815, 12, 10), ("x",))),
        (Point, Point(0.0, -1.5)),
        (tuple[int, ...], ()),
        (set[int], set()),
        (Decimal, Decimal(0)),
        (uuid.UUID, uuid.UUID(int=0)),
        (dt.datetime, dt.datetime(2020, 1, 1, tzinfo=dt.UTC)),
        (Colour, Colour.RED),
        (Profile | None, None),
        (list[Point], []),
    ],
    ids=repr,
)
def test_with_a_type_its_values_come_back(make: Any, type_: Any, value: Any) -> None:
    """A codec that was handed a type gives back the type's own values."""
    codec = make(type_)
    back = codec.decode(codec.encode(value))
    assert back == value and type(back) is type(value)


def test_a_type_without_equality_is_trusted() -> None:
    """Objects that equal only themselves come back as others of their type."""
    codec = MsgpackCodec(Plain)
    assert codec.decode(codec.encode(Plain(3))).number == 3


@pytest.mark.parametrize("value", [{"name": 1}, "text", Point(1.0, 2.0), (1, "a"), None])
def test_with_a_type_other_values_are_refused(value: Any) -> None:
    """A value that could not be read back is refused when it is written, not when it is needed."""
    with pytest.raises(CodecError):
        MsgpackCodec(Profile).encode(value)
    with pytest.raises(CodecError):
        JSONCodec(Profile).encode(value)


def test_codecs_say_what_they_are() -> None:
    """They satisfy the protocol, and their names are those in the envelopes."""
    assert isinstance(MsgpackCodec(), Codec) and isinstance(JSONCodec(), Codec)
    assert (MsgpackCodec().id, JSONCodec().id) == ("msgpack", "json")
    assert (repr(MsgpackCodec()), repr(JSONCodec(Point))) == ("MsgpackCodec()", "JSONCodec(typed)")


@both
@given(data=st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_by_an_error(codec: Codec, data: bytes) -> None:
    """No bytes hang or crash the decoder; what it raises is an ordinary exception."""
    with suppress(ValueError, RecursionError, OverflowError, TypeError):
        codec.decode(data)


@both
@pytest.mark.parametrize(
    "bomb", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\x91" * 50_000, b"[" * 50_000]
)
def test_lengths_and_depths_in_the_bytes_are_not_believed(codec: Codec, bomb: bytes) -> None:
    """A few bytes that claim billions of items, or endless depth, are refused at once."""
    with pytest.raises((ValueError, RecursionError)):
        codec.decode(bomb)
