"""What a handler wants done after its commit, on real databases."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from tests.writers.sql_kit import accounts, count, insert_one, metadata, write
from wellwired.errors import BackendError
from wellwired.handlers import after_commit
from wellwired.operations import WriteRequest
from wellwired.writers.sql import SQLWriter


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the table of accounts."""
    metadata.create_all(sql_engine)
    return sql_engine


@pytest.fixture
def writer(engine: sa.Engine) -> SQLWriter:
    """A writer on it."""
    return SQLWriter("sql.main", engine)


def test_it_runs_after_the_commit_with_the_connection_given_back(writer: SQLWriter, engine: sa.Engine) -> None:
    """A callback sees the committed row, and may write to the same target itself."""
    seen: list[int] = []

    def work(request: WriteRequest, connection: sa.Connection) -> int:
        after_commit(lambda: seen.append(count(engine)))
        after_commit(lambda: write(writer, payload={"id": 2, "balance": 0}))
        return insert_one(request, connection)

    result = write(writer, work)

    assert (result.data, result.warnings, seen) == (1, (), [1])
    assert count(engine) == 2


def test_a_rolled_back_attempt_runs_nothing(writer: SQLWriter, engine: sa.Engine) -> None:
    """A handler that fails after asking, and a commit that is late, leave the callback unrun."""
    done: list[str] = []

    def broken(request: WriteRequest, connection: sa.Connection) -> None:
        after_commit(lambda: done.append("run"))
        insert_one(request, connection)
        raise ValueError

    with pytest.raises(BackendError):
        write(writer, broken)

    assert done == []
    assert count(engine) == 0


def test_what_it_raises_is_a_warning(writer: SQLWriter, engine: sa.Engine) -> None:
    """After a commit there is no error any more: the row is there, and the result says what failed."""

    def work(request: WriteRequest, connection: sa.Connection) -> Any:
        after_commit(lambda: 1 // 0)
        connection.execute(accounts.insert(), request.payload)

    result = write(writer, work)

    assert result.success
    assert len(result.warnings) == 1
    assert "ZeroDivisionError" in result.warnings[0]
    assert count(engine) == 1
