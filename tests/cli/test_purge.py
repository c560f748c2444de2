"""The command `purge`: what it removes, from which layers, and what it says."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
import typer
from pydantic_settings import SettingsConfigDict
from rich.console import Console

from wellwired import Application, Settings, providers
from wellwired.cli.purge_command import purge_stores
from wellwired.stores.sql import SQLStore


class Shop(Application):
    """An application that reads its settings from variables of its own."""

    class _Own(Settings):
        model_config = SettingsConfigDict(env_prefix="SHOP__")

    settings = providers.Singleton(_Own.load)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    """Two stores over one database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP__SQL__MAIN__URL", "sqlite:///shop.db")
    monkeypatch.setenv("SHOP__REDIS__CACHE__URL", "memory://")
    monkeypatch.setenv("SHOP__STORES__USERS__LAYERS", "memory:60,redis.cache:3600,sql.main!")
    monkeypatch.setenv("SHOP__STORES__PRICES__LAYERS", "sql.main!")
    monkeypatch.setenv("SHOP__LOG__LEVEL", "CRITICAL")
    engine = sa.create_engine("sqlite:///shop.db")
    SQLStore(engine, namespace="any").create_table()
    engine.dispose()
    yield monkeypatch
    structlog.reset_defaults()


def purged(shop: Shop, *only: str) -> tuple[int, str]:
    """The exit code, and what was said."""
    said = Console(file=StringIO(), width=200)
    code = purge_stores(shop, only, out=said, err=said)
    return code, said.file.getvalue()  # type: ignore[attr-defined]


def test_what_a_clear_has_left_is_removed_from_every_shared_layer() -> None:
    """However much it is; what is there stays, and memory is none of the command's business."""
    with Shop() as shop:
        store = shop.stores["users"]()
        store.set_many({f"k{number}": number for number in range(1_500)})
        store.clear()
        store.set("k1", "new")
        assert purged(shop, "users") == (
            0,
            "stores.users redis.cache: 1499 removed\nstores.users sql.main: 1499 removed\n",
        )
        assert purged(shop, "users")[1].count(": 0 removed") == 2
        assert [layer.store.has("k1") for layer in store.layers] == [True] * 3


def test_all_stores_are_purged_and_unknown_ones_named() -> None:
    """Without a name each of them; a name that is none is refused with those that are."""
    with Shop() as shop:
        assert purged(shop)[1].count("removed") == 3
        with pytest.raises(typer.BadParameter, match="known: prices, users"):
            purged(shop, "nothing")


def test_a_layer_that_fails_keeps_no_other_from_being_purged() -> None:
    """The exit code says so, and the type of the error, and no more."""
    with Shop() as shop:
        with shop.sql["main"]().begin() as connection:
            connection.execute(sa.text("DROP TABLE wellwired_store"))
        code, said = purged(shop)
        assert code == 1 and "stores.users redis.cache: 0 removed" in said and "stores.prices sql.main: failed" in said


def test_the_command_runs(environment: pytest.MonkeyPatch) -> None:
    """As a cron job would call it."""
    for name in ("SQL__MAIN__URL", "REDIS__CACHE__URL", "STORES__PRICES__LAYERS"):
        value = {"SQL__MAIN__URL": "sqlite:///shop.db", "REDIS__CACHE__URL": "memory://"}.get(name, "sql.main!")
        environment.setenv(f"WELLWIRED__{name}", value)
    command = [sys.executable, "-m", "wellwired.cli", "purge", "--store", "prices"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "stores.prices sql.main: 0 removed\n"), done.stderr
