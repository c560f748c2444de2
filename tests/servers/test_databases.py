"""Tests of the fresh databases that each test is given."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import redis
import sqlalchemy as sa
import sqlalchemy.exc as sa_exc

from tests.servers import KINDS, Found, FreshDatabases, FreshRedis, Missing, PrivateServer
from tests.servers.admin import execute

StartServer = Callable[..., PrivateServer]


@pytest.mark.parametrize("kind", ["sqlite", "mariadb", "postgresql"])
def test_databases_are_empty_and_apart(kind: str, fresh_database: Callable[[str], str]) -> None:
    """Two databases of one test are both empty, and a table in one is no table in the other."""
    one, two = (sa.create_engine(fresh_database(kind), poolclass=sa.NullPool) for _ in range(2))
    assert sa.inspect(one).get_table_names() == []
    with one.begin() as connection:
        connection.execute(sa.text("CREATE TABLE here (n INTEGER)"))
    assert sa.inspect(one).get_table_names() == ["here"]
    assert sa.inspect(two).get_table_names() == []


def test_the_engine_is_on_the_fresh_database(sql_engine: sa.Engine, sql_url: str) -> None:
    """The engine fixture leads where the URL fixture says."""
    assert sql_engine.url.render_as_string(hide_password=False) == sql_url
    with sql_engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT 1")) == 1


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_nothing_is_left_behind(kind: str, servers: Any) -> None:
    """What was made is dropped, even where a test has left a transaction open on it."""
    try:
        found = servers.find(kind)
    except Missing as missing:
        pytest.skip(str(missing))
    fresh = FreshDatabases(found)
    url = fresh.make()
    engine = sa.create_engine(url)
    connection = engine.connect()
    connection.execute(sa.text("CREATE TABLE held (n INTEGER)"))
    connection.execute(sa.text("SELECT * FROM held"))
    fresh.drop(url)
    fresh.close()
    with pytest.raises(sa_exc.OperationalError):
        connection.execute(sa.text("SELECT 1"))
    connection.invalidate()
    connection.close()
    engine.dispose()
    catalogue = {"mariadb": "SHOW DATABASES", "postgresql": "SELECT datname FROM pg_database"}[kind]
    assert engine.url.database not in [row[0] for row in execute(found.url, catalogue)]


@pytest.mark.parametrize("start", ["private_postgresql", "private_mariadb"])
def test_what_a_killed_run_left_is_swept_after_a_day(start: str, request: pytest.FixtureRequest) -> None:
    """Old databases with our kind of name go; young ones, and those of others, stay."""
    server: PrivateServer = request.getfixturevalue(start)()
    young = FreshDatabases(Found(server.recipe.kind, server.url, "started")).make()
    execute(server.url, "CREATE DATABASE ww_1_2_dead", "CREATE DATABASE ww_like_a_name", "CREATE DATABASE wwx1_2_3")
    FreshDatabases(Found(server.recipe.kind, server.url, "started"))
    catalogue = "SHOW DATABASES" if "mariadb" in start else "SELECT datname FROM pg_database"
    names = {row[0] for row in execute(server.url, catalogue)}
    assert "ww_1_2_dead" not in names
    assert {"ww_like_a_name", "wwx1_2_3", re.split(r"[/?]", young)[3]} <= names


def test_each_redis_is_empty(fresh_redis: Callable[[str], str]) -> None:
    """A second logical database has nothing of the first, and a memory URL is never given twice."""
    with redis.Redis.from_url(fresh_redis("redis")) as first:
        first.set("key", 1)
    with redis.Redis.from_url(fresh_redis("redis")) as second:
        assert second.dbsize() == 0
    assert fresh_redis("memory") != fresh_redis("memory")


def test_the_redis_client_works(redis_client: Any) -> None:
    """The client fixture starts on nothing and speaks the real protocol's bytes."""
    assert redis_client.dbsize() == 0
    redis_client.set("key", 1, ex=60)
    assert redis_client.get("key") == b"1"


def test_sessions_on_a_shared_redis_claim_their_own_database(private_redis: StartServer) -> None:
    """Each has one to itself, emptied for each test; the sixteenth session is refused, a closed one gives its back."""
    shared = Found("redis", private_redis().url, "at a place that others use")
    sessions = [FreshRedis(shared) for _ in range(15)]
    urls = [session.make() for session in sessions]
    assert len(set(urls)) == 15 and shared.url not in urls
    with redis.Redis.from_url(urls[3]) as client:
        client.set("left", 1)
        assert sessions[3].make() == urls[3]
        assert client.dbsize() == 0
    with pytest.raises(Missing, match="claimed"):
        FreshRedis(shared).make()
    sessions[3].close()
    assert FreshRedis(shared).make() == urls[3]


def test_kinds_cover_the_variables() -> None:
    """The three kinds are those that the environment and the fixtures name."""
    assert list(KINDS) == ["postgresql", "mariadb", "redis"]
