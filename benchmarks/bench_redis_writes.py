"""Managed writes to Redis, with a log line and metrics, beside redis-py's own pipeline; and what the fence costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from benchmarks.bench_writes import counted, rendered
from wellwired import Registry, WriteManager, WriteRequest, WriteResult
from wellwired.clock import Deadline
from wellwired.containers.pools import close_redis, open_redis
from wellwired.handlers import handler
from wellwired.settings import RedisSettings
from wellwired.writers.redis import RedisWriter

Benchmark = Callable[..., Any]
on_a_server = pytest.mark.parametrize("redis_url", ["redis"], indirect=True, ids=[""])


def put(request: WriteRequest, pipeline: Any) -> None:
    """Sets a value that lives for a minute."""
    pipeline.set(request.payload["key"], request.payload["value"], px=60_000)


def put_all(requests: Any, pipeline: Any) -> list[None]:
    """Sets many values by one command."""
    pipeline.mset({request.payload["key"]: request.payload["value"] for request in requests})
    return [None] * len(requests)


HANDLERS = Registry(
    handler("block", backend="redis")(put),
    handler("fenced", backend="redis", fenced=True)(put),
    handler("together", backend="redis", many=put_all)(put),
)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client as an application gets it from its settings."""
    made = open_redis("redis.bench", RedisSettings(url=redis_url))  # type: ignore[arg-type]
    yield made
    close_redis(made)


@pytest.fixture
def writer(client: redis.Redis) -> RedisWriter:
    """A writer of it."""
    return RedisWriter("redis.bench", client, handlers=HANDLERS)


@pytest.fixture
def manager(writer: RedisWriter) -> WriteManager:
    """A manager with a rendered log line and Prometheus metrics."""
    return WriteManager([writer], metrics=counted(), logger=rendered())


def item(number: int, way: str) -> WriteRequest:
    """A request to set a value."""
    return WriteRequest("redis.bench", way, {"key": f"k{number}", "value": "thing"})


@pytest.mark.benchmark(group="a write to Redis")
@pytest.mark.parametrize("way", ["block", "fenced"])
@on_a_server
def test_redis_write_ours(benchmark: Benchmark, manager: WriteManager, way: str) -> None:
    """Through the manager, as a MULTI block and fenced."""
    assert benchmark(lambda: manager.write(item(1, way))).success


@pytest.mark.benchmark(group="a write to Redis")
@pytest.mark.parametrize("way", ["block", "fenced"])
@on_a_server
def test_redis_attempt_ours(benchmark: Benchmark, writer: RedisWriter, way: str) -> None:
    """An attempt of the writer alone, as a MULTI block and fenced."""
    found = writer.find_handler(way)
    assert found is not None
    assert benchmark(lambda: writer.write(item(1, way), handler=found, deadline=Deadline.after(5))).success


@pytest.mark.benchmark(group="a write to Redis")
@on_a_server
def test_redis_write_plain(benchmark: Benchmark, client: redis.Redis) -> None:
    """redis-py's pipeline, MULTI included."""

    def write() -> list[Any]:
        pipeline = client.pipeline()
        pipeline.set("k1", "thing", px=60_000)
        return pipeline.execute()

    assert benchmark(write) == [True]


@pytest.mark.benchmark(group="a thousand values in Redis")
@pytest.mark.parametrize("way", ["block", "fenced", "together"])
@on_a_server
def test_redis_many_ours(benchmark: Any, manager: WriteManager, way: str) -> None:
    """Through write_many, an answer for each."""
    answers = benchmark(lambda: manager.write_many([item(number, way) for number in range(1000)]))
    assert len(answers) == 1000 and all(isinstance(answer, WriteResult) for answer in answers)


@pytest.mark.benchmark(group="a thousand values in Redis")
@on_a_server
def test_redis_many_plain(benchmark: Benchmark, client: redis.Redis) -> None:
    """redis-py's pipeline without MULTI: nothing says which of them was applied if the connection is lost."""

    def write() -> list[Any]:
        pipeline = client.pipeline(transaction=False)
        for number in range(1000):
            pipeline.set(f"k{number}", "thing", px=60_000)
        return pipeline.execute()

    assert benchmark(write) == [True] * 1000
