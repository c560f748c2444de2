"""Tests of the sentence about a name that is not there."""

from __future__ import annotations

import pytest

from wellwired.containers._unknown import unknown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("mian", ["main", "audit"], "sql"), "no 'mian' in sql; did you mean 'main'?"),
        (("x", ["main", "audit"], "sql"), "no 'x' in sql; known: audit, main"),
        (("x", [], "sql"), "no 'x' in sql; it has none"),
        (("pol", ["pool", "poll"], "Shop"), "no 'pol' in Shop; did you mean 'pool' or 'poll'?"),
    ],
)
def test_near_names_or_else_all(arguments: tuple[str, list[str], str], sentence: str) -> None:
    """Near names if any are near, all names otherwise."""
    assert unknown(*arguments) == sentence


def test_what_would_add_it() -> None:
    """With a variable that would add the name, the sentence ends with it."""
    assert unknown("x", [], "sql", add="WELLWIRED__SQL__X__URL") == (
        "no 'x' in sql; it has none; set WELLWIRED__SQL__X__URL to add it"
    )
