"""Finds out, after a COMMIT whose answer was lost, what became of it.

Two witnesses can tell. The row of an idempotency key that the transaction has taken is there if and only if it was
committed; to try to take it again waits for a transaction that is still open to end. And PostgreSQL knows the end of
a transaction by its number (see `_xids`). Whatever else goes wrong on the way, the outcome stays as open as it was.

It is done in what is left of the commit's grace, so a write still ends by its deadline and the grace.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wellwired.errors import BackendError, InvalidRequestError, Outcome, Phase, Retry, WriteError
from wellwired.operations import WriteRequest
from wellwired.writers._claiming import KeyTakenError, take
from wellwired.writers._xids import Xid, ended
from wellwired.writers.idempotency import look

if TYPE_CHECKING:
    from wellwired.writers._keys import Kept, Key
    from wellwired.writers._transaction import Transaction

__all__ = ["COMMITTED_LATE", "is_open", "resolved"]

COMMITTED_LATE = "the answer to COMMIT was lost, and the database was asked again: it is committed"
"""The warning of a write that was found committed."""

_NAP = 0.02


def is_open(failure: BaseException | None) -> bool:
    """Whether a failure leaves the outcome of a COMMIT open."""
    return isinstance(failure, WriteError) and failure.phase is Phase.COMMIT and failure.outcome is Outcome.UNKNOWN


def resolved(transaction: Transaction, failure: WriteError) -> Kept | None:
    """Asks the witnesses of a transaction that has been closed.

    Args:
        transaction: the one whose COMMIT went unanswered.
        failure: the error that says so.

    Returns:
        If it is committed, what is kept under its first key; None if it had no key.

    Raises:
        WriteError: the same failure if nobody can tell; a `BackendError` if it is certainly not applied, which may be
            sent again.
    """
    kept: Kept | None = None
    try:
        if transaction.keys:
            kept = _by_key(transaction, transaction.keys[0])
            committed: bool | None = kept is not None
        elif transaction.xid is not None:
            committed = _by_number(transaction, transaction.xid)
        else:
            committed = None
    except Exception as error:  # noqa: BLE001 - that nobody could be asked changes nothing
        failure.add_note(f"what became of it could not be found out: {type(error).__name__}")
        raise failure from failure.__cause__
    if committed:
        return kept
    raise (failure if committed is None else _lost(transaction.request, failure)) from failure.__cause__


def _by_key(transaction: Transaction, key: Key) -> Kept | None:
    """What the transaction has left under its key, or None if it is rolled back.

    A row of another attempt proves that ours is not there: a key has one row.
    """
    again = transaction.again()
    try:
        connection = again.open()
        try:
            take(connection, key, again.request)
        except KeyTakenError:
            again.undo()
        else:
            again.undo()
            return None
    except BaseException as error:
        again.fail(error)
        raise
    finally:
        again.close()
    return _own(transaction, key)


def _own(transaction: Transaction, key: Key) -> Kept | None:
    again = transaction.again()
    try:
        kept = look(again.open(), key)
        again.undo()
    except InvalidRequestError:
        again.undo()
        return None  # another payload has the key now
    except BaseException as error:
        again.fail(error)
        raise
    finally:
        again.close()
    return kept if kept is not None and kept.attempt == key.attempt else None


def _by_number(transaction: Transaction, xid: Xid) -> bool | None:
    deadline = transaction.grace
    while True:
        again = transaction.again()
        try:
            status = ended(again.open(), xid)
            again.undo()
        except BaseException as error:
            again.fail(error)
            raise
        finally:
            again.close()
        if status != "in progress":
            return {"committed": True, "aborted": False}.get(status or "")
        if deadline.left() <= _NAP:
            return None
        deadline.clock.sleep(_NAP)


def _lost(request: WriteRequest, failure: WriteError) -> BackendError:
    lost = BackendError(
        "the connection was lost at COMMIT; the database was asked again, and the transaction is rolled back; send it "
        "again",
        retry=Retry.SAFE,
        phase=Phase.COMMIT,
        target=request.target,
        type=request.type,
        backend_code=failure.backend_code,
        reason="connection",
    )
    lost.__cause__ = failure.__cause__
    return lost
