"""Several writes in one transaction of a database: a `Unit`, on the same phases, fence and leash as a single write.

The first write that fails ends the unit: it is rolled back there and then, so that its locks are given up, unless a
savepoint is open that may undo the failure alone. Whether a savepoint is still there after an error is the
database's to say, and it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import Phase, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._failures import spoilt
from wellwired.writers._ground import Ground
from wellwired.writers._keys import Key
from wellwired.writers._resolving import COMMITTED_LATE, is_open

__all__ = ["SQLUnit"]

_LABEL = "transaction"


class SQLUnit:
    """See the module and `wellwired.writers.protocol.Unit`; for one thread.

    Args:
        ground: where.
        target: for the words of errors.
        deadline: by when COMMIT must have been sent.
        key_of: makes the idempotency key of a request that has one.
    """

    __slots__ = ("_depth", "_failed", "_ground", "_key_of", "_label", "_transaction", "_trouble", "usable")

    def __init__(self, ground: Ground, target: str, deadline: Deadline, key_of: Callable[[WriteRequest], Key]):
        self.usable = True
        self._ground = ground
        self._depth = 0
        self._failed: WriteError | None = None
        self._trouble: str | None = None
        self._key_of = key_of
        self._label = WriteRequest(target, _LABEL, None)
        self._transaction = ground.transaction(self._label, deadline)

    @property
    def pending(self) -> bool:
        """Whether its commit commits nothing yet; see `wellwired.writers.protocol.Defers`."""
        return self._transaction.pending

    def open(self) -> None:
        """Begins; raises a `WriteError` if that fails, and has given everything back then."""
        try:
            self._transaction.open()
        except BaseException as error:
            self.usable = False
            failure = self._transaction.fail(error)
            self.close()
            if failure is None or failure is error:
                raise
            raise failure  # noqa: B904 - its cause is set: the driver's own exception

    def write(self, request: WriteRequest, *, handler: Handler) -> WriteResult[Any]:
        """See `wellwired.writers.protocol.Unit.write`."""
        if not self.usable:
            raise spoilt(request.target, self._failed)
        transaction = self._transaction
        transaction.request = request
        try:
            transaction.check()
            if request.idempotency_key is None:
                data = handler.handle(request, transaction.connection)
                result: WriteResult[Any] = WriteResult(message="written", data=data, pending=transaction.pending)
            else:
                result = self._ground.once(transaction, self._key_of(request), request, handler)
            transaction.check()
        except BaseException as error:
            failure = self._fail(error)
            if failure is None or failure is error:
                raise
            raise failure  # noqa: B904 - its cause is set: the driver's own exception
        finally:
            transaction.request = self._label
        return result

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """See `wellwired.writers.protocol.Unit.savepoint`."""
        if not self.usable:
            raise spoilt(self._label.target, self._failed)
        name, keys = f"wellwired_{self._depth + 1}", len(self._transaction.keys)
        self._step(lambda: self._transaction.set_savepoint(name))
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            self._go_back(name, keys)
            raise
        self._depth -= 1
        if self._failed is not None:
            error = spoilt(self._label.target, self._failed)
            self._go_back(name, keys)
            raise error
        self._step(lambda: self._transaction.release_savepoint(name))

    def commit(self) -> None:
        """See `wellwired.writers.protocol.Unit.commit`."""
        if not self.usable:
            raise spoilt(self._label.target, self._failed)
        self.usable = False
        try:
            self._step(self._transaction.commit)
        except WriteError as error:
            if not is_open(error):
                raise
            self.close()
            self._ground.resolve(self._transaction, error)
            self._trouble = COMMITTED_LATE

    def rollback(self) -> None:
        """See `wellwired.writers.protocol.Unit.rollback`."""
        self.usable = False
        self._transaction.undo()

    def close(self) -> str:
        """See `wellwired.writers.protocol.Unit.close`."""
        self.usable = False
        if self._trouble is None:
            self._trouble = self._transaction.close()
        return self._trouble

    def _step(self, step: Callable[[], None]) -> None:
        try:
            step()
        except BaseException as error:
            failure = self._fail(error)
            if failure is None or failure is error:
                raise
            raise failure  # noqa: B904 - its cause is set: the driver's own exception

    def _fail(self, error: BaseException) -> WriteError | None:
        transaction = self._transaction
        self.usable = False
        # With a savepoint open there may be something to go back to.
        committing = transaction.phase is Phase.COMMIT
        failure = transaction.judge(error) if self._depth and not committing else transaction.fail(error)
        self._failed = self._failed or failure
        return failure

    def _go_back(self, name: str, keys: int) -> None:
        # The keys of what is undone say nothing about the rest.
        del self._transaction.keys[keys:]
        self.usable = self._transaction.back_to_savepoint(name)
        if self.usable:
            self._failed = None
        elif not self._depth:
            self._transaction.undo()
