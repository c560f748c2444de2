"""The statement that inserts a row or updates the one with its primary key, for each database.

PostgreSQL and SQLite name the conflict: ``ON CONFLICT (key) DO UPDATE``. MySQL and MariaDB cannot: ``ON DUPLICATE KEY
UPDATE`` fires on *any* unique index, and would update another row when, say, an e-mail address is taken. So that form
is used only for tables on which the primary key is the only unique one; on others `upsert` updates first and inserts
what was not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import IntegrityError

__all__ = ["Upsert"]

_MYSQL = frozenset({"mysql", "mariadb"})


class Upsert:
    """Upserts into one table; safe to share by threads.

    Args:
        table: the table.
        keys: the names of its primary key columns.
    """

    def __init__(self, table: sa.Table, keys: Sequence[str]) -> None:
        self._table = table
        self._keys = tuple(keys)
        # Statements are made once for each dialect and set of columns; SQLAlchemy then finds them compiled.
        self._made: dict[tuple[str, tuple[str, ...]], sa.Executable] = {}
        indexes = any(index.unique for index in table.indexes)
        constraints = any(isinstance(one, sa.UniqueConstraint) for one in table.constraints)
        self._key_is_alone = not (indexes or constraints)

    def run(self, connection: sa.Connection, values: Mapping[str, Any]) -> None:
        """Inserts the row, or updates the named columns of the row with its key.

        Args:
            connection: in a transaction.
            values: the columns to write, the key's among them.
        """
        if connection.dialect.name in _MYSQL and not self._key_is_alone:
            self._update_then_insert(connection, values)
        else:
            connection.execute(self._found(connection.dialect.name, tuple(values)), dict(values))

    def run_many(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Does so for many rows that have the same columns, and of which no two have one key.

        Args:
            connection: in a transaction.
            rows: the columns to write, the key's among them.
        """
        if connection.dialect.name in _MYSQL and not self._key_is_alone:
            for values in rows:
                self._update_then_insert(connection, values)
        else:
            connection.execute(self._found(connection.dialect.name, tuple(rows[0])), [dict(row) for row in rows])

    def _found(self, dialect: str, names: tuple[str, ...]) -> sa.Executable:
        statement = self._made.get((dialect, names))
        if statement is None:
            statement = self._made.setdefault((dialect, names), self._statement(dialect, names))
        return statement

    def _changes(self, names: Sequence[str], new: Any) -> dict[str, Any]:
        """What an update sets: the columns given, and those that the table changes with every update.

        Args:
            names: the columns given.
            new: the row that would have been inserted.
        """
        changes: dict[str, Any] = {name: new[name] for name in names if name not in self._keys}
        for column in self._table.columns if changes else ():
            if column.key in names or column.onupdate is None:
                continue
            if column.onupdate.is_clause_element:
                changes[column.key] = getattr(column.onupdate, "arg", None)
            elif column.default is not None:  # made for the row that would have been inserted, and as good here
                changes[column.key] = new[column.key]
        return changes

    def _statement(self, dialect: str, names: Sequence[str]) -> sa.Executable:
        if dialect in _MYSQL:
            on_mysql = mysql.insert(self._table)
            # Setting a key column to itself is how MySQL spells DO NOTHING.
            new = on_mysql.inserted
            changes = self._changes(names, new) or {name: new[name] for name in self._keys}
            return on_mysql.on_duplicate_key_update(changes)
        insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
        statement = insert(self._table)
        key = [self._table.c[name] for name in self._keys]
        changes = self._changes(names, statement.excluded)
        if not changes:
            return statement.on_conflict_do_nothing(index_elements=key)  # type: ignore[no-any-return]
        return statement.on_conflict_do_update(index_elements=key, set_=changes)  # type: ignore[no-any-return]

    def _update_then_insert(self, connection: sa.Connection, values: Mapping[str, Any]) -> None:
        if self._updated(connection, values):
            return
        try:
            with connection.begin_nested():
                connection.execute(self._table.insert(), dict(values))
        except IntegrityError:
            # Either somebody inserted the same key meanwhile, and now there is a row to update, or it is another key.
            if not self._updated(connection, values):
                raise

    def _updated(self, connection: sa.Connection, values: Mapping[str, Any]) -> bool:
        here = sa.and_(*(self._table.c[n] == values[n] for n in self._keys))
        news = {n: value for n, value in values.items() if n not in self._keys}
        if news:
            return connection.execute(self._table.update().where(here), news).rowcount > 0
        return connection.execute(sa.select(sa.literal(1)).where(here)).first() is not None
