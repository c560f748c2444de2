"""What the tests of batches share: a table that refuses in several ways, requests for it, and a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

import sqlalchemy as sa

from wellwired.clock import Deadline
from wellwired.errors import Outcome, WriteError
from wellwired.handlers.sql import delete, insert, update, upsert
from wellwired.middleware import SILENT
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers import WriteManager
from wellwired.writers.sql import SQLWriter

__all__ = ["Answer", "batch", "compare", "handlers", "manage", "numbers", "people", "person", "rows_of", "shown"]

Answer = WriteResult[Any] | WriteError
metadata = sa.MetaData()

people = sa.Table(
    "people",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("email", sa.String(100), nullable=False, unique=True),
    sa.Column("age", sa.Integer, nullable=False),
    sa.CheckConstraint("age >= 0", name="born"),
    mysql_engine="InnoDB",
)

numbers = sa.Table(
    "numbers",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("value", sa.Integer, nullable=False),
    mysql_engine="InnoDB",
)


class Loose(TypedDict, total=False):
    """A payload that lets the database be the one to refuse."""

    id: Any
    email: Any
    age: Any


handlers = {
    "add": insert(people, type="add", payload=Loose),
    "count": insert(numbers, type="count"),
    "put": upsert(people, type="put"),
    "change": update(people, type="change"),
    "drop": delete(people, type="drop"),
}


def person(number: int, type: str = "add", *, key: str | None = None, **values: Any) -> WriteRequest:
    """A request about a person, who is fine unless told otherwise."""
    payload = {"id": number, "email": f"{number}@example.org", "age": 30, **values}
    return WriteRequest("sql.main", type, payload, idempotency_key=key)


def batch(
    writer: SQLWriter,
    requests: Sequence[WriteRequest],
    *,
    handler: Any = None,
    seconds: float = 30.0,
    atomic: bool = False,
) -> list[Answer]:
    """One attempt by a writer at requests of one type."""
    chosen = handler or handlers[requests[0].type]
    return list(writer.write_batch(requests, handler=chosen, deadline=Deadline.after(seconds), atomic=atomic))


def manage(writer: SQLWriter, **options: Any) -> WriteManager:
    """A silent manager over a writer with all handlers."""
    for one in handlers.values():
        writer.register_handler(one)
    return WriteManager([writer], **{"logger": SILENT, "timeout": 30.0, **options})


def shown(answer: Answer) -> tuple[str, str]:
    """An answer in two words."""
    return (answer.reason, answer.outcome) if isinstance(answer, WriteError) else ("", "APPLIED")


def rows_of(engine: sa.Engine, table: sa.Table = people) -> set[int]:
    """The ids that are committed."""
    with engine.connect() as connection:
        return set(connection.scalars(sa.select(table.c.id)))


def compare(
    engine: sa.Engine, requests: Sequence[WriteRequest], answers: Sequence[Any], *, was: Iterable[int] = ()
) -> None:
    """The table has every row that was called applied, none that was called not applied, and no other."""
    assert len(answers) == len(requests)
    there, before = rows_of(engine), set(was)
    pairs = list(zip(requests, answers, strict=True))
    applied = {r.payload["id"] for r, answer in pairs if isinstance(answer, WriteResult)}
    unknown = {r.payload["id"] for r, a in pairs if isinstance(a, WriteError) and a.outcome is not Outcome.NOT_APPLIED}
    assert applied <= there, f"called applied and not there: {sorted(applied - there)[:5]}"
    assert there <= applied | unknown | before, f"there, and not called so: {sorted(there - applied - before)[:5]}"
