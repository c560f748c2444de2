"""The writer for databases that SQLAlchemy speaks to: one explicit transaction per write.

Each attempt is one transaction: a place in the pool, BEGIN, the handler with the connection, the deadline's fence,
COMMIT. What is reported follows from how far it came (see `_transaction`) and from the database's own error code (see
`classification`):

- a TIMEOUT was never committed and never will be; the time that a call takes is bounded by its deadline and, once
  COMMIT has been sent, by `commit_grace` after it;
- a COMMIT whose answer is lost is a BACKEND error with the outcome UNKNOWN; a late answer is a success;
- with an idempotency key the write takes effect once (see `idempotency`).

That holds for transactional tables. MySQL and MariaDB commit DDL by themselves and cannot roll back MyISAM or Aria
tables; handlers for such must expect it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Engine

from wellwired.clock import SYSTEM, Clock, Deadline
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Phase, Retry, WriteError
from wellwired.handlers.after import Collected
from wellwired.handlers.protocol import Handler
from wellwired.handlers.registry import Registry
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._answers import Answer
from wellwired.writers._bounds import bounds_for
from wellwired.writers._claiming import LOOKS, KeyTakenError, came_and_went, take
from wellwired.writers._connection import listen
from wellwired.writers._group import Group, GroupCommit
from wellwired.writers._many_sql import SQLBatch
from wellwired.writers._pool import gate_for
from wellwired.writers._resolving import COMMITTED_LATE, is_open, resolved
from wellwired.writers._rules import Rule
from wellwired.writers._sql_ground import SQLGround
from wellwired.writers._transaction import Database, Transaction
from wellwired.writers._units import SQLUnit
from wellwired.writers._xids import can_number
from wellwired.writers.idempotency import Kept, Key, look, store
from wellwired.writers.protocol import BATCH_SIZE, WriterCapabilities, WritesMany

__all__ = ["SQLWriter"]

_BACKEND = "sql"
_DAYS_3 = 3 * 86_400.0


class SQLWriter:
    """Writes to one database; safe to use from many threads and after a fork.

    The engine stays the application's: errors on this writer's own connections are listened for, and its own checkouts
    are bounded by the deadline (see `_checkout`); for others nothing changes. An engine in AUTOCOMMIT is refused at the
    first write.

    Args:
        name: the dotted name of its target, such as ``sql.main``.
        engine: the database; its pool's size is how many writes run at once (on SQLite, one).
        handlers: those for the backend ``sql`` and for any; others are left alone. None for an empty registry.
        targets: further targets that it writes for.
        clock: tells when idempotency keys expire.
        commit_grace: seconds that COMMIT or ROLLBACK may take after the deadline.
        key_ttl: seconds for which an idempotency key is remembered at least.
        rules: what error codes mean that the tables of `classification` do not know, or know otherwise.
        batch_size: how many writes of a batch are one transaction at most.
        resolve: whether to find out, on PostgreSQL by psycopg, what became of a COMMIT without an answer, for writes
            without an idempotency key too; it costs about a tenth of a small write on loopback. For writes with a key
            it is always done, on every database.
        group_commit: the types of which concurrent single writes share transactions, and how many; see `_group`. Their
            handlers may run on the thread of another caller.
    """

    def __init__(
        self,
        name: str,
        engine: Engine,
        *,
        handlers: Registry | None = None,
        targets: Iterable[str] = (),
        clock: Clock = SYSTEM,
        commit_grace: float = 2.0,
        key_ttl: float = _DAYS_3,
        rules: Mapping[Any, Rule] | None = None,
        batch_size: int = BATCH_SIZE,
        resolve: bool = False,
        group_commit: Mapping[str, GroupCommit] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError("batch_size must be 1 or more")
        self.name = name
        self.batch_size = batch_size
        self.targets = (name, *(target for target in targets if target != name))
        self._handlers = Registry() if handlers is None else handlers
        self._clock = clock
        self._key_ttl = key_ttl
        self._served = frozenset(self.targets)
        numbered = resolve and can_number(engine)
        gate, bounds = gate_for(engine), bounds_for(engine, name)
        self._database = Database(engine, gate, bounds, commit_grace, dict(rules or {}), numbered=numbered)
        self._ground = SQLGround(self._database)
        self._groups = {kind: self._group(policy) for kind, policy in (group_commit or {}).items()}
        listen(engine)

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
    def key_ttl(self) -> float:
        """Seconds for which an idempotency key is remembered at least."""
        return self._key_ttl

    @property
    def capabilities(self) -> WriterCapabilities:
        """What it can promise, on transactional tables."""
        return WriterCapabilities(
            deadline="fenced",
            atomic=True,
            idempotency=True,
            savepoints=True,
            resolves_unknown=self._database.numbered,
            batches=isinstance(self, WritesMany),
        )

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Makes one attempt in a transaction of its own.

        Args:
            request: a valid request.
            handler: called with the request and an SQLAlchemy `Connection`; it must not commit or roll back.
            deadline: by when COMMIT must have been sent.

        Returns:
            What the handler returned, committed; or the stored result of an earlier write with the same key.

        Raises:
            WriteTimeoutError: nothing is applied.
            InvalidRequestError: the idempotency key was used with another payload.
            BackendError: the database or the handler failed; see its `outcome` and `retry`.
        """
        group = self._groups.get(request.type)
        # Whoever is inside the gate of SQLite already would wait for itself; alone it is refused at once.
        if group is None or self._database.gate.shut_here:
            return self._alone(request, handler, deadline)
        return group.write(request, handler, deadline)

    def write_batch(
        self, requests: Sequence[WriteRequest], *, handler: Handler, deadline: Deadline, atomic: bool
    ) -> Sequence[WriteResult[Any] | WriteError]:
        """Makes one attempt at many writes of one type; see `wellwired.writers.protocol.WritesMany`.

        Args:
            requests: valid ones, no two with the same idempotency key.
            handler: its `handle_many` is called with all of them, or its `handle` one by one in one transaction.
            deadline: by when COMMIT must have been sent.
            atomic: whether all take effect or none.

        Returns:
            For each request, at its position, its result or its error.
        """
        batch = SQLBatch(self._ground, requests, handler=handler, deadline=deadline, atomic=atomic, key_of=self._key_of)
        return batch.run()

    def begin(self, target: str, /, *, deadline: Deadline) -> SQLUnit:
        """Opens a transaction for several writes; see `wellwired.writers.protocol.Transacts.begin`.

        Args:
            target: for the words of errors.
            deadline: by when COMMIT must have been sent.

        Returns:
            The open unit; a request with an idempotency key takes it, or is replayed, in the unit's own transaction.

        Raises:
            WriteTimeoutError: there was no connection in time.
            BackendError: the database failed; nothing is applied.
        """
        unit = SQLUnit(self._ground, target, deadline, self._key_of)
        unit.open()
        return unit

    def __repr__(self) -> str:
        return f"SQLWriter({self.name!r}, {self._database.engine.dialect.name})"

    def _key_of(self, request: WriteRequest) -> Key:
        return Key.of(request, now=self._clock.wall(), ttl=self._key_ttl)

    def _group(self, policy: GroupCommit) -> Group:
        def together(requests: Sequence[WriteRequest], handler: Handler, deadline: Deadline) -> Sequence[Answer]:
            return self.write_batch(requests, handler=handler, deadline=deadline, atomic=False)

        return Group(policy, alone=self._alone, together=together)

    def _alone(self, request: WriteRequest, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        if request.idempotency_key is None:
            return self._attempt(request, handler, deadline, None)
        key = self._key_of(request)
        for _ in range(LOOKS):
            try:
                return self._attempt(request, handler, deadline, key)
            except KeyTakenError:
                kept = self._replay(request, deadline, key)
                if kept is not None:
                    return WriteResult(message="done before", data=kept.data, replayed=True)
        raise came_and_went(request, "lock")

    def _attempt(
        self, request: WriteRequest, handler: Handler, deadline: Deadline, key: Key | None
    ) -> WriteResult[Any]:
        transaction, after = Transaction(self._database, request, deadline), Collected()
        lost: WriteError | None = None
        data: Any = None
        try:
            data = self._work(transaction, handler, key, after)
            transaction.commit()
        except KeyTakenError:
            transaction.undo()
            raise
        except BaseException as error:
            failure = transaction.fail(error)
            if failure is None or failure is error:
                raise
            if not is_open(failure):
                raise failure  # noqa: B904 - its cause is set: the driver's own exception
            lost = failure
        finally:
            trouble = transaction.close()
        if lost is not None:
            resolved(transaction, lost)
            trouble = COMMITTED_LATE
        warnings = ((trouble,) if trouble else ()) + after.run()
        return WriteResult(message="committed", data=data, warnings=warnings)

    def _work(self, transaction: Transaction, handler: Handler, key: Key | None, after: Collected) -> Any:
        connection, request = transaction.open(), transaction.request
        if key is not None:
            take(connection, key, request)
            transaction.keys.append(key)
        with after:
            data = handler.handle(request, connection)
        if key is not None:
            store(connection, key, data)
        return data

    def _replay(self, request: WriteRequest, deadline: Deadline, key: Key) -> Kept | None:
        """What the write that had the key first has left, or None if the key is free again."""
        transaction = Transaction(self._database, request, deadline)
        try:
            kept = look(transaction.open(), key)
            if kept is None:
                transaction.commit()
            else:
                transaction.undo()
            return kept
        except InvalidRequestError:
            transaction.undo()
            raise
        except BaseException as error:
            if transaction.fail(error) is None:
                raise
            raise _unread(request, transaction.phase) from error
        finally:
            transaction.close()


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
