"""Keys: what may be one, and that different parts never make the same one."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.errors import KeyFormatError
from wellwired.stores.keys import KEY_BYTES, build_key, check_namespace, encode_key, encode_keys, split_key

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PARTS = st.one_of(
    TEXT,
    st.text("%:~-a0", max_size=6),
    st.integers(),
    st.booleans(),
    st.none(),
    st.floats(allow_nan=False),
    st.binary(max_size=8),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.uuids(),
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(dt.UTC)),
)


class Colour(enum.StrEnum):
    """An enumeration of text."""

    RED = "red"


class Level(enum.IntEnum):
    """An enumeration of numbers."""

    HIGH = 3


def typed(parts: tuple[Any, ...]) -> list[tuple[str, str]]:
    """The parts with their types, so that True, 1 and 1.0 are told apart."""
    return [(type(part).__name__, repr(part)) for part in parts]


@pytest.mark.parametrize("key", ["a", "żółw", " ", "\0", "a\nb", "x" * KEY_BYTES, "é" * (KEY_BYTES // 2)])
def test_text_up_to_the_limit_is_a_key(key: str) -> None:
    """Any text is a key, blanks and control characters included, as long as its bytes fit."""
    assert encode_key(key) == key.encode()


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "must not be empty"),
        ("x" * (KEY_BYTES + 1), "1025 bytes is longer than 1024"),
        ("é" * (KEY_BYTES // 2 + 1), "1026 bytes"),
        ("ab\ud800", "half a surrogate pair at position 2"),
        (7, "must be text, not int"),
        (b"a", "must be text, not bytes"),
        (None, "must be text, not NoneType"),
    ],
)
def test_what_is_no_key_is_refused_with_the_reason(key: Any, reason: str) -> None:
    """The error is a ValueError, says what is wrong, and does not quote the key."""
    with pytest.raises(KeyFormatError, match=reason) as caught:
        encode_key(key)
    assert isinstance(caught.value, ValueError)
    assert "xxx" not in str(caught.value) and "ab" not in str(caught.value).replace("table", "")
    with pytest.raises(KeyFormatError, match=reason):
        encode_keys(["fine", key])


@given(st.lists(TEXT.filter(bool)), st.binary(max_size=5))
def test_many_keys_are_encoded_as_each_of_them(keys: list[str], prefix: bytes) -> None:
    """The batch does what the single call does, with a prefix."""
    assert encode_keys(keys, prefix) == [prefix + encode_key(key) for key in keys]


@pytest.mark.parametrize("namespace", ["users", "a", "shop.users", "v2/users_x-y", "{users}", "U" * 64])
def test_plain_names_are_namespaces(namespace: str) -> None:
    """Letters, digits and a few signs; braces for the slots of a Redis Cluster."""
    assert check_namespace(namespace) == namespace


@pytest.mark.parametrize("namespace", ["", "a:b", "a!b", "a*", "a b", "żółw", "a\n", "U" * 65, "[a]", "a?"])
def test_names_that_could_reach_into_others_are_no_namespaces(namespace: str) -> None:
    """No separator, no pattern, nothing that a database would fold."""
    with pytest.raises(KeyFormatError, match="a namespace is 1 to 64"):
        check_namespace(namespace)


@given(st.lists(PARTS, min_size=1, max_size=4))
def test_a_key_can_be_taken_apart_again(parts: list[Any]) -> None:
    """The parts come back equal and of the same types: no two lists of parts share a key."""
    again = split_key(build_key(*parts))
    assert again == tuple(parts)
    assert [type(part) for part in again] == [type(part) for part in parts]


@given(st.lists(PARTS, min_size=1, max_size=3), st.lists(PARTS, min_size=1, max_size=3))
def test_different_parts_make_different_keys(one: list[Any], other: list[Any]) -> None:
    """Two lists of parts have one key only if they are the same, types included."""
    assert (build_key(*one) == build_key(*other)) == (typed(tuple(one)) == typed(tuple(other)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a b", "c"), ("a", "b c")),
        (("a:b",), ("a", "b")),
        (("a", ""), ("a",)),
        (("",), ("", "")),
        ((1,), ("1",)),
        ((1,), (True,)),
        ((1,), (1.0,)),
        ((0,), (None,)),
        ((b"a",), ("a",)),
        (("~i1",), (1,)),
        (("%3A",), (":",)),
        ((dt.date(2020, 1, 1),), (dt.datetime(2020, 1, 1),)),  # noqa: DTZ001
    ],
)
def test_pairs_that_other_libraries_confuse(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    """Separators in text, types and empty parts do not make two keys one."""
    assert build_key(*one) != build_key(*other)


def test_keys_are_readable() -> None:
    """What people type most looks as they expect."""
    assert build_key("user", "42") == "user:42"
    assert build_key("user", 42, None, True) == "user:~i42:~n:~b1"
    assert build_key(Colour.RED, Level.HIGH) == "red:~i3"
    assert build_key("") == "~"
    assert split_key("user:~i42") == ("user", 42)
    assert build_key(uuid.UUID(int=7)) == "~u00000000000000000000000000000007"
    assert split_key(build_key(Decimal("1.50"))) == (Decimal("1.50"),)


@pytest.mark.parametrize("parts", [(), ([],), (1j,), (object(),), ("\ud800",), ("x" * 2000,), (10**5000,)])
def test_parts_that_make_no_key_are_refused(parts: tuple[Any, ...]) -> None:
    """No part, a part of a type that has no spelling, or too much of it."""
    with pytest.raises(KeyFormatError):
        build_key(*parts)


@pytest.mark.parametrize(
    "key", ["a:", ":", "~i01", "~i+1", "~q1", "~n1", "~b2", "~f1.0", "%41", "a~", "~dx", "~x0", "~t1"]
)
def test_only_what_was_built_is_taken_apart(key: str) -> None:
    """A key that could not have been built is refused, so each list of parts has one spelling."""
    with pytest.raises(KeyFormatError, match=r"not made by build_key\(\)"):
        split_key(key)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
    | st.text("~%:bifnxduta0123AE", min_size=1)
)
def test_any_text_is_taken_apart_exactly_or_refused(key: str) -> None:
    """Whatever text comes, the answer builds the same text again, or there is none."""
    try:
        parts = split_key(key)
    except KeyFormatError:
        return
    assert build_key(*parts) == key
