"""How PostgreSQL is made to refuse, code by code."""

from __future__ import annotations

import threading
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from tests.writers.codes.bench import Bench, Codes, Scene, saying
from tests.writers.codes.mariadb import deadlock
from wellwired.operations import WriteResult
from wellwired.writers._rules import Native

__all__ = ["CODES", "tell"]

_SETUP = (
    "CREATE TABLE parents (id INT PRIMARY KEY)",
    (
        "CREATE TABLE children (id INT PRIMARY KEY, "
        "parent INT NOT NULL REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)"
    ),
    (
        "CREATE TABLE things (id INT PRIMARY KEY, name VARCHAR(5) NOT NULL, "
        "small SMALLINT DEFAULT 0 CHECK (small >= 0), span INT4RANGE, EXCLUDE USING gist (span WITH &&))"
    ),
    "CREATE VIEW small_things AS SELECT * FROM things WHERE small < 5 WITH CHECK OPTION",
    "INSERT INTO things VALUES (1, 'one', 0, '[1,5)'), (2, 'two', 0, NULL)",
    "DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %%I TO pg_monitor', current_schema()); END $$",
)

_STATEMENTS: dict[Native, tuple[str, ...]] = {
    "23505": ("INSERT INTO things (id, name) VALUES (1, 'again')",),
    "23P01": ("INSERT INTO things VALUES (9, 'nine', 0, '[2,3)')",),
    "23502": ("INSERT INTO things (id, name) VALUES (9, NULL)",),
    "23514": ("INSERT INTO things (id, name, small) VALUES (9, 'nine', -1)",),
    "23503": ("INSERT INTO children VALUES (1, 9)", "SET CONSTRAINTS ALL IMMEDIATE"),
    "44000": ("INSERT INTO small_things VALUES (9, 'nine', 9)",),
    "21000": ("INSERT INTO things (id, name) VALUES (9, 'a'), (9, 'b') ON CONFLICT (id) DO UPDATE SET name = 'c'",),
    "22001": ("INSERT INTO things (id, name) VALUES (9, 'too long')",),
    "22003": ("INSERT INTO things (id, name, small) VALUES (9, 'nine', 100000)",),
    "22P02": ("INSERT INTO things (id, name) VALUES ('x', 'nine')",),
    "0A000": ("SELECT count(*) FROM things FOR UPDATE",),
    "42601": ("INSERT INSERT",),
    "42P01": ("SELECT * FROM nowhere",),
    "42703": ("SELECT nothing FROM things",),
    "42501": ("SET LOCAL ROLE pg_monitor", "INSERT INTO things (id, name) VALUES (9, 'nine')"),
    "3D000": ("ALTER DATABASE ww_nowhere SET work_mem = '1MB'",),
    "3F000": ("CREATE TABLE nowhere.t (a INT)",),
    "54011": ("SELECT " + ", ".join(["1"] * 1_665),),
    "P0001": ("DO $$ BEGIN RAISE EXCEPTION 'no'; END $$",),
    "58P01": ("SELECT pg_read_file('/nowhere/at/all')",),
    "26000": ("EXECUTE nothing",),
    "55006": ("INSERT INTO children VALUES (1, 9)", "ALTER TABLE children ADD COLUMN more INT"),
    "57014": ("SET LOCAL statement_timeout = 20", "SELECT pg_sleep(30)"),
    "25006": ("SET TRANSACTION READ ONLY", "INSERT INTO parents VALUES (9)"),
    "53400": (
        "SET LOCAL work_mem = '64kB'",
        "SET LOCAL temp_file_limit = '100kB'",
        "SELECT count(*) FROM (SELECT g FROM generate_series(1, 200000) g ORDER BY g DESC) q",
    ),
}


