"""Transactions of an application: wired from the environment, and replaced by a test in place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from wellwired import Application, Registry, Settings, WriteRequest, providers
from wellwired.handlers.sql import insert
from wellwired.writers import capabilities_of

orders = sa.Table(
    "orders", sa.MetaData(), sa.Column("order_id", sa.String(20), primary_key=True), sa.Column("cents", sa.Integer)
)


class Shop(Application):
    """An application with one handler."""

    handlers = providers.Singleton(Registry, insert(orders, type="order_placed"))


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings but the test's own, and structlog as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WELLWIRED__LOG__LEVEL", "CRITICAL")
    yield
    structlog.reset_defaults()


def placed(number: int) -> WriteRequest:
    """An order."""
    return WriteRequest("sql.main", "order_placed", {"order_id": f"o{number}", "cents": number})


def count(engine: sa.Engine) -> int:
    """How many orders there are."""
    with engine.connect() as connection:
        return len(connection.execute(sa.select(orders)).all())


@pytest.mark.parametrize("sql_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("asked", ["true", "false"])
def test_the_environment_says_whether_open_commits_are_asked_about(
    sql_url: str, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """RESOLVE reaches the writer, and a transaction of the application is numbered and committed."""
    monkeypatch.setenv("WELLWIRED__SQL__MAIN__URL", sql_url)
    monkeypatch.setenv("WELLWIRED__WRITES__RESOLVE", asked)
    with Shop(settings=Settings.load()) as shop:
        engine = shop.sql["main"]()
        orders.create(engine)
        manager = shop.write_manager()
        with manager.transaction("sql.main") as tx:
            tx.write(placed(1))
            tx.write(placed(2))

        assert count(engine) == 2
        assert capabilities_of(manager.writers[0]).resolves_unknown is (asked == "true")


def test_a_transaction_goes_to_what_a_test_has_put_in_place(sql_url: str, tmp_path: Path) -> None:
    """With the engine overridden the same code writes there; afterwards it writes to the database again."""
    fake = sa.create_engine(f"sqlite:///{tmp_path / 'fake.db'}")
    settings: Any = Settings
    with Shop(settings=settings(sql={"main": {"url": sql_url}}, log={"level": "CRITICAL"})) as shop:
        real = shop.sql["main"]()
        for engine in (real, fake):
            orders.create(engine)
        with shop.overriding({"sql.main": fake}), shop.write_manager().transaction("sql.main") as tx:
            tx.write(placed(1))
            tx.write(placed(2))
        with shop.write_manager().transaction("sql.main") as tx:
            tx.write(placed(1))

        assert (count(real), count(fake)) == (1, 2)
    fake.dispose()
