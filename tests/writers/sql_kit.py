"""What the tests of the SQL writer share: a table, a writer on it, requests, and threads that must end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from wellwired.clock import Deadline
from wellwired.errors import Retry, WriteError
from wellwired.handlers.decorator import FunctionHandler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers.sql import SQLWriter

__all__ = ["Work", "accounts", "count", "doing", "insert_one", "parents", "run", "running", "until_done", "write"]

metadata = sa.MetaData()

parents = sa.Table("parents", metadata, sa.Column("id", sa.Integer, primary_key=True), mysql_engine="InnoDB")

accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("balance", sa.Integer, nullable=False),
    sa.CheckConstraint("balance >= 0", name="no_debts"),
    mysql_engine="InnoDB",
)

Work = Callable[[WriteRequest, sa.Connection], Any]


def doing(work: Work) -> FunctionHandler[sa.Connection, Any]:
    """A handler that does this."""
    return FunctionHandler(work, type="test", backend="sql")


def insert_one(request: WriteRequest, connection: sa.Connection) -> int:
    """Inserts the payload and returns its id."""
    connection.execute(accounts.insert(), request.payload)
    return int(request.payload["id"])


def write(
    writer: SQLWriter,
    work: Work = insert_one,
    payload: dict[str, Any] | None = None,
    *,
    seconds: float = 10.0,
    key: str | None = None,
    deadline: Deadline | None = None,
) -> WriteResult[Any]:
    """One attempt by a writer."""
    given = {"id": 1, "balance": 10} if payload is None else payload
    request = WriteRequest(target=writer.name, type="test", payload=given, idempotency_key=key)
    return writer.write(request, handler=doing(work), deadline=deadline or Deadline.after(seconds))


def count(engine: sa.Engine, table: sa.Table = accounts) -> int:
    """How many rows are committed."""
    with engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)


def run(work: Callable[[], Any], into: list[Any]) -> threading.Thread:
    """Starts a thread whose result, or error, is appended to a list."""

    def body() -> None:
        try:
            into.append(work())
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            into.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def until_done(send: Callable[[], WriteResult[Any]]) -> WriteResult[Any]:
    """Sends again while that is said to be safe, as the manager would; any other error is raised."""
    while True:
        try:
            return send()
        except WriteError as error:
            if error.retry is not Retry.SAFE:
                raise


@contextmanager
def running(*works: Callable[[], Any]) -> Iterator[list[Any]]:
    """Runs each in a thread while the block runs; afterwards all must have ended, and the list has what they gave."""
    results: list[Any] = []
    threads = [run(work, results) for work in works]
    try:
        yield results
    finally:
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), "a writing thread hangs"
