"""Tests of forks: a child never speaks on its parent's sockets and never waits for its parent's threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from sqlalchemy import event

from tests.containers.forking import in_child
from wellwired.containers import pools
from wellwired.settings import RedisSettings, SQLSettings

ROOT = Path(__file__).parents[2]
SERVERS = pytest.mark.parametrize(
    "sql_url",
    [pytest.param("mariadb", marks=pytest.mark.mariadb), pytest.param("postgresql", marks=pytest.mark.postgresql)],
    indirect=True,
)
WHO = {"mysql": "SELECT CONNECTION_ID()", "mariadb": "SELECT CONNECTION_ID()", "postgresql": "SELECT pg_backend_pid()"}


@pytest.fixture
def engine(sql_url: str) -> Iterator[sa.Engine]:
    """An engine on a real server."""
    made = pools.open_engine("sql.main", SQLSettings.model_validate({"url": sql_url, "pool_size": 3}))
    yield made
    pools.close_engine(made)


@pytest.fixture
def client(real_redis_url: str) -> Iterator[redis.Redis]:
    """A client of a real server."""
    made = pools.open_redis("redis.cache", RedisSettings.model_validate({"url": real_redis_url, "pool_size": 3}))
    yield made
    pools.close_redis(made)


def _id(engine: sa.Engine) -> int:
    """The server's name for the connection."""
    with engine.connect() as connection:
        return int(connection.scalar(sa.text(WHO[engine.dialect.name])) or 0)


@contextmanager
def busy(work: Callable[[], Any], threads: int = 3) -> Iterator[None]:
    """Threads that do the same work over and over; the block runs when each has done it once, and none may fail."""
    stop, errors, begun = threading.Event(), [], threading.Barrier(threads + 1)

    def run() -> None:
        try:
            work()
            begun.wait()
            while not stop.is_set():
                work()
        except BaseException as error:  # noqa: BLE001 - told in the main thread
            errors.append(error)

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    begun.wait(20)
    try:
        yield
    finally:
        stop.set()
        for thread in running:
            thread.join()
    assert errors == []


def test_the_check_can_fail() -> None:
    """A child that is not helped is found out: with plain SQLAlchemy it has its parent's connection."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.connect() as connection:
        mine = id(connection.connection.driver_connection)
    assert in_child(lambda: id(engine.connect().connection.driver_connection)) == mine
    engine.dispose()


@SERVERS
def test_a_child_has_connections_of_its_own(engine: sa.Engine) -> None:
    """Parent and child use the same engine; the server sees two clients, and the parent keeps its own."""
    mine = _id(engine)

    def child() -> int:
        pools.renew_engine_after_fork(engine)
        theirs = _id(engine)
        pools.close_engine(engine)
        return theirs

    assert in_child(child) != mine
    assert _id(engine) == mine


@SERVERS
def test_a_fork_among_busy_threads(engine: sa.Engine) -> None:
    """Whatever the parent's threads do with the pool at the moment of a fork, both go on, each with its own."""
    mine = set[int]()

    def child() -> list[int]:
        pools.renew_engine_after_fork(engine)
        return [_id(engine) for _ in range(3)]

    with busy(lambda: mine.add(_id(engine))):
        theirs = [in_child(child) for _ in range(10)]
    assert not {each for ids in theirs for each in ids} & mine


@SERVERS
def test_a_fork_in_the_middle_of_the_first_connection(engine: sa.Engine) -> None:
    """A child does not wait for a thread that is learning what server it is, and learns it by itself."""
    reached, go_on = threading.Event(), threading.Event()
    learn = engine.dialect.initialize

    def slow(connection: sa.Connection) -> None:
        reached.set()
        go_on.wait()
        learn(connection)

    engine.dialect.initialize = slow  # type: ignore[method-assign]
    listened: list[bool] = []
    event.listen(engine, "connect", lambda *_: listened.append(True))
    thread = threading.Thread(target=pools.ping_engine, args=(engine,))
    thread.start()
    reached.wait(20)

    def child() -> tuple[Any, int]:
        pools.renew_engine_after_fork(engine)
        pools.ping_engine(engine)
        return engine.dialect.server_version_info, len(listened)

    version, times = in_child(child)
    go_on.set()
    thread.join()
    assert version == engine.dialect.server_version_info and version is not None
    assert times == 1


