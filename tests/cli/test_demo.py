"""The demo: every number right on every pair of servers, nothing left behind, and a wrong number is noticed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from rich.console import Console

from wellwired.cli import demo
from wellwired.cli.demo import run_demo
from wellwired.cli.demo_parts import NAMESPACE
from wellwired.containers.pools import close_engine, open_engine
from wellwired.settings import SQLSettings


@pytest.fixture(autouse=True)
def quiet_and_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No file of settings but the test's own, and no log between the lines."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WELLWIRED__LOG__LEVEL", "CRITICAL")


def _console() -> Console:
    return Console(file=io.StringIO(), width=100)


@pytest.mark.parametrize(
    ("sql_url", "redis_url"),
    [("sqlite", "memory"), ("mariadb", "redis"), ("postgresql", "redis")],
    indirect=True,
    ids=["embedded", "mariadb", "postgresql"],
)
def test_every_number_is_right_and_nothing_is_left(
    sql_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main job gives the same numbers on every backend, and takes its table and keys away."""
    monkeypatch.setenv("WELLWIRED__SQL__MAIN__URL", sql_url)
    monkeypatch.setenv("WELLWIRED__REDIS__CACHE__URL", redis_url)
    out = _console()
    assert run_demo(out), out.file.getvalue()  # type: ignore[attr-defined]
    engine = open_engine("sql.main", SQLSettings(url=sql_url))  # type: ignore[arg-type]
    assert NAMESPACE.replace("-", "_") + "_profiles" not in sa.inspect(engine).get_table_names()
    close_engine(engine)
    if redis_url.startswith("redis"):
        client = redis.Redis.from_url(redis_url)
        assert client.keys(f"{NAMESPACE}*") == []
        client.close()


def test_it_needs_no_settings_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without servers it runs on embedded ones."""
    for name in ("WELLWIRED__SQL__MAIN__URL", "WELLWIRED__REDIS__CACHE__URL"):
        monkeypatch.delenv(name, raising=False)
    out = _console()
    assert run_demo(out)
    assert "sql.main is sqlite, redis.cache is an embedded Redis" in out.file.getvalue()  # type: ignore[attr-defined]


def test_a_wrong_number_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that is not what it must be is marked, and the demo fails."""
    monkeypatch.setattr(demo, "APPLIED", 961)
    out = _console()
    assert not run_demo(out)
    assert "960, must be 961" in out.file.getvalue()  # type: ignore[attr-defined]
