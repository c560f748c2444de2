"""The ready-made handlers for a table, on SQLite, MariaDB and PostgreSQL."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import msgspec
import pydantic
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from wellwired.errors import InvalidRequestError, RegistrationError
from wellwired.handlers import Registry, traits, validate_payload
from wellwired.handlers.protocol import Handler
from wellwired.handlers.sql import TableHandler, delete, insert, update, upsert
from wellwired.operations import WriteRequest

metadata = sa.MetaData()

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("mail", sa.String(100), nullable=False),
    sa.Column("age", sa.Integer),
    sa.Column("level", sa.Integer, nullable=False, default=1),
    sa.Column("seen", sa.DateTime, server_default=sa.text("'2001-01-01 00:00:00'"), onupdate=sa.func.now()),
    mysql_engine="InnoDB",
)

unique = sa.Table(
    "unique_mails",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("mail", sa.String(100), nullable=False, unique=True),
    sa.Column("age", sa.Integer),
    mysql_engine="InnoDB",
)

rights = sa.Table(
    "rights",
    metadata,
    sa.Column("user", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("right", sa.String(20), primary_key=True),
    sa.Column("renamed_in_database", sa.Integer, key="weight"),
    mysql_engine="InnoDB",
)

bare = sa.Table(
    "bare",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("age", sa.Integer, unique=True),
    mysql_engine="InnoDB",
)

loose = sa.Table("loose", metadata, sa.Column("a", sa.Integer))


@pytest.fixture
def connection(sql_engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction on a fresh database with the tables."""
    metadata.create_all(sql_engine)
    with sql_engine.begin() as connection:
        yield connection


def of(make: Callable[..., TableHandler], table: sa.Table = users, **options: Any) -> TableHandler:
    """A handler with a type named after what it does."""
    return make(table, type=f"{make.__name__}_{table.name}", **options)


def do(handler: Handler, connection: sa.Connection, payload: Any) -> Any:
    """What the manager and a writer would do with a payload."""
    request = WriteRequest("sql.main", handler.type, payload)
    return handler.handle(validate_payload(handler, request), connection)


def rows(connection: sa.Connection, table: sa.Table = users) -> list[dict[str, Any]]:
    """Everything in a table, by its first column."""
    return [dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()]


class TestInsert:
    """One new row."""

    def test_it_inserts_a_row_and_tells_its_key(self, connection: sa.Connection) -> None:
        """Columns that are left out get their defaults; a key that the database makes is told."""
        first = do(of(insert), connection, {"mail": "a@x"})
        second = do(of(insert), connection, {"id": 7, "mail": "b@x", "age": None, "level": 3})

        assert (first, second) == ({"id": 1}, {"id": 7})
        assert [(row["mail"], row["age"], row["level"]) for row in rows(connection)] == [
            ("a@x", None, 1),
            ("b@x", None, 3),
        ]

    @pytest.mark.parametrize(
        ("payload", "field"),
        [
            ({"mail": "a@x", "colour": "secret"}, "colour"),
            ({"age": 5}, "mail"),
            ({"mail": None}, "mail"),
            ({"mail": "a@x", "level": None}, "level"),
            ({"mail": 5}, "mail"),
            ({"mail": "secret" * 20}, "mail"),
            ({"mail": "a@x", "age": "secret"}, "age"),
        ],
    )
    def test_a_payload_that_does_not_fit_is_refused(self, payload: dict[str, Any], field: str) -> None:
        """Unknown, missing and empty columns, wrong types and long texts are named before anything is sent."""
        handler = of(insert)

        with pytest.raises(InvalidRequestError, match=field) as caught:
            validate_payload(handler, WriteRequest("sql.main", handler.type, payload))

        assert "secret" not in str(caught.value)
        assert caught.value.reason == "payload"


