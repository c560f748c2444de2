"""Every row of the tables of codes: produced by a server here, told by one on demand, or recorded with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import sqlalchemy as sa

from tests.servers import FreshDatabases, Missing, PrivateServer, Servers
from tests.writers.codes import mariadb, postgresql, sqlite
from tests.writers.codes.bench import Bench, Codes, saying
from wellwired.errors import Outcome, Phase, Retry, WriteError
from wellwired.writers._mysql_codes import RULES as MYSQL
from wellwired.writers._native import native_code
from wellwired.writers._postgresql_codes import RULES as POSTGRESQL
from wellwired.writers._rules import Kind, Native, Rule
from wellwired.writers._sqlite_codes import RULES as SQLITE
from wellwired.writers.classification import classify, find_rule

KINDS: dict[str, tuple[Codes, Mapping[Native, Rule]]] = {
    "mariadb": (mariadb.CODES, MYSQL),
    "postgresql": (postgresql.CODES, POSTGRESQL),
    "sqlite": (sqlite.CODES, SQLITE),
}


def _row(code: Native, rules: Mapping[Native, Rule]) -> Native:
    """The row of the table that decides about a code: its own, or its class's."""
    if code in rules:
        return code
    return str(code)[:2] if isinstance(code, str) else code & 0xFF


def _rows(kind: str, codes: Any) -> set[Native]:
    return {_row(code, KINDS[kind][1]) for code in codes}


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_in_one_list(kind: str, record_property: Callable[[str, object], None]) -> None:
    """A row of a table that nobody produces, tells or has recorded is found out, and so is one that is in two lists."""
    codes, rules = KINDS[kind]
    produced = _rows(kind, codes.produced) | ({10} if kind == "sqlite" else set())
    told, recorded = _rows(kind, codes.told) - produced, _rows(kind, codes.recorded)
    record_property(
        "counts", f"codes of {kind}: {len(produced)} rows produced, {len(told)} told, {len(recorded)} recorded"
    )

    assert produced | told | recorded == set(rules)
    assert not produced & recorded and not told & recorded
    assert not codes.produced & codes.told


@pytest.fixture(scope="module")
def database(_databases: Callable[[str], FreshDatabases]) -> Iterator[Callable[[str], sa.Engine]]:
    """One database for all scenes of a kind, with the tables."""
    engines: dict[str, sa.Engine] = {}
    used: list[tuple[FreshDatabases, str]] = []

    def of(kind: str) -> sa.Engine:
        if kind not in engines:
            try:
                fresh = _databases(kind)
            except Missing as missing:
                pytest.skip(str(missing))
            used.append((fresh, fresh.make()))
            engines[kind] = sa.create_engine(used[-1][1])
            with engines[kind].begin() as connection:
                saying(connection, *KINDS[kind][0].setup)
        return engines[kind]

    yield of
    for engine in engines.values():
        engine.dispose()
    for fresh, url in used:
        fresh.drop(url)


def _cases(of: Callable[[Codes], Any], *kinds: str) -> list[Any]:
    return [
        pytest.param(kind, code, marks=getattr(pytest.mark, kind) if kind != "sqlite" else ())
        for kind in kinds
        for code in sorted(of(KINDS[kind][0]))
    ]


@pytest.fixture(scope="module")
def apart(servers: Servers) -> Iterator[Callable[[], PrivateServer]]:
    """One private MariaDB for all scenes about users and rights."""
    started: list[PrivateServer] = []

    def start() -> PrivateServer:
        if not started:
            started.append(servers.private("mariadb", {"read-only": "ON"}))
        return started[0]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def bench(
    request: pytest.FixtureRequest,
    kind: str,
    database: Callable[[str], sa.Engine],
    apart: Callable[[], PrivateServer],
) -> Iterator[Bench]:
    """A bench on a kind of database."""
    if kind != "sqlite":

        def private(**settings: str) -> PrivateServer:
            server: PrivateServer = request.getfixturevalue(f"private_{kind}")(**settings)
            return server

        yield Bench(database(kind), private, apart)
        return
    engine = sa.create_engine(request.getfixturevalue("sqlite_url"))
    with engine.begin() as connection:
        saying(connection, *sqlite.CODES.setup)
    yield Bench(engine, lambda **_: pytest.fail("SQLite has no server"), apart)
    engine.dispose()


