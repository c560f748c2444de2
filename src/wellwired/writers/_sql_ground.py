"""A database that SQLAlchemy speaks to, as units and batches use it: every transaction is the writer's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.exc import DBAPIError

from wellwired.clock import Deadline
from wellwired.errors import InvalidRequestError, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._claiming import not_taken, once
from wellwired.writers._connection import WriteConnection
from wellwired.writers._keys import Kept, Key
from wellwired.writers._many_keys import claim_many, look_many, store_many
from wellwired.writers._resolving import resolved
from wellwired.writers._transaction import Database, Transaction

__all__ = ["SQLGround"]


class SQLGround:
    """See `wellwired.writers._ground.Ground`.

    Args:
        database: where.
    """

    __slots__ = ("_database",)

    def __init__(self, database: Database) -> None:
        self._database = database

    def transaction(self, request: WriteRequest, deadline: Deadline) -> Transaction:
        """A transaction that is not open yet."""
        return Transaction(self._database, request, deadline)

    def once(self, transaction: Transaction, key: Key, request: WriteRequest, handler: Handler) -> WriteResult[Any]:
        """Does a write with a key among others in an open transaction."""
        return once(transaction, key, request, handler)

    def claim_many(self, connection: WriteConnection, keys: Sequence[Key], request: WriteRequest) -> None:
        """Takes keys."""
        try:
            claim_many(connection, keys)
        except DBAPIError as error:
            failure = not_taken(connection, error, request)
            if failure is error:
                raise
            raise failure from error

    def store_many(self, connection: WriteConnection, results: Mapping[str, bytes]) -> None:
        """Stores results under their keys."""
        store_many(connection, results)

    def look_many(self, connection: WriteConnection, keys: Sequence[Key]) -> dict[str, Kept | InvalidRequestError]:
        """What is stored under keys."""
        return look_many(connection, keys)

    def resolve(self, transaction: Transaction, failure: WriteError) -> None:
        """Finds out, if it can, that a COMMIT without an answer was done."""
        resolved(transaction, failure)

    def defer(self, callback: Callable[[], Sequence[str]]) -> None:
        """Never asked, for no transaction is pending; at once would be right."""
        callback()
