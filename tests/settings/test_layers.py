"""Tests of the short form of layers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.settings.layers import LayerFormatError, ShortLayer, format_layers, parse_layers

WORDS = st.from_regex(r"[a-z][a-z0-9]{0,6}(_[a-z0-9]{1,4}){0,2}", fullmatch=True)
SECONDS = st.floats(min_value=1e-300, max_value=1e300, allow_nan=False) | st.integers(1, 10**18).map(float)
LAYERS = st.builds(
    ShortLayer,
    name=st.lists(WORDS, min_size=1, max_size=3).map(".".join),
    ttl=st.none() | SECONDS,
    primary=st.booleans(),
)


def test_the_example_of_the_documentation() -> None:
    """The form reads as it is documented."""
    assert parse_layers("memory:60,redis.cache:3600,sql.main!") == (
        ShortLayer("memory", 60.0),
        ShortLayer("redis.cache", 3600.0),
        ShortLayer("sql.main", None, primary=True),
    )


@given(st.lists(LAYERS, min_size=1, max_size=6))
def test_what_is_written_is_read_back(layers: list[ShortLayer]) -> None:
    """Formatting and parsing are inverse, to the last bit of a TTL."""
    assert parse_layers(format_layers(layers)) == tuple(layers)


@given(st.lists(LAYERS, min_size=1, max_size=6), st.data())
def test_spaces_around_layers_mean_nothing(layers: list[ShortLayer], data: st.DataObject) -> None:
    """A list may be written with spaces after its commas, or over lines."""
    spaces = st.text(" \t\n", max_size=3)
    text = ",".join(f"{data.draw(spaces)}{part}{data.draw(spaces)}" for part in format_layers(layers).split(","))
    assert parse_layers(text) == tuple(layers)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text raises anything but the one error, and what is read is written back to mean the same."""
    with contextlib.suppress(LayerFormatError):
        layers = parse_layers(text)
        assert parse_layers(format_layers(layers)) == layers


@given(
    st.from_regex(r"[G-Z]{5,12}", fullmatch=True),
    st.sampled_from(["{}", "memory:{}", "redis.{}:5", "{}!", "a,{}:1s", "//{}"]),
)
def test_a_complaint_quotes_nothing(word: str, form: str) -> None:
    """What could be a secret is in no complaint."""
    with pytest.raises(LayerFormatError) as caught:
        parse_layers(form.format(word))
    assert word not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("memory,", "layer 2 is empty"),
        (",memory", "layer 1 is empty"),
        ("memory:", "layer 1 cannot be read"),
        ("memory: 60", "layer 1 cannot be read"),
        ("memory:sixty", "layer 1 cannot be read"),
        ("memory:1_000", "layer 1 cannot be read"),
        ("memory:٦٠", "layer 1 cannot be read"),
        ("memory:0", "TTL that is not positive"),
        ("memory:0.0!", "TTL that is not positive"),
        ("memory:-1", "TTL that is not positive"),
        ("memory:1e400", "TTL that is not positive"),
        ("memory:60s", "TTL with a unit"),
        ("memory:1.5 h!", "TTL with a unit"),
        ("memory!:60", "write it last"),
        ("memory!!", "layer 1 has no valid name"),
        ("Memory", "in lower case"),
        ("redis..cache", "no valid name"),
        ("redis.a__b", "no valid name"),
        ("redis:cache", "cannot be read"),
        ("redis://host", "layer 1 is a URL"),
    ],
)
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    """Each usual slip has words of its own."""
    with pytest.raises(LayerFormatError, match=problem):
        parse_layers(text)


def test_every_wrong_layer_is_counted() -> None:
    """One error has them all, by number."""
    with pytest.raises(LayerFormatError) as caught:
        parse_layers("memory:1h,sql.main!,Redis,")
    assert [problem[:7] for problem in caught.value.problems] == ["layer 1", "layer 3", "layer 4"]


def test_seconds_are_written_without_a_needless_fraction() -> None:
    """A person reads 60, not 60.0."""
    assert (
        format_layers([ShortLayer("memory", 60.0), ShortLayer("sql.main", 0.5, primary=True)])
        == "memory:60,sql.main:0.5!"
    )
