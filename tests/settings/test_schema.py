"""Tests of what is read from annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, TypedDict, Union

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, Field, RootModel, SecretStr
from typing_extensions import TypeAliasType

from wellwired.settings._schema import Kind, Node


class Typed(TypedDict):
    """A dict with fixed keys."""

    x: int


@dataclass
class Data:
    """A dataclass."""

    x: int


class Words(RootModel[list[str]]):
    """A list by another name."""


class Open(BaseModel):
    """A group that takes further names."""

    model_config = {"extra": "allow"}

    Known: int = 0


class Closed(BaseModel):
    """A group that does not."""

    model_config = {"extra": "forbid"}

    plain: int
    alias: int = Field(default=0, validation_alias=AliasChoices("first", AliasPath("second", 0)))
    items: tuple[Open, ...] = ()


Numbers = TypeAliasType("Numbers", dict[str, int])


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (int, Kind.VALUE),
        (str, Kind.VALUE),
        (SecretStr, Kind.VALUE),
        (Path, Kind.VALUE),
        (Optional[int], Kind.VALUE),  # noqa: UP045 - the old spelling is what is tested
        (Annotated[int | None, "x"], Kind.VALUE),
        (Literal["a"], Kind.OPEN),
        (dict[str, int], Kind.MAPPING),
        (Mapping[str, int], Kind.MAPPING),
        (dict, Kind.OPEN),
        (list[int], Kind.LIST),
        (tuple[int, ...], Kind.LIST),
        (frozenset[str], Kind.LIST),
        (Sequence[str], Kind.LIST),
        (bytes, Kind.VALUE),
        (Open, Kind.MODEL),
        (Words, Kind.OPEN),
        (Typed, Kind.OPEN),
        (Data, Kind.OPEN),
        (Any, Kind.OPEN),
        (object, Kind.OPEN),
        (int | str, Kind.OPEN),
        (Union[Open, Closed, None], Kind.OPEN),  # noqa: UP007 - the old spelling is what is tested
    ],
)
def test_the_kind_of_an_annotation(annotation: Any, kind: Kind) -> None:
    """What cannot be followed is open, so that nothing right is refused."""
    assert Node.of(annotation).kind is kind


def test_names_and_aliases() -> None:
    """A field goes by its aliases, in any case, and a closed group has no others."""
    node = Node.of(Closed)
    assert node.names == ("plain", "first", "second", "items") and node.required == "plain"
    assert node.child("FIRST") == ("first", Node(int))
    assert node.child("alias") is None and node.child("more") is None
    assert Node.of(Open).child("known") == ("Known", Node(int))
    assert Node.of(Open).child("more") == ("more", Node(Any))
    assert Node.of(int).child("x") is None and Node.of(int).names == () and Node.of(int).required is None


def test_a_path_is_followed() -> None:
    """Through groups and lists, and into the open where it cannot be."""
    assert Node.of(dict[str, Closed]).at(["any", "items", 3, "known"]) == Node(int)
    assert Node.of(Closed).at(["plain", "deeper"]).kind is Kind.OPEN
    assert Node.of(list).at([0]).kind is Kind.OPEN


def test_a_named_type_is_looked_into() -> None:
    """`type X = …` is what it stands for."""
    assert Node.of(Numbers).kind is Kind.MAPPING
