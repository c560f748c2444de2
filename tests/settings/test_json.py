"""Tests of the strict JSON reader."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.settings._json import JSONTextError, decode_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_json_can_say_is_read(value: object) -> None:
    """Every value that JSON has comes back."""
    assert decode_json(json.dumps(value)) == value


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but the one error is raised, with no other behind it that holds the text."""
    with contextlib.suppress(JSONTextError):
        decode_json(text)
    with pytest.raises(JSONTextError) as caught:
        decode_json(f"{text}}}")
    assert caught.value.__cause__ is None and caught.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expecting value at line 1 column 1"),
        ('{"a": 1\n"b"', "at line 2 column 1"),
        ('{"a": 1, "a": 2}', "same name twice"),
        ('[{"x": {"a": 1, "a": 1}}]', "same name twice"),
        ("NaN", "no numbers in JSON"),
        ("[-Infinity]", "no numbers in JSON"),
        ("[" * 100_000, "nesting too deep"),
        ("9" * 5000, "too long"),
    ],
)
def test_what_python_would_forgive_is_refused(text: str, why: str) -> None:
    """The reason is one phrase, with the position where there is one."""
    with pytest.raises(JSONTextError, match=why):
        decode_json(text)
