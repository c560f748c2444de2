"""Tests of the rule for names and of the search for near ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from wellwired.settings.names import check_name, near, shown


@pytest.mark.parametrize("name", ["main", "a", "read_replica", "db2", "a1_b2_c3"])
def test_a_name_that_a_variable_can_carry(name: str) -> None:
    """Lower-case letters, digits and single underscores."""
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "better"),
    [("Main", "main"), ("read-replica", "read_replica"), ("a__b", "a_b"), ("a.b", "a_b"), ("_a", "a"), ("a_", "a")],
)
def test_a_name_that_breaks_the_rule_is_refused_with_one_that_keeps_it(name: str, better: str) -> None:
    """It is refused, not changed, and the nearest name that would do is suggested."""
    with pytest.raises(PydanticCustomError, match=f"write {better}$"):
        check_name(name)


@pytest.mark.parametrize("name", ["", "1st", "ü", "postgresql://ada:hunter2@db/shop", "x" * 200 + "-"])
def test_a_name_without_a_near_one_is_refused_and_not_quoted(name: str) -> None:
    """What could be anything is not repeated."""
    with pytest.raises(PydanticCustomError) as caught:
        check_name(name)
    assert "write" not in str(caught.value) and "hunter2" not in str(caught.value)


@given(st.text(max_size=30))
def test_what_passes_survives_the_way_through_a_variable(name: str) -> None:
    """A valid name comes back unchanged after upper-casing, joining with two underscores, and splitting."""
    try:
        check_name(name)
    except PydanticCustomError:
        return
    assert f"SQL__{name.upper()}__URL".lower().split("__") == ["sql", name, "url"]


def test_a_name_has_an_end() -> None:
    """What is also a namespace in a store is no longer than one may be."""
    assert check_name("a" * 64)
    with pytest.raises(PydanticCustomError, match="at most 64"):
        check_name("a" * 65)


def test_near_names() -> None:
    """The likeliest is found whatever its case, and nothing is better than something unlike."""
    assert near("POOLSIZE", ["pool_size", "pool_timeout"]) == "pool_size"
    assert near("levle", ["level", "format"]) == "level"
    assert near("queue", ["sql", "redis"]) is None
    assert near("x", []) is None


def test_only_plain_names_are_shown() -> None:
    """A URL in a name's place stays unshown."""
    assert shown("main_db-2.x") == "main_db-2.x"
    for name in ("a b", "u:p@h", "", "x" * 121, "a\nb"):
        assert shown(name) == "(a name that is not shown)"