def _write_skew(bench: Bench) -> WriteResult[Any]:
    """Two that read what the other writes: one of them is refused, here at its COMMIT."""

    def work(connection: sa.Connection) -> None:
        saying(connection, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT sum(small) FROM things")
        with bench.engine.connect() as other:
            saying(other, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT sum(small) FROM things")
            saying(other, "UPDATE things SET small = 1 WHERE id = 2")
            saying(connection, "UPDATE things SET small = 1 WHERE id = 1")
            other.commit()

    return bench.do(work)


def _locked(bench: Bench) -> None:
    with bench.engine.connect() as holder:
        saying(holder, "SELECT * FROM things WHERE id = 1 FOR UPDATE")
        bench.say("SELECT * FROM things WHERE id = 1 FOR UPDATE NOWAIT")


def _went_on(bench: Bench) -> WriteResult[Any]:
    def work(connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        # Beside SQLAlchemy, whose listener would remember the first error: that one is the better answer.
        try:
            driver.execute("SELECT 1 / 0")
        except Exception:  # noqa: BLE001 - the careless handler of this scene
            pass
        saying(connection, "SELECT 1")

    return bench.do(work)


def _terminated(bench: Bench) -> WriteResult[Any]:
    def work(connection: sa.Connection) -> None:
        number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        with bench.engine.connect() as other:
            saying(other, f"SELECT pg_terminate_backend({number}, 10000)")
        saying(connection, "SELECT 1")

    return bench.do(work)


def _idle(setting: str) -> Scene:
    """The server ends a session that does nothing."""

    def scene(bench: Bench) -> WriteResult[Any]:
        def work(connection: sa.Connection) -> None:
            number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            saying(connection, f"SET LOCAL {setting} = 20")
            _until_gone(bench, number)
            saying(connection, "SELECT 1")

        return bench.do(work)

    return scene


def _idle_in_the_pool(bench: Bench) -> WriteResult[Any]:
    engine = sa.create_engine(bench.engine.url, connect_args={"options": "-c idle_session_timeout=20"})
    try:
        with engine.connect() as connection:
            number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        _until_gone(bench, number)
        return bench.say("SELECT 1", engine=engine)
    finally:
        engine.dispose()


def _until_gone(bench: Bench, number: Any) -> None:
    pause = threading.Event()
    with bench.engine.connect() as other:
        while other.exec_driver_sql(f"SELECT count(*) FROM pg_stat_activity WHERE pid = {number}").scalar():
            other.rollback()
            pause.wait(0.01)


_SCENES: dict[Native, Scene] = {
    "40001": _write_skew,
    "40P01": deadlock,
    "55P03": _locked,
    "25P02": _went_on,
    "57P01": _terminated,
    "25P03": _idle("idle_in_transaction_session_timeout"),
    "57P05": _idle_in_the_pool,
}


def _stranger(**changes: Any) -> Scene:
    """Somebody whom the server does not let in."""

    def scene(bench: Bench) -> WriteResult[Any]:
        engine = sa.create_engine(bench.engine.url.set(**changes))
        try:
            return bench.say("SELECT 1", engine=engine)
        finally:
            engine.dispose()

    return scene


def _crowded(bench: Bench) -> WriteResult[Any]:
    """More connections than a server of its own takes."""
    engine = sa.create_engine(bench.private(max_connections="6").url, pool_size=20)
    held: list[sa.Connection] = []
    try:
        try:
            while len(held) < 10:
                held.append(engine.connect())
        except OperationalError:
            return bench.say("SELECT 1", engine=engine)
        raise AssertionError("it took them all")
    finally:
        for connection in held:
            connection.close()
        engine.dispose()


_MASKED: dict[str, tuple[Scene, Native | None]] = {
    "28000, no such role": (_stranger(username="ww_nobody"), None),
    "3D000, no such database": (_stranger(database="ww_nowhere"), None),
    "53300, too many connections": (_crowded, None),
}

_TOLD: frozenset[Native] = frozenset(
    {
        *("25P04", "08000", "57P02", "08001", "08004", "57P03", "53100", "53300", "08007", "40003", "40002", "28P01"),
        *("57P04", "XX001"),
    }
)

CODES = Codes(_SETUP, _STATEMENTS, _SCENES, _TOLD, {}, _MASKED)


def tell(code: str) -> str:
    """The statement by which PostgreSQL sends a code."""
    return f"DO $$ BEGIN RAISE EXCEPTION 'told' USING ERRCODE = '{code}'; END $$"
