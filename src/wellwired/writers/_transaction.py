"""One explicit transaction of a write, or of several, from the way into the pool to the way back.

The phases are set here, each before the step that it names, because no exception can tell afterwards how far a write
had come. The deadline's fence stands directly before COMMIT: a write that is late is rolled back, and one whose COMMIT
has been sent is never called late.

``with engine.begin()`` cannot serve: it commits or, after an error, rolls back in one step that hides the phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import Engine, RootTransaction
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from wellwired.clock import Deadline
from wellwired.errors import ErrorCode, Outcome, Phase, Retry, WriteError
from wellwired.operations import WriteRequest
from wellwired.writers._bounds import AutocommitError, Bounds, Leash
from wellwired.writers._checkout import CheckoutLateError
from wellwired.writers._connection import WriteConnection
from wellwired.writers._failures import POOL_FULL, TOO_LATE, fill, write_error
from wellwired.writers._gate import Gate
from wellwired.writers._keys import Key
from wellwired.writers._native import login_trouble, native_code, shown_code
from wellwired.writers._rules import Rule
from wellwired.writers._xids import Xid, begin_numbered
from wellwired.writers.classification import Speed, Verdict, classify
from wellwired.writers.protocol import handler_failed

__all__ = ["Database", "Transaction"]

_AUTOCOMMIT = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, "autocommit")
_ENDED = Verdict(ErrorCode.BACKEND, Outcome.UNKNOWN, Retry.NEVER, "handler", renew=True)
_WENT_ON = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, "handler")
_NESTED = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, "nested")
_NO_CONNECTION = Verdict(ErrorCode.TIMEOUT, Outcome.NOT_APPLIED, Retry.SAFE, "connection", Speed.SLOW)
_NO_PASSWORD = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, "permission")
_POOL_BUSY = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.SAFE, "pool", Speed.SLOW)

_AUTOCOMMIT_WORDS = "the engine is in AUTOCOMMIT, where no write can be undone; make it without that isolation level"
_NESTED_WORDS = (
    "this thread already holds the only connection for writes, in a transaction or a handler that is not over; write "
    "through that transaction, or after it"
)
_NO_TIME_WORDS = "the deadline passed before the work began, and nothing was applied; allow more time"
_CUT_WORDS = "the deadline passed during the work, which was cut off and rolled back; allow more time"
_ENDED_WORDS = "the handler ended the transaction itself, and what it committed stays; let the writer commit"


class _StoppedError(Exception):
    """The transaction stops here for a reason that no driver gave."""

    def __init__(self, verdict: Verdict, message: str = "") -> None:
        self.verdict = verdict
        self.message = message
        super().__init__(verdict.reason)


class Database:
    """What the transactions of one writer share.

    Args:
        engine: the application's engine.
        gate: the entrance to its pool.
        bounds: how its transactions are kept within their deadlines.
        grace: seconds that a COMMIT or ROLLBACK may take, whatever the deadline.
        rules: the application's own rules about error codes.
        numbered: whether transactions are begun with their number read; see `_xids`.
    """

    __slots__ = ("_first", "_own", "bounds", "engine", "gate", "grace", "numbered", "rules")

    def __init__(
        self,
        engine: Engine,
        gate: Gate,
        bounds: Bounds,
        grace: float,
        rules: Mapping[Any, Rule],
        *,
        numbered: bool = False,
    ) -> None:
        self.numbered = numbered
        self.engine = engine
        self.gate = gate
        self.bounds = bounds
        self.grace = grace
        self.rules = rules
        self._own = engine
        # SQLAlchemy makes everyone wait, for as long as it takes, for whoever sets up an engine's first connection.
        self._first = None if engine.dialect.name == "sqlite" else Gate(1)

    def connect(self, deadline: Deadline) -> WriteConnection:
        """Takes a connection from the pool; may wait for one to be made, until the deadline.

        Raises:
            CheckoutLateError: there was none in time.
        """
        first = self._first
        if first is None:
            return self._connected(deadline)
        if not first.enter(deadline):
            raise CheckoutLateError
        try:
            if self._first is not None:
                connection = self._connected(deadline)
                self._first = None
                return connection
        finally:
            first.leave()
        return self._connected(deadline)

    def _connected(self, deadline: Deadline) -> WriteConnection:
        checkout = self.bounds.checkout(deadline)
        if checkout is None:
            return self._taken()
        with checkout:
            connection = self._taken()
        if checkout.fired:
            connection.invalidate()
            connection.release()
            raise CheckoutLateError
        return connection

    def _taken(self) -> WriteConnection:
        if self._own.dialect is not self.engine.dialect or self._own is self.engine:
            self._own = self._with_options()
        return WriteConnection(self._own, self.rules)

    def _with_options(self) -> Engine:
        # A listener that begins SQLite's transactions for everyone finds this option and leaves ours alone.
        sqlite = self.engine.dialect.name == "sqlite"
        return self.engine.execution_options(sqlite_begin="") if sqlite else self.engine


class Transaction:
    """See the module; for one thread. After `open` has been called, `close` must be.

    Args:
        database: where.
        request: the write, for the words of errors; may be changed from one write to the next.
        deadline: by when COMMIT must have been sent.
    """

    __slots__ = (
        "_admitted",
        "_connection",
        "_database",
        "_deadline",
        "_leash",
        "_renew",
        "_root",
        "_undone",
        "grace",
        "keys",
        "phase",
        "request",
        "xid",
    )

    def __init__(self, database: Database, request: WriteRequest, deadline: Deadline) -> None:
        self.phase = Phase.ADMIT
        self.request = request
        self.keys: list[Key] = []
        """Idempotency keys that it has taken, by which its end can be known."""
        self.xid: Xid | None = None
        self.grace = deadline
        """By when COMMIT must have been answered; set when it is sent."""
        self._database = database
        self._deadline = deadline
        self._admitted = False
        self._renew = False
        self._undone = False
        self._connection: WriteConnection | None = None
        self._root: RootTransaction | None = None
        self._leash: Leash | None = None

    @property
    def pending(self) -> bool:
        """Whether its commit commits nothing yet: never, for the transaction is the writer's own."""
        return False

    @property
    def over(self) -> bool:
        """Whether nothing else can be done around it: never, for there is nothing around it."""
        return False

    @property
    def connection(self) -> WriteConnection:
        """The open transaction's connection."""
        assert self._connection is not None, "the transaction is not open"
        return self._connection

    def open(self) -> WriteConnection:
        """Waits for a place, takes a connection and begins.

        Returns:
            The connection, for the handler.
        """
        database = self._database
        if database.gate.shut_here:
            raise _StoppedError(_NESTED, _NESTED_WORDS)
        self.phase = Phase.CHECKOUT
        self._admitted = database.gate.enter(self._deadline)
        if not self._admitted:
            raise _StoppedError(POOL_FULL)
        connection = self._connection = database.connect(self._deadline)
        self.phase = Phase.BEGIN
        self._root = connection.begin()
        fairy, left = connection.connection, self._deadline.left()
        if left <= 0:
            raise _StoppedError(TOO_LATE, _NO_TIME_WORDS)
        self._leash = database.bounds.begin(fairy.driver_connection, fairy.info, left)
        if database.numbered:
            self.xid = begin_numbered(fairy.driver_connection)
        self.phase = Phase.EXECUTE
        return connection

    def check(self) -> None:
        """Raises if COMMIT would not commit everything that was done so far, or would come too late."""
        root, leash = self._root, self._leash
        assert root is not None and leash is not None, "the transaction is not open"
        self._check(root, leash)
        if self._deadline.passed:
            raise _StoppedError(TOO_LATE)

    def commit(self) -> None:
        """Commits, if everything that the handler did would be committed and there is time left."""
        self.check()
        root, leash = self._root, self._leash
        assert root is not None and leash is not None, "the transaction is not open"
        if not leash.allow(self._database.grace):
            raise _StoppedError(TOO_LATE)
        self.phase = Phase.COMMIT
        if self.keys or self.xid is not None:
            self.grace = Deadline.after(self._database.grace)
        root.commit()
        self.phase = Phase.DONE

    def again(self) -> Transaction:
        """Another transaction for the same write, until the end of the grace, to look what became of this one."""
        return Transaction(self._database, self.request, self.grace)

    def judge(self, error: BaseException) -> WriteError | None:
        """Judges a failure, and leaves the transaction as it is.

        Args:
            error: what was raised between `open` and the end of `commit`.

        Returns:
            The error to raise, or None if it is to be raised as it is (it asks the thread or process to stop).
        """
        if not isinstance(error, Exception):
            self._renew = self._renew or self._leash is None or not self._leash.sturdy
            return None
        failure, renew = self._judge(error)
        self._renew = self._renew or renew
        return failure

    def fail(self, error: BaseException) -> WriteError | None:
        """Judges a failure as `judge` does, and rolls back or drops the connection."""
        failure = self.judge(error)
        self._abandon(renew=self._renew)
        return failure

    def undo(self) -> None:
        """Rolls back what was done so far, without calling it a failure."""
        self._abandon(renew=self._renew)

    def set_savepoint(self, name: str) -> None:
        """Sets a savepoint; raises what the driver raises."""
        self._database.engine.dialect.do_savepoint(self.connection, name)

    def release_savepoint(self, name: str) -> None:
        """Forgets a savepoint and keeps what was done since; raises what the driver raises."""
        self._database.engine.dialect.do_release_savepoint(self.connection, name)

    def back_to_savepoint(self, name: str) -> bool:
        """Undoes what was done since a savepoint; never raises an `Exception`.

        Some errors (a deadlock on MySQL, an interruption on SQLite) have ended the whole transaction. The backend is
        the one to say so: it does not know the savepoint any more.

        Returns:
            Whether the transaction goes on as it was when the savepoint was set.
        """
        connection, root, leash = self.connection, self._root, self._leash
        if self._renew or connection.invalidated or root is None or leash is None or leash.fired:
            return False
        if not root.is_active or connection.get_transaction() is not root:
            return False
        try:
            self._database.engine.dialect.do_rollback_to_savepoint(connection, name)
            self.release_savepoint(name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the savepoint is not there
            self.judge(error)
            return False
        connection.noted = connection.ended_by = None
        return not leash.broken()

    def close(self) -> str:
        """Gives everything back; never raises.

        Returns:
            What went wrong, in one line, or "".
        """
        trouble = ""
        try:
            if self._connection is not None:
                self._let_go(self._connection)
        except Exception as error:  # noqa: BLE001 - the write is what it is, whatever the pool says
            trouble = f"the connection was not returned to its pool: {type(error).__name__}"
        finally:
            if self._admitted:
                self._admitted = False
                self._database.gate.leave()
        return trouble

    def _let_go(self, connection: WriteConnection) -> None:
        if self._leash is not None:
            with suppress(Exception):  # the connection may be gone
                self._leash.end()
            # The grace may have run out after COMMIT was answered, if this process was stopped for a while.
            if self._leash.severed and not connection.invalidated:
                connection.invalidate()
        connection.release(ended=self._undone or self.phase is Phase.DONE)

    def _check(self, root: RootTransaction, leash: Leash) -> None:
        connection = self.connection
        if leash.fired:
            raise _StoppedError(TOO_LATE, _CUT_WORDS)
        if connection.ended_by is not None:
            raise connection.ended_by
        if not root.is_active or connection.get_transaction() is not root:
            raise _StoppedError(_ENDED, _ENDED_WORDS)
        broken = leash.broken()
        if broken and connection.noted is not None:
            raise connection.noted
        if broken:
            raise _StoppedError(_ENDED, _ENDED_WORDS) if broken == "ended" else _StoppedError(_WENT_ON)

    def _judge(self, error: Exception) -> tuple[WriteError, bool]:
        request, phase = self.request, self.phase
        if isinstance(error, _StoppedError):
            return write_error(error.verdict, request, phase, message=error.message), error.verdict.renew
        if isinstance(error, CheckoutLateError):
            return write_error(_NO_CONNECTION, request, phase), False
        if isinstance(error, AutocommitError):
            return write_error(_AUTOCOMMIT, request, phase, message=_AUTOCOMMIT_WORDS), False
        if isinstance(error, PoolTimeoutError) and phase is Phase.CHECKOUT:
            verdict = POOL_FULL if self._deadline.passed else _POOL_BUSY
            return write_error(verdict, request, phase, error), False
        if phase is Phase.EXECUTE and self._leash is not None and self._leash.fired:
            return write_error(TOO_LATE, request, phase, error, message=_CUT_WORDS), self._severed
        return self._judge_native(error) if self._is_native(error) else self._judge_handler(error)

    def _judge_handler(self, error: Exception) -> tuple[WriteError, bool]:
        """A failure that the backend did not raise, though one that was swallowed may have caused it."""
        ended_by = self.connection.ended_by
        if isinstance(error, WriteError):
            return fill(error, self.request, self.phase), False
        return (handler_failed(error, self.request), False) if ended_by is None else self._judge_native(ended_by)

    def _judge_native(self, error: BaseException) -> tuple[WriteError, bool]:
        verdict, native = self._classify(error), native_code(error)
        if native is None and self.phase is Phase.CHECKOUT and (trouble := login_trouble(error)):
            verdict = _NO_PASSWORD if trouble == "permission" else replace(verdict, reason=trouble)
        failure = write_error(verdict, self.request, self.phase, error, native=shown_code(error, native))
        return failure, verdict.renew

    def _is_native(self, error: Exception) -> bool:
        """Whether the backend raised it: in the handler by its class, for there is no other mark; else in any case."""
        drivers = (DBAPIError, self._database.engine.dialect.loaded_dbapi.Error)
        return self.phase is not Phase.EXECUTE or isinstance(error, drivers)

    def _classify(self, error: BaseException) -> Verdict:
        database = self._database
        connection = self._connection
        lost = self._severed or getattr(error, "connection_invalidated", False)
        lost = lost or (connection is not None and connection.invalidated)
        name, late = database.engine.dialect.name, self._deadline.passed
        return classify(name, native_code(error), self.phase, lost=lost, late=late, rules=database.rules)

    @property
    def _severed(self) -> bool:
        return self._leash is not None and self._leash.severed

    def _abandon(self, *, renew: bool) -> None:
        connection, leash = self._connection, self._leash
        if connection is None or connection.closed or connection.invalidated:
            return
        if leash is None and not renew:
            leash = self._late_leash(connection)
            if leash is None:
                return  # nothing was begun: the pool's own reset is enough
        if renew or leash is None or not leash.allow(self._database.grace) or not self._rolled_back(connection):
            connection.invalidate()

    def _rolled_back(self, connection: WriteConnection) -> bool:
        """Rolls back at the driver, which works whatever SQLAlchemy thinks of the transaction."""
        driver = connection.connection.driver_connection
        assert driver is not None
        try:
            driver.rollback()
        except Exception:  # noqa: BLE001 - whatever it is, the roll-back is not confirmed
            return False
        self._undone = not self._severed
        return self._undone

    def _late_leash(self, connection: WriteConnection) -> Leash | None:
        """Bounds for the ROLLBACK of a transaction that ended before it had any; none where nothing is sent for it."""
        if connection.dialect.name == "sqlite":
            return None
        fairy, database = connection.connection, self._database
        with suppress(AutocommitError):
            self._leash = database.bounds.begin(fairy.driver_connection, fairy.info, database.grace)
        return self._leash
