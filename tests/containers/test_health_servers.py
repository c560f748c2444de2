"""Health of real pools on real servers: well, stopped in mid-answer, killed, and back again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tests.servers import PrivateServer
from wellwired.containers import Application, HealthStatus, providers
from wellwired.settings import Settings

StartServer = Callable[..., PrivateServer]


def application(*, sql: str | None = None, redis: str | None = None) -> Application:
    """An application on these servers, and on an embedded Redis of its own."""
    settings = Settings.load(
        sql={"main": {"url": sql, "connect_timeout": 1, "socket_timeout": 2}} if sql else {},
        redis={"cache": {"url": redis or "memory://health", "connect_timeout": 1, "socket_timeout": 2}},
    )
    return Application(settings=providers.Object(settings))


def states(app: Application, timeout: float) -> dict[str, tuple[HealthStatus, str]]:
    """What health says of each pool, and that it says it in time."""
    begun = time.monotonic()
    health = app.health(timeout=timeout)
    assert time.monotonic() - begun < timeout + 1
    return {check.name: (check.status, check.error) for check in health.checks}


def test_real_pools_answer(sql_url: str, redis_url: str) -> None:
    """Every kind of database and Redis is asked by its dotted name and answers."""
    with application(sql=sql_url, redis=redis_url) as app:
        assert states(app, 10) == {"sql.main": (HealthStatus.UP, ""), "redis.cache": (HealthStatus.UP, "")}


@pytest.mark.postgresql
def test_a_database_that_hangs_is_told_in_time_and_recovers(private_postgresql: StartServer) -> None:
    """A frozen server costs the limit and no more, hides nobody else's health, and is up again when it answers."""
    server = private_postgresql()
    with application(sql=server.url) as app:
        assert app.health(timeout=10).ok
        server.pause()
        try:
            assert states(app, 0.2) == {
                "sql.main": (HealthStatus.DOWN, "timed out"),
                "redis.cache": (HealthStatus.UP, ""),
            }
            assert states(app, 0)["sql.main"] == (HealthStatus.DOWN, "still hanging")
        finally:
            server.resume()
        assert app.health(timeout=10).ok


@pytest.mark.mariadb
def test_a_killed_database_is_down_and_its_address_stays_secret(private_mariadb: StartServer) -> None:
    """The driver's text, with host and port and user, is in no form of the answer."""
    server = private_mariadb()
    with application(sql=server.url) as app:
        assert app.health(timeout=10).ok
        server.kill()
        health = app.health(timeout=10)
    assert health.status is HealthStatus.DOWN
    assert health.checks[0].error == "OperationalError"
    port = server.url.rpartition(":")[2].partition("/")[0]
    for shown in (str(health), repr(health), json.dumps(health.to_dict())):
        assert port not in shown
        assert "127.0.0.1" not in shown


@pytest.mark.redis
def test_a_killed_redis_only_degrades_who_can_do_without(private_redis: StartServer, sqlite_url: str) -> None:
    """A cache that is optional leaves the process in service."""
    server = private_redis()
    with application(sql=sqlite_url, redis=server.url) as app:
        assert app.health(timeout=10).status is HealthStatus.UP
        server.kill()
        assert app.health(timeout=10).status is HealthStatus.DOWN
        assert app.health(timeout=10, optional=["redis"]).status is HealthStatus.DEGRADED
