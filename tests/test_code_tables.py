"""The tables of codes in the documentation are those of the code; run as a program, this prints them."""

from __future__ import annotations

from pathlib import Path

import pytest

from wellwired.errors import Outcome, Phase, Retry
from wellwired.writers.classification import _TABLES, Native, Verdict, classify

PAGE = Path(__file__).parents[1] / "docs" / "explanations" / "what-a-write-can-promise.md"
BACKENDS = {"postgresql": "PostgreSQL", "mysql": "MySQL, MariaDB and TiDB", "sqlite": "SQLite", "redis": "Redis"}
AGAIN = {Retry.SAFE: "send again", Retry.IF_IDEMPOTENT: "only if repeatable", Retry.NEVER: "never again"}


def table(dialect: str) -> str:
    """The table of a backend: its codes by what they mean, and what follows before COMMIT and after it was sent."""
    rows: dict[tuple[str, str, str], list[Native]] = {}
    for code in _TABLES[dialect]:
        before, after = classify(dialect, code, Phase.EXECUTE), classify(dialect, code, Phase.COMMIT)
        rows.setdefault((before.reason, said(before), said(after)), []).append(code)
    head = "| reason | codes | before COMMIT | at COMMIT |\n|---|---|---|---|"
    lines = [f"| `{reason}` | {_listed(codes)} | {first} | {then} |" for (reason, first, then), codes in rows.items()]
    return "\n".join([head, *lines])


def said(verdict: Verdict) -> str:
    """A verdict in a cell."""
    outcome = "" if verdict.outcome is Outcome.NOT_APPLIED else f"**{verdict.outcome}**, "
    return f"{outcome}{AGAIN[verdict.retry]}"


def _listed(codes: list[Native]) -> str:
    return " ".join(str(code) for code in sorted(codes, key=lambda code: (len(str(code)), str(code))))


@pytest.mark.parametrize("dialect", BACKENDS)
def test_the_page_has_the_table(dialect: str) -> None:
    """Each code stands on the page with the reason and the verdicts that it has; `python -m tests.test_code_tables`."""
    assert f"### {BACKENDS[dialect]}\n\n{table(dialect)}\n" in PAGE.read_text()


if __name__ == "__main__":
    print("\n\n".join(f"### {name}\n\n{table(dialect)}" for dialect, name in BACKENDS.items()))  # noqa: T201 - its job
