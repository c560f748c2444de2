"""Tests of the shape of the source: small files, short functions, modules that say what they are about."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import wellwired

SOURCE = Path(wellwired.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a file, nested ones included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body, without its docstring."""
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1 if statements else 0


@every_file
def test_a_file_is_small(path: Path) -> None:
    """At 500 lines a module has more than one idea."""
    assert len(path.read_text().splitlines()) <= 500


@every_file
def test_a_function_is_short(path: Path) -> None:
    """A body of more than 40 lines is in want of splitting; 25 is what to aim for."""
    assert {function.name: body(function) for function in functions(path) if body(function) > 40} == {}


@every_file
def test_a_module_says_what_it_is_about(path: Path) -> None:
    """Its docstring begins with a sentence."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert re.match(r"\S[\s\S]*?[.:]", text), "no docstring that begins with a sentence"


@every_file
def test_nothing_is_left_to_do(path: Path) -> None:
    """No reminder is left in the code, and no class is a drawer for odds and ends."""
    text = path.read_text()
    assert re.findall(r"\b(?:TODO|FIXME|XXX)\b", text) == []
    assert re.findall(r"^class \w*(?:Helper|Utils?|Base)\b", text, re.MULTILINE) == []
