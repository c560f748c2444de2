"""What a unit and a batch need of the database that they work on, whoever its connections belong to.

A `Ground` begins transactions and keeps idempotency keys; the steps of an `Attempt` are those of a transaction of the
SQL writer (see `_transaction`), which is one of its kinds. Another is a connection that a framework holds open, where
a transaction may already be under way that is not the writer's to end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from wellwired.clock import Deadline
from wellwired.errors import InvalidRequestError, Phase, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._keys import Kept, Key

__all__ = ["Attempt", "Ground"]


class Attempt(Protocol):
    """One transaction, or a part of one that somebody else ends; for one thread. After `open`, `close` must be called.

    `request` is the write under way, for the words of errors. `keys` are the idempotency keys that it has taken.
    """

    request: WriteRequest
    keys: list[Key]
    phase: Phase

    @property
    def pending(self) -> bool:
        """Whether its commit commits nothing yet, because it is part of a transaction that is not the writer's."""
        ...

    @property
    def over(self) -> bool:
        """Whether the transaction around it can only be rolled back, so that nothing else can be done in it."""
        ...

    @property
    def connection(self) -> Any:
        """What handlers are given; only while it is open."""
        ...

    def open(self) -> Any:
        """Begins; returns the connection."""
        ...

    def check(self) -> None:
        """Raises if `commit` would not commit everything that was done so far, or would come too late."""
        ...

    def commit(self) -> None:
        """Commits, if everything that was done would be committed and there is time left."""
        ...

    def judge(self, error: BaseException, /) -> WriteError | None:
        """What a failure means; None for what is to be raised as it is. Changes nothing."""
        ...

    def fail(self, error: BaseException, /) -> WriteError | None:
        """Judges a failure, and undoes everything."""
        ...

    def undo(self) -> None:
        """Undoes everything that was done so far; never raises an `Exception`."""
        ...

    def set_savepoint(self, name: str, /) -> None:
        """Sets a savepoint; raises what the driver raises."""
        ...

    def release_savepoint(self, name: str, /) -> None:
        """Forgets the innermost savepoint and keeps what was done since; raises what the driver raises."""
        ...

    def back_to_savepoint(self, name: str, /) -> bool:
        """Undoes what was done since the innermost savepoint, and forgets that; never raises an `Exception`.

        Returns:
            Whether the transaction goes on as it was when the savepoint was set.
        """
        ...

    def close(self) -> str:
        """Gives everything back; never raises. Returns what went wrong, in one line, or ""."""
        ...


class Ground(Protocol):
    """One database; safe to use from many threads."""

    def transaction(self, request: WriteRequest, deadline: Deadline, /) -> Attempt:
        """A transaction that is not open yet.

        Args:
            request: for the words of errors.
            deadline: by when COMMIT must have been sent.
        """
        ...

    def once(self, transaction: Any, key: Key, request: WriteRequest, handler: Handler, /) -> WriteResult[Any]:
        """Does a write with a key among others in an open transaction, or says what was stored under the key."""
        ...

    def claim_many(self, connection: Any, keys: Sequence[Key], request: WriteRequest, /) -> None:
        """Takes keys; raises `KeyTakenError` if one of them is there, and a `BackendError` without their table."""
        ...

    def store_many(self, connection: Any, results: Mapping[str, bytes], /) -> None:
        """Stores results under their keys, by the key's id."""
        ...

    def look_many(self, connection: Any, keys: Sequence[Key], /) -> dict[str, Kept | InvalidRequestError]:
        """What is stored under keys, by the key's id; a key that is free is left out."""
        ...

    def resolve(self, transaction: Any, failure: WriteError, /) -> None:
        """Finds out, if it can, that a COMMIT without an answer was done; raises the failure otherwise."""
        ...

    def defer(self, callback: Callable[[], Sequence[str]], /) -> None:
        """See `wellwired.writers.protocol.Defers.defer`; for transactions that are pending."""
        ...
