"""Handlers of tables with many rows at once: the same rows and the same answers as one by one, on every database."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from wellwired.handlers import validate_payload
from wellwired.handlers._many_rows import alike, neighbours, refers_to_itself, waves
from wellwired.handlers.sql import TableHandler, delete, insert, update, upsert
from wellwired.operations import WriteRequest


class Colour(enum.Enum):
    """Something a column may hold."""

    RED = 1
    BLUE = 2


metadata = sa.MetaData()

rich = sa.Table(
    "rich",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("text", sa.String(50)),
    sa.Column("number", sa.Numeric(10, 2)),
    sa.Column("real", sa.Float),
    sa.Column("flag", sa.Boolean),
    sa.Column("at", sa.DateTime),
    sa.Column("day", sa.Date),
    sa.Column("raw", sa.LargeBinary),
    sa.Column("colour", sa.Enum(Colour)),
    sa.Column("mark", sa.Uuid),
    sa.Column("more", sa.JSON),
    sa.Column("made", sa.Integer, default=lambda: 7),
    sa.Column("given", sa.Integer, server_default="5"),
    sa.Column("percent%", sa.Integer),
    mysql_engine="InnoDB",
)

make_typed_dict: Any = TypedDict
Loose: type[Any] = make_typed_dict("Loose", dict.fromkeys(rich.columns.keys(), Any), total=False)
"""A payload model of the table without rules."""

counted = sa.Table(
    "counted", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("value", sa.Integer, nullable=False)
)

pairs = sa.Table(
    "pairs",
    metadata,
    sa.Column("left", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("right", sa.String(10), primary_key=True),
    sa.Column("a", sa.Integer),
    sa.Column("b", sa.Integer, default=1, onupdate=9),
    mysql_engine="InnoDB",
)

named = sa.Table(
    "named",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(20), unique=True),
    sa.Column("a", sa.Integer),
    mysql_engine="InnoDB",
)

trees = sa.Table(
    "trees",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("parent", sa.ForeignKey("trees.id")),
    mysql_engine="InnoDB",
)


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    """A fresh database with the tables."""
    metadata.create_all(sql_engine)
    return sql_engine


def requests_of(handler: TableHandler, payloads: list[dict[str, Any]]) -> list[WriteRequest]:
    """Valid requests."""
    return [validate_payload(handler, WriteRequest("sql.main", handler.type, payload)) for payload in payloads]


def rows(engine: sa.Engine, table: sa.Table) -> list[Any]:
    """What is in the table."""
    with engine.connect() as connection:
        return list(connection.execute(sa.select(table).order_by(*table.primary_key)))


def done(engine: sa.Engine, handler: TableHandler, payloads: list[dict[str, Any]], *, many: bool) -> list[Any]:
    """Does payloads at once or one by one."""
    requests = requests_of(handler, payloads)
    with engine.begin() as connection:
        if many:
            return handler.handle_many(requests, connection)
        return [handler.handle(request, connection) for request in requests]


def same(
    engine: sa.Engine, handler: TableHandler, payloads: list[dict[str, Any]], before: list[dict[str, Any]]
) -> list[Any]:
    """Does it both ways from the same start, and gives the rows if data and rows are the same."""
    results = []
    for many in (False, True):
        with engine.begin() as connection:
            connection.execute(handler.table.delete())
            for row in before:
                connection.execute(handler.table.insert(), row)
        results.append((done(engine, handler, payloads, many=many), rows(engine, handler.table)))
    assert results[0] == results[1]
    return results[1][1]


FULL: dict[str, Any] = {
    "text": "süß 100% :x %(y)s",
    "number": decimal.Decimal("12.50"),
    "real": 1.5,
    "flag": True,
    "at": datetime.datetime(2024, 2, 29, 12, 30, 15),  # noqa: DTZ001 - the column has no zone
    "day": datetime.date(2024, 2, 29),
    "raw": b"\x00\xff%s",
    "colour": Colour.BLUE,
    "mark": uuid.UUID(int=7),
    "more": {"a": [1, None, "%s"]},
    "percent%": 3,
}


class TestInsert:
    """Inserts."""

    def test_every_type_of_value_arrives_as_by_itself(self, engine: sa.Engine) -> None:
        """Dates, decimals, JSON, bytes, enums, UUIDs, texts with signs that drivers look for, and nulls."""
        loose = insert(rich, type="add", payload=Loose)
        nothing = dict.fromkeys(FULL)
        payloads = [{"id": 1, **FULL}, {"id": 2, **nothing}, {"id": 3, **FULL, "text": "'"}]

        there = same(engine, loose, payloads, [])

        assert [row.made for row in there] == [7, 7, 7]
        assert [row.given for row in there] == [5, 5, 5]
        assert there[0].more == {"a": [1, None, "%s"]}

    def test_all_columns_given_need_no_work_of_sqlalchemy(self, engine: sa.Engine) -> None:
        """The statement that goes to the driver directly leaves the same rows as the usual one."""
        loose = insert(rich, type="add", payload=Loose)
        given = {**{name: value for name, value in FULL.items() if name != "percent%"}, "made": 1, "given": 2}

        seen: list[Any] = []
        event.listen(engine, "before_cursor_execute", lambda *args: seen.append((args[5], args[4].compiled is None)))
        there = same(engine, loose, [{"id": number, **given} for number in (3, 1, 2)], [])

        assert seen.count((True, True)) == 1
        assert [row.id for row in there] == [1, 2, 3]

    def test_rows_of_one_shape_are_one_statement_and_others_their_own(self, engine: sa.Engine) -> None:
        """Rows with other columns do not stand in the way."""
        handler = insert(pairs, type="add")
        seen: list[bool] = []
        event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[5]))
        payloads: list[dict[str, Any]] = [{"left": n, "right": "x", **({"a": n} if n % 2 else {})} for n in range(10)]

        data = done(engine, handler, payloads, many=True)

        assert seen == [True, True]
        assert data == [{"left": n, "right": "x"} for n in range(10)]
        assert len(rows(engine, pairs)) == 10

    def test_keys_that_the_database_makes_come_back_by_position(self, engine: sa.Engine) -> None:
        """Each answer has the key of its own row."""
        handler = insert(counted, type="add")

        data = done(engine, handler, [{"value": value} for value in range(50)], many=True)

        assert {row.id: row.value for row in rows(engine, counted)} == {
            one["id"]: value for value, one in enumerate(data)
        }

    def test_a_row_may_need_the_one_before_it(self, engine: sa.Engine) -> None:
        """In a table that refers to itself the order of the caller is kept."""
        assert refers_to_itself(trees)
        payloads: list[dict[str, Any]] = [
            {"id": 9, "parent": None},
            {"id": 1, "parent": 9},
            {"id": 5},
            {"id": 0, "parent": 1},
        ]

        assert done(engine, insert(trees, type="add"), payloads, many=True) == [{"id": n} for n in (9, 1, 5, 0)]
        assert len(rows(engine, trees)) == 4


changes = st.lists(
    st.fixed_dictionaries(
        {"left": st.integers(0, 3), "right": st.sampled_from("xy")},
        optional={"a": st.integers(0, 9), "b": st.integers(0, 9)},
    ),
    min_size=1,
    max_size=12,
)
BEFORE = [{"left": n, "right": "x", "a": 0, "b": 0} for n in range(3)]
KEYS = st.lists(st.fixed_dictionaries({"left": st.integers(0, 4), "right": st.sampled_from("xy")}), max_size=10)


class TestLikeOneByOne:
    """Whatever is in a batch, it leaves what one after the other leaves, and answers the same."""

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(payloads=changes)
    def test_upserts(self, engine: sa.Engine, payloads: list[dict[str, Any]]) -> None:
        """Keys that come twice, with other columns, in any order."""
        same(engine, upsert(pairs, type="put"), payloads, BEFORE)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(payloads=changes)
    def test_updates(self, engine: sa.Engine, payloads: list[dict[str, Any]]) -> None:
        """Rows that are there and rows that are not: each answer says how many it met."""
        same(engine, update(pairs, type="change"), [{"a": 1, **one} for one in payloads], BEFORE)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(payloads=KEYS)
    def test_deletes(self, engine: sa.Engine, payloads: list[dict[str, Any]]) -> None:
        """A row can be deleted once."""
        same(engine, delete(pairs, type="drop"), payloads, BEFORE)

    def test_upserts_of_a_table_with_another_unique_key(self, engine: sa.Engine) -> None:
        """No other row is touched, on MySQL and MariaDB neither."""
        payloads = [{"id": 1, "name": "b"}, {"id": 2, "name": "c", "a": 1}, {"id": 1, "name": "d"}]

        there = same(engine, upsert(named, type="put"), payloads, [{"id": 1, "name": "a", "a": 5}])

        assert [tuple(row) for row in there] == [(1, "d", 5), (2, "c", 1)]


class TestStatements:
    """How many statements it takes."""

    @pytest.mark.parametrize(
        ("make", "payload"),
        [
            (upsert, lambda n: {"left": n, "right": "x", "a": n}),
            (update, lambda n: {"left": n % 3, "right": "x", "a": n} if n < 3 else {"left": 0, "right": "x", "a": n}),
            (delete, lambda n: {"left": n, "right": "x"}),
        ],
    )
    @pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)
    def test_rows_that_are_there_are_one_executemany(
        self, engine: sa.Engine, make: Callable[..., TableHandler], payload: Callable[[int], dict[str, Any]]
    ) -> None:
        """Three rows of three keys are one statement."""
        with engine.begin() as connection:
            connection.execute(pairs.insert(), BEFORE)
        seen: list[bool] = []
        event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[5]))

        done(engine, make(pairs, type="x"), [payload(n) for n in range(3)], many=True)

        assert seen.count(True) == 1


some_rows = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 4)}, optional={"a": st.none(), "b": st.none()}), max_size=30
)


@given(some_rows)
def test_waves_have_no_key_twice_and_keep_the_order_of_each_key(given_rows: list[dict[str, Any]]) -> None:
    """They are a partition; in a wave all have the same columns and are sorted; a key's rows come in their order."""
    cut = list(waves(given_rows, ["id"]))

    assert sorted(position for wave in cut for position in wave) == list(range(len(given_rows)))
    for wave in cut:
        keys = [given_rows[position]["id"] for position in wave]
        assert keys == sorted(set(keys))
        assert len({tuple(given_rows[position]) for position in wave}) == 1
    laid = [position for wave in cut for position in wave]
    for key in range(5):
        mine = [position for position in laid if given_rows[position]["id"] == key]
        assert mine == sorted(mine)


@given(some_rows)
def test_groups_of_a_shape_are_a_partition(given_rows: list[dict[str, Any]]) -> None:
    """Whether anything may overtake or not."""
    assert sorted(position for group in alike(given_rows) for position in group) == list(range(len(given_rows)))
    assert [position for group in neighbours(given_rows) for position in group] == list(range(len(given_rows)))
    for group in [*alike(given_rows), *neighbours(given_rows)]:
        assert len({tuple(given_rows[position]) for position in group}) == 1