class TestUpsert:
    """A new row, or a changed one."""

    def test_it_inserts_or_changes_the_given_columns(self, connection: sa.Connection) -> None:
        """What the second payload leaves out stays as it was; an explicit nothing is written."""
        assert do(of(upsert), connection, {"id": 1, "mail": "a@x", "age": 5}) == {"id": 1}
        assert do(of(upsert), connection, {"id": 1, "mail": "b@x"}) == {"id": 1}
        assert (rows(connection)[0]["mail"], rows(connection)[0]["age"]) == ("b@x", 5)
        do(of(upsert), connection, {"id": 1, "mail": "b@x", "age": None})

        (row,) = rows(connection)
        assert (row["mail"], row["age"], row["level"]) == ("b@x", None, 1)

    def test_doing_it_twice_leaves_what_doing_it_once_leaves(self, connection: sa.Connection) -> None:
        """That is what its idempotence means."""
        for _ in range(2):
            do(of(upsert), connection, {"id": 1, "mail": "a@x", "age": 5})

        assert len(rows(connection)) == 1

    def test_what_changes_with_every_update_changes_here_too(self, connection: sa.Connection) -> None:
        """A column's onupdate is applied to a row that is there, its default to a new one, a given value to both."""
        do(of(upsert), connection, {"id": 1, "mail": "a@x"})
        assert rows(connection)[0]["seen"].year == 2001
        do(of(upsert), connection, {"id": 1, "mail": "b@x"})
        assert rows(connection)[0]["seen"].year > 2020
        do(of(upsert), connection, {"id": 1, "mail": "b@x", "seen": datetime.fromisoformat("2010-01-01")})

        assert rows(connection)[0]["seen"].year == 2010

    def test_a_key_of_two_columns_and_a_column_with_another_name(self, connection: sa.Connection) -> None:
        """Columns go by their keys in the payload, and by their names in the database."""
        for weight in (1, 2):
            do(of(upsert, rights), connection, {"user": 1, "right": "read", "weight": weight})
        do(of(upsert, rights), connection, {"user": 1, "right": "write"})

        assert [row["renamed_in_database"] for row in rows(connection, rights)] == [2, None]

    @pytest.mark.parametrize("table", [rights, bare])
    def test_nothing_but_the_key_changes_nothing(self, connection: sa.Connection, table: sa.Table) -> None:
        """A row that is there is left as it is."""
        key = {"user": 1, "right": "read"} if table is rights else {"id": 1}
        do(of(upsert, table), connection, key | ({"weight": 5} if table is rights else {"age": 5}))
        before = rows(connection, table)

        do(of(upsert, table), connection, key)

        assert rows(connection, table) == before

    def test_a_unique_column_of_another_row_is_an_error(self, connection: sa.Connection) -> None:
        """MySQL would quietly change the other row; no database may."""
        handler = of(upsert, unique)
        do(handler, connection, {"id": 1, "mail": "a@x", "age": 1})

        with pytest.raises(IntegrityError), connection.begin_nested():
            do(handler, connection, {"id": 2, "mail": "a@x", "age": 2})

        assert rows(connection, unique) == [{"id": 1, "mail": "a@x", "age": 1}]
        do(handler, connection, {"id": 1, "mail": "b@x"})
        assert rows(connection, unique) == [{"id": 1, "mail": "b@x", "age": 1}]

    def test_the_key_must_be_given(self, connection: sa.Connection) -> None:
        """Without its key an upsert would be an insert."""
        with pytest.raises(InvalidRequestError, match="id"):
            do(of(upsert), connection, {"mail": "a@x"})


class TestUpdate:
    """A changed row."""

    def test_it_changes_the_given_columns_of_one_row(self, connection: sa.Connection) -> None:
        """Other columns and other rows stay; how many rows had the key is told, changed or not."""
        for number in (1, 2):
            do(of(insert), connection, {"id": number, "mail": f"{number}@x", "age": 5})

        assert do(of(update), connection, {"id": 1, "age": 6}) == {"rows": 1}
        assert do(of(update), connection, {"id": 1, "age": 6}) == {"rows": 1}
        assert do(of(update), connection, {"id": 9, "age": 6}) == {"rows": 0}
        assert [row["age"] for row in rows(connection)] == [6, 5]

    def test_the_key_and_something_else_must_be_given(self, connection: sa.Connection) -> None:
        """A payload without the key would change every row; one without more, none."""
        with pytest.raises(InvalidRequestError, match="id"):
            do(of(update), connection, {"age": 6})
        with pytest.raises(InvalidRequestError, match="no column to write"):
            do(of(update), connection, {"id": 1})


