"""Tests of the translation of errors: whatever a validator says, the value is not repeated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, Field, SecretBytes, SecretStr

from wellwired.settings import Settings

Faults = Callable[..., tuple[str, ...]]
HIDDEN = "is refused, for a reason that quotes it and is not shown"


def _tell(value: Any) -> Any:
    """A careless validator: it says what it was given."""
    if isinstance(value, (SecretStr, SecretBytes)):
        value = value.get_secret_value()
    if isinstance(value, BaseModel):
        value = dict(value)
    raise ValueError(f"I was given {value} and do not like it")


class Inner(BaseModel):
    """A group of a careless application's."""

    word: str = ""
    secret: SecretStr = SecretStr("")


Careless = AfterValidator(_tell)


class Shop(Settings):
    """A careless application's settings."""

    word: Annotated[str | None, Careless] = Field(default=None, validate_default=False)
    secret: Annotated[SecretStr | None, Careless] = Field(default=None, validate_default=False)
    raw: Annotated[SecretBytes | bytes | None, Careless] = Field(default=None, validate_default=False)
    words: Annotated[list[str] | None, Careless] = Field(default=None, validate_default=False)
    inner: Annotated[Inner | None, Careless] = Field(default=None, validate_default=False)
    number: Annotated[int | None, Careless] = Field(default=None, validate_default=False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("word", "hunter2"),
        ("word", "HUNTER2"),
        ("word", "hunter2 and more"),
        ("secret", "hunter2"),
        ("raw", "hunter2"),
        ("words", '["hunter2"]'),
        ("inner", '{"word": "hunter2"}'),
        ("number", "7"),
    ],
)
def test_a_quoted_value_is_not_passed_on(name: str, text: str, faults_of: Faults) -> None:
    """From a variable: plain, secret, in a list, in a group, and as short as a digit."""
    assert faults_of({f"WELLWIRED__{name.upper()}": text}, Shop) == (f"WELLWIRED__{name.upper()}: {HIDDEN}",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secret", SecretStr("hunter2")),
        ("raw", SecretBytes(b"hunter2")),
        ("raw", b"hunter2"),
        ("words", ["a", "hunter2"]),
        ("inner", Inner(word="hunter2")),
    ],
)
def test_a_quoted_argument_is_not_passed_on(name: str, value: Any, faults_of: Faults) -> None:
    """From an argument: whatever it is wrapped in."""
    assert faults_of({}, Shop, **{name: value}) == (f"argument {name}: {HIDDEN}",)


def test_what_is_missing_in_a_model_that_was_given_is_found_in_it(faults_of: Faults) -> None:
    """A place inside of an instance is named like any other."""

    class Outer(Settings):
        layers: list[Annotated[Inner, Careless]] = Field(default=[])

    assert faults_of({}, Outer, layers=[Inner(word="hunter2")]) == (f"argument layers[0]: {HIDDEN}",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hunter2", "must be a list; the text is not valid JSON: expecting value at line 1 column 1"),
        ("5", "must be a list"),
        ('"5"', "must be a list; the JSON is of another kind"),
    ],
)
def test_a_list_that_is_none_says_what_it_is_not(text: str, why: str, faults_of: Faults) -> None:
    """No JSON, or JSON of another kind."""

    class Plain(Settings):
        words: list[str] = Field(default=[])

    assert faults_of({"WELLWIRED__WORDS": text}, Plain) == (f"WELLWIRED__WORDS: {why}",)


def test_limits_are_named(faults_of: Faults) -> None:
    """The bound is the application's, not the value's."""

    class Bounded(Settings):
        low: int = Field(default=5, gt=1, lt=9)
        step: int = Field(default=4, multiple_of=2)
        word: str = Field(default="ab", min_length=2, max_length=3)

    environ = {"WELLWIRED__LOW": "9", "WELLWIRED__STEP": "13", "WELLWIRED__WORD": "abcd"}
    assert faults_of(environ, Bounded) == (
        "WELLWIRED__LOW: must be less than 9",
        "WELLWIRED__STEP: should be a multiple of 2",
        "WELLWIRED__WORD: is too long; at most 3",
    )
