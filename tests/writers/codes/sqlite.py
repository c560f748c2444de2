"""How SQLite is made to refuse, code by code.

Two scenes need a process of their own, because they limit what the whole process may do: its memory, and the size of
the files that it writes.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.writers.codes.bench import Bench, Codes, Scene, saying
from wellwired.operations import WriteResult
from wellwired.writers._rules import Native

__all__ = ["ALONE", "CODES", "alone"]

_SETUP = (
    "PRAGMA foreign_keys = ON",
    "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, small INT DEFAULT 0 CHECK (small >= 0))",
    "CREATE TABLE words (word TEXT PRIMARY KEY)",
    "CREATE TABLE plain (a INT)",
    "INSERT INTO things VALUES (1, 'one', 0), (2, 'two', 0)",
    "INSERT INTO words VALUES ('one')",
    "INSERT INTO plain (rowid, a) VALUES (1, 1)",
)

_STATEMENTS: dict[Native, tuple[str, ...]] = {
    275: ("INSERT INTO things VALUES (9, 'nine', -1)",),
    1299: ("INSERT INTO things VALUES (9, NULL, 0)",),
    1555: ("INSERT INTO words VALUES ('one')",),
    2067: ("INSERT INTO things VALUES (9, 'one', 0)",),
    2579: ("INSERT INTO plain (rowid, a) VALUES (1, 1)",),
    1: ("INSERT INSERT",),
    20: ("INSERT INTO things VALUES ('x', 'nine', 0)",),
    18: ("SELECT zeroblob(2000000000)",),
    8: ("PRAGMA query_only = ON", "INSERT INTO things VALUES (9, 'nine', 0)"),
    13: (
        "PRAGMA max_page_count = 1",
        (
            "INSERT INTO plain SELECT value FROM (WITH RECURSIVE c(value) AS "
            "(SELECT 1 UNION ALL SELECT value + 1 FROM c LIMIT 100000) SELECT value FROM c)"
        ),
    ),
}


def _file(bench: Bench) -> Path:
    assert bench.engine.url.database is not None
    return Path(bench.engine.url.database)


def _on(bench: Bench, path: Path, *statements: str, **arguments: Any) -> WriteResult[Any]:
    engine = sa.create_engine(f"sqlite:///{path}", connect_args=arguments)
    try:
        return bench.say(*statements, engine=engine)
    finally:
        engine.dispose()


def _busy(bench: Bench) -> None:
    with bench.engine.connect() as holder:
        holder.exec_driver_sql("BEGIN IMMEDIATE")
        _on(bench, _file(bench), "SELECT 1", timeout=0)


def _table_locked(bench: Bench) -> WriteResult[Any]:
    def work(connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        reading = driver.execute("SELECT * FROM things")
        reading.fetchone()
        try:
            saying(connection, "DROP TABLE words")
        finally:
            reading.close()

    return bench.do(work)


def _forbidden(bench: Bench) -> WriteResult[Any]:
    def work(connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
        try:
            saying(connection, "INSERT INTO plain VALUES (1)")
        finally:
            driver.set_authorizer(None)

    return bench.do(work)


def _interrupted(bench: Bench) -> WriteResult[Any]:
    def work(connection: sa.Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(lambda: 1, 1)
        saying(connection, "INSERT INTO plain SELECT a FROM plain")

    return bench.do(work)


def _no_folder(bench: Bench) -> WriteResult[Any]:
    return _on(bench, _file(bench).parent / "nowhere" / "x.sqlite", "SELECT 1")


def _no_database(bench: Bench) -> WriteResult[Any]:
    path = _file(bench).with_name("garbage.sqlite")
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    return _on(bench, path, "SELECT * FROM things")


def _damaged(bench: Bench) -> WriteResult[Any]:
    path = _file(bench).with_name("damaged.sqlite")
    whole = _file(bench).read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    return _on(bench, path, "SELECT * FROM things ORDER BY name")


def _changed_since_read(bench: Bench) -> None:
    """Beside the writer, which takes the write lock before it reads, and so never meets this."""
    path = _file(bench).with_name("wal.sqlite")
    one = sqlite3.connect(path, isolation_level=None, timeout=5)
    other = sqlite3.connect(path, isolation_level=None)
    try:
        one.execute("PRAGMA journal_mode = WAL").close()
        one.execute("CREATE TABLE t (a INT)").close()
        one.execute("BEGIN").close()
        one.execute("SELECT * FROM t").fetchall()
        other.execute("INSERT INTO t VALUES (1)").close()
        one.execute("INSERT INTO t VALUES (2)").close()
    finally:
        one.close()
        other.close()


_SCENES: dict[Native, Scene] = {
    5: _busy,
    6: _table_locked,
    9: _interrupted,
    11: _damaged,
    14: _no_folder,
    23: _forbidden,
    26: _no_database,
    517: _changed_since_read,
}

_BEFORE = """
import resource, sys
import sqlalchemy as sa
from tests.writers.codes.bench import Bench, saying
from wellwired.errors import WriteError
engine = sa.create_engine("sqlite:///" + sys.argv[1])
def work(connection):
"""
_AFTER = """
try:
    Bench(engine, None, None).do(work)
except WriteError as error:
    print(error.backend_code, error.outcome, error.phase, error.reason, error.retry)
engine.dispose()
"""

ALONE: dict[int, tuple[str, tuple[str, ...]]] = {
    # At COMMIT the pages are written, and the file may not grow.
    10: (
        """
    saying(connection, "INSERT INTO plain VALUES (7)", "INSERT INTO things VALUES (9, 'nine', 0)")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))
""",
        ("SQLITE_IOERR_WRITE", "UNKNOWN", "commit", "commit_unknown", "if-idempotent"),
    ),
    # Python's module makes a MemoryError of it, which could be anybody's.
    7: (
        """
    saying(connection, "PRAGMA hard_heap_limit = 4000000", "INSERT INTO plain SELECT length(zeroblob(50000000) || 'x')")
""",
        ("None", "NOT_APPLIED", "execute", "handler", "never"),
    ),
}


def alone(code: int, path: str) -> list[str]:
    """Plays a scene in a process of its own; what the error said, in words."""
    script = _BEFORE + ALONE[code][0] + _AFTER
    done = subprocess.run(
        [sys.executable, "-c", script, path],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


_RECORDED: dict[Native, str] = {
    7: "Python's module raises MemoryError, without a code; other modules for SQLite do not",
    15: "WAL's own lock protocol gave up, after a race that cannot be staged",
    17: "SQLite prepares the statement again by itself; seen only if that fails many times",
    21: "Python's module raises its own error before SQLite can",
    25: "the same",
    516: "a statement that was reading when the transaction was rolled back; Python's module resets it first",
}

CODES = Codes(_SETUP, _STATEMENTS, _SCENES, frozenset(), _RECORDED)
