"""One of Django's databases, as units and batches of writes use it (see `wellwired.writers._ground`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from wellwired.clock import Deadline
from wellwired.errors import InvalidRequestError, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.integrations.django import _writer_keys as rows
from wellwired.integrations.django._writer_bounds import Bounds
from wellwired.integrations.django._writer_deferred import Deferred
from wellwired.integrations.django._writer_transaction import DjangoTransaction
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._claiming import LOOKS, KeyTakenError, came_and_went
from wellwired.writers._keys import Kept, Key, stored_form
from wellwired.writers._rules import Rule

__all__ = ["DjangoGround"]

_SAVEPOINT = "wellwired_key"


class DjangoGround:
    """See the module; safe to use from many threads, for Django has a connection for each.

    Args:
        alias: which of Django's connections.
        bounds: how its transactions are kept within their deadlines.
        grace: seconds that a COMMIT or ROLLBACK may take, whatever the deadline.
        rules: the application's own rules about error codes.
        require_durable: whether a surrounding `atomic` block is refused.
    """

    def __init__(
        self, alias: str, bounds: Bounds, *, grace: float, rules: Mapping[Any, Rule], require_durable: bool
    ) -> None:
        self.alias, self.bounds, self.grace, self.rules = alias, bounds, grace, rules
        self.require_durable = require_durable

    def connection(self) -> BaseDatabaseWrapper:
        """This thread's connection."""
        return connections[self.alias]

    def transaction(self, request: WriteRequest, deadline: Deadline) -> DjangoTransaction:
        """A transaction that is not open yet."""
        return DjangoTransaction(self, request, deadline)

    def take(self, connection: BaseDatabaseWrapper, key: Key, request: WriteRequest) -> None:
        """Takes a key; see `claim_many`."""
        self.claim_many(connection, [key], request)

    def keep(self, connection: BaseDatabaseWrapper, key: Key, data: Any) -> None:
        """Stores a result under its key; raises a `BackendError` if it has no JSON form."""
        if data is not None:
            rows.store(connection, {key.id: stored_form(data)})

    def look(self, connection: BaseDatabaseWrapper, key: Key) -> Kept | None:
        """What is stored under a key, or None if it is free; raises an `InvalidRequestError` for another payload."""
        found = rows.look(connection, [key]).get(key.id)
        if isinstance(found, InvalidRequestError):
            raise found
        return found

    def once(
        self, transaction: DjangoTransaction, key: Key, request: WriteRequest, handler: Handler
    ) -> WriteResult[Any]:
        """Does a write with a key among others in an open transaction."""
        connection = transaction.connection
        for _ in range(LOOKS):
            if self._taken(transaction, key, request):
                transaction.keys.append(key)
                data = handler.handle(request, connection)
                self.keep(connection, key, data)
                return WriteResult(message="written", data=data, pending=transaction.pending)
            kept = self.look(connection, key)
            if kept is not None:
                pending = transaction.pending
                return WriteResult(message="done before", data=kept.data, replayed=True, pending=pending)
        raise came_and_went(request, "serialization")

    def claim_many(self, connection: BaseDatabaseWrapper, keys: Sequence[Key], request: WriteRequest) -> None:
        """Takes keys."""
        rows.claim(connection, keys, request, self.rules)

    def store_many(self, connection: BaseDatabaseWrapper, results: Mapping[str, bytes]) -> None:
        """Stores results under their keys."""
        rows.store(connection, results)

    def look_many(self, connection: BaseDatabaseWrapper, keys: Sequence[Key]) -> dict[str, Kept | InvalidRequestError]:
        """What is stored under keys."""
        return rows.look(connection, keys)

    def resolve(self, _transaction: DjangoTransaction, failure: WriteError) -> None:
        """Nobody is asked: a write with a key is sent again, and finds its row if it was committed."""
        raise failure from failure.__cause__

    def defer(self, callback: Callable[[], Sequence[str]]) -> None:
        """Has something done when the transaction around this thread's writes is committed, by Django's `on_commit`."""
        transaction.on_commit(Deferred(self.alias, callback), using=self.alias, robust=True)

    def _taken(self, transaction: DjangoTransaction, key: Key, request: WriteRequest) -> bool:
        transaction.set_savepoint(_SAVEPOINT)
        try:
            self.take(transaction.connection, key, request)
        except KeyTakenError as taken:
            if not transaction.back_to_savepoint(_SAVEPOINT):
                raise taken.__cause__ or taken from None
            return False
        transaction.release_savepoint(_SAVEPOINT)
        return True
