"""Ready-made handlers for a table: insert, upsert, update, delete.

Each is made of an SQLAlchemy `Table` and does one type of write on it. Without a payload model of your own the payload
is a mapping from column to value, and a model made of the table checks it before anything is sent: unknown and missing
columns, types, lengths. (In such a model a `bytes` column takes base64 text, as JSON would carry it.)

==========  ===================================  ====================  ===============
handler     payload                              data of the result    idempotent
==========  ===================================  ====================  ===============
`insert`    the row                              its primary key       no
`upsert`    the primary key, columns to write    its primary key       yes
`update`    the primary key, columns to write    ``{"rows": n}``       yes
`delete`    the primary key                      ``{"rows": n}``       yes
==========  ===================================  ====================  ===============
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from wellwired.errors import InvalidRequestError
from wellwired.handlers._inserts import Inserts
from wellwired.handlers._many_rows import count_each, insert_all, waves
from wellwired.handlers._requests import payloads_of
from wellwired.handlers._tables import keys_of, model_of, needed_by_insert, rows_of, values_of
from wellwired.handlers._upserts import Upsert
from wellwired.handlers.protocol import NamesChanges, PayloadModel
from wellwired.operations import WriteRequest

__all__ = ["TableHandler", "delete", "insert", "update", "upsert"]

Values = dict[str, Any]
Work = Callable[[sa.Connection, Values], Any]
WorkMany = Callable[[sa.Connection, list[Values]], list[Any]]


class TableHandler:
    """One type of write on one table; made by `insert`, `upsert`, `update` or `delete`. Safe to share by threads.

    Args:
        type: the request type it does.
        table: the table.
        work: does it, given the connection and the column values.
        many: does it for many rows, and gives the data of each.
        needed: columns that the payload must have, whatever its model.
        payload_model: what the payload is converted to first.
        idempotent: whether doing it twice leaves what doing it once leaves.
        changes: names the keys of layered stores that a request changes, or None.
    """

    backend = "sql"

    def __init__(
        self,
        type: str,
        table: sa.Table,
        work: Work,
        many: WorkMany,
        *,
        needed: tuple[str, ...],
        payload_model: PayloadModel,
        idempotent: bool,
        changes: NamesChanges | None = None,
    ) -> None:
        self.type = type
        self.table = table
        self.payload_model = payload_model
        self.idempotent = idempotent
        self.changes = changes
        self._work, self._work_many = work, many
        self._needed = needed
        # The model of the table itself has what is needed as required fields.
        self._is_own_model = getattr(payload_model, "__of_table__", None) is table

    def handle(self, request: WriteRequest, connection: sa.Connection) -> Any:
        """Does the write in the writer's transaction.

        Raises:
            InvalidRequestError: the payload model of the application's own left out a column that is needed.
        """
        return self._work(connection, self._values(request.payload))

    def handle_many(self, requests: Sequence[WriteRequest], connection: sa.Connection) -> list[Any]:
        """Does many writes in the writer's transaction, with as few statements as leave the same rows behind.

        Raises:
            InvalidRequestError: as for `handle`, for one of them.
        """
        payloads = payloads_of(requests)
        if not payloads:
            return []
        rows = rows_of(payloads, self.table) if self._is_own_model else None
        if rows is None:
            rows = [self._values(payload) for payload in payloads]
        return self._work_many(connection, rows)

    def _values(self, payload: Any) -> Values:
        values = values_of(payload, self.table)
        for name in self._needed:
            if name not in values:
                missing = [name for name in self._needed if name not in values]
                raise InvalidRequestError(f"{self.table.name} needs {', '.join(missing)}", reason="payload")
        return values

    def __repr__(self) -> str:
        return f"<handler of {self.type!r} on {self.table.name}>"


def insert(
    table: sa.Table, *, type: str, payload: PayloadModel | None = None, changes: NamesChanges | None = None
) -> TableHandler:
    """A handler that inserts a row; a row that is there already is an error.

    Not idempotent: a write whose outcome is unknown is sent again only with an idempotency key.

    Args:
        table: into which table.
        type: the request type it does.
        payload: a payload model of your own whose fields are columns; None for the table's.
        changes: names the keys of layered stores that a request changes; None for none.

    Raises:
        RegistrationError: the table has no primary key.
    """
    keys, needed = keys_of(table), needed_by_insert(table)
    statement, inserts = table.insert(), Inserts(table)

    def work(connection: sa.Connection, values: Values) -> Values:
        inserted = connection.execute(statement, values).inserted_primary_key
        return dict(zip(keys, inserted, strict=True)) if inserted is not None else {}

    def many(connection: sa.Connection, rows: list[Values]) -> list[Any]:
        return insert_all(connection, table, keys, rows, inserts=inserts, one=work)

    model = payload or model_of(table, required=needed)
    return TableHandler(type, table, work, many, needed=needed, payload_model=model, idempotent=False, changes=changes)


def upsert(
    table: sa.Table, *, type: str, payload: PayloadModel | None = None, changes: NamesChanges | None = None
) -> TableHandler:
    """A handler that inserts a row, or updates the given columns of the row with its primary key.

    A row that another unique key refuses is an error, on every database.

    Args:
        table: into which table.
        type: the request type it does.
        payload: a payload model of your own whose fields are columns; None for the table's.
        changes: names the keys of layered stores that a request changes; None for none.

    Raises:
        RegistrationError: the table has no primary key.
    """
    keys = keys_of(table)
    needed = tuple(dict.fromkeys((*keys, *needed_by_insert(table))))
    upserts = Upsert(table, keys)

    def work(connection: sa.Connection, values: Values) -> Values:
        upserts.run(connection, values)
        return {name: values[name] for name in keys}

    def many(connection: sa.Connection, rows: list[Values]) -> list[Any]:
        for wave in waves(rows, keys):
            upserts.run_many(connection, [rows[position] for position in wave])
        return [{name: row[name] for name in keys} for row in rows]

    model = payload or model_of(table, required=needed)
    return TableHandler(type, table, work, many, needed=needed, payload_model=model, idempotent=True, changes=changes)


def update(
    table: sa.Table, *, type: str, payload: PayloadModel | None = None, changes: NamesChanges | None = None
) -> TableHandler:
    """A handler that updates the given columns of the row with a primary key; no such row is no error but 0 rows.

    Args:
        table: in which table.
        type: the request type it does.
        payload: a payload model of your own whose fields are columns; None for the table's.
        changes: names the keys of layered stores that a request changes; None for none.

    Raises:
        RegistrationError: the table has no primary key.
    """
    keys = keys_of(table)
    statement = table.update().where(_is_row(table, keys))

    def parameters(values: Values) -> Values:
        news = {name: value for name, value in values.items() if name not in keys}
        if not news:
            raise InvalidRequestError(f"an update of {table.name} names no column to write", reason="payload")
        return news | _key_values(values, keys)

    work, many = _counting(statement, keys, parameters)
    model = payload or model_of(table, required=keys)
    return TableHandler(type, table, work, many, needed=keys, payload_model=model, idempotent=True, changes=changes)


def delete(
    table: sa.Table, *, type: str, payload: PayloadModel | None = None, changes: NamesChanges | None = None
) -> TableHandler:
    """A handler that deletes the row with a primary key; no such row is no error but 0 rows.

    Args:
        table: from which table.
        type: the request type it does.
        payload: a payload model of your own; None for the table's, which has the key's columns only.
        changes: names the keys of layered stores that a request changes; None for none.

    Raises:
        RegistrationError: the table has no primary key.
    """
    keys = keys_of(table)
    statement = table.delete().where(_is_row(table, keys))

    work, many = _counting(statement, keys, lambda values: _key_values(values, keys))
    model = payload or model_of(table, required=keys, only=keys)
    return TableHandler(type, table, work, many, needed=keys, payload_model=model, idempotent=True, changes=changes)


def _counting(
    statement: sa.Executable, keys: tuple[str, ...], parameters: Callable[[Values], Values]
) -> tuple[Work, WorkMany]:
    """What executes a statement that meets one row at most, for one payload and for many."""

    def work(connection: sa.Connection, values: Values) -> dict[str, int]:
        return {"rows": connection.execute(statement, parameters(values)).rowcount}

    def many(connection: sa.Connection, rows: list[Values]) -> list[Any]:
        data: list[dict[str, int]] = [{}] * len(rows)
        for wave in waves(rows, keys):
            some = [parameters(rows[position]) for position in wave]
            counts = count_each(connection, statement, some, lambda one: connection.execute(statement, one).rowcount)
            for position, count in zip(wave, counts, strict=True):
                data[position] = {"rows": count}
        return data

    return work, many


# An UPDATE's own parameters are named after its columns, so the key's get names of their own.
def _is_row(table: sa.Table, keys: tuple[str, ...]) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == sa.bindparam(f"where_{name}", type_=table.c[name].type) for name in keys))


def _key_values(values: Mapping[str, Any], keys: tuple[str, ...]) -> Values:
    return {f"where_{name}": values[name] for name in keys}
