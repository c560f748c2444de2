"""Idempotency keys on a Django connection, in the table that the SQL writer uses too.

See `wellwired.writers.idempotency` for how they work. The table is created by a migration of the project's::

    from wellwired.integrations.django.writer import create_key_table, drop_key_table

    class Migration(migrations.Migration):
        operations = [migrations.RunPython(create_key_table, drop_key_table)]

so it is where the project's routers and ``migrate --database`` want it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from django.db import Error as DjangoError
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import BackendError, InvalidRequestError, Phase
from wellwired.integrations.django._writer_judging import driver_error
from wellwired.operations import WriteRequest
from wellwired.writers._claiming import NO_TABLE, KeyTakenError
from wellwired.writers._keys import Kept, Key, reused
from wellwired.writers._native import native_code, shown_code
from wellwired.writers._rules import Rule
from wellwired.writers.classification import find_rule
from wellwired.writers.idempotency import row_of, table

__all__ = ["claim", "create_key_table", "ddl", "drop_key_table", "look", "purge_keys", "store"]

_TABLE = table.name
_COLUMNS = tuple(column.name for column in table.columns if column.name != "result")
_CLAIM = f"INSERT INTO {_TABLE} ({', '.join(_COLUMNS)}) VALUES ({', '.join(['%s'] * len(_COLUMNS))})"  # noqa: S608
_STORE = f"UPDATE {_TABLE} SET result = %s WHERE id = %s"  # noqa: S608 - names of our own
_LOOK = f"SELECT id, fingerprint, attempt, result, expires_at FROM {_TABLE} WHERE id IN ({{}})"  # noqa: S608
_FORGET = f"DELETE FROM {_TABLE} WHERE id = %s AND expires_at <= %s"  # noqa: S608
_EXPIRED = f"SELECT id FROM {_TABLE} WHERE expires_at <= %s LIMIT %s"  # noqa: S608
_DIALECTS: Mapping[str, Any] = {"sqlite": sqlite, "postgresql": postgresql, "mysql": mysql}


def claim(
    connection: BaseDatabaseWrapper, keys: Sequence[Key], request: WriteRequest, rules: Mapping[Any, Rule]
) -> None:
    """Takes keys; waits for another write that has one of them and is not done.

    Args:
        connection: in the transaction of the writes.
        keys: different ones.
        request: for the words of errors.
        rules: the writer's own rules about error codes.

    Raises:
        KeyTakenError: one of them was taken before.
        BackendError: the table of keys is missing.
        django.db.Error: something else failed.
    """
    # All take their keys in one order, so that two with the same ones wait and do not deadlock.
    rows = [[row_of(key)[column] for column in _COLUMNS] for key in sorted(keys, key=lambda key: key.id)]
    try:
        with connection.cursor() as cursor:
            if len(rows) == 1:
                cursor.execute(_CLAIM, rows[0])
            else:
                cursor.executemany(_CLAIM, rows)
    except DjangoError as error:
        driver = driver_error(error, connection)
        native = None if driver is None else native_code(driver)
        rule = find_rule(connection.vendor, native, rules)
        if rule is not None and rule.reason == "duplicate":
            raise KeyTakenError from error
        if driver is not None and native in NO_TABLE:
            raise BackendError(
                "the table of idempotency keys is missing; create it by a migration with "
                "RunPython(wellwired.integrations.django.writer.create_key_table)",
                phase=Phase.EXECUTE,
                target=request.target,
                type=request.type,
                backend_code=shown_code(driver, native),
                reason="no_key_table",
            ) from error
        raise


def store(connection: BaseDatabaseWrapper, results: Mapping[str, bytes]) -> None:
    """Stores results under their keys.

    Args:
        connection: in the transaction of the writes.
        results: the JSON of each result, by the key's id.
    """
    if results:
        with connection.cursor() as cursor:
            cursor.executemany(_STORE, [(form.decode(), key) for key, form in results.items()])


def look(connection: BaseDatabaseWrapper, keys: Sequence[Key]) -> dict[str, Kept | InvalidRequestError]:
    """What is stored under keys; expired rows are deleted.

    Args:
        connection: in a transaction.
        keys: the requests'.

    Returns:
        By the key's id, the stored result, or the error for a key that was used for another payload. A key that is
        free is left out.
    """
    by_id = {key.id: key for key in keys}
    found: dict[str, Kept | InvalidRequestError] = {}
    with connection.cursor() as cursor:
        cursor.execute(_LOOK.format(", ".join(["%s"] * len(by_id))), list(by_id))
        for id_, print_, attempt, result, expires in cursor.fetchall():
            key = by_id[id_]
            if expires <= key.now:
                cursor.execute(_FORGET, (key.id, key.now))
            elif print_ != key.fingerprint:
                found[id_] = reused(key)
            else:
                found[id_] = Kept(None if result is None else msgspec.json.decode(result), attempt)
    return found


def ddl(vendor: str) -> list[str]:
    """The statements that create the table of keys, for those who run their migrations by hand.

    Args:
        vendor: ``sqlite``, ``postgresql`` or ``mysql`` (MariaDB's too), as `connection.vendor` says.

    Raises:
        KeyError: for another one nobody knows them.
    """
    dialect = _DIALECTS[vendor].dialect()
    parts: list[ExecutableDDLElement] = [CreateTable(table), *(CreateIndex(index) for index in table.indexes)]
    return [str(part.compile(dialect=dialect)).strip() for part in parts]


def create_key_table(_apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Creates the table of idempotency keys if it is not there; for `migrations.RunPython`.

    Args:
        _apps: what the migration hands over.
        schema_editor: of the database that is migrated.
    """
    connection = schema_editor.connection
    if _TABLE not in connection.introspection.table_names():
        _execute(connection, *ddl(connection.vendor))


def drop_key_table(_apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Drops the table of idempotency keys; the way back of `create_key_table`.

    Args:
        _apps: what the migration hands over.
        schema_editor: of the database that is migrated.
    """
    _execute(schema_editor.connection, f"DROP TABLE {_TABLE}")


def _execute(connection: BaseDatabaseWrapper, *statements: str) -> None:
    # Not by the editor: inside RunPython's own block it refuses where a table is committed at once, as by MariaDB.
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def purge_keys(alias: str = "default", *, clock: Clock = SYSTEM, chunk: int = 1_000) -> int:
    """Deletes idempotency keys that have expired, a few at a time so that no lock is held for long.

    Args:
        alias: of the database.
        clock: tells the time of day.
        chunk: how many rows to delete in one transaction.

    Returns:
        How many rows were deleted.
    """
    now, total = int(clock.wall()), 0
    while True:
        with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
            cursor.execute(_EXPIRED, (now, chunk))
            ids = [row[0] for row in cursor.fetchall()]
            for key in ids:
                # Checked again: an expired key may have been taken anew since it was read.
                cursor.execute(_FORGET, (key, now))
                total += cursor.rowcount
        if len(ids) < chunk:
            return total
