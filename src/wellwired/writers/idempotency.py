"""Idempotency keys in a database: a write with a key takes effect once, however often it is sent.

The key's row is the first statement of the write's own transaction, a plain INSERT: of two writes with one key the
second waits for the first at the primary key, and either meets its committed row, or takes its place if it was rolled
back. The result is stored in the row by the last statement. So a key is there if and only if its write is, and a
write whose COMMIT went unanswered can be sent again: it is done now, or the stored result is replayed.

Create the table once per database, by `create_tables` or with the DDL that `ddl` gives::

    CREATE TABLE wellwired_idempotency (
        id CHAR(64) NOT NULL PRIMARY KEY,     -- SHA-256 of target, type and key
        target VARCHAR(255) NOT NULL,
        type VARCHAR(255) NOT NULL,
        fingerprint CHAR(64) NOT NULL,        -- SHA-256 of the payload
        attempt CHAR(32) NOT NULL,            -- a random word of the attempt that took the key
        result TEXT,                          -- JSON; MEDIUMTEXT on MySQL and MariaDB
        created_at BIGINT NOT NULL,           -- seconds since the Unix epoch
        expires_at BIGINT NOT NULL            -- indexed
    )
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import (
    CHAR,
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT
from sqlalchemy.schema import CreateIndex, CreateTable, ExecutableDDLElement

from wellwired.clock import SYSTEM, Clock
from wellwired.writers._keys import Kept, Key, fingerprint, reused, stored_form

__all__ = ["Kept", "Key", "claim", "create_tables", "ddl", "fingerprint", "look", "purge", "row_of", "store", "table"]

_metadata = MetaData()

table = Table(
    "wellwired_idempotency",
    _metadata,
    Column("id", CHAR(64), primary_key=True),
    Column("target", String(255), nullable=False),
    Column("type", String(255), nullable=False),
    Column("fingerprint", CHAR(64), nullable=False),
    Column("attempt", CHAR(32), nullable=False),
    Column("result", Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("wellwired_idempotency_expires", "expires_at"),
    mysql_engine="InnoDB",
)
"""The table of keys."""

_claim = insert(table)
_store = update(table).where(table.c.id == bindparam("key_id")).values(result=bindparam("key_result"))
_look = select(table.c.fingerprint, table.c.attempt, table.c.result, table.c.expires_at).where(
    table.c.id == bindparam("key_id")
)
_forget = delete(table).where(table.c.id == bindparam("key_id"), table.c.expires_at <= bindparam("now"))


def create_tables(engine: Engine) -> None:
    """Creates the table of keys if it is not there; to be called once per database, by a migration or at start.

    Args:
        engine: the database.
    """
    _metadata.create_all(engine)


def ddl(engine: Engine) -> str:
    """The statements that create the table, for those who run their migrations themselves.

    Args:
        engine: whose dialect to write them in; it is not connected to.

    Returns:
        SQL, one statement after the other, each ended by a semicolon.
    """
    parts: list[ExecutableDDLElement] = [CreateTable(table), *(CreateIndex(index) for index in table.indexes)]
    return "\n".join(f"{str(part.compile(dialect=engine.dialect)).strip()};" for part in parts)


def purge(engine: Engine, *, clock: Clock = SYSTEM, chunk: int = 1_000) -> int:
    """Deletes keys that have expired, a few at a time so that no lock is held for long.

    Args:
        engine: the database.
        clock: tells the time of day.
        chunk: how many rows to delete in one transaction.

    Returns:
        How many rows were deleted.
    """
    now, total = int(clock.wall()), 0
    expired = select(table.c.id).where(table.c.expires_at <= now).limit(chunk)
    while True:
        with engine.begin() as connection:
            ids = connection.scalars(expired).all()
            if ids:
                # Checked again: an expired key may have been taken anew since it was read.
                gone = delete(table).where(table.c.id.in_(ids), table.c.expires_at <= now)
                total += connection.execute(gone).rowcount
        if len(ids) < chunk:
            return total


def row_of(key: Key) -> dict[str, Any]:
    """The row that takes a key."""
    return {
        "id": key.id,
        "target": key.target,
        "type": key.type,
        "fingerprint": key.fingerprint,
        "attempt": key.attempt,
        "created_at": key.now,
        "expires_at": key.expires,
    }


def claim(connection: Connection, key: Key) -> None:
    """Takes a key, as the first statement of its write; waits for another write that has it and is not done.

    Args:
        connection: in the write's transaction.
        key: the request's.

    Raises:
        sqlalchemy.exc.DBAPIError: with the code of a duplicate if the key was taken before.
    """
    connection.execute(_claim, row_of(key))


def store(connection: Connection, key: Key, data: Any) -> None:
    """Stores the result under a key, as the last statement of its write.

    Args:
        connection: in the write's transaction.
        key: the request's.
        data: what the handler returned.

    Raises:
        BackendError: the result has no JSON form; the write is to be rolled back.
    """
    if data is not None:
        connection.execute(_store, {"key_id": key.id, "key_result": stored_form(data).decode()})


def look(connection: Connection, key: Key) -> Kept | None:
    """What is stored under a key; an expired row is deleted.

    Args:
        connection: in a transaction that began after the key was found taken; to be committed if nothing is returned.
        key: the request's.

    Returns:
        The stored result, or None if the key is free (again).

    Raises:
        InvalidRequestError: the key was used for another payload.
    """
    row = connection.execute(_look, {"key_id": key.id}).one_or_none()
    if row is None:
        return None
    if row.expires_at <= key.now:
        connection.execute(_forget, {"key_id": key.id, "now": key.now})
        return None
    if row.fingerprint != key.fingerprint:
        raise reused(key)
    return Kept(None if row.result is None else msgspec.json.decode(row.result), row.attempt)
