"""Takes the idempotency key of a write, inside the write's own transaction.

A key is taken by an INSERT (see `idempotency`), which fails if it was taken before. A write by itself gives its empty
transaction up then and replays in a fresh one. A write among others must keep what the others did: where an error
spoils the whole transaction, as in PostgreSQL, the INSERT stands behind a savepoint.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import DBAPIError

from wellwired.errors import BackendError, Phase, Retry
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._connection import WriteConnection
from wellwired.writers._keys import Key
from wellwired.writers._native import native_code, shown_code
from wellwired.writers._rules import Native
from wellwired.writers._transaction import Transaction
from wellwired.writers.classification import find_rule
from wellwired.writers.idempotency import claim, look, store

__all__ = ["LOOKS", "NO_TABLE", "KeyTakenError", "came_and_went", "not_taken", "once", "take"]

LOOKS = 3
"""How often a key that comes and goes is looked at before the write is given up."""

NO_TABLE: frozenset[Native] = frozenset({1146, "42P01", 1})
_ONLY_THE_STATEMENT = frozenset({"sqlite", "mysql", "mariadb"})
"""Where a refused INSERT undoes itself and nothing else, and a savepoint would be two round trips for nothing."""
_SAVEPOINT = "wellwired_key"


class KeyTakenError(Exception):
    """The idempotency key was there already."""


def take(connection: WriteConnection, key: Key, request: WriteRequest) -> None:
    """Takes a key; waits for another write that has it and is not done.

    Args:
        connection: in the write's transaction.
        key: the request's.
        request: for the words of errors.

    Raises:
        KeyTakenError: it was taken before.
        BackendError: the table of keys is missing.
    """
    try:
        claim(connection, key)
    except DBAPIError as error:
        failure = not_taken(connection, error, request)
        if failure is error:
            raise
        raise failure from error


def not_taken(connection: WriteConnection, error: DBAPIError, request: WriteRequest) -> Exception:
    """What it means that a key could not be taken.

    Args:
        connection: where it was tried.
        error: what the INSERT raised.
        request: for the words of errors.

    Returns:
        What to raise: a `KeyTakenError`, a `BackendError` for a missing table, or else the error as it is.
    """
    native = native_code(error)
    rule = find_rule(connection.dialect.name, native, connection.rules)
    if rule is not None and rule.reason == "duplicate":
        return KeyTakenError()
    return _no_table(error, native, request) if native in NO_TABLE else error


def once(transaction: Transaction, key: Key, request: WriteRequest, handler: Handler) -> WriteResult[Any]:
    """Does a write with a key in a transaction that may have others before and after it.

    Args:
        transaction: is open.
        key: the request's.
        request: the write.
        handler: does it, unless it was done before.

    Returns:
        What the handler returned, or what was stored under the key.

    Raises:
        InvalidRequestError: the key was used for another payload.
        BackendError: the key's row cannot be seen: another write has committed it since this transaction took its
            view of the data, which a transaction that begins now would not have.
    """
    connection = transaction.connection
    for _ in range(LOOKS):
        if _taken(transaction, key, request):
            transaction.keys.append(key)
            data = handler.handle(request, connection)
            store(connection, key, data)
            return WriteResult(message="written", data=data)
        kept = look(connection, key)
        if kept is not None:
            return WriteResult(message="done before", data=kept.data, replayed=True)
    raise came_and_went(request, "serialization")


def came_and_went(request: WriteRequest, reason: str) -> BackendError:
    """The error for a key that is taken whenever one tries to take it, and gone whenever one looks."""
    return BackendError(
        "other writes with this idempotency key came and went; send it again",
        retry=Retry.SAFE,
        phase=Phase.EXECUTE,
        target=request.target,
        type=request.type,
        reason=reason,
    )


def _taken(transaction: Transaction, key: Key, request: WriteRequest) -> bool:
    connection = transaction.connection
    guarded = connection.dialect.name not in _ONLY_THE_STATEMENT
    if guarded:
        transaction.set_savepoint(_SAVEPOINT)
    noted = connection.noted
    try:
        take(connection, key, request)
    except KeyTakenError as taken:
        if guarded and not transaction.back_to_savepoint(_SAVEPOINT):
            raise taken.__cause__ or taken from None
        connection.noted = noted
        return False
    if guarded:
        transaction.release_savepoint(_SAVEPOINT)
    return True


def _no_table(error: DBAPIError, native: Native | None, request: WriteRequest) -> BackendError:
    return BackendError(
        "the table of idempotency keys is missing; create it once with "
        "wellwired.writers.idempotency.create_tables(engine)",
        phase=Phase.EXECUTE,
        target=request.target,
        type=request.type,
        backend_code=shown_code(error, native),
        reason="no_key_table",
    )
