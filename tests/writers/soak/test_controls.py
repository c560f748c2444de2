"""The harness is no decoration: it catches a writer and a manager that lie, and rows that do not fit the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.writers.proxy import Fault
from tests.writers.soak.liars import Abandoning, Stubborn, obeying
from tests.writers.soak.plan import FaultPlan
from tests.writers.soak.runner import Run
from tests.writers.soak.test_soak import KINDS, SEED, fresh_url, place, port
from tests.writers.soak.workload import Call, Planned
from tests.writers.wire import Moment
from wellwired.handlers import Registry
from wellwired.middleware.policy import RetryPolicy
from wellwired.writers import Writer
from wellwired.writers.redis import RedisWriter
from wellwired.writers.sql import SQLWriter

__all__ = ["fresh_url"]


def plain(count: int, timeout: float) -> list[Call]:
    """Writes that do nothing but add a row."""
    return [Call("write", (Planned(number, timeout=timeout),)) for number in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_that_abandons_its_thread_is_caught(kind: str, fresh_url: Callable[[str], str]) -> None:
    """`future.result(timeout)` calls writes a TIMEOUT that are committed a moment later, and the harness sees it."""
    made: list[Abandoning] = []

    def abandoning(name: str, way: Any, handlers: Registry) -> Writer:
        inner: Writer = RedisWriter(name, way, handlers=handlers) if kind == "redis" else _sql(name, way, handlers)
        made.append(Abandoning(inner))
        return made[-1]

    url = fresh_url(kind)
    where = place(kind, url, abandoning)
    late = FaultPlan(SEED, {Moment.STATEMENT: 0.5}, (Fault.LATE_REQUEST, Fault.LATE_ANSWER), shortest=0.25, longest=0.3)
    leave = where.leave

    def finished() -> None:
        for writer in made:
            writer.finish()
        leave()

    where.leave = finished  # type: ignore[method-assign]
    try:
        report = Run(kind, port(url), where, late).go(plain(48, timeout=0.1))
    finally:
        where.close()

    lies = [text for text in report.violations if "not applied, and" in text and "TIMEOUT" in text]
    assert len(lies) >= 5, report.lines()


def _sql(name: str, engine: sa.Engine, handlers: Registry) -> Writer:
    return SQLWriter(name, engine, handlers=handlers)


@pytest.mark.parametrize(
    ("kind", "honest"),
    [
        pytest.param("postgresql", True, marks=pytest.mark.postgresql),
        *(pytest.param(*kind.values, False, marks=kind.marks) for kind in KINDS),
    ],
)
def test_a_manager_that_retries_the_unknown_is_caught(kind: str, fresh_url: Callable[[str], str], honest: bool) -> None:
    """A COMMIT whose answer was lost is sent again and done twice; the manager as it is does no such thing."""
    url = fresh_url(kind)
    where = place(kind, url)
    lossy = FaultPlan(SEED, {Moment.COMMIT: 0.5}, (Fault.LOSE_ANSWER,))

    try:
        manager = obeying(RetryPolicy() if honest else Stubborn())
        report = Run(kind, port(url), where, lossy, manager=manager).go(plain(30, timeout=5.0))
    finally:
        where.close()

    twice = [text for text in report.violations if "times" in text]
    assert (len(twice) == 0) if honest else (len(twice) >= 3), report.lines()
    assert report.told["BACKEND/UNKNOWN"] >= 5 if honest else report.told["SUCCESS"] > 10