def _check(kind: str, code: Native, error: Exception) -> None:
    """What was raised has the code, and means what the table says."""
    rule = find_rule(kind, code)
    assert rule is not None
    if not isinstance(error, WriteError):
        assert native_code(error) == code
        return
    assert native_code(error.__cause__ or error) == code, error
    at_commit = error.phase is Phase.COMMIT
    expected = classify(kind, code, error.phase)
    assert (error.outcome, error.retry) == (expected.outcome, expected.retry)
    assert error.reason == (expected.reason if at_commit else rule.reason)
    assert at_commit or error.outcome is Outcome.NOT_APPLIED
    assert (error.retry is Retry.NEVER) is (rule.kind is Kind.PERMANENT)


@pytest.mark.parametrize(("kind", "code"), _cases(lambda codes: codes.statements, *KINDS))
def test_a_statement_is_refused_with_its_code(kind: str, code: Native, bench: Bench) -> None:
    """A write that a database refuses has the database's own code, and what the table says of it."""
    with pytest.raises(WriteError) as caught:
        bench.say(*KINDS[kind][0].statements[code])

    _check(kind, code, caught.value)


@pytest.mark.parametrize(("kind", "code"), _cases(lambda codes: codes.scenes, *KINDS))
def test_a_scene_ends_with_its_code(kind: str, code: Native, bench: Bench) -> None:
    """Two writers, an administrator, a user without rights or a server that goes: each has its code."""
    with pytest.raises(Exception) as caught:
        KINDS[kind][0].scenes[code](bench)

    _check(kind, code, caught.value)


@pytest.mark.parametrize(("kind", "code"), _cases(lambda codes: codes.masked, "mariadb", "postgresql"))
def test_a_code_that_the_driver_keeps_to_itself(kind: str, code: str, bench: Bench) -> None:
    """PyMySQL calls what a dying session says "lost"; psycopg tells no code of a connection that was refused.

    Both are not applied and safe to send again. That is true; a wrong password would be better not sent again.
    """
    scene, native = KINDS[kind][0].masked[code]
    with pytest.raises(WriteError) as caught:
        scene(bench)

    error = caught.value
    assert native_code(error.__cause__ or error) == native
    assert (error.reason, error.outcome, error.retry) == ("connection", Outcome.NOT_APPLIED, Retry.SAFE)


@pytest.mark.parametrize(("kind", "code"), _cases(lambda codes: codes.told, "mariadb", "postgresql"))
def test_a_code_that_is_told_comes_through_the_driver(kind: str, code: Any, bench: Bench) -> None:
    """A server sends the code on demand: the driver hands it on, and the table has its say."""
    tell = mariadb.tell if kind == "mariadb" else postgresql.tell
    with pytest.raises(WriteError) as caught:
        bench.say(tell(code))

    _check(kind, code, caught.value)


@pytest.mark.parametrize(
    ("kind", "code"), [(kind, code) for kind, (codes, _) in KINDS.items() for code in sorted(codes.recorded, key=str)]
)
def test_a_recorded_code_has_a_rule_and_a_reason(kind: str, code: Native) -> None:
    """What no server here sends is at least not applied before COMMIT, and why it is not produced is said."""
    assert classify(kind, code, Phase.EXECUTE).outcome is Outcome.NOT_APPLIED
    assert find_rule(kind, code) == KINDS[kind][1][_row(code, KINDS[kind][1])]
    assert KINDS[kind][0].recorded[code]


@pytest.mark.parametrize("code", sqlite.ALONE)
def test_a_process_that_may_not_write_or_grow(code: int, sqlite_url: str) -> None:
    """A disk that fails at COMMIT leaves the outcome open; memory that runs out before it does not."""
    engine = sa.create_engine(sqlite_url)
    with engine.begin() as connection:
        saying(connection, *sqlite.CODES.setup)
    engine.dispose()
    path = sa.make_url(sqlite_url).database
    assert path is not None

    assert sqlite.alone(code, path) == list(sqlite.ALONE[code][1])
