"""The corpus: a wrong environment is refused with its variable and without its secret, and a right one is accepted."""

from __future__ import annotations

import logging

import pytest

from tests.settings.conftest import everything_told
from tests.settings.corpus import BAD, GOOD, SECRET, Bad
from wellwired.errors import SettingsError
from wellwired.settings import Settings


def _error(environ: dict[str, str]) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        Settings(_environ=environ)
    return caught.value


def test_the_corpus_is_large_enough_and_its_rows_differ() -> None:
    """At least sixty wrong environments, no two alike."""
    assert len(BAD) >= 60
    assert len({repr(sorted(bad.environ.items())) for bad in BAD}) == len({bad.what for bad in BAD}) == len(BAD)


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.what)
def test_a_wrong_environment_is_refused_by_name(bad: Bad) -> None:
    """Exactly the expected number of lines, one of which begins with the variable and says what to try."""
    faults = _error(bad.environ).faults
    assert any(line.startswith(f"{bad.label}") and bad.text in line for line in faults), faults
    assert len(faults) == bad.lines, faults


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.what)
def test_no_value_is_shown(
    bad: Bad, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither report, traceback, chain, frame, log nor pickle has the secret, even where pydantic is asked to debug."""
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    caplog.set_level(logging.DEBUG)
    error = _error(bad.environ)
    told = [*everything_told(error), caplog.text, *capfd.readouterr()]
    assert not [text for text in told if SECRET.lower() in text.lower()]
    assert error.__cause__ is None and error.__context__ is None


@pytest.mark.parametrize(("what", "environ"), GOOD, ids=[what for what, _ in GOOD])
def test_a_right_environment_is_accepted(what: str, environ: dict[str, str]) -> None:
    """What the documentation allows loads, and shows no secret either."""
    settings = Settings(_environ=environ)
    assert SECRET not in repr(settings) + str(settings)
