"""Managed writes, one log line and metrics included, beside SQLAlchemy Core by hand; and what each layer costs."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from wellwired import Registry, WriteManager, WriteRequest, WriteResult
from wellwired.containers.logs import processors_of
from wellwired.containers.pools import open_engine
from wellwired.handlers import handler
from wellwired.handlers.sql import insert
from wellwired.middleware import SILENT, WriteNext
from wellwired.middleware.breaker import BreakerPolicy
from wellwired.middleware.prometheus import PrometheusMetrics
from wellwired.operations import WriteOperation
from wellwired.settings import LogSettings, SQLSettings
from wellwired.writers import GroupCommit, MemoryWriter
from wellwired.writers.idempotency import create_tables
from wellwired.writers.sql import SQLWriter

Benchmark = Callable[..., Any]
items = sa.Table(
    "bench_items",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(100), nullable=False),
)


@pytest.fixture
def engine(sql_url: str) -> Iterator[sa.Engine]:
    """An engine as an application gets it from its settings, with the table."""
    made = open_engine("sql.bench", SQLSettings(url=sql_url))  # type: ignore[arg-type]
    items.create(made)
    yield made
    made.dispose()


def rendered() -> Any:
    """A logger that renders lines as JSON and keeps them in memory."""
    return structlog.wrap_logger(
        structlog.WriteLogger(io.StringIO()),
        processors=processors_of(LogSettings()),
        wrapper_class=structlog.make_filtering_bound_logger(20),
    )


def counted() -> PrometheusMetrics:
    """Metrics of their own."""
    from prometheus_client import CollectorRegistry

    return PrometheusMetrics(registry=CollectorRegistry())


@pytest.fixture
def manager(engine: sa.Engine) -> WriteManager:
    """A manager with a rendered log line and Prometheus metrics."""
    create_tables(engine)
    writer = SQLWriter("sql.bench", engine, handlers=Registry(insert(items, type="item_add")))
    return WriteManager([writer], metrics=counted(), logger=rendered())


def item(number: int, key: str | None = None) -> WriteRequest:
    """A request to add an item."""
    return WriteRequest("sql.bench", "item_add", {"id": number, "name": "thing"}, idempotency_key=key)


@pytest.mark.benchmark(group="a write")
def test_write_ours(benchmark: Benchmark, manager: WriteManager) -> None:
    """Through the manager."""
    numbers = itertools.count(1)

    def write() -> Any:
        return manager.write(item(next(numbers)))

    assert benchmark(write).success


@pytest.mark.benchmark(group="a write")
def test_write_core(benchmark: Benchmark, engine: sa.Engine) -> None:
    """SQLAlchemy Core, begin to commit."""
    numbers = itertools.count(1)

    def write() -> int:
        number = next(numbers)
        with engine.begin() as connection:
            connection.execute(items.insert(), {"id": number, "name": "thing"})
        return number

    assert benchmark(write) > 0


@pytest.mark.benchmark(group="a write")
def test_keyed_ours(benchmark: Benchmark, manager: WriteManager) -> None:
    """Through the manager, with an idempotency key."""
    numbers = itertools.count(1)

    def write() -> Any:
        number = next(numbers)
        return manager.write(item(number, f"key-{number}"))

    assert benchmark(write).success


def _thousand(numbers: Iterator[int]) -> tuple[tuple[list[int]], dict[str, Any]]:
    return ([next(numbers) for _ in range(1000)],), {}


@pytest.mark.benchmark(group="a thousand rows")
def test_many_ours(benchmark: Any, manager: WriteManager) -> None:
    """Through write_many, an answer for each."""
    numbers = itertools.count(1)

    def write(chosen: list[int]) -> list[Any]:
        return manager.write_many([item(number) for number in chosen])

    answers = benchmark.pedantic(write, setup=lambda: _thousand(numbers), rounds=30, warmup_rounds=3)
    assert len(answers) == 1000 and all(isinstance(answer, WriteResult) for answer in answers)


@pytest.mark.benchmark(group="a thousand rows")
def test_many_core(benchmark: Any, engine: sa.Engine) -> None:
    """SQLAlchemy Core: one executemany, without answers."""
    numbers = itertools.count(1)

    def write(chosen: list[int]) -> int:
        with engine.begin() as connection:
            connection.execute(items.insert(), [{"id": number, "name": "thing"} for number in chosen])
        return len(chosen)

    assert benchmark.pedantic(write, setup=lambda: _thousand(numbers), rounds=30, warmup_rounds=3) == 1000


@pytest.mark.benchmark(group="a transaction of ten")
def test_transaction_ours(benchmark: Benchmark, manager: WriteManager) -> None:
    """Ten writes through the manager, one commit."""
    numbers = itertools.count(1)

    def write() -> int:
        with manager.transaction("sql.bench") as tx:
            for _ in range(10):
                tx.write(item(next(numbers)))
        return 10

    assert benchmark(write) == 10


@pytest.mark.benchmark(group="a transaction of ten")
def test_transaction_core(benchmark: Benchmark, engine: sa.Engine) -> None:
    """Ten statements, one commit."""
    numbers = itertools.count(1)

    def write() -> int:
        with engine.begin() as connection:
            for _ in range(10):
                connection.execute(items.insert(), {"id": next(numbers), "name": "thing"})
        return 10

    assert benchmark(write) == 10


def _by_threads(manager: WriteManager, numbers: Iterator[int]) -> int:
    """Sixteen threads write twenty-five rows each, one by one."""
    chosen = [[next(numbers) for _ in range(25)] for _ in range(16)]

    def write(mine: list[int]) -> int:
        return sum(manager.write(item(number)).success for number in mine)

    with ThreadPoolExecutor(16) as threads:
        return sum(threads.map(write, chosen))


@pytest.mark.benchmark(group="sixteen threads")
@pytest.mark.parametrize("commits", ["shared", "own"])
def test_threads(benchmark: Any, engine: sa.Engine, commits: str) -> None:
    """Single writes from sixteen threads, with a group commit and with a COMMIT for each."""
    group = {"item_add": GroupCommit()} if commits == "shared" else None
    handlers = Registry(insert(items, type="item_add"))
    manager = WriteManager(
        [SQLWriter("sql.bench", engine, handlers=handlers, group_commit=group)],
        metrics=counted(),
        logger=rendered(),
        timeout=60.0,
    )
    numbers = itertools.count(1)
    assert benchmark.pedantic(_by_threads, args=(manager, numbers), rounds=12, warmup_rounds=2) == 400


def around(next: WriteNext) -> WriteNext:
    """A middleware that does nothing."""

    def call(operation: WriteOperation) -> WriteResult[Any]:
        return next(operation)

    return call


LAYERS: dict[str, dict[str, Any]] = {
    "bare": {},
    "middleware": {"middleware": [around]},
    "each attempt": {"each": around},
    "attempt limit": {"attempt_timeout": 1.0},
    "breaker": {"breaker": BreakerPolicy()},
    "metrics": {"metrics": counted},
    "log line": {"logger": rendered},
    "all of them": {
        "middleware": [around],
        "each": around,
        "attempt_timeout": 1.0,
        "breaker": BreakerPolicy(),
        "metrics": counted,
        "logger": rendered,
    },
}


@pytest.mark.benchmark(group="what each layer costs")
@pytest.mark.parametrize("layer", LAYERS)
def test_layer(benchmark: Benchmark, layer: str) -> None:
    """A write into a dict, through a manager with this around it: everything else costs less than a disk."""
    options = {"logger": lambda: SILENT, **LAYERS[layer]}
    each = options.pop("each", None)
    made = {name: value() if callable(value) else value for name, value in options.items()}
    manager = WriteManager([MemoryWriter("sql.bench", handlers=Registry(put))], **made)
    if each is not None:
        manager.use(each, each_attempt=True)
    request = WriteRequest("sql.bench", "put", {"id": 1})
    assert benchmark(manager.write, request).success


@handler("put", backend="memory")
def put(request: WriteRequest, connection: Any) -> None:
    """Stores a number."""
    connection["id"] = request.payload["id"]
