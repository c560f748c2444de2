"""The connection that a handler is given: an SQLAlchemy `Connection` that leaves the transaction's end to the writer.

A handler that commits would put its work beyond the deadline's fence and the idempotency key's promise, so `commit`,
`rollback` and `close` are refused before anything is sent; savepoints (`begin_nested`) are welcome. The connection
also remembers errors that a handler swallowed and that ended the transaction: going on after a deadlock would commit
a tail without its head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, cast

from sqlalchemy import Connection, Engine, RootTransaction, event
from sqlalchemy.engine import ExceptionContext

from wellwired.errors import BackendError, Phase
from wellwired.writers._checkout import answered
from wellwired.writers._native import native_code
from wellwired.writers._rules import Rule
from wellwired.writers.classification import find_rule

__all__ = ["WRITING", "WriteConnection", "listen"]

WRITING = "wellwired.writing"
"""Among a connection's notes while SQLAlchemy begins a write's transaction: an engine of ours that would send BEGIN for
the driver leaves that to the write, which sends another one.
"""

_FAILED_ALREADY = "25P02"


class WriteConnection(Connection):
    """One write's connection; see the module.

    Args:
        engine: checked out from its pool, which may wait.
        rules: the writer's own rules about error codes.
    """

    def __init__(self, engine: Engine, rules: Mapping[Any, Rule]) -> None:
        self.noted: BaseException | None = None
        self.ended_by: BaseException | None = None
        self.rules = rules
        super().__init__(engine)

    def begin(self) -> RootTransaction:
        """Begins the transaction, which is the writer's to do: a second time is refused by SQLAlchemy."""
        notes = self.connection.info
        notes[WRITING] = True
        try:
            return super().begin()
        finally:
            del notes[WRITING]

    def commit(self) -> None:
        """Refused: the writer commits, after the handler has returned."""
        _refuse("commit")

    def rollback(self) -> None:
        """Refused: a handler that raises is rolled back."""
        _refuse("roll back")

    def close(self) -> None:
        """Refused: the writer returns the connection to its pool."""
        _refuse("close its connection")

    def release(self, *, ended: bool = False) -> None:
        """Returns the connection to its pool; for the writer.

        Args:
            ended: whether its last statement was an answered COMMIT or ROLLBACK. Then the pool's own ROLLBACK, which is
                a round trip on MySQL and MariaDB that no deadline bounds, has nothing to undo and is left out.
        """
        if ended and not self.invalidated:
            # It leaves the ROLLBACK out where a transaction ends at the close; there is no public way to say so.
            self._transaction = cast(Any, _ENDED)
            answered(self.connection.driver_connection)
        super().close()

    def note(self, error: BaseException) -> None:
        """Remembers an error of the backend, in case that it is swallowed."""
        native = native_code(error)
        rule = find_rule(self.dialect.name, native, self.rules)
        if rule is not None and rule.ends and self.ended_by is None:
            self.ended_by = error
        if native != _FAILED_ALREADY:
            self.noted = error


class _Ended:
    def close(self) -> None:
        """Nothing is left to be ended."""


_ENDED = _Ended()


def _refuse(what: str) -> NoReturn:
    raise BackendError(
        f"a handler must not {what}: the writer ends the transaction after it; use begin_nested() to undo a part",
        phase=Phase.EXECUTE,
        reason="handler",
    )


def listen(engine: Engine) -> None:
    """Has errors noted on the write connections of an engine; other connections are left alone.

    Args:
        engine: listening twice to the same one changes nothing.
    """
    event.listen(engine, "handle_error", _note)


def _note(context: ExceptionContext) -> Any:
    connection = context.connection
    if isinstance(connection, WriteConnection) and context.sqlalchemy_exception is not None:
        connection.note(context.sqlalchemy_exception)
    return None
