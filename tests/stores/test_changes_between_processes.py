"""Several processes that add and update the same keys of one Redis or SQL database: nothing is lost, nothing twice.

Counts are exact. Where sets, deletes, clears and ends of lives come between, a chain is checked instead: every update
stores a value that has never been, and says which one it replaced; so no value may have been replaced by two. The same
runs find out a store that sets what it ought to exchange.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.stores.changing_process import KEYS, layered
from tests.stores.other_process import open_store
from wellwired.stores import DelegatedStore, Entry, Layer, MemoryStore
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore
from wellwired.testing.clock import VirtualClock

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.timeout(180)]

PROCESSES, THREADS = 3, 2

every_kind = pytest.mark.parametrize(
    "url",
    [
        pytest.param("redis", marks=pytest.mark.redis),
        "sqlite",
        pytest.param("mariadb", marks=pytest.mark.mariadb),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ],
    indirect=True,
)
redis_only = pytest.mark.parametrize("url", [pytest.param("redis", marks=pytest.mark.redis)], indirect=True)


@pytest.fixture
def url(request: pytest.FixtureRequest, fresh_redis: Callable[[str], str], fresh_database: Callable[[str], str]) -> str:
    """An empty backend of each kind that processes can share, with the table of the store in it."""
    if request.param == "redis":
        return fresh_redis("redis")
    url = fresh_database(request.param)
    engine = sa.create_engine(url)
    if request.param == "sqlite":
        with engine.connect() as connection:
            connection.execute(sa.text("PRAGMA journal_mode=WAL"))
    SQLStore(engine, namespace="shared").create_table()
    engine.dispose()
    return url


@pytest.fixture
def truth(url: str) -> Iterator[Any]:
    """This process's store on it."""
    store = open_store(url)
    yield store
    if isinstance(store, SQLStore):
        store._engine.dispose()
    else:
        store._client.close()


def together(url: str, what: str, times: int, *, careless: bool = False) -> list[Any]:
    """Has all processes do the same at the same time; what each of them did, in one list."""
    orders = {"url": url, "what": what, "times": times, "threads": THREADS, "careless": careless}
    processes = []
    for number in range(PROCESSES):
        command = [sys.executable, "-m", "tests.stores.changing_process", json.dumps({**orders, "name": f"p{number}"})]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, text=True, cwd=ROOT, **pipes))
    done: list[Any] = []
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()[1]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            out, complaints = process.communicate(timeout=150)
            assert process.returncode == 0, complaints
            facts = json.loads(out.splitlines()[-1])
            assert facts["errors"] == []
            done += facts["done"]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert len(done) == PROCESSES * THREADS * times
    return done


def times(url: str, redis: int, sql: int) -> int:
    """How often each thread does it; SQL takes longer."""
    return redis if url.startswith("redis") else sql


@every_kind
def test_counts_are_exact(url: str, truth: Any) -> None:
    """Whatever each process counted is there, and nothing more."""
    counted = Counter(together(url, "count", times(url, 200, 30)))
    assert {key: truth.get(key).value for key in KEYS} == dict(counted)


@every_kind
def test_a_key_is_added_once(url: str, truth: Any) -> None:
    """All threads of all processes add the same keys: each is added by one of them, who is the one that it names."""
    number = times(url, 200, 25)
    added = [key for key in together(url, "add", number) if key is not None]
    assert sorted(added) == sorted(f"once-{one}" for one in range(number))
    assert all(truth.get(key) is not None for key in added)


def replaced_twice(done: list[Any]) -> list[str]:
    """The values that two updates claim to have replaced."""
    seen = Counter(before for before, _ in done if before is not None)
    return [value for value, count in seen.items() if count > 1]


@every_kind
def test_no_value_is_replaced_twice(url: str, truth: Any) -> None:
    """Amid sets, deletes, clears, adds, touches and ends of lives: every update replaced what it was made from."""
    done = together(url, "chain", times(url, 200, 30))
    assert replaced_twice(done) == []
    chained = {after for _, after in done}
    assert sum(before in chained for before, _ in done) > len(done) / 3  # the updates did follow upon each other


@redis_only
def test_a_store_that_sets_what_it_ought_to_exchange_is_found_out(url: str, truth: Any) -> None:
    """The same runs lose counts, add twice and replace twice: the tests above can fail."""
    counted = Counter(together(url, "count", 200, careless=True))
    assert sum(truth.get(key).value for key in KEYS) < counted.total()
    added = [key for key in together(url, "add", 200, careless=True) if key is not None]
    assert len(added) > len(set(added))
    truth.clear()
    assert replaced_twice(together(url, "chain", 200, careless=True))


# --- copies, here and elsewhere


def two_stacks(client: Any, engine: sa.Engine, clock: VirtualClock) -> list[DelegatedStore[Any]]:
    """Two stacks as two processes have them: memory of their own, a shared Redis, a shared primary in SQL."""
    return [
        DelegatedStore(
            [
                Layer(MemoryStore(clock=clock), ttl=5.0),
                Layer(RedisStore(client, namespace="copies"), name="redis"),
                Layer(SQLStore(engine, namespace="copies"), primary=True, name="sql"),
            ],
            clock=clock,
        )
        for _ in range(2)
    ]


@pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
def test_copies_of_another_process_follow(
    redis_client: Any, sql_engine: sa.Engine, virtual_clock: VirtualClock
) -> None:
    """A shared copy has the change at once, for no longer than the primary; another's memory when its ttl is over."""
    one, other = two_stacks(redis_client, sql_engine, virtual_clock)
    one.layers[2].store.create_table()  # type: ignore[attr-defined]
    one.set("n", 1, ttl=600.0)
    assert other.get("n") == 1
    assert one.update("n", lambda value: value + 1, ttl=60.0) == 2  # type: ignore[operator]
    shared = other.layers[1].store.get("n")
    assert shared is not None and shared.value == 2 and shared.left is not None and shared.left <= 60.0
    assert other.get("n") == 1 and other.update("n", lambda value: value + 1) == 3  # type: ignore[operator]
    assert other.get("n") == 3 and one.get("n") == 2
    virtual_clock.advance(5.0)
    assert one.get("n") == 3
    assert other.touch("n", 0) is True
    assert one.layers[1].store.get("n") is None and one.add("n", 4) is not False
    other.close()
    one.close()


@pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("act", ["update", "add", "touch"])
def test_a_fill_of_another_process_is_overtaken(
    redis_client: Any, sql_engine: sa.Engine, virtual_clock: VirtualClock, act: str
) -> None:
    """What another process read before a change does not come into the shared copy after it."""
    one, other = two_stacks(redis_client, sql_engine, virtual_clock)
    primary: Any = one.layers[2].store
    primary.create_table()
    if act != "add":
        primary.set("n", 1, 600.0)
    copy: Any = other.layers[1].store
    _, token = copy.read("n")
    does: dict[str, Callable[[], object]] = {
        "update": lambda: one.update("n", lambda value: 2),
        "add": lambda: one.add("n", 2),
        "touch": lambda: one.touch("n", 30.0),
    }
    does[act]()
    assert copy.fill("n", Entry(1, 600.0), token) is False
    kept = copy.get("n")
    assert kept.value == (1 if act == "touch" else 2) and (act != "touch" or kept.left <= 30.0)


def test_what_ran_is_what_it_seems() -> None:
    """The processes have a memory above the primary, which is atomic."""
    assert [type(layer.store).__name__ for layer in layered(MemoryStore()).layers] == ["MemoryStore", "MemoryStore"]