class TestDelete:
    """A row that goes."""

    def test_it_deletes_the_row_with_the_key(self, connection: sa.Connection) -> None:
        """One that is not there is no error."""
        for right in ("read", "write"):
            do(of(insert, rights), connection, {"user": 1, "right": right})

        assert do(of(delete, rights), connection, {"user": 1, "right": "read"}) == {"rows": 1}
        assert do(of(delete, rights), connection, {"user": 1, "right": "read"}) == {"rows": 0}
        assert [row["right"] for row in rows(connection, rights)] == ["write"]

    @pytest.mark.parametrize("payload", [{"user": 1}, {}, {"user": 1, "right": "read", "weight": 1}])
    def test_the_key_and_nothing_else_must_be_given(self, connection: sa.Connection, payload: dict[str, Any]) -> None:
        """A payload with a part of the key would delete more, and other columns mean a misunderstanding."""
        with pytest.raises(InvalidRequestError):
            do(of(delete, rights), connection, payload)


@dataclasses.dataclass
class Plain:
    """A dataclass."""

    id: int
    mail: str


class Fast(msgspec.Struct):
    """A msgspec struct."""

    id: int
    mail: str


class Checked(pydantic.BaseModel):
    """A pydantic model."""

    id: int
    mail: str
    age: int | None = 99


class TestPayloads:
    """Models of the application's own."""

    @pytest.mark.parametrize("model", [Plain, Fast, Checked, None])
    def test_the_fields_of_a_model_are_the_columns(self, connection: sa.Connection, model: type[Any] | None) -> None:
        """Whatever the payload is converted to, the fields that were given are written."""
        do(of(upsert, payload=model), connection, {"id": 1, "mail": "a@x"})

        assert [(row["mail"], row["age"]) for row in rows(connection)] == [("a@x", None)]

    def test_a_model_that_does_not_fit_the_table_is_found_out(self, connection: sa.Connection) -> None:
        """A field that is no column, or a needed column that is no field, is named when it is used."""
        wide = msgspec.defstruct("Wide", [("id", int), ("mail", str), ("colour", str)])
        narrow = msgspec.defstruct("Narrow", [("id", int)])

        with pytest.raises(InvalidRequestError, match="colour"):
            do(of(upsert, payload=wide), connection, {"id": 1, "mail": "a@x", "colour": "red"})
        with pytest.raises(InvalidRequestError, match="mail"):
            do(of(upsert, payload=narrow), connection, {"id": 1})

    def test_a_payload_is_left_as_it_was(self, connection: sa.Connection) -> None:
        """The caller's mapping is not changed."""
        payload = {"id": 1, "mail": "a@x"}

        do(of(upsert), connection, payload)

        assert payload == {"id": 1, "mail": "a@x"}


class TestDeclaration:
    """What the handlers say about themselves, and tables that they cannot serve."""

    def test_their_traits(self) -> None:
        """All are for SQL; insert is the one that is not idempotent."""
        made = [of(insert), of(upsert), of(update), of(delete)]

        assert [traits(handler).idempotent for handler in made] == [False, True, True, True]
        assert {traits(handler).backend for handler in made} == {"sql"}
        assert Registry(*made).types("sql") == ("delete_users", "insert_users", "update_users", "upsert_users")
        assert repr(made[0]) == "<handler of 'insert_users' on users>"

    @pytest.mark.parametrize("make", [insert, upsert, update, delete])
    def test_a_table_without_a_key_is_refused(self, make: Callable[..., TableHandler]) -> None:
        """At once, not at the first write."""
        with pytest.raises(RegistrationError, match="no primary key"):
            of(make, loose)
