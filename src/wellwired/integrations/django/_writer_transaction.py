"""One write's transaction on a Django connection: an `atomic` block whose steps are known.

Usually the block is the outermost one and the writer's own: it begins a transaction and its end commits. The phase is
set by the connection's `commit` itself (see `_writer_overlay`), because the end of an `atomic` block does more than
that, before and after, and no exception tells what it came from. The deadline's fence stands directly before it.

If the application has an `atomic` block open, the write's block is a savepoint in a transaction that is not the
writer's. Then its end commits nothing, and whoever began decides: the write is `pending`. What a savepoint cannot undo
(a deadlock on MySQL, a serialization failure, a lost connection) ends the surrounding transaction, which is marked for
rollback, and is not to be tried again inside it.

The blocks of Django's `TestCase` are no surrounding: a test sees what would happen without them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from wellwired.clock import Deadline
from wellwired.errors import ErrorCode, Outcome, Phase, Retry, WriteError
from wellwired.handlers.after import Collected
from wellwired.integrations.django._writer_deferred import do_deferred
from wellwired.integrations.django._writer_judging import Moment, StoppedError, driver_error, is_gone, judged
from wellwired.integrations.django._writer_overlay import Overlay
from wellwired.integrations.django._writer_places import Place, place_of, usable
from wellwired.operations import WriteRequest
from wellwired.writers._bounds import Leash
from wellwired.writers._checkout import CheckoutLateError
from wellwired.writers._failures import TOO_LATE
from wellwired.writers._keys import Key
from wellwired.writers._native import native_code
from wellwired.writers.classification import Speed, Verdict, find_rule

if TYPE_CHECKING:
    from wellwired.integrations.django._writer_bounds import Bounds
    from wellwired.integrations.django._writer_ground import DjangoGround

__all__ = ["DjangoTransaction"]

_ENDED = Verdict(ErrorCode.BACKEND, Outcome.UNKNOWN, Retry.NEVER, "handler", renew=True)
_CLOSED = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, "handler", renew=True)
_WENT_ON = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, "handler")
_NO_CONNECTION = Verdict(ErrorCode.TIMEOUT, Outcome.NOT_APPLIED, Retry.SAFE, "connection", Speed.SLOW)

_NO_TIME_WORDS = "the deadline passed before the work began, and nothing was applied; allow more time"
_ENDED_WORDS = "the handler ended the transaction itself, and what it committed stays; let the writer commit"
_CLOSED_WORDS = "the handler closed the connection, so nothing is committed; leave that to Django"
_OVER_WORDS = "the transaction around it cannot be committed any more, so leave its atomic block and run that again"
_FAILED_ALREADY = "25P02"


class DjangoTransaction:
    """See the module and `wellwired.writers._ground.Attempt`.

    Args:
        ground: where.
        request: the write, for the words of errors.
        deadline: by when COMMIT must have been sent.
    """

    def __init__(self, ground: DjangoGround, request: WriteRequest, deadline: Deadline) -> None:
        self.phase = Phase.ADMIT
        self.request = request
        self.keys: list[Key] = []
        self.warnings: tuple[str, ...] = ()
        """What failed of the callbacks that the handler gave to Django's `on_commit`, after the commit."""
        self._ground, self._deadline = ground, deadline
        self._place = Place.OWN
        self._connection: BaseDatabaseWrapper | None = None
        self._driver: Any = None
        self._leash: Leash | None = None
        self._block: AbstractContextManager[None] | None = None
        self._savepoints: list[AbstractContextManager[None]] = []
        self._noting: AbstractContextManager[None] | None = None
        self._overlays: list[Overlay] = []
        self._noted: BaseException | None = None
        self._ended_by: BaseException | None = None
        self._refusal: BaseException | None = None
        self._renew = self._begun = False
        self._since = 0
        self.over = False
        """Whether the transaction around it is lost with it."""

    @property
    def pending(self) -> bool:
        """Whether its end commits nothing yet."""
        return self._place is Place.SURROUNDED

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """Django's connection, for the handler."""
        assert self._connection is not None, "the transaction is not open"
        return self._connection

    def open(self) -> BaseDatabaseWrapper:
        """Takes this thread's connection, makes it anew if it must be, and begins."""
        ground = self._ground
        connection = self._connection = ground.connection()
        if not connection.in_atomic_block and is_gone(connection.connection):
            _drop(connection)  # what Django could not make, or has left behind, half
        self._place = place_of(connection, durable=ground.require_durable)
        self._since = len(connection.run_on_commit)
        self._reach(connection, ground.bounds)
        self._enter(connection)
        if self._deadline.passed:
            raise StoppedError(TOO_LATE, _NO_TIME_WORDS)
        self.phase = Phase.EXECUTE
        return connection

    def check(self) -> None:
        """Raises if its end would not commit, or keep, everything that was done so far, or would come too late."""
        connection, leash = self.connection, self._leash
        assert leash is not None, "the transaction is not open"
        if leash.fired:
            raise StoppedError(TOO_LATE, "the deadline passed during the work, which was cut off; allow more time")
        if self._ended_by is not None:
            raise self._ended_by
        if connection.closed_in_transaction or connection.connection is not self._driver:
            raise self._noted or StoppedError(_CLOSED, _CLOSED_WORDS)
        if connection.needs_rollback:
            raise self._noted or StoppedError(_WENT_ON)
        if broken := leash.broken():
            raise self._noted or (StoppedError(_ENDED, _ENDED_WORDS) if broken == "ended" else StoppedError(_WENT_ON))
        if self._deadline.passed:
            raise StoppedError(TOO_LATE)

    def commit(self) -> None:
        """Ends the block: commits, or keeps what was done in the transaction around it."""
        self.check()
        leash = self._leash
        if leash is None or not leash.allow(self._ground.grace):
            raise StoppedError(TOO_LATE)
        if self._place is Place.OWN:
            self._commit(self.connection)
        else:
            self._leave()
        self.phase = Phase.DONE
        if self._place is Place.TEST:
            self._answered()
            do_deferred(self.connection, self._since)

    def follow(self, after: Collected) -> None:
        """Has what a handler wants done after the commit done then, by Django's `on_commit`; before `commit`.

        Args:
            after: what the handler has asked for.
        """
        if after.mark == 0 or self._place is Place.TEST:
            return  # a test case's transaction is never committed, so the writer has it done itself

        def run() -> None:
            self.warnings += after.run()

        if self.pending:
            self._ground.defer(after.run)
        else:
            transaction.on_commit(run, using=self._ground.alias)

    def judge(self, error: BaseException) -> WriteError | None:
        """Judges a failure; None if it is to be raised as it is."""
        leash = self._leash
        if not isinstance(error, Exception):
            self._renew = self._renew or leash is None or not leash.sturdy
            return None
        if self._connection is None:
            raise error  # the alias cannot even be looked up: the writer has been made for another project
        severed = leash is not None and leash.severed
        lost = severed or is_gone(self._driver)
        moment = Moment(
            request=self.request,
            phase=self.phase,
            connection=self._connection,
            rules=self._ground.rules,
            lost=lost,
            late=self._deadline.passed,
            cut=leash is not None and leash.fired,
            ended_by=self._ended_by,
        )
        failure, renew = judged(error, moment)
        self._renew = self._renew or renew or lost
        return failure

    def fail(self, error: BaseException) -> WriteError | None:
        """Judges a failure and undoes everything; says so if the transaction around it is lost with it."""
        failure = self.judge(error)
        self._undo()
        if failure is not None and self._begun and self._place is not Place.OWN:
            self._tell_around(failure)
        return failure

    def undo(self) -> None:
        """Undoes everything that was done so far."""
        self._undo()

    def set_savepoint(self, _name: str) -> None:
        """Opens a block inside."""
        block = transaction.atomic(using=self._ground.alias)
        block.__enter__()
        self._savepoints.append(block)

    def release_savepoint(self, _name: str) -> None:
        """Leaves the innermost block, and keeps what was done in it."""
        if self.connection.needs_rollback:  # an `atomic` block that is left so undoes it without a word
            raise self._noted or StoppedError(_WENT_ON)
        self._savepoints.pop().__exit__(None, None, None)

    def back_to_savepoint(self, _name: str) -> bool:
        """Undoes the innermost block."""
        connection, leash = self.connection, self._leash
        block = self._savepoints.pop()
        if self._renew or leash is None or leash.fired:
            self._savepoints.append(block)
            return False
        with suppress(Exception):  # if it cannot be undone, Django marks what is around it
            block.__exit__(StoppedError, None, None)
        if not usable(connection) or leash.broken() or connection.connection is not self._driver:
            return False
        self._noted = self._ended_by = None
        return True

    def close(self) -> str:
        """Gives everything back; never raises."""
        try:
            self._undo()
            self._end()
        except Exception as error:  # noqa: BLE001 - the write is what it is, whatever the connection says
            return f"the connection was not left as it was found: {type(error).__name__}"
        return ""

    def _reach(self, connection: BaseDatabaseWrapper, bounds: Bounds) -> None:
        way = None
        try:
            if self._place is Place.OWN:
                self.phase = Phase.CHECKOUT
                way = bounds.reach(connection, self._deadline)
            self.phase = Phase.BEGIN
            self._driver = connection.connection
            self._leash = bounds.leash(connection, self._deadline, way)
        except CheckoutLateError:
            verdict = _NO_CONNECTION if self.phase is Phase.CHECKOUT else TOO_LATE
            raise StoppedError(verdict, _NO_TIME_WORDS) from None
        finally:
            if way is not None:
                way.end()  # the leash has taken over what it watches, if there is one

    def _enter(self, connection: BaseDatabaseWrapper) -> None:
        block = transaction.atomic(using=self._ground.alias)
        # A transaction that reads first may never get SQLite's write lock, and a write needs it in any case.
        mode = Overlay(connection, transaction_mode=getattr(connection, "transaction_mode", None) or "IMMEDIATE")
        self._begun = True
        try:
            block.__enter__()
        finally:
            mode.off()
        self._block = block
        self._noting = connection.execute_wrapper(self._noted_by)
        self._noting.__enter__()
        if self._place is Place.OWN:
            # Before the overlay, so that it is the first to be called: nobody else's work is bounded by our grace.
            connection.on_commit(self._answered)
            self._overlays.append(Overlay(connection, on_commit=self._on_commit(connection.on_commit)))

    def _noted_by(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        """Notes an error of the backend, in case that the handler swallows it."""
        try:
            return execute(sql, params, many, context)
        except Exception as error:
            driver = driver_error(error, self.connection)
            native = None if driver is None else native_code(driver)
            rule = find_rule(self.connection.vendor, native, self._ground.rules)
            if rule is not None and rule.ends and self._ended_by is None:
                self._ended_by = error
            if driver is not None and native != _FAILED_ALREADY:
                self._noted = error
            raise

    def _on_commit(self, register: Callable[..., None]) -> Callable[..., None]:
        """Django's `on_commit` for the handler: what fails is logged by Django, and is a warning of the write."""

        def on_commit(func: Any, robust: bool = False) -> None:
            if not callable(func):
                register(func, robust)  # which refuses it

            @wraps(func)
            def noted() -> None:
                try:
                    func()
                except Exception as error:
                    name = getattr(func, "__qualname__", type(func).__qualname__)
                    self.warnings += (f"the callback {name} failed after the commit: {type(error).__name__}",)
                    raise

            register(noted, True)

        return on_commit

    def _commit(self, connection: BaseDatabaseWrapper) -> None:
        send = connection.commit

        def commit() -> None:
            self.phase = Phase.COMMIT
            try:
                send()
            except BaseException as error:
                self._refusal = error
                raise
            self.phase = Phase.DONE

        self._overlays.append(Overlay(connection, commit=commit, get_new_connection=_no_other))
        try:
            self._leave()
        except Exception as error:  # noqa: BLE001 - after the commit nothing is an error any more
            if self.phase is not Phase.DONE:
                raise (self._refusal or error) from (self._refusal or error).__cause__
            self._finish(connection)

    def _finish(self, connection: BaseDatabaseWrapper) -> None:
        """COMMIT was answered, and then the connection was lost before what follows the commit was done."""
        self._answered()
        waiting = connection.run_on_commit
        _drop(connection)
        connection.run_commit_hooks_on_set_autocommit_on = False
        connection.run_on_commit = waiting
        connection.run_and_clear_commit_hooks()

    def _answered(self) -> None:
        """The first of what Django calls after the commit: from here on nothing is bounded, and nothing is ours."""
        for overlay in reversed(self._overlays):
            overlay.off()
        if self._noting is not None:
            noting, self._noting = self._noting, None
            noting.__exit__(None, None, None)
        if self._leash is not None:
            with suppress(Exception):  # the connection may be gone
                self._leash.end()

    def _leave(self) -> None:
        block, self._block = self._block, None
        assert block is not None, "the transaction is not open"
        block.__exit__(None, None, None)

    def _undo(self) -> None:
        """Leaves every block by way of rolling back, or drops the connection."""
        connection, leash = self._connection, self._leash
        if connection is None:
            return
        if leash is not None and self._block is not None:
            self._renew = self._renew or not leash.allow(self._ground.grace)
        if self._renew and self.phase is not Phase.DONE:
            _drop(connection)
        if self._block is None:
            return
        blocks, self._block = [self._block, *self._savepoints], None
        self._savepoints = []
        _roll_back(connection, reversed(blocks))

    def _tell_around(self, failure: WriteError) -> None:
        """Marks the transaction around it if no savepoint helps, and has nobody try again inside it."""
        connection = self.connection
        if usable(connection) and failure.reason != "serialization":
            return
        if connection.in_atomic_block:
            connection.set_rollback(True)
        self.over = True
        failure.retry = Retry.NEVER
        failure.message = f"{failure.message}; {_OVER_WORDS}"
        failure.args = (failure.message,)

    def _end(self) -> None:
        connection, leash = self._connection, self._leash
        if connection is None:
            return
        self._answered()
        if leash is not None and leash.severed and connection.connection is self._driver:
            _drop(connection)
        if self._begun and self._place is Place.OWN and connection.connection is not None and not connection.autocommit:
            _drop(connection)


def _roll_back(connection: BaseDatabaseWrapper, blocks: Iterable[AbstractContextManager[None]]) -> None:
    """Leaves blocks by way of rolling back; drops the connection if that is not confirmed."""
    failures: list[BaseException] = []
    send = connection.rollback

    def rollback() -> None:
        try:
            send()
        except BaseException as error:
            failures.append(error)
            # Before Django sets its autocommit, by which SQLite would commit what is still there.
            _drop(connection)
            raise

    # Django would make a new connection to set its autocommit, in as much time as that takes.
    overlay = Overlay(connection, get_new_connection=_no_other, rollback=rollback)
    try:
        for block in blocks:
            block.__exit__(StoppedError, None, None)
    except BaseException as error:  # noqa: BLE001 - looked at below
        failures.append(error)
        _drop(connection)
    finally:
        overlay.off()
    # Who ends the program, or the thread, is heard, also if Django's own end of a block hides it behind an error.
    if ending := next((one for one in failures if not isinstance(one, Exception)), None):
        raise ending


def _drop(connection: BaseDatabaseWrapper) -> None:
    with suppress(Exception):  # it is gone: what was wanted
        connection.close()


def _no_other(_params: Any) -> Any:
    raise StoppedError(_NO_CONNECTION)
