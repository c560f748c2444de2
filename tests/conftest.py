"""The fixtures that every room's tests share: fresh databases on real servers, servers of a test's own, and time."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa

from tests.servers import KINDS, FreshDatabases, FreshRedis, Missing, PrivateServer, Servers, required
from tests.servers.databases import sqlite
from wellwired.testing.clock import VirtualClock

# The same examples at every run, so that a red run can be run again; `--hypothesis-profile soak` looks for new ones.
# No time limit for an example: it would measure how busy the machine is.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=1_000)
hypothesis.settings.load_profile("steady")

SERVERS = pytest.StashKey[Servers]()

StartServer = Callable[..., PrivateServer]

_SQL = [
    "sqlite",
    pytest.param("mariadb", marks=pytest.mark.mariadb),
    pytest.param("postgresql", marks=pytest.mark.postgresql),
]
_REDIS = ["memory", pytest.param("redis", marks=pytest.mark.redis)]


def pytest_configure(config: pytest.Config) -> None:
    """Holds the session's servers where both hooks and fixtures find them."""
    config.stash[SERVERS] = Servers()
    if unknown := required() - KINDS.keys():
        raise pytest.UsageError(f"WELLWIRED_TEST_REQUIRE names {sorted(unknown)}; known: all, {', '.join(KINDS)}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the servers that were started for the session."""
    config.stash[SERVERS].close()


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Says which servers this run would use, and which are required."""
    servers = config.stash[SERVERS]
    lines = [f"{kind}: {servers.plan(kind)}" for kind in KINDS]
    return [
        *lines,
        f"required servers: {', '.join(sorted(required())) or 'none (their tests are skipped without them)'}",
    ]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Says which servers this run has used, and which it did without."""
    servers = config.stash[SERVERS]
    # With pytest-xdist the workers use them, and this process knows only what each of them finds.
    spread = getattr(config.option, "numprocesses", None)
    for line in [f"{kind}: {servers.plan(kind)}" for kind in KINDS] if spread else servers.used():
        terminalreporter.write_line(f"server {line}")
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if getattr(report, "when", "") == "call":
            for text in (value for name, value in report.user_properties if name == "counts"):
                terminalreporter.write_line(str(text))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the soak tests out unless the run names them, whatever else `-m` says."""
    if "soak" in config.option.markexpr:
        return
    soaking = [item for item in items if item.get_closest_marker("soak")]
    if soaking:
        config.hook.pytest_deselected(items=soaking)
        items[:] = [item for item in items if item not in soaking]


def _without(missing: Missing, kind: str) -> None:
    """Skips the test, or fails it if the run requires the server."""
    if kind in required():
        pytest.fail(f"{kind} is required by WELLWIRED_TEST_REQUIRE and there is none: {missing}", pytrace=False)
    pytest.skip(f"no {kind}: {missing}")


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    """The servers of this session."""
    return request.config.stash[SERVERS]


@pytest.fixture(scope="session")
def _databases(servers: Servers) -> Iterator[Callable[[str], FreshDatabases]]:
    made: dict[str, FreshDatabases] = {}

    def databases(kind: str) -> FreshDatabases:
        if kind not in made:
            made[kind] = FreshDatabases(servers.find(kind))
        return made[kind]

    yield databases
    for fresh in made.values():
        fresh.close()


@pytest.fixture(scope="session")
def _redis_databases(servers: Servers) -> Iterator[Callable[[], FreshRedis]]:
    made: list[FreshRedis] = []

    def databases() -> FreshRedis:
        if not made:
            made.append(FreshRedis(servers.find("redis")))
        return made[0]

    yield databases
    for fresh in made:
        fresh.close()


@pytest.fixture
def fresh_database(_databases: Callable[[str], FreshDatabases], tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Makes a new empty database of a kind ("sqlite", "mariadb", "postgresql") and gives its SQLAlchemy URL."""
    made: list[tuple[FreshDatabases, str]] = []

    def make(kind: str) -> str:
        if kind == "sqlite":
            return sqlite(tmp_path)
        try:
            fresh = _databases(kind)
        except Missing as missing:
            _without(missing, kind)
            raise
        url = fresh.make()
        made.append((fresh, url))
        return url

    yield make
    for fresh, url in made:
        fresh.drop(url)


@pytest.fixture(params=_SQL)
def sql_url(request: pytest.FixtureRequest, fresh_database: Callable[[str], str]) -> str:
    """The URL of a fresh empty database, on each kind in turn.

    For one kind only: `@pytest.mark.parametrize("sql_url", ["postgresql"], indirect=True)`.
    """
    return fresh_database(request.param)


@pytest.fixture
def sqlite_url(fresh_database: Callable[[str], str]) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return fresh_database("sqlite")


@pytest.fixture
def mariadb_url(fresh_database: Callable[[str], str]) -> str:
    """The URL of a fresh empty MariaDB database."""
    return fresh_database("mariadb")


@pytest.fixture
def postgresql_url(fresh_database: Callable[[str], str]) -> str:
    """The URL of a fresh empty PostgreSQL schema."""
    return fresh_database("postgresql")


@pytest.fixture
def sql_engine(sql_url: str) -> Iterator[sa.Engine]:
    """An engine, with SQLAlchemy's usual pool, on a fresh empty database; disposed of after the test."""
    engine = sa.create_engine(sql_url)
    yield engine
    engine.dispose()


@pytest.fixture
def fresh_redis(_redis_databases: Callable[[], FreshRedis]) -> Callable[[str], str]:
    """Gives the URL of an empty Redis: "memory" in process, "redis" a logical database of a real server."""

    def make(kind: str) -> str:
        if kind == "memory":
            return f"memory://{os.getpid()}-{secrets.token_hex(4)}"
        try:
            return _redis_databases().make()
        except Missing as missing:
            _without(missing, "redis")
            raise

    return make


@pytest.fixture(params=_REDIS)
def redis_url(request: pytest.FixtureRequest, fresh_redis: Callable[[str], str]) -> str:
    """The URL of an empty Redis, in process and real in turn; narrowed like `sql_url`."""
    return fresh_redis(request.param)


@pytest.fixture
def real_redis_url(fresh_redis: Callable[[str], str]) -> str:
    """The URL of an empty logical database of a real Redis."""
    return fresh_redis("redis")


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[Any]:
    """A redis-py client on an empty Redis, in process (fakeredis) and real in turn; closed after the test."""
    if redis_url.startswith("memory:"):
        import fakeredis

        client: Any = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    else:
        import redis

        client = redis.Redis.from_url(redis_url)
    yield client
    with suppress(ConnectionError):
        client.close()


def _factory(servers: Servers, kind: str) -> Iterator[StartServer]:
    started: list[PrivateServer] = []

    def start(**settings: str) -> PrivateServer:
        try:
            started.append(servers.private(kind, settings))
        except Missing as missing:
            _without(missing, kind)
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def private_postgresql(servers: Servers) -> Iterator[StartServer]:
    """Starts a PostgreSQL of the test's own; keywords are its settings, as in `(max_connections="5")`."""
    yield from _factory(servers, "postgresql")


@pytest.fixture
def private_mariadb(servers: Servers) -> Iterator[StartServer]:
    """Starts a MariaDB of the test's own; keywords are its options, underscores or dashes."""
    yield from _factory(servers, "mariadb")


@pytest.fixture
def private_redis(servers: Servers) -> Iterator[StartServer]:
    """Starts a Redis of the test's own, which keeps its data when killed; keywords are its options."""
    yield from _factory(servers, "redis")


@pytest.fixture
def virtual_clock() -> VirtualClock:
    """A clock that stands still until the test moves it."""
    return VirtualClock()
