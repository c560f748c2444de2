"""Transactions compared with a model: random programs of writes, nested blocks and caught failures."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.writers.sql_kit import accounts, metadata
from tests.writers.transactions_kit import insert, row
from wellwired.errors import WriteError
from wellwired.handlers import FunctionHandler, Registry
from wellwired.middleware import SILENT
from wellwired.writers import WriteManager
from wellwired.writers.sql import SQLWriter
from wellwired.writers.transactions import WriteTransaction


class Write(NamedTuple):
    """Inserts an account, which fails if it is there; the failure is caught or not."""

    number: int
    caught: bool


class Nested(NamedTuple):
    """A nested block; what leaves it is caught or not."""

    steps: list[Any]
    caught: bool
    joined: bool


class Own(NamedTuple):
    """The block raises an exception of its own."""


class OwnError(Exception):
    """That exception."""


Program = list[Any]

writes = st.builds(Write, st.integers(1, 4), st.booleans())
programs: st.SearchStrategy[Program] = st.recursive(
    st.lists(st.one_of(writes, writes, writes, st.builds(Own)), max_size=4),
    lambda inner: st.lists(st.one_of(writes, st.builds(Nested, inner, st.booleans(), st.booleans())), max_size=4),
    max_leaves=6,
)


class Model:
    """What a transaction should do: a set of numbers, and whether it has failed."""

    def __init__(self) -> None:
        self.there: set[int] = set()
        self.failed = False
        self.committed: set[int] = set()

    def run(self, program: Program) -> str:
        """Runs it, and says how it ended."""
        try:
            self._steps(program)
            self._end()
        except (WriteError, OwnError) as error:
            return type(error).__name__
        self.committed = self.there
        return "committed"

    def _end(self) -> None:
        if self.failed:
            raise WriteError("spoilt")

    def _steps(self, steps: Program) -> None:
        for step in steps:
            if isinstance(step, Own):
                raise OwnError
            try:
                self._write(step) if isinstance(step, Write) else self._nested(step)
            except (WriteError, OwnError):
                if not step.caught:
                    raise

    def _write(self, step: Write) -> None:
        if self.failed or step.number in self.there:
            self.failed = True
            raise WriteError("failed")
        self.there.add(step.number)

    def _nested(self, step: Nested) -> None:
        if self.failed:
            raise WriteError("spoilt")
        before = set(self.there)
        try:
            self._steps(step.steps)
            self._end()
        except (WriteError, OwnError):
            self.there, self.failed = before, False
            raise


def run(manager: WriteManager, program: Program) -> str:
    """Runs a program for real, and says how it ended."""
    try:
        with manager.transaction("sql.main") as tx:
            _steps(manager, tx, program)
    except WriteError:
        return "WriteError"
    except OwnError:
        return "OwnError"
    return "committed"


def _steps(manager: WriteManager, tx: WriteTransaction, steps: Program) -> None:
    for step in steps:
        if isinstance(step, Own):
            raise OwnError
        try:
            if isinstance(step, Write):
                tx.write(row(step.number))
            else:
                with manager.transaction("sql.main") if step.joined else tx.nested() as inner:
                    _steps(manager, inner, step.steps)
        except (WriteError, OwnError):
            if not step.caught:
                raise


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the table of accounts."""
    metadata.create_all(sql_engine)
    return sql_engine


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=programs)
@example(program=[Write(1, False), Nested([Write(2, False), Write(1, True)], True, False), Write(3, False)])
@example(program=[Nested([Nested([Write(1, False)], False, True), Own()], True, True), Write(1, False)])
def test_a_transaction_does_what_the_model_does(engine: sa.Engine, program: Program) -> None:
    """However writes, failures, nested blocks and catches are mixed, rows and end are those of the model."""
    handlers = Registry(FunctionHandler(insert, type="insert", backend="sql"))
    manager = WriteManager([SQLWriter("sql.main", engine, handlers=handlers)], timeout=20, logger=SILENT)
    model = Model()

    ended = run(manager, program)

    assert ended == model.run(program)
    with engine.begin() as connection:
        assert set(connection.scalars(sa.select(accounts.c.id))) == model.committed
        connection.execute(accounts.delete())
