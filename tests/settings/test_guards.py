"""Tests of the groups of settings about what stands around writes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from pydantic import ValidationError

from wellwired.errors import ErrorCode, SettingsError
from wellwired.settings import BreakerSettings, BudgetSettings, DeadLetterSettings, Settings, masked

W = "WELLWIRED__WRITES__"
NEW, OLD = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def loaded(**variables: str) -> Any:
    """The settings about writes from an environment."""
    return Settings.load(_environ={f"{W}{name}": text for name, text in variables.items()}, _env_file=None).writes


def test_nothing_is_kept_and_no_circuit_is_broken_unless_asked() -> None:
    """The defaults."""
    writes = loaded()
    assert not writes.breaker.enabled
    assert (writes.dead_letters.path, writes.dead_letters.sql) == (None, None)
    assert (writes.budget.capacity, writes.budget.cost, writes.budget.heavy_cost, writes.budget.refund) == (
        500,
        5,
        10,
        1,
    )


def test_everything_can_be_said_in_variables(tmp_path: Path) -> None:
    """Numbers, lists with commas or as JSON, and none."""
    writes = loaded(
        BREAKER__ENABLED="true",
        BREAKER__PAUSE="2.5",
        BUDGET__CAPACITY="50",
        DEAD_LETTERS__PATH=str(tmp_path / "letters.jsonl"),
        DEAD_LETTERS__SQL="none",
        DEAD_LETTERS__CODES="backend, TIMEOUT",
        DEAD_LETTERS__ENCRYPTION_KEYS=f'["{NEW}", "{OLD}"]',
    )
    assert (writes.breaker.enabled, writes.breaker.pause, writes.budget.capacity) == (True, 2.5, 50)
    assert writes.dead_letters.path == tmp_path / "letters.jsonl"
    assert writes.dead_letters.codes == (ErrorCode.BACKEND, ErrorCode.TIMEOUT)
    assert [key.get_secret_value() for key in writes.dead_letters.encryption_keys] == [NEW, OLD]


def test_keys_are_not_shown() -> None:
    """Neither in the list of settings nor in a repr."""
    settings = Settings.load(_environ={f"{W}DEAD_LETTERS__ENCRYPTION_KEYS": f"{NEW},{OLD}"}, _env_file=None)
    shown = repr(masked(settings)) + repr(settings)
    assert NEW not in shown and OLD not in shown


def test_keys_that_cannot_be_used_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their number, and with the extra to install."""
    with pytest.raises(SettingsError, match="key 2 is no Fernet key"):
        loaded(DEAD_LETTERS__ENCRYPTION_KEYS=f"{NEW},hunter2")
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(SettingsError, match=r"wellwired\[encryption\]"):
        loaded(DEAD_LETTERS__ENCRYPTION_KEYS=NEW)


@pytest.mark.parametrize(
    ("group", "wrong"),
    [
        (BudgetSettings, {"capacity": 9, "heavy_cost": 10}),
        (BreakerSettings, {"failures": 0}),
        (BreakerSettings, {"probes": 0}),
        (DeadLetterSettings, {"codes": []}),
    ],
)
def test_what_cannot_be_meant_is_refused(group: Any, wrong: dict[str, Any]) -> None:
    """By hand as from an environment."""
    with pytest.raises(ValidationError):
        group(**wrong)


def test_batches_and_group_commits_can_be_set() -> None:
    """No type shares a commit unless it is named; sizes have defaults."""
    plain = loaded()
    assert (plain.batch_size, plain.group_commit.types, plain.group_commit.max_batch) == (1_000, (), 64)

    writes = loaded(BATCH_SIZE="50", GROUP_COMMIT__TYPES="order_placed, login", GROUP_COMMIT__LINGER="0.002")
    assert (writes.batch_size, writes.group_commit.types) == (50, ("order_placed", "login"))
    assert (writes.group_commit.max_batch, writes.group_commit.linger) == (64, 0.002)


@pytest.mark.parametrize(
    ("name", "value"),
    [("BATCH_SIZE", "0"), ("GROUP_COMMIT__MAX_BATCH", "1"), ("GROUP_COMMIT__LINGER", "-1")],
)
def test_sizes_that_mean_nothing_are_refused_by_name(name: str, value: str) -> None:
    """The report names the variable."""
    with pytest.raises(SettingsError, match=name):
        loaded(**{name: value})
