"""Tests of `Settings` itself: one report, frozen all the way down, nothing leaked, and fast."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.settings.conftest import everything_told
from wellwired.errors import SettingsError
from wellwired.settings import LayerSettings, RedisSettings, Settings, SQLSettings, StoreSettings
from wellwired.settings._frozen import FrozenDict

Faults = Callable[..., tuple[str, ...]]
W = "WELLWIRED__"
ENVIRON = {
    f"{W}SQL__MAIN__URL": "sqlite://",
    f"{W}REDIS__CACHE__URL": "memory://",
    f"{W}STORES__USERS__LAYERS": "memory:60,redis.cache:3600,sql.main!",
}


def test_nothing_configured_is_valid() -> None:
    """An empty environment gives the defaults, and no database, Redis or store."""
    settings = Settings(_environ={})
    assert (settings.sql, settings.redis, settings.stores) == ({}, {}, {})
    assert (settings.writes.timeout, settings.log.format, settings.metrics.enabled) == (5.0, "json", True)


def test_the_documented_variables() -> None:
    """What the class's documentation shows is what it reads."""
    settings = Settings(_environ=ENVIRON)
    assert settings.stores["users"].layers == (
        LayerSettings(name="memory", ttl=60),
        LayerSettings(name="redis.cache", ttl=3600),
        LayerSettings(name="sql.main", primary=True),
    )


@pytest.mark.parametrize("make", [Settings, Settings.load, Settings.model_validate])
def test_every_way_to_make_settings_gives_the_full_report(make: Callable[..., Settings]) -> None:
    """Constructor, load() and pydantic's own door raise the same error with every fault, and nothing behind it."""
    given = {"_environ": {f"{W}LOG__LEVEL": "hunter2", f"{W}SQLL": "x"}, "writes": {"attempts": "hunter2"}}
    with pytest.raises(SettingsError) as caught:
        make(given) if make == Settings.model_validate else make(**given)
    assert caught.value.faults == (
        f"{W}SQLL: is an unknown setting; did you mean {W}SQL?",
        "argument writes.attempts: is not a whole number",
        f"{W}LOG__LEVEL: must be 'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'",
    )
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert not [text for text in everything_told(caught.value) if "hunter2" in text]


def test_arguments_are_named_as_arguments(faults_of: Faults) -> None:
    """Unknown ones with a suggestion, and what is inside of them by its place."""
    faults = faults_of(sqll={}, sql={"main": {"url": "sqlite://", "pool_siz": 1}, "Main": {"url": "sqlite://"}})
    assert [line.split("; ")[0] for line in faults] == [
        "argument sql.main.pool_siz: is an unknown setting",
        (
            "argument sql.Main: is no name: names are lower-case letters, digits and single underscores, "
            "beginning with a letter"
        ),
        "argument sqll: is an unknown setting",
    ]
    assert "did you mean sql?" in faults[2] and "write main" in faults[1]


def test_the_report_survives_pickling(faults_of: Faults) -> None:
    """A worker can send it home."""
    error = SettingsError(faults_of({f"{W}LOG__LEVEL": "x"}))
    assert pickle.loads(pickle.dumps(error)).faults == error.faults


def test_nothing_can_be_changed() -> None:
    """Not a field, not a group's field, not the groups' mapping."""
    settings: Any = Settings(_environ=ENVIRON)
    for change in (
        lambda: setattr(settings, "log", None),
        lambda: setattr(settings.sql["main"], "pool_size", 1),
        lambda: setattr(settings.stores["users"].layers[0], "ttl", 1),
        lambda: settings.sql.update(other=1),
        lambda: settings.stores.pop("users"),
    ):
        with pytest.raises((ValidationError, TypeError), match="frozen"):
            change()
    assert settings == Settings(_environ=ENVIRON)


def test_equal_settings_are_equal_wherever_they_came_from() -> None:
    """From variables, from arguments, copied or pickled: equal, and of one hash."""
    settings = Settings(_environ=ENVIRON)
    given = Settings(
        _environ={},
        sql={"main": SQLSettings(url="sqlite://")},  # type: ignore[arg-type]
        redis={"cache": RedisSettings(url="memory://")},  # type: ignore[arg-type]
        stores={"users": StoreSettings(layers="memory:60,redis.cache:3600,sql.main!")},  # type: ignore[arg-type]
    )
    for other in (given, copy.deepcopy(settings), copy.copy(settings), pickle.loads(pickle.dumps(settings))):
        assert other == settings and hash(other) == hash(settings)
        assert type(other.sql) is FrozenDict
    assert Settings(_environ={}) != settings


def test_right_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Neither as text, nor as a dump, nor in pydantic's debugging log."""
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    caplog.set_level(logging.DEBUG)
    settings = Settings(_environ={f"{W}SQL__MAIN__URL": "postgresql://ada:hunter2@db/shop"})
    assert "hunter2" not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}{caplog.text}"


def test_an_error_around_ours_is_the_callers_own() -> None:
    """Only what the caller was handling is behind the report."""
    outer = RuntimeError("the caller's")
    try:
        raise outer
    except RuntimeError:
        with pytest.raises(SettingsError) as caught:
            Settings(_environ={f"{W}LOG__LEVEL": "x"})
    assert caught.value.__context__ is outer


NAMES = st.sampled_from(
    [
        "SQL__MAIN__URL",
        "SQL__MAIN__POOL_SIZE",
        "SQL__MAIN__TARGETS",
        "SQL__MAIN__TLS",
        "SQL__MAIN__TLS__CA",
        "SQL__MAIN",
        "SQL",
        "REDIS__CACHE__URL",
        "REDIS",
        "STORES__USERS__LAYERS",
        "STORES__USERS__NAMESPACE",
        "STORES",
        "WRITES__TIMEOUT",
        "LOG__LEVEL",
        "METRICS__ENABLED",
        "METRICS__NAMESPACE",
        "LOGG",
    ]
)
SECRET = "hunter2Zq"
FORMS = st.sampled_from(
    ["{}", "postgresql://u:{}@h/d", "redis://:{}@h:x", '{{"url": "{}"}}', '["{}"]', "memory:{},sql.{}!"]
) | st.sampled_from(
    ['{{"main": {{"url": "{}"}}}}', '[{{"name": "{}"}}]', '[{{"name": "memory", "ttl": "{}"}}]', "{}:", "'{}'"]
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(NAMES, st.tuples(FORMS, st.sampled_from([SECRET, f" {SECRET}", SECRET.lower(), f"{SECRET}@:/"])))
)
def test_no_environment_shows_its_values(variables: dict[str, tuple[str, str]]) -> None:
    """Whatever is put wherever: settings, or a report without it."""
    environ = {f"{W}{name}": form.format(secret, secret) for name, (form, secret) in variables.items()}
    try:
        shown = [repr(Settings(_environ=environ).sql)]
    except SettingsError as error:
        shown = list(everything_told(error))
    assert not [text for text in shown if SECRET.lower() in text.lower()]


@pytest.mark.parametrize("name", ["SQL__MAIN__POOL_SIZE", "SQL__MAIN__TARGETS", "WRITES__TIMEOUT", "LOG__LEVEL"])
def test_a_single_value_is_not_taken_apart(name: str, faults_of: Faults) -> None:
    """JSON in the place of a number or a word is a wrong value, and its keys are part of it."""
    for text in ('{"hunter2": 1}', '[{"hunter2": 1}]', '["hunter2"'):
        assert "hunter2" not in "".join(faults_of({f"{W}{name}": text}))
