"""Where a write finds itself on a Django connection: alone, in a transaction of the application's, or in a test's."""

from __future__ import annotations

from enum import Enum

from django.db.backends.base.base import BaseDatabaseWrapper

from wellwired.errors import ErrorCode, Outcome, Retry
from wellwired.integrations.django._writer_judging import StoppedError
from wellwired.writers.classification import Verdict

__all__ = ["Place", "place_of", "usable"]

_AUTOCOMMIT = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, "autocommit")
_SPOILT = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, "spoilt")
_SURROUNDED = Verdict(ErrorCode.INVALID_REQUEST, Outcome.NOT_APPLIED, Retry.NEVER, "surrounded")

_AUTOCOMMIT_WORDS = (
    "the connection's autocommit is off, so nobody can say when the write would be committed; turn it on, or write "
    "inside transaction.atomic() with it on"
)
_SPOILT_WORDS = (
    "something failed in the atomic block around it before, so nothing can be done there any more; leave the block, or "
    "give what may fail a block of its own"
)
_SURROUNDED_WORDS = (
    "there is an atomic block around it, and the writer was made with require_durable=True; write before or after the "
    "block, or in transaction.on_commit() (ATOMIC_REQUESTS puts a block around every view)"
)


class Place(Enum):
    """Whose transaction a write is in."""

    OWN = "own"
    """Its own: the end of its block commits."""
    SURROUNDED = "surrounded"
    """The application's: it is a savepoint in there, and pending."""
    TEST = "test"
    """A test case's, which is never committed: a savepoint too, and as good as committed for whoever is tested."""


def place_of(connection: BaseDatabaseWrapper, *, durable: bool) -> Place:
    """Where a write would be now.

    Args:
        connection: Django's, of this thread.
        durable: whether a surrounding block is refused.

    Raises:
        StoppedError: there is no right place.
    """
    if not connection.in_atomic_block:
        unmade = connection.connection is None
        if not (connection.settings_dict["AUTOCOMMIT"] if unmade else connection.autocommit):
            raise StoppedError(_AUTOCOMMIT, _AUTOCOMMIT_WORDS)
        return Place.OWN
    if not usable(connection):
        raise StoppedError(_SPOILT, _SPOILT_WORDS)
    blocks = connection.atomic_blocks
    if blocks and getattr(blocks[-1], "_from_testcase", False):
        return Place.TEST
    if durable:
        raise StoppedError(_SURROUNDED, _SURROUNDED_WORDS)
    if not connection.commit_on_exit:
        raise StoppedError(_AUTOCOMMIT, _AUTOCOMMIT_WORDS)
    return Place.SURROUNDED


def usable(connection: BaseDatabaseWrapper) -> bool:
    """Whether the transaction that is open could still be committed.

    Args:
        connection: Django's.
    """
    return connection.in_atomic_block and not connection.needs_rollback and not connection.closed_in_transaction
