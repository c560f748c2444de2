"""Tests of the reference: all that is public is in it, and what it says of variables and options is what holds."""

from __future__ import annotations

import importlib
import re

import pytest

from tests import _reference
from tests.test_site import site
from wellwired.errors import SettingsError
from wellwired.settings import Settings

TOLD = _reference.told("variables.md")


@pytest.mark.parametrize("page", _reference.PAGES)
def test_a_page_says_what_the_code_says(page: str) -> None:
    """If this fails, write it anew: python -m tests._reference."""
    assert _reference.told(page).splitlines() == _reference.PAGES[page]().splitlines()


def test_what_is_public_is_in_the_reference() -> None:
    """Every name that wellwired or one of its parts lists; the root's are links to the parts'."""
    there = {id(thing) for thing, _ in _reference.places().values()}
    missing = []
    for path in site.public_names():
        package, _, name = path.rpartition(".")
        if id(getattr(importlib.import_module(package), name)) not in there:
            missing.append(path)
    assert missing == []


def test_nothing_is_told_twice() -> None:
    """One place for each module."""
    paths = [path for _, path in _reference.directives()]
    assert sorted(paths) == sorted(set(paths))


def rows(pattern: str) -> list[str]:
    """The variables whose rows look so, for groups of the name `main`."""
    found = re.findall(rf"^\| `(WELLWIRED__\S+)` \| {pattern} \|", TOLD, re.MULTILINE)
    return [variable.replace("<NAME>", "MAIN") for variable in found]


@pytest.mark.parametrize("variable", rows("[^|]*or `none`"))
def test_what_may_be_none_may_be_none(variable: str) -> None:
    """Where the page says so, the variable may say so."""
    needed = {
        "WELLWIRED__SQL__MAIN__URL": "sqlite://",
        "WELLWIRED__REDIS__MAIN__URL": "memory://",
        "WELLWIRED__STORES__MAIN__LAYERS": "memory!",
    }
    Settings(_environ={**needed, variable: "none"}, _env_file=None)


@pytest.mark.parametrize("variable", rows(r"[^|]* \| must be set"))
def test_what_must_be_set_is_asked_for(variable: str) -> None:
    """By the name that the page gives."""
    with pytest.raises(SettingsError, match=variable):
        Settings(_environ={variable.rpartition("__")[0]: "{}"}, _env_file=None)


@pytest.mark.parametrize(
    ("page", "module", "pattern"),
    [
        ("integrations.md", "integrations/django/_settings.py", r"^_KEYS = \((.*)\)$"),
        ("testing.md", "testing/plugin.py", r"addini\(\"(\w+)\""),
    ],
)
def test_other_settings_are_told(page: str, module: str, pattern: str) -> None:
    """Those of Django's dictionary and of pytest."""
    source = (site.SOURCE / module).read_text()
    known = re.findall(r"\w+", " ".join(re.findall(pattern, source, re.MULTILINE)))
    told = (_reference.FOLDER / page).read_text()
    assert known
    assert [name for name in known if f"| `{name}`" not in told] == []
