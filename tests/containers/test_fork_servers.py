"""Tests of an application after a fork, on real servers: other connections, the parent's at work as before (C5)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.containers.forking import in_child
from wellwired import Application, Settings, providers

WHO = {"mariadb": "SELECT connection_id()", "postgresql": "SELECT pg_backend_pid()"}

pytestmark = pytest.mark.redis

on_each_server = pytest.mark.parametrize(
    "kind",
    [
        pytest.param("mariadb", marks=pytest.mark.mariadb),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ],
)


@pytest.fixture
def shop(kind: str, request: pytest.FixtureRequest, real_redis_url: str) -> Iterator[Any]:
    """A started application on real servers, with a singleton whose constructor a test can hold up."""
    entered, release = threading.Event(), threading.Event()

    def slow(engine: Any) -> str:
        entered.set()
        assert release.wait(20)
        return f"built on {engine.name}"

    class Shop(Application):
        slow_one = providers.Singleton(slow, Application.sql["main"])

    url = request.getfixturevalue(f"{kind}_url")
    settings = Settings.load(sql={"main": {"url": url}}, redis={"cache": {"url": real_redis_url}})
    container: Any = Shop(settings=settings)
    container.entered, container.release = entered, release
    with container:
        yield container


def connection_ids(shop: Any, kind: str) -> tuple[int, int]:
    """Whom the servers believe to be talking to."""
    with shop.resolve("sql.main").connect() as connection:
        return int(connection.scalar(sa.text(WHO[kind]))), int(shop.resolve("redis.cache").client_id())


@on_each_server
def test_the_child_talks_on_connections_of_its_own(shop: Any, kind: str) -> None:
    """Forked in mid-transaction and mid-construction, the child works at once, and the parent goes on as before."""
    before = connection_ids(shop, kind)
    holding = threading.Thread(target=shop.slow_one, daemon=True)
    holding.start()
    assert shop.entered.wait(10)
    with shop.resolve("sql.main").begin() as transaction:
        mine = transaction.scalar(sa.text(WHO[kind]))

        def child() -> tuple[tuple[int, int], str]:
            shop.release.set()
            ids, built = connection_ids(shop, kind), shop.slow_one()
            shop.stop()
            return ids, built

        (sql_id, redis_id), built = in_child(child)
        assert sql_id not in {mine, before[0]} and redis_id != before[1]
        assert built.startswith("built on")
        assert transaction.scalar(sa.text(WHO[kind])) == mine
    shop.release.set()
    holding.join(10)
    assert connection_ids(shop, kind)[1] == before[1]


@on_each_server
def test_five_children_at_once_disturb_nobody(shop: Any, kind: str) -> None:
    """Workers forked one after the other, as a server does, each with its own connections, the parent untouched."""
    before = connection_ids(shop, kind)
    shop.release.set()
    ids = [in_child(lambda: connection_ids(shop, kind)) for _ in range(5)]
    assert len({sql_id for sql_id, _ in ids} | {before[0]}) == 6
    assert len({redis_id for _, redis_id in ids} | {before[1]}) == 6
    assert connection_ids(shop, kind) == before
