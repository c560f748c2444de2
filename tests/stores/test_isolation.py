"""Which values are shared and how the others are copied."""

from __future__ import annotations

import abc
import collections
import dataclasses
import datetime
import decimal
import enum
import pathlib
import re
import threading
import uuid
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.stores._isolation import _COPIERS, copied, keep


class Colour(enum.Enum):
    """An enumeration."""

    RED = 1


class Point(NamedTuple):
    """A named tuple."""

    x: Any
    y: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A frozen dataclass."""

    held: Any


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlots:
    """A frozen dataclass with slots."""

    held: Any


@dataclasses.dataclass
class Open:
    """A dataclass that can be changed."""

    held: Any


T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Labelled(abc.ABC):
    """A frozen dataclass to be derived from."""

    label: str


class Struct(msgspec.Struct, frozen=True):
    """A frozen struct."""

    held: Any


class OpenStruct(msgspec.Struct):
    """A struct that can be changed."""

    held: Any


class Noted:
    """A class with a place for a note."""

    __slots__ = ("notes",)


@dataclasses.dataclass(frozen=True)
class FrozenNoted(Noted):
    """A frozen dataclass whose base has a slot that is no field."""

    held: Any


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenList(list[Any]):
    """A frozen dataclass that is a list besides."""

    held: Any


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenDeque(collections.deque[Any]):
    """A frozen dataclass that is a deque besides."""

    held: Any = None


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    """A frozen dataclass that is an exception, whose traceback may be set and which cannot be copied."""

    held: Any


@dataclasses.dataclass(frozen=True)
class Box(Labelled, Generic[T]):
    """A frozen dataclass with a type parameter, derived from a frozen one."""

    held: T


@dataclasses.dataclass(frozen=True)
class Unset:
    """A frozen dataclass with a field that is left without a value."""

    held: Any
    later: Any = dataclasses.field(init=False, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class UnsetSlots:
    """The same with slots."""

    held: Any
    later: Any = dataclasses.field(init=False, compare=False)


class DerivedStruct(Struct, frozen=True):
    """A frozen struct derived from another."""

    more: Any = None


class Text(str):
    """A string that can be given attributes."""


class Careful:
    """A class that says how it is copied."""

    def __init__(self) -> None:
        self.copies = 0

    def __deepcopy__(self, memo: Any) -> Careful:
        other = Careful()
        other.copies = self.copies + 1
        return other


IMMUTABLE = [
    "text", b"bytes", 1, 2**80, 1.5, 1j, True, None, ..., (), (1, ("a", None)), frozenset({1, ("a",)}), Colour.RED,
    Point(1, (2,)), Frozen("a"), Frozen(Frozen((1,))), FrozenSlots(1), Struct("a"), range(3), re.compile("a"), int, len,
    uuid.UUID(int=1), decimal.Decimal("1.5"), datetime.date(2026, 1, 1), datetime.timedelta(1), pathlib.Path("a"),
    DerivedStruct(1, (2,)), Box("b", (1,)), Unset(1), UnsetSlots(1),
]  # fmt: skip
CHANGEABLE = [
    [], {}, set(), bytearray(b"a"), [1, [2]], {"a": {"b": [1]}}, {"a": 1}, {1, 2}, ([],), (1, {"a": []}), Point(1, []),
    Frozen([1]), FrozenSlots({"a": 1}), Struct([1]), Open(1), OpenStruct([1]), collections.Counter("aab"),
    collections.OrderedDict(a=[1]), collections.deque([1]), {(1, 2): [3]}, {"a": Open([1])}, [Frozen([])],
    DerivedStruct(1, [2]), Box("b", [1]), Unset([1]),
]  # fmt: skip
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner, inner), st.lists(inner).map(tuple)
    ),
    max_leaves=20,
)


def kind(value: Any) -> str:
    """The name of a value's type, which is the same in every process."""
    return type(value).__name__


def parts(value: Any) -> list[Any]:
    """Every container within a value."""
    inner: list[Any] = []
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list | tuple):
        inner = list(value)
    own = [value] if isinstance(value, dict | list) else []
    return own + [part for item in inner for part in parts(item)]


@pytest.mark.parametrize("value", IMMUTABLE, ids=kind)
def test_what_nobody_can_change_is_shared(value: Any) -> None:
    """The very object is kept and handed out."""
    assert copied(value) is value
    assert keep(value) == (value, None)


@pytest.mark.parametrize("value", CHANGEABLE, ids=kind)
def test_what_can_be_changed_is_copied(value: Any) -> None:
    """What is kept is another, equal object, and so is what each reader gets."""
    private, thaw = keep(value)
    assert thaw is not None
    readers = [thaw(private), thaw(private)]
    for other in (private, *readers):
        assert other == value and type(other) is type(value)
    assert len({id(one) for one in (value, private, *readers)}) == 4


@given(JSON)
def test_no_container_is_shared(value: Any) -> None:
    """Of plain data no list or dict at any depth is in two copies."""
    private, thaw = keep(value)
    reader = private if thaw is None else thaw(private)
    assert reader == value == private
    ids = [id(part) for version in (value, private, reader) for part in parts(version)]
    assert len(ids) == len(set(ids)) or not parts(value)


def test_a_value_that_contains_itself() -> None:
    """It is copied as it is, the ring included."""
    ring: list[Any] = [1]
    ring.append(ring)
    other = copied(ring)
    assert other is not ring and other[1] is other and other[0] == 1


def test_a_class_decides_how_it_is_copied() -> None:
    """`__deepcopy__` is respected, at any depth."""
    assert copied([Careful()])[0].copies == 1 and copied(Careful()).copies == 1


def test_a_subclass_of_something_immutable_is_not_trusted() -> None:
    """It may have attributes that can be changed."""
    text = Text("a")
    text.notes = []  # type: ignore[attr-defined]
    other = copied(text)
    assert other == text and other.notes is not text.notes  # type: ignore[attr-defined]


def test_a_frozen_object_that_holds_more_than_its_fields_is_copied() -> None:
    """Somebody went round the freezing, as a cached property does; what was added may be changed."""
    value = Frozen(1)
    object.__setattr__(value, "cache", [])
    assert copied(value) is not value


@pytest.mark.parametrize("value", [FrozenNoted(1), FrozenList(1), FrozenDeque(held=1)], ids=kind)
def test_a_frozen_class_that_has_more_than_its_fields_is_not_trusted(value: Any) -> None:
    """What its base keeps may be changed, however frozen its fields are: a reader gets an object of its own."""
    private, thaw = keep(value)
    assert thaw is not None and private is not value and thaw(private) is not private
    assert type(private) is type(value) and private.held == 1


def test_what_cannot_be_copied_raises() -> None:
    """Whatever its type raises."""
    for value in (threading.Lock(), [threading.Lock()], {"a": (threading.Lock(),)}, FrozenError(1)):
        with pytest.raises((TypeError, dataclasses.FrozenInstanceError)):
            keep(value)


def test_classes_made_at_run_time_do_not_pile_up() -> None:
    """How to treat a type is remembered for a bounded number of types."""
    for number in range(5_000):
        copied(type(f"Made{number}", (), {})())
    assert len(_COPIERS) <= 4_096
    for kind in [kind for kind in _COPIERS if kind.__name__.startswith("Made")]:
        del _COPIERS[kind]
