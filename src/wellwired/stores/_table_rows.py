"""The SQL of the table store: reading, replacing and removing rows by the values of their key columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from wellwired.stores._sql_dialects import check_dialect, server_ms, upsert

__all__ = ["LEFT", "TableRows", "has_other_unique_keys", "unique_keys"]

LEFT: Final = "wellwired_left_ms"
"""Under which name a row tells the milliseconds that it has left."""

_BATCH: Final = 500
_STATEMENTS: Final = 64

Values = tuple[Any, ...]


class TableRows:
    """Access to the rows of a table that the store is to see; safe for threads.

    Args:
        engine: where.
        table: the table.
        key: the columns that a key stands for.
        where: which rows there are for the store; None: all.
        soft_delete: what to set in a row instead of removing it; None: remove it.
        expires: the column of whole numbers that holds when a row ends; None: rows do not end.
        now: the monotonic clock, in seconds.
    """

    def __init__(
        self,
        engine: sa.Engine,
        table: sa.Table,
        key: Sequence[sa.Column[Any]],
        *,
        where: sa.ColumnElement[bool] | None,
        soft_delete: Mapping[str, Any] | None,
        expires: sa.Column[Any] | None,
        now: Callable[[], float],
    ) -> None:
        self._engine, self._table, self._now = engine, table, now
        self._dialect = check_dialect(engine)
        self._key = tuple(key)
        self._names = tuple(column.name for column in key)
        self._soft_delete, self._expires = soft_delete, expires
        self._one_by_one = self._dialect in ("mysql", "mariadb") and has_other_unique_keys(table, self._names)
        self._upserts: dict[tuple[str, ...], Any] = {}
        ended = [] if expires is None else [sa.or_(expires.is_(None), expires > server_ms())]
        self._there = sa.and_(sa.true(), *ended, *([] if where is None else [where]))
        self._one = sa.and_(*[column == sa.bindparam(f"key_{column.name}", type_=column.type) for column in key])
        left: list[Any] = [] if expires is None else [(expires - server_ms()).label(LEFT)]
        self._select = sa.select(table, *left).where(self._there)

    def some(self, keys: Sequence[Values]) -> tuple[list[Mapping[str, Any]], float]:
        """The rows of the keys that have one, and when they were asked for; at most 500 keys."""
        statement = self._select.where(self._among(keys))
        with self._engine.connect() as connection:
            sent = self._now()
            rows = connection.execute(statement).mappings().all()
        return [dict(row) for row in rows], sent

    def pages(self) -> Iterator[Sequence[Values]]:
        """The key values of all rows, 500 at a time, in their order."""
        select = sa.select(*self._key).where(self._there).order_by(*self._key).limit(_BATCH)
        statement = select
        while True:
            with self._engine.connect() as connection:
                page = [tuple(row) for row in connection.execute(statement)]
            if not page:
                return
            yield page
            statement = select.where(sa.tuple_(*self._key) > sa.tuple_(*self._literals(page[-1])))

    def write(self, rows: Sequence[tuple[dict[str, Any], int | None]]) -> None:
        """Replaces or inserts the rows, in one transaction.

        Args:
            rows: the columns of each row, its key's among them, and how many milliseconds it is to live.

        Raises:
            IntegrityError: a row breaks a rule of the table; then nothing was written.
        """
        try:
            self._write(rows)
        except IntegrityError:
            if not self._one_by_one:
                raise
            self._write(rows)  # another writer may have inserted the row between our UPDATE and our INSERT

    def remove(self, keys: Sequence[Values]) -> int:
        """Removes the rows of the keys, or marks them as removed; how many there were. At most 500 keys."""
        return self._remove(sa.and_(self._there, self._among(keys)))

    def remove_all(self) -> None:
        """Removes every row that the store sees, or marks it as removed."""
        self._remove(self._there)

    # --- within

    def _among(self, keys: Sequence[Values]) -> sa.ColumnElement[bool]:
        if len(self._key) == 1:
            return self._key[0].in_([values[0] for values in keys])
        return sa.tuple_(*self._key).in_([tuple(values) for values in keys])

    def _literals(self, values: Values) -> list[Any]:
        return [sa.literal(value, column.type) for column, value in zip(self._key, values, strict=True)]

    def _remove(self, condition: sa.ColumnElement[bool]) -> int:
        statement: Any = sa.delete(self._table).where(condition)
        if self._soft_delete is not None:
            statement = sa.update(self._table).where(condition).values(dict(self._soft_delete))
        with self._engine.begin() as connection:
            removed: int = connection.execute(statement).rowcount
        return removed

    def _write(self, rows: Sequence[tuple[dict[str, Any], int | None]]) -> None:
        with self._engine.begin() as connection:
            if self._expires is not None:
                now = connection.execute(sa.select(server_ms())).scalar_one()
                name = self._expires.name
                rows = [({**row, name: None if life is None else now + life}, life) for row, life in rows]
            groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
            for row, _ in rows:
                groups.setdefault(tuple(sorted(row)), []).append(row)
            for names, group in groups.items():
                if self._one_by_one:
                    self._write_one_by_one(connection, group)
                else:
                    connection.execute(self._upsert(names), group)

    def _upsert(self, names: tuple[str, ...]) -> Any:
        statement = self._upserts.get(names)
        if statement is None:
            others = [name for name in names if name not in self._names]
            statement = upsert(self._dialect, self._table, self._names, others)
            if len(self._upserts) < _STATEMENTS:
                self._upserts[names] = statement
        return statement

    def _write_one_by_one(self, connection: sa.Connection, rows: Sequence[dict[str, Any]]) -> None:
        """For MySQL's upsert would replace a row that clashes in any unique key, and not only in this one."""
        for row in rows:
            key = {f"key_{name}": row[name] for name in self._names}
            others = {name: value for name, value in row.items() if name not in self._names}
            update = sa.update(self._table).where(self._one).values(others or {name: row[name] for name in self._names})
            if connection.execute(update, key).rowcount == 0:
                connection.execute(sa.insert(self._table), row)


def unique_keys(table: sa.Table) -> list[set[str]]:
    """The sets of columns that no two rows of the table share, as far as it is described."""
    unique = (sa.PrimaryKeyConstraint, sa.UniqueConstraint)
    keys = [constraint.columns for constraint in table.constraints if isinstance(constraint, unique)]
    keys += [index.columns for index in table.indexes if index.unique]
    return [{column.name for column in columns} for columns in keys if len(columns)]


def has_other_unique_keys(table: sa.Table, names: Sequence[str]) -> bool:
    """Whether rows may clash in anything else than these columns."""
    return any(key != set(names) for key in unique_keys(table))
