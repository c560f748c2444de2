"""The writer for Django's databases: handlers use the ORM, inside a `transaction.atomic` block of the writer's.

::

    @handler("order_place", backend="django", payload=NewOrder)
    def place(request: WriteRequest, connection: BaseDatabaseWrapper) -> int:
        return Order.objects.using(connection.alias).create(**asdict(request.payload)).pk

    class Shop(Application):
        handlers = providers.Singleton(Registry, place)
        own_writers = providers.List(providers.Singleton(DjangoWriter, "default", handlers))

    shop.write_manager().write(WriteRequest("django.default", "order_place", {...}))

The codes, outcomes and promises are those of the SQL writer (see `wellwired.writers.sql`), on the connection that the
thread has anyway. Outside any `atomic` block a write is a transaction of its own. Inside one of the application's
(``ATOMIC_REQUESTS`` puts one around every view) it is a savepoint there, and its result says `pending`: it takes effect
when that block commits, which is when its callbacks of `after_commit` run and its stores are evicted. In a test case's
block it behaves as it would outside.

A connection that was dead before BEGIN is dropped, and the next attempt makes another. As everywhere in Django, a
thread that is not a request's closes its connections itself: `django.db.connections.close_all()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import connections

from wellwired.clock import SYSTEM, Clock, Deadline
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Phase, RegistrationError, Retry, WriteError
from wellwired.handlers.after import Collected
from wellwired.handlers.protocol import Handler
from wellwired.handlers.registry import Registry
from wellwired.integrations.django._writer_bounds import Bounds
from wellwired.integrations.django._writer_forks import leave_to_parent
from wellwired.integrations.django._writer_ground import DjangoGround
from wellwired.integrations.django._writer_keys import create_key_table, ddl, drop_key_table, purge_keys
from wellwired.integrations.django._writer_transaction import DjangoTransaction
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._claiming import LOOKS, KeyTakenError, came_and_went
from wellwired.writers._forks import renew_in_child
from wellwired.writers._keys import Kept, Key
from wellwired.writers._many_sql import SQLBatch
from wellwired.writers._rules import Rule
from wellwired.writers._units import SQLUnit
from wellwired.writers.protocol import BATCH_SIZE, WriterCapabilities

__all__ = ["DjangoWriter", "create_key_table", "ddl", "drop_key_table", "purge_keys"]

_BACKEND = "django"
_DAYS_3 = 3 * 86_400.0
_PENDING = "written; it takes effect when the transaction around it is committed"


class DjangoWriter:
    """Writes to one of Django's databases; safe to use from many threads and after a fork.

    Args:
        alias: which of ``DATABASES``; its target is ``django.<alias>``.
        handlers: those for the backend ``django`` and for any; others are left alone. None for an empty registry.
        targets: further targets that it writes for.
        require_durable: whether a write inside an `atomic` block of the application's is refused, as Django refuses a
            block with ``durable=True`` there. Test cases' blocks do not count.
        clock: tells when idempotency keys expire.
        commit_grace: seconds that COMMIT or ROLLBACK may take after the deadline.
        key_ttl: seconds for which an idempotency key is remembered at least.
        rules: what error codes mean that the tables of `wellwired.writers.classification` do not know, or otherwise.
        batch_size: how many writes of a batch are one transaction at most.

    Raises:
        RegistrationError: Django's settings have no such alias.
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        alias: str = "default",
        handlers: Registry | None = None,
        *,
        targets: Iterable[str] = (),
        require_durable: bool = False,
        clock: Clock = SYSTEM,
        commit_grace: float = 2.0,
        key_ttl: float = _DAYS_3,
        rules: Mapping[Any, Rule] | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        if batch_size < 1:
            raise ValueError("batch_size must be 1 or more")
        if alias not in connections:
            raise RegistrationError(f"DATABASES has no {alias!r}; known: {', '.join(connections)}")
        self.alias = alias
        self.name = f"{_BACKEND}.{alias}"
        self.batch_size = batch_size
        self.targets = (self.name, *(target for target in targets if target != self.name))
        self._served = frozenset(self.targets)
        self._handlers = Registry() if handlers is None else handlers
        self._clock, self._key_ttl = clock, key_ttl
        bounds = Bounds(alias, self.name, connections[alias].vendor)
        self._ground = DjangoGround(
            alias, bounds, grace=commit_grace, rules=dict(rules or {}), require_durable=require_durable
        )
        renew_in_child(self)

    def supports(self, target: str) -> bool:
        """Whether it writes for this target."""
        return target in self._served

    def find_handler(self, type: str) -> Handler | None:
        """The handler of a type, or None."""
        return self._handlers.find(type, _BACKEND)

    def register_handler(self, handler: Handler) -> None:
        """Adds a handler; raises `RegistrationError` if its type has one already."""
        self._handlers.register(handler)

    def types(self) -> tuple[str, ...]:
        """Every type that it has a handler for, sorted."""
        return self._handlers.types(_BACKEND)

    @property
    def keeps_keys(self) -> bool:
        """Whether a key that was seen is answered with the stored result: yes, once the table has been created."""
        return True

    @property
    def capabilities(self) -> WriterCapabilities:
        """What it can promise, on transactional tables."""
        return WriterCapabilities(deadline="fenced", atomic=True, idempotency=True, savepoints=True, batches=True)

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Makes one attempt in an `atomic` block of its own.

        Args:
            request: a valid request.
            handler: called with the request and Django's connection, whose `alias` the ORM's ``using`` takes; it must
                not end the transaction, and may have `atomic` blocks of its own.
            deadline: by when COMMIT must have been sent.

        Returns:
            What the handler returned, committed, or `pending` inside a block of the application's; or the stored
            result of an earlier write with the same key.

        Raises:
            WriteTimeoutError: nothing is applied.
            InvalidRequestError: the idempotency key was used with another payload; or a place where no write can be:
                the thread of an event loop, or an `atomic` block that `require_durable` refuses.
            BackendError: the database or the handler failed; see its `outcome` and `retry`.
        """
        if request.idempotency_key is None:
            return self._attempt(request, handler, deadline, None)
        key = self._key_of(request)
        for _ in range(LOOKS):
            try:
                return self._attempt(request, handler, deadline, key)
            except KeyTakenError:
                replayed = self._replay(request, deadline, key)
                if replayed is not None:
                    return replayed
        raise came_and_went(request, "lock")

    def write_batch(
        self, requests: Sequence[WriteRequest], *, handler: Handler, deadline: Deadline, atomic: bool
    ) -> Sequence[WriteResult[Any] | WriteError]:
        """Makes one attempt at many writes of one type; see `wellwired.writers.protocol.WritesMany`.

        Args:
            requests: valid ones, no two with the same idempotency key.
            handler: its `handle_many` is called with all of them (`bulk_create` suits it), or its `handle` one by one.
            deadline: by when COMMIT must have been sent.
            atomic: whether all take effect or none.

        Returns:
            For each request, at its position, its result or its error.
        """
        batch = SQLBatch(self._ground, requests, handler=handler, deadline=deadline, atomic=atomic, key_of=self._key_of)
        return batch.run()

    def begin(self, target: str, /, *, deadline: Deadline) -> SQLUnit:
        """Opens a transaction for several writes; see `wellwired.writers.protocol.Transacts.begin`.

        Until it is over, whatever the thread does with this connection is a part of it.

        Args:
            target: for the words of errors.
            deadline: by when COMMIT must have been sent.

        Returns:
            The open unit; inside an `atomic` block of the application's a savepoint there, and `pending`.

        Raises:
            WriteTimeoutError: there was no connection in time.
            WriteError: it could not be opened; nothing is applied.
        """
        unit = SQLUnit(self._ground, target, deadline, self._key_of)
        unit.open()
        return unit

    def defer(self, callback: Callable[[], Sequence[str]], /) -> None:
        """Has something done when the block around a pending write is committed, by `transaction.on_commit`.

        Args:
            callback: called once, without arguments; the lines that it returns are logged.
        """
        self._ground.defer(callback)

    def renew(self) -> None:
        """Leaves the connection of the thread that forked to the parent, in the child; the next use makes another."""
        leave_to_parent(self.alias)

    def __repr__(self) -> str:
        return f"DjangoWriter({self.alias!r})"

    def _key_of(self, request: WriteRequest) -> Key:
        return Key.of(request, now=self._clock.wall(), ttl=self._key_ttl)

    def _attempt(
        self, request: WriteRequest, handler: Handler, deadline: Deadline, key: Key | None
    ) -> WriteResult[Any]:
        transaction, after = self._ground.transaction(request, deadline), Collected()
        data: Any = None
        try:
            data = self._work(transaction, handler, key, after)
            transaction.follow(after)
            transaction.commit()
        except KeyTakenError:
            transaction.undo()
            raise
        except BaseException as error:
            failure = transaction.fail(error)
            if failure is None or failure is error:
                raise
            raise failure  # noqa: B904 - its cause is set: the driver's own exception
        finally:
            trouble = transaction.close()
        warnings = ((trouble,) if trouble else ()) + transaction.warnings
        if transaction.pending:
            return WriteResult(message=_PENDING, data=data, warnings=warnings, pending=True)
        # Nothing is left to run but in a test case, whose transaction is never committed.
        return WriteResult(message="committed", data=data, warnings=warnings + after.run())

    def _work(self, transaction: DjangoTransaction, handler: Handler, key: Key | None, after: Collected) -> Any:
        connection, request, ground = transaction.open(), transaction.request, self._ground
        if key is not None:
            ground.take(connection, key, request)
            transaction.keys.append(key)
        with after:
            data = handler.handle(request, connection)
        if key is not None:
            ground.keep(connection, key, data)
        return data

    def _replay(self, request: WriteRequest, deadline: Deadline, key: Key) -> WriteResult[Any] | None:
        """What the write that had the key first has left, or None if the key is free again."""
        transaction = self._ground.transaction(request, deadline)
        kept: Kept | None = None
        try:
            kept = self._ground.look(transaction.open(), key)
            if kept is None:
                transaction.commit()
            else:
                transaction.undo()
        except InvalidRequestError:
            transaction.undo()
            raise
        except BaseException as error:
            if transaction.fail(error) is None:
                raise
            raise _unread(request, transaction.phase) from error
        finally:
            transaction.close()
        if kept is None:
            return None
        return WriteResult(message="done before", data=kept.data, replayed=True, pending=transaction.pending)


def _unread(request: WriteRequest, phase: Phase) -> BackendError:
    # Not "not applied", and so not a TIMEOUT either: a row with the key has been seen.
    return BackendError(
        "a write with this idempotency key was done before, and its stored result could not be read; send it again",
        outcome=Outcome.UNKNOWN,
        retry=Retry.IF_IDEMPOTENT,
        phase=phase,
        target=request.target,
        type=request.type,
        reason="replay",
    )
