"""What the tests of transactions share: handlers, requests, and what was told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from tests.writers.manager_kit import Counted
from tests.writers.sql_kit import accounts
from wellwired.handlers import FunctionHandler, Registry
from wellwired.operations import WriteRequest

__all__ = ["add", "codes", "deposit", "doing", "insert", "row"]

Work = Callable[[WriteRequest, sa.Connection], Any]


def insert(request: WriteRequest, connection: sa.Connection) -> int:
    """Inserts the payload and returns its id."""
    connection.execute(accounts.insert(), request.payload)
    return int(request.payload["id"])


def deposit(request: WriteRequest, connection: sa.Connection) -> dict[str, Any]:
    """Adds to the balance of account 1: not harmless when done twice."""
    changed = accounts.update().where(accounts.c.id == 1).values(balance=accounts.c.balance + request.payload["amount"])
    connection.execute(changed)
    return {"balance": connection.scalar(sa.select(accounts.c.balance).where(accounts.c.id == 1))}


def row(number: int, target: str = "sql.main", **fields: Any) -> WriteRequest:
    """A request for an account."""
    return WriteRequest(target, "insert", {"id": number, "balance": 0}, **fields)


def add(handlers: Registry, type: str, work: Work) -> None:
    """Adds a handler."""
    handlers.register(FunctionHandler(work, type=type, backend="sql"))


def doing(type: str, **payload: Any) -> WriteRequest:
    """A request for a handler that a test has added."""
    return WriteRequest("sql.main", type, payload)


def codes(metrics: Counted) -> list[tuple[str, str, str]]:
    """What was told: type, outcome and reason of each event."""
    return [(event.type, event.outcome, event.reason) for event in metrics.events]