@SERVERS
def test_listeners_live_on_in_the_child(engine: sa.Engine) -> None:
    """What the application has hung on an engine before it ever connected is still there."""
    heard: list[str] = []
    event.listen(engine, "connect", lambda *_: heard.append("connect"))
    event.listen(engine, "begin", lambda *_: heard.append("begin"))

    def child() -> list[str]:
        pools.renew_engine_after_fork(engine)
        pools.ping_engine(engine)
        return heard

    assert in_child(child) == ["connect", "begin"]


def test_an_engine_of_another_maker_is_renewed(sqlite_url: str) -> None:
    """An application's own engine gets a new pool as well."""
    engine = sa.create_engine(sqlite_url)
    old = engine.pool
    pools.renew_engine_after_fork(engine)
    pools.ping_engine(engine)
    assert engine.pool is not old
    engine.dispose()
    old.dispose()


def test_a_database_in_memory_is_empty_in_the_child() -> None:
    """It lives in its one connection, which stays with the parent."""
    engine = pools.open_engine("sql.main", SQLSettings.model_validate({"url": "sqlite://"}))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (n INTEGER)"))

    def child() -> bool:
        pools.renew_engine_after_fork(engine)
        return sa.inspect(engine).has_table("t")

    assert in_child(child) is False
    assert sa.inspect(engine).has_table("t")
    pools.close_engine(engine)


@pytest.mark.redis
def test_a_child_has_redis_connections_of_its_own(client: redis.Redis) -> None:
    """Parent and child use the same client; the server sees two, and the parent keeps its own."""
    mine = client.client_id()

    def child() -> int:
        pools.renew_redis_after_fork(client)
        theirs = client.client_id()
        pools.close_redis(client)
        return theirs

    assert in_child(child) != mine
    assert client.client_id() == mine


@pytest.mark.redis
def test_a_fork_among_threads_that_are_busy_with_redis(client: redis.Redis) -> None:
    """Whatever the parent's threads do with the pool at the moment of a fork, both go on, each with its own."""
    mine = set[int]()

    def child() -> list[int]:
        pools.renew_redis_after_fork(client)
        return [client.client_id() for _ in range(3)]

    with busy(lambda: mine.add(client.client_id())):
        theirs = [in_child(child) for _ in range(10)]
    assert not {each for ids in theirs for each in ids} & mine


@pytest.mark.redis
@pytest.mark.parametrize("renewed", [True, False])
def test_who_held_on_to_the_pool_has_the_new_one(renewed: bool, client: redis.Redis) -> None:
    """Pipelines, and stores that go straight to the pool, do not use a connection of the parent's, told or not."""
    mine = client.client_id()
    pipeline, pool = client.pipeline(transaction=False), client.connection_pool

    def child() -> tuple[int, int, bool]:
        if renewed:
            pools.renew_redis_after_fork(client)
        connection: Any = pool.get_connection()
        connection.send_command("CLIENT", "ID")
        theirs = connection.read_response()
        pool.release(connection)
        pipeline.client_id()
        return theirs, pipeline.execute()[0], client.connection_pool is pool

    theirs, piped, same = in_child(child)
    assert theirs == piped != mine and same
    assert client.client_id() == mine


@pytest.mark.parametrize("renewed", [True, False])
def test_a_fork_while_a_thread_holds_every_lock_of_the_redis_pool(renewed: bool, redis_url: str) -> None:
    """Nothing of the inherited pool is waited for, even where nobody has told it of the fork."""
    client = pools.open_redis("redis.cache", RedisSettings.model_validate({"url": redis_url}))
    client.set("key", 1)
    pool: Any = client.connection_pool
    locks = [pool._lock, pool._fork_lock, pool.pool.mutex, client.single_connection_lock]
    if "server" in pool.connection_kwargs:
        locks.append(pool.connection_kwargs["server"].lock)
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in locks:
            lock.acquire()
        held.set()
        go_on.wait()
        for lock in locks:
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)

    def child() -> bool:
        if renewed:
            pools.renew_redis_after_fork(client)
        with client.pipeline() as pipe:
            pipe.set("other", 1)
            pipe.execute()
        return client.get("other") == b"1"

    assert in_child(child)
    go_on.set()
    thread.join()
    pools.close_redis(client)


