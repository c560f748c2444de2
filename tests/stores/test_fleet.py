"""Processes that share a Redis and a SQL primary, and what is done to the Redis: in the end both hold the same."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from tests.servers import PrivateServer
from tests.stores.fleet import KEYS, NAMESPACE
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.redis

Ordeal = Callable[[PrivateServer, random.Random], None]


def nap(seconds: float) -> None:
    """Lets the fleet work for a while."""
    threading.Event().wait(seconds)


def freeze(server: PrivateServer, chance: random.Random) -> None:
    """The server stops answering for longer than anybody waits, and goes on with what lies in its sockets."""
    server.pause()
    nap(chance.uniform(0.3, 0.7))
    server.resume()


def hold(server: PrivateServer, chance: random.Random) -> None:
    """The server holds back the answers to all commands for a while (CLIENT PAUSE)."""
    with redis.Redis.from_url(server.url) as client:
        client.client_pause(int(chance.uniform(250, 500)), all=True)
    nap(0.5)


def kill(server: PrivateServer, chance: random.Random) -> None:
    """The server dies and comes back with what it has confirmed."""
    server.kill()
    nap(chance.uniform(0.05, 0.4))
    server.start()


@contextmanager
def fleet(size: int, **orders: Any) -> Iterator[list[Any]]:
    """So many processes at work; what they counted is in the list afterwards."""
    counted: list[Any] = []
    processes = []
    for number in range(size):
        command = [sys.executable, "-m", "tests.stores.fleet", json.dumps({**orders, "name": f"p{number}"})]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, text=True, cwd=ROOT, **pipes))
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in processes:
            tell(process)
        yield counted
        for process in processes:
            tell(process)
        for process in processes:
            out, complaints = process.communicate(timeout=100)
            assert process.returncode == 0, complaints
            counted.append(json.loads(out.splitlines()[-1]))  # the log is above it
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def tell(process: subprocess.Popen[str]) -> None:
    """Lets a process go on to its next stage."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def disagreements(client: Any, engine: sa.Engine) -> tuple[dict[str, tuple[Any, Any]], int]:
    """The keys under which Redis has something else than the primary, and how many it has at all."""
    copies, truth = RedisStore(client, namespace=NAMESPACE), SQLStore(engine, namespace=NAMESPACE)
    held, true = copies.get_many(KEYS), truth.get_many(KEYS)
    wrong = {key: (held[key].value, getattr(true.get(key), "value", None)) for key in held}
    return {key: pair for key, pair in wrong.items() if pair[0] != pair[1]}, len(held)


def prove(start: Any, sql_url: str, ordeals: list[Ordeal], *, size: int, threads: int, seed: int, work: float) -> None:
    """Has a fleet work through ordeals, and compares what is left."""
    server: PrivateServer = start(appendonly="yes", appendfsync="always")
    patience = {"timeout": 30.0} if sql_url.startswith("sqlite") else {}
    engine = sa.create_engine(sql_url, connect_args=patience)
    if patience:
        with engine.connect() as connection:
            connection.execute(sa.text("PRAGMA journal_mode=WAL"))
    SQLStore(engine, namespace=NAMESPACE).create_table()
    chance = random.Random(seed)
    with fleet(size, redis=server.url, sql=sql_url, threads=threads, seed=seed) as counted:
        nap(work)
        for ordeal in ordeals:
            ordeal(server, chance)
            nap(work)
        # The work ends in the middle of one more: nobody reads any more what the last writes could not reach.
        server.pause()
        nap(0.4)
        awakening = threading.Timer(0.6, server.resume)
        awakening.start()
    awakening.join()
    with redis.Redis.from_url(server.url) as client:
        wrong, held = disagreements(client, engine)
    engine.dispose()
    total: Counter[str] = Counter()
    for facts in counted:
        total.update(facts["counts"])
    facts = f"{total.total()} operations, {held} copies in Redis, {len(wrong)} wrong: {dict(total)}"
    print(f"\nseed {seed}: {facts}")  # noqa: T201 - the counts are what a soak is run for
    assert [facts["doubtful"] for facts in counted] == [0] * size
    assert wrong == {}, f"seed {seed}"
    assert total["set"] > 0 and total["delete"] > 0 and total["get"] > 0


def test_after_it_heals_redis_agrees_with_the_primary(private_redis: Any, sqlite_url: str) -> None:
    """Two processes write, delete and read while Redis is frozen, held and killed; no copy is left that is not true."""
    prove(private_redis, sqlite_url, [freeze, hold, kill], size=2, threads=2, seed=7, work=0.3)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.postgresql
@pytest.mark.parametrize("seed", range(6))
def test_a_long_life_of_a_fleet(private_redis: Any, postgresql_url: str, seed: int) -> None:
    """Three processes over PostgreSQL, and one ordeal after another."""
    chance = random.Random(seed)
    ordeals: list[Ordeal] = [chance.choice([freeze, hold, kill]) for _ in range(12)]
    prove(private_redis, postgresql_url, ordeals, size=3, threads=3, seed=seed, work=0.8)
