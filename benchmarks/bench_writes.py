"""A managed write, one log line and metrics included, beside SQLAlchemy Core in a transaction by hand."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from wellwired import Registry, WriteManager, WriteRequest
from wellwired.containers.logs import processors_of
from wellwired.containers.pools import open_engine
from wellwired.handlers.sql import insert
from wellwired.middleware.prometheus import PrometheusMetrics
from wellwired.settings import LogSettings, SQLSettings
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


@pytest.fixture
def manager(engine: sa.Engine) -> WriteManager:
    """A manager with a rendered log line and Prometheus metrics."""
    from prometheus_client import CollectorRegistry

    logger = structlog.wrap_logger(
        structlog.WriteLogger(io.StringIO()),
        processors=processors_of(LogSettings()),
        wrapper_class=structlog.make_filtering_bound_logger(20),
    )
    writer = SQLWriter("sql.bench", engine, handlers=Registry(insert(items, type="item_add")))
    return WriteManager([writer], metrics=PrometheusMetrics(registry=CollectorRegistry()), logger=logger)


@pytest.mark.benchmark(group="a write")
def test_write_ours(benchmark: Benchmark, manager: WriteManager) -> None:
    """Through the manager."""
    numbers = itertools.count(1)

    def write() -> Any:
        number = next(numbers)
        return manager.write(WriteRequest("sql.bench", "item_add", {"id": number, "name": "thing"}))

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
