"""Tests of turning payloads into models, and of what is said of those that do not fit."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import traceback
from collections import OrderedDict
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.errors import ErrorCode, InvalidRequestError, Outcome, RegistrationError
from wellwired.handlers import handler, validate_payload
from wellwired.handlers.payload import converter, detached
from wellwired.operations import WriteRequest

SECRET = "hunter2-4111111111111111"


class Colour(enum.Enum):
    """A choice."""

    RED = "red"


class Address(pydantic.BaseModel):
    """A part of a model."""

    zip: int


class PydanticProfile(pydantic.BaseModel):
    """A pydantic model."""

    model_config = pydantic.ConfigDict(extra="forbid")

    id: int
    name: str = "nobody"
    short: Annotated[str, pydantic.StringConstraints(max_length=3)] = ""
    kind: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    scores: dict[str, int] = {}
    by_number: dict[int, Address] = {}
    homes: list[Address] = []
    home: Address | None = None
    mail: str = pydantic.Field("", validation_alias="eMail", pattern="@")

    @pydantic.field_validator("id")
    @classmethod
    def _judged(cls, value: int) -> int:
        if value == 13:
            raise ValueError(f"unlucky {SECRET}")
        if value == 14:
            raise KeyError(SECRET)
        return value

    @pydantic.model_validator(mode="after")
    def _whole(self) -> PydanticProfile:
        if self.id == 15:
            raise ValueError(f"the whole is wrong: {SECRET}")
        return self


class StructProfile(msgspec.Struct, forbid_unknown_fields=True):
    """A msgspec struct."""

    id: int
    name: str = "nobody"
    short: Annotated[str, msgspec.Meta(max_length=3)] = ""
    kind: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    scores: dict[str, int] = {}
    homes: list[dict[str, int]] = []
    seen: datetime.datetime | None = None

    def __post_init__(self) -> None:
        if self.id == 13:
            raise ValueError(f"unlucky {SECRET}")
        if self.id == 14:
            raise KeyError(SECRET)


@dataclasses.dataclass
class PlainProfile:
    """A standard dataclass."""

    id: int
    name: str = "nobody"


@pydantic.dataclasses.dataclass
class PydanticDataclass:
    """A pydantic dataclass."""

    id: int
    name: str = "nobody"


class ProfileDict(TypedDict):
    """A TypedDict."""

    id: int


MODELS: list[type[Any]] = [PydanticProfile, StructProfile, PlainProfile, PydanticDataclass]
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


def converted(model: type[Any] | None, payload: Any) -> Any:
    """What a handler with that model is given."""

    @handler("profile", payload=model)
    def store(request: WriteRequest, connection: Any) -> None: ...

    return validate_payload(store, WriteRequest("sql.main", "profile", payload)).payload


def refused(model: type[Any] | None, payload: Any) -> InvalidRequestError:
    """How a handler with that model refuses the payload."""
    with pytest.raises(InvalidRequestError) as caught:
        converted(model, payload)
    return caught.value


@every_model
@pytest.mark.parametrize("wrapped", [dict, OrderedDict, lambda payload: MappingProxyType(dict(payload))])
def test_a_mapping_becomes_the_model(model: type[Any], wrapped: Any) -> None:
    """Whatever library the model is of, and whatever kind of mapping it is."""
    made = converted(model, wrapped({"id": 7}))
    assert type(made) is model
    assert (made.id, made.name) == (7, "nobody")


@every_model
def test_an_instance_of_the_model_is_taken_as_it_is(model: type[Any]) -> None:
    """A caller may build the model first."""
    instance = model(id=7)
    assert converted(model, instance) is instance


@every_model
@pytest.mark.parametrize("payload", [None, 7, "text", [("id", 7)], object()], ids=lambda value: type(value).__name__)
def test_anything_else_is_refused(model: type[Any], payload: Any) -> None:
    """With the name of the model, and without the value."""
    error = refused(model, payload)
    assert f"neither a mapping nor a {model.__name__}" in str(error)


def test_a_typed_dict_is_checked() -> None:
    """It stays a dict."""
    assert converted(ProfileDict, {"id": 7}) == {"id": 7}
    assert "id: Expected `int`, got `str`" in str(refused(ProfileDict, {"id": SECRET}))
    assert "neither a mapping" in str(refused(ProfileDict, 7))


def test_without_a_model_a_payload_is_a_mapping_with_names() -> None:
    """The same object is passed on; anything else is refused."""
    payload = {"id": 7}
    assert converted(None, payload) is payload
    assert "must be a mapping" in str(refused(None, [1]))
    assert "keys must be strings" in str(refused(None, {1: SECRET}))


def test_a_refusal_has_the_facts_of_its_request() -> None:
    """Code, outcome, target, type and reason; nothing is quoted and nothing hangs on."""
    error = refused(PydanticProfile, {"id": SECRET})
    assert (error.code, error.outcome) == (ErrorCode.INVALID_REQUEST, Outcome.NOT_APPLIED)
    assert (error.target, error.type, error.reason) == ("sql.main", "profile", "payload")
    assert error.__cause__ is None
    assert error.__context__ is None


PYDANTIC_FAULTS: list[tuple[dict[Any, Any], str]] = [
    ({}, "id: missing"),
    ({"id": SECRET}, "id: int_parsing"),
    ({"id": 13}, "id: value_error"),
    ({"id": 14}, "its own validation raised KeyError"),
    ({"id": 15}, "payload: value_error"),
    ({"id": 1, "short": SECRET}, "short: string_too_long"),
    ({"id": 1, "kind": SECRET}, "kind: literal_error"),
    ({"id": 1, "colour": SECRET}, "colour: enum"),
    ({"id": 1, "eMail": SECRET}, "eMail: string_pattern_mismatch"),
    ({"id": 1, "scores": {SECRET: "x"}}, "scores.*: int_parsing"),
    ({"id": 1, "scores": {"hunter2": "x"}}, "scores.*: int_parsing"),
    ({"id": 1, "by_number": {4111: {"zip": "x"}}}, "by_number[*].zip: int_parsing"),
    ({"id": 1, "homes": [{"zip": 1}, {"zip": SECRET}]}, "homes[1].zip: int_parsing"),
    ({"id": 1, "home": {"zip": SECRET}}, "home.zip: int_parsing"),
    ({"id": 1, "nmae": SECRET}, "nmae: extra_forbidden"),
    ({"id": 1, SECRET: 1}, "*: extra_forbidden"),
    ({"id": 1, 4111111111111111: 1}, "[*]: invalid_key"),
    ({"id": SECRET, "name": 7, "kind": SECRET}, "id: int_parsing; name: string_type; kind: literal_error"),
]

STRUCT_FAULTS: list[tuple[dict[Any, Any], str]] = [
    ({}, "id: missing"),
    ({"id": SECRET}, "id: Expected `int`, got `str`"),
    ({"id": 13}, "its own validation raised ValueError"),
    ({"id": 14}, "its own validation raised KeyError"),
    ({"id": 1, "short": SECRET}, "short: Expected `str` of length <= 3"),
    ({"id": 1, "kind": SECRET}, "kind: invalid value"),
    ({"id": 1, "colour": SECRET}, "colour: invalid value"),
    ({"id": 1, "seen": SECRET}, "seen: invalid value"),
    ({"id": 1, "scores": {SECRET: "x"}}, "scores[...]: Expected `int`, got `str`"),
    ({"id": 1, "homes": [{"zip": SECRET}]}, "homes[0][...]: Expected `int`, got `str`"),
    ({"id": 1, "nmae": SECRET}, "nmae: unknown field"),
    ({"id": 1, SECRET: 1}, "*: unknown field"),
    ({"id": 1, 4111111111111111: 1}, "payload: Expected `str`"),
]


@pytest.mark.parametrize(
    ("model", "payload", "fault"),
    [
        *((PydanticProfile, payload, fault) for payload, fault in PYDANTIC_FAULTS),
        *((StructProfile, payload, fault) for payload, fault in STRUCT_FAULTS),
    ],
)
def test_faults_are_named_and_values_are_not(model: type[Any], payload: Any, fault: str) -> None:
    """Each field and kind of fault is there; no value is, in no text, note, argument or traceback."""
    error = refused(model, payload)
    assert error.message == f"the payload does not fit {model.__name__}: {fault}"
    shown = f"{error} {error!r} {error.args} {vars(error)}"
    assert not any(word in shown for word in (SECRET, "hunter2", "4111"))
    tail = traceback.format_exception(error)[-1]
    assert SECRET not in tail


def test_a_long_list_of_faults_is_cut() -> None:
    """Eight are shown, and how many there are besides."""
    error = refused(PydanticProfile, {"id": 1, "homes": [{"zip": "x"} for _ in range(20)]})
    assert error.message.count("int_parsing") == 8
    assert error.message.endswith("; and 12 more")


@given(st.dictionaries(st.text(max_size=40), st.text(min_size=6, max_size=40), max_size=4))
def test_no_value_is_ever_shown(values: dict[str, str]) -> None:
    """Whatever is given, what stands in the error is from the model or a plain field name."""
    planted = {key: f"{SECRET}{value}" for key, value in values.items()}
    for model in MODELS:
        with pytest.raises(InvalidRequestError) as caught:
            converted(model, {**planted, "id": SECRET})
        assert SECRET not in f"{caught.value!s}{caught.value!r}{vars(caught.value)}"


def test_a_fault_in_a_union_says_no_more_than_it_knows() -> None:
    """The tag of a union is no field, so it is a star; the field behind it is shown."""

    class Cat(pydantic.BaseModel):
        kind: Literal["cat"]
        lives: int

    class Dog(pydantic.BaseModel):
        kind: Literal["dog"]
        bones: int

    class Owner(pydantic.BaseModel):
        pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]

    error = refused(Owner, {"pet": {"kind": "cat", "lives": SECRET}})
    assert error.message.endswith("Owner: pet.*.lives: int_parsing")


def test_a_converter_is_made_once() -> None:
    """Building a schema for each write would cost more than the write."""
    assert converter(PydanticProfile) is converter(PydanticProfile)
    assert converter(StructProfile) is not converter(PydanticProfile)


class Loose:
    """No model of any library."""


@dataclasses.dataclass
class Unresolved:
    """A dataclass with an annotation that leads nowhere."""

    id: Nowhere  # type: ignore[name-defined]  # noqa: F821


class UnresolvedModel(pydantic.BaseModel):
    """A model with a field of a class that pydantic knows nothing of."""

    model_config = pydantic.ConfigDict(defer_build=True)

    value: Loose


@pytest.mark.parametrize("model", [int, str, Loose, Unresolved, UnresolvedModel], ids=lambda model: model.__name__)
def test_what_cannot_be_a_model_is_refused(model: type[Any]) -> None:
    """With the name of the class."""
    with pytest.raises(RegistrationError, match=model.__name__):
        converter(model)


def test_a_detached_payload_shares_nothing_that_can_change() -> None:
    """Dicts, lists and sets are copied at every depth; everything else is the same object."""
    when = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    payload = {"a": 1, "tags": ["x", {"deep": [1]}], "set": {1}, "when": when, "none": None}
    own = detached(payload)
    assert own == payload
    own["tags"][1]["deep"].append(2)
    own["set"].add(2)
    own["new"] = 1
    assert payload == {"a": 1, "tags": ["x", {"deep": [1]}], "set": {1}, "when": when, "none": None}
    assert own["when"] is when


def test_other_payloads_are_not_copied() -> None:
    """A model's instance and a mapping of another kind are passed on."""
    model, proxy = PlainProfile(1), MappingProxyType({"a": 1})
    assert detached(model) is model
    assert detached(proxy) is proxy


def test_a_payload_in_itself_is_refused() -> None:
    """As a request that is wrong, and not by a full stack."""
    payload: dict[str, Any] = {}
    payload["self"] = [payload]
    with pytest.raises(InvalidRequestError, match="nested deeper"):
        detached(payload)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_a_detached_payload_is_equal(payload: dict[str, Any]) -> None:
    """For any plain payload."""
    assert detached(payload) == payload
