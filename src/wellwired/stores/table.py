"""A layer on a table that is there already: a key stands for a row, a value for what is in it.

This is how a stack gets the application's own data as its bottom. A value is by default a dict of the columns that are
not part of the key; `to_value` and `to_row` make it anything else. Nothing is wrapped or encoded, so other programs can
go on using the table; what they write there directly, no cache above can know about.

Rows have no life of their own: a value that is set with a ttl is refused, unless a column of whole numbers is named
that holds when it ends, in milliseconds since 1970 by the server's clock. `clear()` would empty the table, so it has to
be allowed. The store cannot fence (`Fenced`), for the table has no room for a generation; as the lowest layer, which
nothing fills, it need not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import sqlalchemy as sa

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import CodecError, ReadOnlyError, TTLNotSupportedError
from wellwired.stores._life import milliseconds
from wellwired.stores._table_keys import FromKey, TableKeys, ToKey, key_columns
from wellwired.stores._table_rows import LEFT, TableRows, unique_keys
from wellwired.stores.protocols import Entry

__all__ = ["TableKey", "TableStore"]

V = TypeVar("V")

_BATCH: Final = 500


@dataclass(frozen=True, slots=True)
class TableKey:
    """What the keys of a table store look like.

    Args:
        columns: a column or its name, several of them, or None for the table's primary key.
        prefix: what every key begins with, such as ``user:``.
        to_key: makes a key, without the prefix, of the column values, which it is given in order. By default a single
            column of text, whole numbers or UUIDs is written as it is, and anything else by `keys.build_key`.
        from_key: its inverse: the column's value, or a tuple of the columns' values; a ValueError for what is no key.
    """

    columns: str | sa.Column[Any] | Sequence[str | sa.Column[Any]] | None = None
    prefix: str = ""
    to_key: ToKey | None = None
    from_key: FromKey | None = None


class TableStore(Generic[V]):
    """A `Store` on a table of the application's; safe for threads; also `Many`.

    Errors pass through as SQLAlchemy raised them, and so do those of `to_value` and `to_row`. Waiting is bounded by the
    engine's own timeouts. Every operation is one short transaction, or one for each 500 keys.

    Args:
        engine: where; the store never disposes of it.
        table: the table, described with its unique keys.
        key: the key columns, or a `TableKey`; the primary key if left out.
        to_value: makes a value of a row, which is a dict of all columns.
        to_row: makes columns of a value; those that it leaves out stay as they are, or get their defaults.
        where: which rows there are, such as ``users.c.deleted_at.is_(None)``. What `to_row` gives has to fulfil it.
        soft_delete: what a delete sets in a row instead of removing it; `where` has to leave such rows out.
        expires: the column that holds when a row ends; without it no value can have a ttl.
        read_only: refuse every write.
        allow_clear: let `clear()` remove every row of `where`.
        clock: by whose monotonic side the age of an answer is measured.

    Raises:
        ValueError: a column is not there or not fit, or the key columns are no unique key of the table.
    """

    def __init__(
        self,
        engine: sa.Engine,
        table: sa.Table,
        *,
        key: TableKey | str | sa.Column[Any] | Sequence[str | sa.Column[Any]] | None = None,
        to_value: Callable[[Mapping[str, Any]], V] | None = None,
        to_row: Callable[[V], Mapping[str, Any]] | None = None,
        where: sa.ColumnElement[bool] | None = None,
        soft_delete: Mapping[str, Any] | None = None,
        expires: str | sa.Column[Any] | None = None,
        read_only: bool = False,
        allow_clear: bool = False,
        clock: Clock = SYSTEM,
    ) -> None:
        asked = key if isinstance(key, TableKey) else TableKey(key)
        columns = key_columns(table, asked.columns)
        self.table, self.read_only = table, read_only
        self._names = tuple(column.name for column in columns)
        if not read_only and set(self._names) not in unique_keys(table):
            raise ValueError(f"{', '.join(self._names)} is no primary or unique key of the table {table.name}")
        self._keys = TableKeys(columns, asked.prefix, asked.to_key, asked.from_key)
        self._expires = None if expires is None else key_columns(table, expires)[0]
        if self._expires is not None and not isinstance(self._expires.type, sa.Integer):
            raise ValueError(f"the column {self._expires.name} is to hold milliseconds; make it a BigInteger")
        self._allow_clear, self._now = allow_clear, clock.monotonic
        self._rows = TableRows(
            engine, table, columns, where=where, soft_delete=soft_delete, expires=self._expires, now=clock.monotonic
        )
        own = {*self._names, *(soft_delete or ()), *([] if self._expires is None else [self._expires.name])}
        self._value_names = tuple(column.name for column in table.c if column.name not in own)
        self._to_value: Callable[[Mapping[str, Any]], Any] = to_value or self._plain_value
        self._to_row: Callable[[Any], Mapping[str, Any]] = to_row or self._plain_row

    def __repr__(self) -> str:
        return f"TableStore(table={self.table.fullname!r}{', read_only=True' if self.read_only else ''})"

    # --- Store

    def get(self, key: str, /) -> Entry[V] | None:
        """The entry under the key, or None; one SELECT."""
        return self.get_many((key,)).get(key)

    def set(self, key: str, value: V, /, ttl: float | None = None) -> None:
        """Inserts the row, or replaces those of its columns that the value has.

        Raises:
            CodecError: the value has columns that the table lacks, or that are part of the key.
            KeyFormatError: the key stands for no row.
            ReadOnlyError: the store only reads.
            TTLNotSupportedError: it has a ttl, and no column to keep it in.
        """
        self.set_many({key: Entry(value, ttl)})

    def delete(self, key: str, /) -> bool:
        """Removes the row; True if it was there."""
        return self.delete_many((key,)) > 0

    def has(self, key: str, /) -> bool:
        """Whether there is a row under the key."""
        return self.get(key) is not None

    def clear(self) -> None:
        """Removes every row that the store sees.

        Raises:
            ReadOnlyError: that was not allowed.
        """
        self._demand_writable()
        if not self._allow_clear:
            raise ReadOnlyError(f"clear() would remove every row of {self.table.name}; allow_clear=True permits it")
        self._rows.remove_all()

    def keys(self) -> Iterator[str]:
        """The keys of the rows that are there, read 500 at a time."""
        for page in self._rows.pages():
            yield from [self._keys.written(values) for values in page]

    def close(self) -> None:
        """Does nothing: the engine is the caller's."""

    # --- Many

    def get_many(self, keys: Sequence[str], /) -> dict[str, Entry[V]]:
        """The entries of those keys that have a row; one SELECT for each 500."""
        wanted = {key: values for key in keys if (values := self._keys.read(key)) is not None}
        found: dict[str, Entry[V]] = {}
        for batch in _batches(list(wanted.values())):
            rows, sent = self._rows.some(batch)
            for row in rows:
                # A collation may find a row whose key is only alike.
                key = self._keys.written([row[name] for name in self._names])
                if key in wanted and (entry := self._opened(row, sent)) is not None:
                    found[key] = entry
        return found

    def set_many(self, items: Mapping[str, Entry[V]], /) -> None:
        """Inserts or replaces the rows, in one transaction: all of them or none."""
        self._demand_writable()
        rows = [(self._columns(key, entry.value), self._life(entry.left)) for key, entry in sorted(items.items())]
        if rows:
            self._rows.write(rows)

    def delete_many(self, keys: Sequence[str], /) -> int:
        """Removes the rows, 500 in a transaction; how many there were."""
        self._demand_writable()
        wanted = sorted({key for key in keys if self._keys.read(key) is not None})
        return sum([self._rows.remove([self._keys.demand(key) for key in batch]) for batch in _batches(wanted)])

    # --- within

    def _opened(self, row: Mapping[str, Any], sent: float) -> Entry[V] | None:
        left_ms = row.get(LEFT)
        left = None if left_ms is None else (left_ms - 1) / 1000 - (self._now() - sent)
        if left is not None and left <= 0:
            return None
        return Entry(self._to_value({name: value for name, value in row.items() if name != LEFT}), left)

    def _columns(self, key: str, value: V) -> dict[str, Any]:
        own = dict(zip(self._names, self._keys.demand(key), strict=True))
        columns = dict(self._to_row(value))
        if unknown := [name for name in columns if name not in self.table.c]:
            raise CodecError(f"the table {self.table.name} has no column {unknown[0]!r} for a value's part")
        if other := [name for name in own if name in columns and columns[name] != own[name]]:
            raise CodecError(f"the value has another {other[0]} than its key stands for")
        return {**columns, **own}

    def _life(self, ttl: float | None) -> int | None:
        life = milliseconds(ttl)
        if life is not None and self._expires is None:
            raise TTLNotSupportedError(
                f"rows of {self.table.name} do not end: leave the ttl out and cap the layers above, or name a column "
                f"for it with expires="
            )
        return life

    def _plain_value(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {name: row[name] for name in self._value_names}

    def _plain_row(self, value: Any) -> Mapping[str, Any]:
        if isinstance(value, Mapping):
            return value
        raise CodecError(f"a row is made of a mapping, not of a {type(value).__qualname__}; give the store a to_row")

    def _demand_writable(self) -> None:
        if self.read_only:
            raise ReadOnlyError(f"the store on the table {self.table.name} only reads")


def _batches(items: Sequence[Any]) -> Iterator[Any]:
    return (items[at : at + _BATCH] for at in range(0, len(items), _BATCH))