def test_a_server_in_memory_is_empty_in_the_child() -> None:
    """Clients that shared one before the fork share a new one after it."""
    servers = pools.EmbeddedServers()
    settings = RedisSettings.model_validate({"url": "memory://shared"})
    one = pools.open_redis("redis.one", settings, servers=servers)
    two = pools.open_redis("redis.two", settings, servers=servers)
    one.set("key", 1)

    def child() -> tuple[Any, Any]:
        for client in (one, two):
            pools.renew_redis_after_fork(client)
        before = two.get("key")
        one.set("key", 2)
        return before, two.get("key")

    assert in_child(child) == (None, b"2")
    assert two.get("key") == b"1"


@pytest.mark.redis
@pytest.mark.parametrize("single", [False, True])
def test_a_client_of_another_maker_is_renewed(single: bool, real_redis_url: str) -> None:
    """An application's own client gets a pool with the same arguments; one with a single connection, another one."""
    client = redis.Redis.from_url(real_redis_url, client_name="own", single_connection_client=single)
    mine = client.client_id()
    lock = client.single_connection_lock
    lock_holder = threading.Thread(target=lock.acquire)
    lock_holder.start()
    lock_holder.join()

    def child() -> tuple[int, Any]:
        pools.renew_redis_after_fork(client)
        return client.client_id(), client.client_getname()

    theirs, name = in_child(child)
    assert theirs != mine and name == "own"
    pools.close_redis(client)


ENDS = """
import os, sys, threading
from wellwired.containers import pools
from wellwired.settings import RedisSettings, SQLSettings
import sqlalchemy as sa

urls = sys.argv[1:]
engines = [pools.open_engine(url, SQLSettings(url=url)) for url in urls[:-1]]
client = pools.open_redis("redis", RedisSettings(url=urls[-1]))
who = {"mysql": "SELECT CONNECTION_ID()", "postgresql": "SELECT pg_backend_pid()"}

def identities():
    names = []
    for engine in engines:
        with engine.connect() as connection:
            names.append(connection.scalar(sa.text(who[engine.dialect.name])))
    return [*names, client.client_id()]

# A connection that a thread holds, in the middle of a transaction, when the fork comes.
held, go_on, kept = threading.Barrier(2), threading.Event(), []
def hold():
    with engines[0].begin() as one, engines[1].begin() as two:
        for connection in (one, two):
            connection.execute(sa.text("SELECT 1"))
        held.wait()
        go_on.wait()
        kept.extend(connection.scalar(sa.text("SELECT 7")) for connection in (one, two))
thread = threading.Thread(target=hold)
thread.start()
held.wait()
before = identities()

def renew():
    for engine in engines:
        pools.renew_engine_after_fork(engine)
    pools.renew_redis_after_fork(client)
os.register_at_fork(after_in_child=renew)

for end in ("exit", "collect", "raise"):
    pid = os.fork()
    if pid == 0:
        assert not set(identities()) & set(before)
        if end == "collect":
            import gc
            del engines, client
            gc.collect()
        if end == "raise":
            raise SystemExit(3)
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
go_on.set()
thread.join()
assert kept == [7, 7], kept
assert identities() == before, (identities(), before)
print("unharmed")
"""


@pytest.mark.mariadb
@pytest.mark.postgresql
@pytest.mark.redis
def test_the_end_of_a_child_does_its_parent_no_harm(mariadb_url: str, postgresql_url: str, real_redis_url: str) -> None:
    """Children that end in good order, finalisers and all, leave the parent's connections and transactions alone."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", ENDS]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path])}
    done = subprocess.run(
        [*command, mariadb_url, postgresql_url, real_redis_url],
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout.strip().endswith("unharmed"), done.stderr
    assert "Error" not in done.stderr and "Warning" not in done.stderr
