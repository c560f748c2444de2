"""The INSERT of many rows, compiled once and handed to the driver with the rows as they are.

SQLAlchemy makes a new set of parameters of each row at each execution, which takes as long as SQLite takes to insert
it. Where a statement needs nothing of that (every value is given, no default is made in Python), its text is kept and
goes to the driver by `exec_driver_sql`, with the values passed through the types' own processors. Everything else
goes the usual way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import sqlalchemy as sa

__all__ = ["Inserts"]

_DIRECT = frozenset({"pysqlite", "psycopg", "pymysql", "mysqldb"})
"""Drivers that take parameters as they come from the processors, without being told their sizes."""

Process = Callable[[Any], Any]


class _Direct(NamedTuple):
    """A compiled statement.

    Args:
        text: for the driver.
        order: the names of its parameters by position, or None if the driver takes them by name.
        processors: what changes values of some names on their way to the driver.
    """

    text: str
    order: tuple[str, ...] | None
    processors: Mapping[str, Process]

    def parameters(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The rows as the driver wants them."""
        given: Sequence[Mapping[str, Any]] = rows
        if self.processors:
            given = [
                dict(row) | {name: process(row[name]) for name, process in self.processors.items()} for row in rows
            ]
        if self.order is None:
            return list(given)
        if tuple(rows[0]) == self.order:
            return [tuple(row.values()) for row in given]
        # Of one name it gives the value itself and no tuple.
        pick = itemgetter(*self.order)
        return [(pick(row),) for row in given] if len(self.order) == 1 else [pick(row) for row in given]


class Inserts:
    """Inserts many rows into a table; safe to share by threads.

    Args:
        table: the table.
    """

    def __init__(self, table: sa.Table) -> None:
        self._table = table
        # By dialect, of which each engine has its own: the text may depend on the server's version.
        self._made: WeakKeyDictionary[sa.Dialect, dict[tuple[str, ...], _Direct | None]] = WeakKeyDictionary()

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Inserts rows that have the same columns, in the same order.

        Args:
            connection: in a transaction.
            rows: the rows, more than none.
        """
        made = self._made.setdefault(connection.dialect, {})
        names = tuple(rows[0])
        if names not in made:
            made[names] = self._compiled(connection.dialect, names)
        direct = made[names]
        if direct is None:
            connection.execute(self._table.insert(), [dict(row) for row in rows])
        else:
            connection.exec_driver_sql(direct.text, direct.parameters(rows))

    def _compiled(self, dialect: sa.Dialect, names: tuple[str, ...]) -> _Direct | None:
        if dialect.driver not in _DIRECT:
            return None
        compiled: Any = self._table.insert().compile(dialect=dialect, column_keys=list(names), for_executemany=True)
        plain = set(compiled.binds) == set(names) and not (compiled.prefetch or compiled.escaped_bind_names)
        if not plain or compiled.effective_returning or compiled.literal_execute_params or compiled.post_compile_params:
            return None
        processors: dict[str, Process] = {}
        for name in names:
            process = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
            if process is not None:
                processors[name] = process
        order = tuple(compiled.positiontup) if compiled.positional else None
        return _Direct(compiled.string, order, processors)
