"""A stack of memory, Redis and SQL, on real servers: cold and warm reads, lives, writes, damages and failures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
import sqlalchemy as sa

from tests.stores.other_process import OtherProcess
from wellwired.stores import BackFill, DelegatedStore, Entry, Layer, MemoryStore
from wellwired.stores.damage import Reason
from wellwired.stores.loader import LoaderStore
from wellwired.stores.redis import RedisStore
from wellwired.stores.sql import SQLStore

FALSY: tuple[Any, ...] = (None, False, 0, 0.0, "", [], {})


class Three:
    """A three-layer stack and its parts."""

    def __init__(self, client: Any, engine: sa.Engine) -> None:
        self.memory = MemoryStore()
        self.redis = RedisStore(client, namespace="shared")
        self.sql = SQLStore(engine, namespace="shared")
        self.sql.create_table()
        self.events: list[BackFill] = []
        layers = [
            Layer(self.memory, ttl=60.0),
            Layer(self.redis, ttl=3600.0, name="redis.cache"),
            Layer(self.sql, primary=True, name="sql.main"),
        ]
        self.stack: DelegatedStore[Any] = DelegatedStore(layers, [self.events.append], name="users")

    def cold(self) -> None:
        """Empties the caches and leaves the truth."""
        self.stack.flush(10.0)
        self.memory.clear()
        self.redis.clear()
        self.events.clear()

    def filled(self) -> list[tuple[str, str]]:
        """Which layers were filled, from where."""
        self.stack.flush(10.0)
        return [(event.source, event.layer) for event in self.events]


@pytest.fixture
def three(redis_client: Any, sql_engine: sa.Engine) -> Iterator[Three]:
    """A three-layer stack on each pair of backends."""
    three = Three(redis_client, sql_engine)
    yield three
    three.stack.close()


def test_a_cold_read_fills_every_layer_above_and_a_warm_one_none(three: Three) -> None:
    """The value is found at the bottom once, in Redis after a restart, in memory from then on."""
    three.stack.set("user:1", {"name": "Ada"})
    three.cold()
    assert three.stack.get("user:1") == {"name": "Ada"}
    assert three.filled() == [("sql.main", "redis.cache"), ("sql.main", "memory")]
    assert three.stack.get("user:1") == {"name": "Ada"} and len(three.events) == 2
    three.memory.clear()
    three.events.clear()
    assert three.stack.get("user:1") == {"name": "Ada"}
    assert three.filled() == [("redis.cache", "memory")]


@pytest.mark.parametrize("value", FALSY, ids=repr)
def test_every_falsy_value_goes_all_the_way(three: Three, value: Any) -> None:
    """Down with the write, up with the fills, and never taken for nothing."""
    three.stack.set("a", value)
    for _ in range(2):
        three.cold()
        found = three.stack.get("a", "default")
        assert found == value and type(found) is type(value)
        three.stack.flush(10.0)
        assert three.redis.has("a") and three.memory.has("a")


def test_no_layer_outlives_the_one_below(three: Three) -> None:
    """Caps apply where less is not left below; what is left travels with the value."""
    three.stack.set_many({"short": 1, "long": 2}, ttl=30.0)
    three.stack.set("ever", 3)
    three.cold()
    for key in ("short", "long", "ever"):
        three.stack.get(key)
    three.stack.flush(10.0)
    for key in ("short", "long", "ever"):
        lives = [store.get(key) for store in (three.memory, three.redis, three.sql)]
        left = [float("inf") if entry is None or entry.left is None else entry.left for entry in lives]
        assert None not in lives and left[0] <= left[1] + 0.1 and left[1] <= left[2] + 0.1, key
        assert left[0] <= 60.0 and left[1] <= 3600.0
    short = three.memory.get("short")
    assert short is not None and short.left is not None and short.left <= 30.0


def test_writes_reach_every_layer(three: Three) -> None:
    """After a set all layers agree; after a delete or clear nobody has it."""
    three.stack.set("a", 1)
    three.stack.get("a")
    three.stack.set("a", 2)
    assert [store.get("a").value for store in (three.memory, three.redis, three.sql)] == [2, 2, 2]  # type: ignore[union-attr]
    assert three.stack.delete("a") and not any(store.has("a") for store in (three.memory, three.redis, three.sql))
    three.stack.set_many({"a": 1, "b": 2})
    assert sorted(three.stack.keys()) == ["a", "b"]
    three.stack.clear()
    assert [list(store.keys()) for store in (three.memory, three.redis, three.sql)] == [[], [], []]


def test_many_keys_from_different_layers(three: Three) -> None:
    """A batch takes each key from the highest layer that has it, and fills the ones above."""
    three.stack.set_many({"in memory": 1, "in redis": 2, "in sql": 3, "nowhere yet": 4})
    three.stack.delete("nowhere yet")
    three.cold()
    three.stack.get_many(["in memory", "in redis"])
    three.stack.flush(10.0)
    three.memory.delete("in redis")
    three.events.clear()
    keys = ["in memory", "in redis", "in sql", "nowhere yet"]
    assert dict(three.stack.get_many(keys)) == {"in memory": 1, "in redis": 2, "in sql": 3}
    assert sorted(three.filled()) == [("redis.cache", "memory"), ("sql.main", "memory"), ("sql.main", "redis.cache")]


def test_a_damaged_copy_is_read_from_below_and_mended(three: Three, redis_client: Any) -> None:
    """A copy in Redis that cannot be read costs one read of the truth."""
    three.stack.set("a", "good")
    three.cold()
    redis_client.set("shared:a", b"garbage")
    assert three.stack.get("a") == "good" and three.redis.damage.counts == {Reason.FOREIGN: 1}
    three.stack.flush(10.0)
    entry = three.redis.get("a")
    assert entry is not None and entry.value == "good"


@pytest.mark.parametrize("redis_url", [pytest.param("redis", marks=pytest.mark.redis)], indirect=True)
@pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
def test_another_processs_write_is_not_undone_by_our_fill(three: Three, redis_url: str, sql_url: str) -> None:
    """A value that this process was about to put into Redis does not replace what another one has deleted there."""
    three.stack.set("a", "old")
    three.cold()
    with OtherProcess(redis_url) as other, OtherProcess(sql_url) as below:
        entry, token = three.redis.read("a")
        assert entry is None and three.sql.get("a") is not None
        below.do("delete", "a")
        other.do("delete", "a")
        assert three.redis.fill("a", Entry("old", 60.0), token) is False
        assert other.do("get", "a") is None and three.stack.get("a", None) is None


def test_a_dead_redis_fails_no_read(private_redis: Any, sql_engine: sa.Engine) -> None:
    """Without Redis the truth is read, and written; when Redis is back nothing old is in it."""
    server = private_redis()
    client = redis_py.Redis.from_url(server.url, socket_timeout=1.0, socket_connect_timeout=1.0)
    three = Three(client, sql_engine)
    three.stack.set("a", "old")
    server.kill()
    three.memory.clear()
    assert three.stack.get("a") == "old"
    three.stack.set("a", "new")
    three.memory.clear()
    assert three.stack.get("a") == "new"
    server.start()
    three.stack.flush(10.0)
    three.memory.clear()
    assert three.stack.get("a") == "new"
    three.stack.close()
    client.close()


def test_a_loader_at_the_bottom(redis_client: Any) -> None:
    """What a function gives is kept above it for as long as the layers allow."""
    calls: list[str] = []

    def load(key: str) -> Any:
        calls.append(key)
        return None

    redis = RedisStore(redis_client, namespace="shared")
    stack: DelegatedStore[Any] = DelegatedStore([MemoryStore(), Layer(redis, ttl=60.0), LoaderStore(load)])
    with stack:
        assert stack.get("a") is None
        stack.flush(10.0)
        assert stack.get("a") is None and redis.has("a") and calls == ["a"]
