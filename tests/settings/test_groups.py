"""Tests of the groups of settings as values of their own."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from wellwired.settings import (
    LayerSettings,
    LogSettings,
    MetricsSettings,
    RedisSettings,
    SQLSettings,
    StoreSettings,
    TLSSettings,
    WriteSettings,
)


def _sql(**given: Any) -> SQLSettings:
    return SQLSettings.model_validate({"url": "postgresql://h/d", **given})


@pytest.mark.parametrize("cls", [TLSSettings, WriteSettings, LogSettings, MetricsSettings])
def test_groups_without_a_choice_to_make_have_defaults(cls: Any) -> None:
    """Made by hand, without an environment."""
    assert cls() == cls()


@pytest.mark.parametrize(
    "group",
    [_sql(), RedisSettings.model_validate({"url": "redis://h"}), LayerSettings(name="memory"), WriteSettings()],
)
def test_groups_are_values(group: Any) -> None:
    """Frozen, hashable, closed, and equal by their settings."""
    assert hash(group) == hash(group.model_copy()) and group == group.model_copy()
    with pytest.raises(ValidationError):
        group.new = 1
    with pytest.raises(ValidationError, match="Extra inputs"):
        type(group).model_validate({**dict(group), "new": 1})


def test_an_error_shows_no_input() -> None:
    """Even pydantic's own text, for a group that is made by hand, leaves the URL out."""
    with pytest.raises(ValidationError) as caught:
        SQLSettings.model_validate({"url": "postgresql://ada:hunter2@db:x/shop", "pool_size": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("word", ["none", "NULL", " None ", None])
def test_no_limit_can_be_said_in_a_variable(word: str | None) -> None:
    """Text has a word for None."""
    sql = _sql(pool_recycle=word, statement_timeout=word, isolation_level=word)
    assert (sql.pool_recycle, sql.statement_timeout, sql.isolation_level) == (None, None, None)


@pytest.mark.parametrize("level", ["read_committed", "READ-COMMITTED", " Read Committed"])
def test_isolation_levels_are_spelled_as_people_do(level: str) -> None:
    """Underscores, hyphens and case do not matter."""
    assert _sql(isolation_level=level).isolation_level == "READ COMMITTED"


def test_a_level_that_would_break_transactions_is_refused() -> None:
    """AUTOCOMMIT is no isolation level: a write could not be rolled back."""
    with pytest.raises(ValidationError, match="SERIALIZABLE"):
        _sql(isolation_level="AUTOCOMMIT")


@pytest.mark.parametrize("targets", ["a.b, c", '["a.b", "c"]', ["a.b", "c"], ("a.b", "c")])
def test_targets_are_a_list_of_words_or_json(targets: Any) -> None:
    """All forms mean the same."""
    assert _sql(targets=targets).targets == ("a.b", "c")


def test_targets_that_are_no_json_say_where() -> None:
    """The position is given, the text is not."""
    with pytest.raises(ValidationError, match=r"is not valid JSON: expecting ',' delimiter at line 1 column 6"):
        _sql(targets='["a" "b"]')


@pytest.mark.parametrize("url", ["redis://h", "unix:///s", "memory://"])
def test_tls_is_for_rediss_only(url: str) -> None:
    """A setting that would do nothing is refused."""
    with pytest.raises(ValidationError, match="write rediss://"):
        RedisSettings.model_validate({"url": url, "tls": {}})
    assert RedisSettings.model_validate({"url": "RedisS://h", "tls": {}}).tls == TLSSettings()


@pytest.mark.parametrize("layers", ["memory:60,sql.main!", ["memory:60", "sql.main!"], '["memory:60", "sql.main!"]'])
def test_layers_in_every_form(layers: Any) -> None:
    """The short form whole, in pieces, and in JSON."""
    assert StoreSettings.model_validate({"layers": layers}).layers == (
        LayerSettings(name="memory", ttl=60),
        LayerSettings(name="sql.main", primary=True),
    )


@pytest.mark.parametrize(
    ("layer", "option"),
    [
        ({"name": "sql.main", "capacity": 5}, "memory"),
        ({"name": "redis.a", "share": True}, "memory"),
        ({"name": "memory", "table": "t"}, "sql"),
    ],
)
def test_an_option_belongs_to_a_kind_of_layer(layer: dict[str, Any], option: str) -> None:
    """One that would do nothing is refused."""
    with pytest.raises(ValidationError, match=f"is an option of {option} layers"):
        LayerSettings.model_validate(layer)


@pytest.mark.parametrize("table", ["x; DROP", "1x", "", "x" * 64])
def test_a_table_is_a_plain_name(table: str) -> None:
    """Nothing that would need quoting."""
    with pytest.raises(ValidationError):
        LayerSettings(name="sql.main", table=table)


def test_levels_of_the_log_in_any_case() -> None:
    """As people write them."""
    assert LogSettings.model_validate({"level": " warning "}).level == "WARNING"
