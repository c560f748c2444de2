"""Idempotency keys of many writes at once: the statements of `idempotency`, for a batch in one transaction.

The keys of a batch are taken by one INSERT. If it meets a key that is there, nobody says which: the transaction is
undone, what is stored under the keys is read in one of its own, and the rest is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from wellwired.errors import InvalidRequestError
from wellwired.writers._keys import Kept, Key, reused
from wellwired.writers.idempotency import row_of, table

__all__ = ["claim_many", "look_many", "store_many"]

_claim = insert(table)
_store = update(table).where(table.c.id == bindparam("key_id")).values(result=bindparam("key_result"))
_some = table.c.id.in_(bindparam("ids", expanding=True))
_look = select(table.c.id, table.c.fingerprint, table.c.result, table.c.expires_at).where(_some)
_forget = delete(table).where(_some, table.c.expires_at <= bindparam("now"))


def claim_many(connection: Connection, keys: Sequence[Key]) -> None:
    """Takes keys; raises the driver's error if one of them is there, or the table is not.

    Args:
        connection: in the writes' transaction.
        keys: different ones.
    """
    # Every batch takes its keys in one order, so that two with the same ones wait and do not deadlock.
    rows = [row_of(key) for key in sorted(keys, key=lambda key: key.id)]
    connection.execute(_claim, rows)


def store_many(connection: Connection, results: Mapping[str, bytes]) -> None:
    """Stores results under their keys.

    Args:
        connection: in the writes' transaction.
        results: the JSON of each result, by the key's id.
    """
    if results:
        connection.execute(_store, [{"key_id": one, "key_result": form.decode()} for one, form in results.items()])


def look_many(connection: Connection, keys: Sequence[Key]) -> dict[str, Kept | InvalidRequestError]:
    """What is stored under keys; expired rows are deleted.

    Args:
        connection: in a transaction that began after a key was found taken; to be committed.
        keys: the requests'.

    Returns:
        By the key's id, the stored result, or the error for a key that was used for another payload. A key that is
        free is left out.
    """
    by_id = {key.id: key for key in keys}
    found: dict[str, Kept | InvalidRequestError] = {}
    expired: list[str] = []
    for row in connection.execute(_look, {"ids": list(by_id)}):
        key = by_id[row.id]
        if row.expires_at <= key.now:
            expired.append(row.id)
        elif row.fingerprint != key.fingerprint:
            found[row.id] = reused(key)
        else:
            found[row.id] = Kept(_decoded(row.result))
    if expired:
        connection.execute(_forget, {"ids": expired, "now": by_id[expired[0]].now})
    return found


def _decoded(result: str | None) -> Any:
    return None if result is None else msgspec.json.decode(result)
