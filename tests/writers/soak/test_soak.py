"""Random writes from sixteen threads over a way that breaks: what callers are told is what the database holds."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.servers import PrivateServer
from tests.writers.proxy import Fault
from tests.writers.soak.backends import GRACE, Place, RedisPlace, SQLPlace, sharing
from tests.writers.soak.plan import FaultPlan, disturbances
from tests.writers.soak.runner import Report, Run
from tests.writers.soak.workload import calls
from tests.writers.wire import Moment

SEED = int(os.environ.get("WELLWIRED_SOAK_SEED", "20261122"))
FILE = "tests/writers/soak/test_soak.py"
KINDS = [pytest.param(kind, marks=getattr(pytest.mark, kind)) for kind in ("postgresql", "mariadb", "redis")]


def place(kind: str, url: str, make: Any = None, *, ping: bool = False) -> Place:
    """Where to write on a server of a kind."""
    return RedisPlace(url, make) if kind == "redis" else SQLPlace(url, make, ping=ping)


def backend(kind: str) -> str:
    """Which handlers a kind of server has."""
    return "redis" if kind == "redis" else "sql"


def port(url: str) -> int:
    """The port of a URL."""
    found = make_url(url).port
    assert found is not None
    return found


@pytest.fixture
def fresh_url(fresh_database: Callable[[str], str], fresh_redis: Callable[[str], str]) -> Callable[[str], str]:
    """The URL of an empty place on the session's server."""
    return lambda kind: fresh_redis(kind) if kind == "redis" else fresh_database(kind)


def proved(report: Report, record_property: Callable[[str, object], None], again: str) -> None:
    """Prints the counts, and fails with the seed if anybody was told a lie."""
    lines = report.lines()
    record_property("counts", "\n".join(lines))
    assert not report.violations, "\n".join([*lines, f"to repeat it: {again}"])


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_told_a_lie(
    kind: str, fresh_url: Callable[[str], str], record_property: Callable[[str, object], None]
) -> None:
    """A hundred and fifty random writes under random faults: every answer is true."""
    url = fresh_url(kind)
    where = place(kind, url)
    run = Run(kind, port(url), where, FaultPlan(SEED))

    try:
        report = run.go(calls(SEED, 150, backend(kind)))
    finally:
        where.close()

    proved(report, record_property, f"WELLWIRED_SOAK_SEED={SEED} pytest -k '{kind} and told_a_lie' {FILE}")
    assert sum(report.told.values()) == 150
    assert report.hits
    assert report.told["SUCCESS"] > 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_commit_that_comes_late_makes_nobody_a_liar(
    kind: str, fresh_url: Callable[[str], str], record_property: Callable[[str, object], None]
) -> None:
    """A COMMIT that reaches the server after everybody has given up is still no NOT_APPLIED, and no second write."""
    url = fresh_url(kind)
    where = place(kind, url, None if kind == "redis" else sharing("rows", "append", resolve=True))
    late = FaultPlan(SEED, {Moment.COMMIT: 0.4}, (Fault.LATE_REQUEST,), shortest=GRACE, longest=4 * GRACE)
    run = Run(kind, port(url), where, late, title=f"{kind}, late commits, seed {SEED}")

    try:
        report = run.go(calls(SEED, 40, backend(kind)))
    finally:
        where.close()

    proved(report, record_property, f"WELLWIRED_SOAK_SEED={SEED} pytest -k '{kind} and comes_late' {FILE}")
    assert report.hits[Moment.COMMIT, Fault.LATE_REQUEST] > 2


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(2))
def test_nobody_is_told_a_lie_for_minutes(
    kind: str,
    number: int,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """Thousands of random writes, the server killed, stopped and paused under them: every answer is true."""
    seed = SEED + number
    server: PrivateServer = request.getfixturevalue(f"private_{kind}")()
    # Every other run shares more transactions, looks for what became of a COMMIT without an answer, and pings.
    more = number % 2 == 1 and kind != "redis"
    where = place(kind, server.url, sharing("rows", "append", "mark", resolve=True) if more else None, ping=more)
    run = Run(kind, server.port, where, FaultPlan(seed), server=server, troubles=disturbances(seed, 6))

    try:
        report = run.go(calls(seed, 2_500, backend(kind), longest=2.5))
    finally:
        where.close()

    proved(report, record_property, f"WELLWIRED_SOAK_SEED={SEED} make soak ARGS=\"-k '{number}-{kind}'\"")
    assert sum(report.told.values()) == 2_500
    assert sum(report.troubles.values()) == 6
