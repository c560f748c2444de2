"""What SQLite, MySQL, MariaDB and PostgreSQL say differently: the time, bytes, upserts, locks, and a missing table.

Time is always asked of the server, in the statement that needs it, in whole milliseconds since 1970 in UTC, so that
programs on machines with different clocks agree about what has expired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["check_dialect", "insert_absent", "lacks_table", "server_ms", "upsert", "was_undone"]

_DIALECTS: Final = ("sqlite", "mysql", "mariadb", "postgresql")
_NO_SUCH_TABLE: Final = ("42P01", 1146)
# Deadlock, and rows that have changed under a snapshot: the server has undone the whole transaction.
_UNDONE: Final = ("40P01", "40001", 1213, 1020)
_SQLITE_ERROR: Final = 1


class server_ms(FunctionElement[int]):  # noqa: N801 - reads as the SQL function that it stands for
    """The server's time, in milliseconds since 1970."""

    type = sa.BigInteger()
    name = "server_ms"
    inherit_cache = True


@compiles(server_ms, "sqlite")
def _sqlite_ms(_element: server_ms, _compiler: SQLCompiler, **_options: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(server_ms, "mysql")
@compiles(server_ms, "mariadb")
def _mysql_ms(_element: server_ms, _compiler: SQLCompiler, **_options: Any) -> str:
    # Not UNIX_TIMESTAMP: it goes by the session's time zone, where an hour may come twice.
    return "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)) DIV 1000)"


@compiles(server_ms, "postgresql")
def _postgresql_ms(_element: server_ms, _compiler: SQLCompiler, **_options: Any) -> str:
    # Not now(), which is when the transaction began.
    return "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)"


def check_dialect(engine: sa.Engine) -> str:
    """The name of the engine's dialect.

    Args:
        engine: the engine.

    Returns:
        ``sqlite``, ``mysql``, ``mariadb`` or ``postgresql``.

    Raises:
        ValueError: it is another one.
    """
    name = engine.dialect.name
    if name in _DIALECTS:
        return name
    raise ValueError(f"stores know {', '.join(_DIALECTS)}; the engine's dialect is {name}")


def upsert(dialect: str, table: sa.Table, keys: Sequence[str], others: Sequence[str]) -> Any:
    """An INSERT that replaces the row that is already there.

    Args:
        dialect: the dialect's name.
        table: the table.
        keys: the columns of a primary or unique key.
        others: the columns to replace.

    Returns:
        The statement, to be given values.
    """
    if not others:
        return insert_absent(dialect, table, keys)
    if dialect in ("mysql", "mariadb"):
        into = mysql.insert(table)
        return into.on_duplicate_key_update({name: into.inserted[name] for name in others})
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    new = {name: insert.excluded[name] for name in others}
    return insert.on_conflict_do_update(index_elements=list(keys), set_=new)


def insert_absent(dialect: str, table: sa.Table, keys: Sequence[str]) -> Any:
    """An INSERT that leaves a row alone that is already there.

    Args:
        dialect: the dialect's name.
        table: the table.
        keys: the columns of a primary or unique key.

    Returns:
        The statement, to be given values.
    """
    if dialect in ("mysql", "mariadb"):
        return mysql.insert(table).prefix_with("IGNORE")
    insert = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    return insert.on_conflict_do_nothing(index_elements=list(keys))


def lacks_table(error: DBAPIError, engine: sa.Engine, table: sa.Table) -> bool:
    """Whether a statement failed because the table is not there.

    Args:
        error: what was raised.
        engine: whose statement it was.
        table: the table.

    Returns:
        True if the server says so by its own code; SQLite has no code for it and is asked.
    """
    if any(code in _NO_SUCH_TABLE for code in _codes(error)):
        return True
    if getattr(error.orig, "sqlite_errorcode", None) != _SQLITE_ERROR:
        return False
    return not sa.inspect(engine).has_table(table.name, schema=table.schema)


def was_undone(error: DBAPIError) -> bool:
    """Whether the server has undone the whole transaction, to let another one pass."""
    return any(code in _UNDONE for code in _codes(error))


def _codes(error: DBAPIError) -> list[Any]:
    orig: Any = error.orig
    return [getattr(orig, "sqlstate", None), getattr(orig, "pgcode", None), *getattr(orig, "args", ())[:1]]
