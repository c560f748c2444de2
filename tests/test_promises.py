"""Tests of the page of promises: each has a row, and each row's tests are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "promises.md"
ROWS = re.findall(r"^\| ([CWS]\d) \|", PAGE.read_text(), re.MULTILINE)
LINKS = re.findall(r"\]\(\.\./(tests/[\w/]+\.py)#:~:text=(\w+)\)", PAGE.read_text())


def test_every_promise_has_a_row() -> None:
    """C1 to C5, W1 to W8 and S1 to S9 are all on the page, once."""
    wanted = [f"C{n}" for n in range(1, 6)] + [f"W{n}" for n in range(1, 9)] + [f"S{n}" for n in range(1, 10)]
    assert wanted == ROWS


def test_every_row_links_a_test() -> None:
    """No promise rests on nothing."""
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| [CWS]\d ", line)]
    assert [row[:6] for row in rows if "../tests/" not in row] == []


@pytest.mark.parametrize(("file", "name"), LINKS, ids=[name for _, name in LINKS])
def test_a_linked_test_is_there(file: str, name: str) -> None:
    """A test that was renamed or removed cannot go on holding a promise."""
    assert re.search(rf"def {name}\(", (PAGE.parent.parent / file).read_text())
