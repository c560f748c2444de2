"""The table store: the contract of a layer on an existing table, and rows as an application has them."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError

from tests.stores.layer_contract import LayerContract, PassTime
from wellwired.errors import CodecError, KeyFormatError, ReadOnlyError, TTLNotSupportedError
from wellwired.stores import DelegatedStore, Layer, MemoryStore
from wellwired.stores.protocols import Entry, Fenced, Many, Store
from wellwired.stores.table import TableKey, TableStore


def documents() -> sa.Table:
    """A table as an application may have it: a key of text, a body of JSON, a column for the end of a row."""
    exact = sa.String(250).with_variant(mysql.VARCHAR(250, collation="utf8mb4_bin"), "mysql", "mariadb")
    return sa.Table(
        "documents",
        sa.MetaData(),
        sa.Column("id", exact, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("ends", sa.BigInteger),
    )


def users() -> sa.Table:
    """Another one: a number as key, a unique address, defaults, a mark for rows that count as deleted."""
    return sa.Table(
        "users",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("email", sa.String(100), unique=True),
        sa.Column("plan", sa.String(20), nullable=False, server_default="free"),
        sa.Column("deleted", sa.Boolean, nullable=False, server_default=sa.false()),
    )


def seats() -> sa.Table:
    """A third one: a key of two columns."""
    return sa.Table(
        "seats",
        sa.MetaData(),
        sa.Column("hall", sa.String(20), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("taken_by", sa.String(50)),
    )


@dataclasses.dataclass
class User:
    """A value as an application may want it."""

    id: int
    name: str
    plan: str = "free"


@pytest.fixture
def table(sql_engine: sa.Engine) -> sa.Table:
    """The table of users, created."""
    table = users()
    table.create(sql_engine)
    return table


@pytest.fixture
def store(sql_engine: sa.Engine, table: sa.Table) -> TableStore[Any]:
    """A store on the table of users, by its primary key."""
    return TableStore(sql_engine, table, key=TableKey(prefix="user:"))


def rows(engine: sa.Engine, table: sa.Table) -> list[tuple[Any, ...]]:
    """All rows of the table."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]


class TestContract(LayerContract):
    """A table store with a column for the end of a row keeps the contract of a layer."""

    @pytest.fixture
    def store(self, sql_engine: sa.Engine) -> TableStore[object]:
        """A table store on a fresh table of JSON documents."""
        table = documents()
        table.create(sql_engine)
        return TableStore(
            sql_engine,
            table,
            to_value=lambda row: json.loads(row["body"]),
            to_row=lambda value: {"body": json.dumps(value)},
            expires="ends",
            allow_clear=True,
        )

    @pytest.fixture
    def pass_time(self, store: TableStore[object], sql_engine: sa.Engine) -> PassTime:
        """Shortens the lives of the rows, for a server's time cannot be moved."""

        def pass_time(seconds: float) -> None:
            with sql_engine.begin() as connection:
                ends = store.table.c.ends
                connection.execute(sa.update(store.table).values(ends=ends - int(seconds * 1000)))

        return pass_time

    def test_it_has_its_ability(self, store: TableStore[object]) -> None:
        """It does many keys in one round trip, and claims no fence."""
        assert [isinstance(store, ability) for ability in (Store, Many, Fenced)] == [True, True, False]


# --- rows and values


def test_a_row_is_read_and_written(store: TableStore[Any], sql_engine: sa.Engine, table: sa.Table) -> None:
    """A value is a dict of the columns beside the key; a set inserts the row, and the next one changes it."""
    store.set("user:1", {"name": "Ada", "email": "ada@example.org"})
    ada = {"name": "Ada", "email": "ada@example.org", "plan": "free", "deleted": False}
    assert store.get("user:1") == Entry(ada, None) and store.has("user:1")
    store.set("user:1", {"name": "Ada L.", "email": None, "plan": "paid", "deleted": False})
    assert rows(sql_engine, table) == [(1, "Ada L.", None, "paid", False)]
    assert store.delete("user:1") is True and rows(sql_engine, table) == []


def test_columns_that_a_value_leaves_out_stay(store: TableStore[Any]) -> None:
    """A value with some of the columns changes those and no others."""
    store.set("user:1", {"name": "Ada", "plan": "paid"})
    store.set("user:1", {"name": "Ada L."})
    entry = store.get("user:1")
    assert entry is not None and (entry.value["name"], entry.value["plan"]) == ("Ada L.", "paid")


def test_rows_that_others_wrote_are_there(store: TableStore[Any], sql_engine: sa.Engine, table: sa.Table) -> None:
    """Nothing is wrapped or encoded: the table is the application's."""
    with sql_engine.begin() as connection:
        connection.execute(sa.insert(table), [{"id": n, "name": f"n{n}"} for n in range(3)])
    assert sorted(store.keys()) == ["user:0", "user:1", "user:2"]
    assert {key: entry.value["name"] for key, entry in store.get_many(["user:0", "user:2", "user:9"]).items()} == {
        "user:0": "n0",
        "user:2": "n2",
    }


def test_values_of_the_applications_own_type(sql_engine: sa.Engine, table: sa.Table) -> None:
    """`to_value` and `to_row` make a row anything and anything a row; the value may repeat its key."""
    store: TableStore[User] = TableStore(
        sql_engine,
        table,
        key=TableKey("id", prefix="user:"),
        to_value=lambda row: User(row["id"], row["name"], row["plan"]),
        to_row=dataclasses.asdict,
    )
    store.set("user:7", User(7, "Ada", "paid"))
    assert store.get("user:7") == Entry(User(7, "Ada", "paid"))
    with pytest.raises(CodecError, match="another id than its key"):
        store.set("user:8", User(7, "Ada"))


def test_a_mapping_that_fails_is_a_failure(sql_engine: sa.Engine, table: sa.Table) -> None:
    """A row of the truth that cannot be made a value is an error, and not a miss."""

    def fail(row: Mapping[str, Any]) -> Any:
        raise LookupError("no such plan")

    store: TableStore[Any] = TableStore(sql_engine, table, to_value=fail, to_row=lambda value: value)
    store.set("1", {"name": "Ada"})
    with pytest.raises(LookupError, match="no such plan"):
        store.get("1")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"name": "Ada", "nmae": "x"}, "no column 'nmae'"),
        ({"name": "Ada", "id": 2}, "another id than its key"),
        (["Ada"], "of a mapping, not of a list; give the store a to_row"),
        (None, "not of a NoneType"),
    ],
)
def test_values_that_make_no_row_are_refused(
    store: TableStore[Any], sql_engine: sa.Engine, table: sa.Table, value: Any, reason: str
) -> None:
    """The error names the column or the type, and nothing is written, of a whole batch neither."""
    with pytest.raises(CodecError, match=reason):
        store.set_many({"user:0": Entry({"name": "fine"}), "user:1": Entry(value)})
    assert rows(sql_engine, table) == []


def test_the_tables_own_rules_are_the_drivers_errors(
    store: TableStore[Any], sql_engine: sa.Engine, table: sa.Table
) -> None:
    """A broken rule is an IntegrityError, and a batch that breaks one leaves nothing of itself."""
    with pytest.raises(IntegrityError):
        store.set_many({"user:1": Entry({"name": "Ada"}), "user:2": Entry({"name": None})})
    assert rows(sql_engine, table) == []


def test_another_unique_key_is_never_taken_for_ours(
    store: TableStore[Any], sql_engine: sa.Engine, table: sa.Table
) -> None:
    """A clash in another unique column is an error; MySQL's own upsert would change the other row instead."""
    store.set("user:1", {"name": "Ada", "email": "ada@example.org"})
    writes: list[Callable[[], None]] = [
        lambda: store.set("user:2", {"name": "Eve", "email": "ada@example.org"}),
        lambda: store.set_many({"user:2": Entry({"name": "Eve", "email": "ada@example.org"})}),
    ]
    for write in writes:
        with pytest.raises(IntegrityError):
            write()
    assert rows(sql_engine, table) == [(1, "Ada", "ada@example.org", "free", False)]
    store.set("user:1", {"name": "Ada L.", "email": "ada@example.org"})
    store.set("user:2", {"name": "Eve", "email": "eve@example.org"})
    assert [row[1] for row in rows(sql_engine, table)] == ["Ada L.", "Eve"]


def test_more_rows_than_a_batch(store: TableStore[Any]) -> None:
    """Batches are cut where the databases need it, and answered as a whole."""
    items = {f"user:{number}": Entry({"name": f"n{number}"}) for number in range(1_100)}
    store.set_many(items)
    assert len(store.get_many([*items, "user:x", "other"])) == 1_100
    assert sorted(store.keys()) == sorted(items)
    assert store.delete_many([*items, "user:x"]) == 1_100 and list(store.keys()) == []


# --- keys


@pytest.mark.parametrize(
    "key", ["1", "user:", "user:x", "user:01", "user:+1", "user: 1", "User:1", "user:1 ", "user:1.0"]
)
def test_what_is_not_exactly_a_rows_key_is_no_key(store: TableStore[Any], key: str) -> None:
    """Such a key finds nothing, removes nothing and cannot be set: no row has two keys."""
    store.set("user:1", {"name": "Ada"})
    assert store.get(key) is None and store.has(key) is False and store.delete(key) is False
    with pytest.raises(KeyFormatError, match="does not stand for a row"):
        store.set(key, {"name": "Eve"})
    assert list(store.keys()) == ["user:1"]


def test_keys_of_several_columns(sql_engine: sa.Engine) -> None:
    """Several columns make one key by `build_key`, in their order, and are told apart again."""
    table = seats()
    table.create(sql_engine)
    store: TableStore[Any] = TableStore(sql_engine, table)
    keys = ["main:~i1", "main:~i2", "side%3Aroom:~i1"]
    for key in keys:
        store.set(key, {"taken_by": key})
    assert sorted(store.keys()) == keys
    assert store.get_many([*keys, "main:1"]) == {key: Entry({"taken_by": key}) for key in keys}
    assert store.delete_many(keys[1:]) == 2 and rows(sql_engine, table) == [("main", 1, keys[0])]
    assert [hall for hall, _, _ in rows(sql_engine, table)] == ["main"]


def test_keys_are_listed_page_by_page(sql_engine: sa.Engine) -> None:
    """More rows than a page, with a key of two columns, are each listed once."""
    table = seats()
    table.create(sql_engine)
    with sql_engine.begin() as connection:
        connection.execute(sa.insert(table), [{"hall": f"h{n % 7}", "number": n} for n in range(1_050)])
    store: TableStore[Any] = TableStore(sql_engine, table)
    keys = list(store.keys())
    assert len(keys) == len(set(keys)) == 1_050


def test_keys_of_the_applications_own_making(sql_engine: sa.Engine) -> None:
    """`to_key` and `from_key` make any text of the columns; a ValueError is the key of no row."""
    table = seats()
    table.create(sql_engine)

    def from_key(text: str) -> tuple[str, int]:
        hall, _, number = text.rpartition("-")
        return hall, int(number)

    key = TableKey(("hall", table.c.number), to_key=lambda hall, number: f"{hall}-{number}", from_key=from_key)
    store: TableStore[Any] = TableStore(sql_engine, table, key=key)
    store.set("main-1", {"taken_by": "Ada"})
    assert list(store.keys()) == ["main-1"] and store.get("main-1") == Entry({"taken_by": "Ada"})
    assert store.get("main-01") is None and store.get("nonsense") is None


def test_uuids_are_keys(sql_engine: sa.Engine) -> None:
    """A UUID is written as people write it, in one spelling."""
    table = sa.Table("things", sa.MetaData(), sa.Column("id", sa.Uuid, primary_key=True), sa.Column("n", sa.Integer))
    table.create(sql_engine)
    store: TableStore[Any] = TableStore(sql_engine, table)
    key = str(uuid.UUID(int=7))
    store.set(key, {"n": 1})
    assert store.get(key) == Entry({"n": 1}) and store.get(key.replace("-", "")) is None and list(store.keys()) == [key]


def test_a_collation_that_finds_what_is_only_alike(mariadb_url: str) -> None:
    """Where the database takes "ADA" for "ada", the store does not hand out one's row as the other's."""
    engine = sa.create_engine(mariadb_url)
    table = sa.Table(
        "loose",
        sa.MetaData(),
        sa.Column("id", mysql.VARCHAR(50, collation="utf8mb4_general_ci"), primary_key=True),
        sa.Column("n", sa.Integer),
    )
    table.create(engine)
    store: TableStore[Any] = TableStore(engine, table)
    store.set("ada", {"n": 1})
    assert store.get("ADA") is None and store.get("ada ") is None and store.get("ada") == Entry({"n": 1})
    engine.dispose()


# --- which rows, and what a delete does


@pytest.fixture
def soft(sql_engine: sa.Engine, table: sa.Table) -> TableStore[Any]:
    """A store that marks rows as deleted."""
    return TableStore(
        sql_engine,
        table,
        key=TableKey(prefix="user:"),
        where=table.c.deleted.is_(False),
        soft_delete={"deleted": True},
        to_row=lambda value: {**value, "deleted": False},
        allow_clear=True,
    )


def test_soft_deleted_rows_are_not_there(soft: TableStore[Any], sql_engine: sa.Engine, table: sa.Table) -> None:
    """A delete marks the row; for the store it is gone, in the table it stays; a set brings it back."""
    soft.set("user:1", {"name": "Ada"})
    assert soft.delete("user:1") is True and soft.delete("user:1") is False
    assert soft.get("user:1") is None and soft.has("user:1") is False and list(soft.keys()) == []
    assert rows(sql_engine, table) == [(1, "Ada", None, "free", True)]
    soft.set("user:1", {"name": "Ada L."})
    entry = soft.get("user:1")
    assert entry is not None and entry.value == {"name": "Ada L.", "email": None, "plan": "free"}


def test_clear_concerns_the_rows_of_where(soft: TableStore[Any], sql_engine: sa.Engine, table: sa.Table) -> None:
    """With a soft delete it marks every row that is there."""
    soft.set_many({f"user:{n}": Entry({"name": f"n{n}"}) for n in range(3)})
    soft.clear()
    assert list(soft.keys()) == [] and [row[4] for row in rows(sql_engine, table)] == [True] * 3


def test_clear_has_to_be_allowed(store: TableStore[Any], sql_engine: sa.Engine, table: sa.Table) -> None:
    """By default a store does not empty the application's table."""
    store.set("user:1", {"name": "Ada"})
    with pytest.raises(ReadOnlyError, match="would remove every row of users; allow_clear=True"):
        store.clear()
    assert len(rows(sql_engine, table)) == 1


def test_read_only_refuses_every_write(sql_engine: sa.Engine, table: sa.Table) -> None:
    """It says so beforehand, needs no unique key, and reads as ever."""
    with sql_engine.begin() as connection:
        connection.execute(sa.insert(table).values(id=1, name="Ada"))
    store: TableStore[Any] = TableStore(sql_engine, table, key="name", read_only=True, allow_clear=True)
    assert store.read_only is True and "read_only" in repr(store)
    calls: list[Callable[[], Any]] = [
        lambda: store.set("Ada", {}),
        lambda: store.delete("Ada"),
        store.clear,
        lambda: store.set_many({"Ada": Entry({})}),
        lambda: store.delete_many(["Ada"]),
    ]
    for call in calls:
        with pytest.raises(ReadOnlyError, match="table users only reads"):
            call()
    entry = store.get("Ada")
    assert entry is not None and entry.value["plan"] == "free" and entry.value["id"] == 1


# --- time


def test_rows_do_not_end_unless_a_column_says_when(
    store: TableStore[Any], sql_engine: sa.Engine, table: sa.Table
) -> None:
    """A ttl that could not be kept is refused and not forgotten."""
    writes: list[Callable[[], None]] = [
        lambda: store.set("user:1", {"name": "Ada"}, 60.0),
        lambda: store.set_many({"user:1": Entry({"name": "Ada"}, 60.0)}),
        lambda: store.set("user:1", {"name": "Ada"}, 0),
    ]
    for write in writes:
        with pytest.raises(TTLNotSupportedError, match="rows of users do not end: leave the ttl out"):
            write()
    assert rows(sql_engine, table) == []


# --- what is refused at construction


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"key": "nmae"}, "no column 'nmae'"),
        ({"key": "name"}, "name is no primary or unique key of the table users"),
        ({"key": ("id", "name")}, "id, name is no primary or unique key"),
        ({"expires": "ends"}, "no column 'ends'"),
        ({"expires": "name"}, "column name is to hold milliseconds"),
        ({"key": TableKey(to_key=str)}, "give both or neither"),
    ],
)
def test_what_cannot_work_is_refused_at_once(sql_engine: sa.Engine, options: dict[str, Any], reason: str) -> None:
    """Columns that are not there or not fit are found before the first call, without a connection."""
    with pytest.raises(ValueError, match=reason):
        TableStore(sql_engine, users(), **options)


def test_a_table_without_a_primary_key_needs_a_named_one(sql_engine: sa.Engine) -> None:
    """A unique index will do, and has to be named."""
    table = sa.Table("loose", sa.MetaData(), sa.Column("a", sa.Integer), sa.Column("b", sa.Integer))
    with pytest.raises(ValueError, match="no primary key; name the columns"):
        TableStore(sql_engine, table)
    sa.Index("ux_loose_a", table.c.a, unique=True)
    table.create(sql_engine)
    store: TableStore[Any] = TableStore(sql_engine, table, key=table.c.a)
    store.set("1", {"b": 2})
    store.set("1", {"b": 3})
    assert store.get("1") == Entry({"b": 3})


# --- in a stack


def test_it_is_the_bottom_of_a_stack(store: TableStore[Any], sql_engine: sa.Engine, table: sa.Table) -> None:
    """A stack reads rows through it, caps them above, and writes them through."""
    stack: DelegatedStore[Any] = DelegatedStore([Layer(MemoryStore(), ttl=60.0), Layer(store, primary=True)])
    with stack:
        stack.set("user:1", {"name": "Ada"})
        assert rows(sql_engine, table)[0][1] == "Ada"
        with sql_engine.begin() as connection:
            connection.execute(sa.insert(table).values(id=2, name="Bob"))
        assert stack.get("user:2")["name"] == "Bob" and sorted(stack.keys()) == ["user:1", "user:2"]
        stack.delete("user:1")
        assert stack.get("user:1", None) is None and len(rows(sql_engine, table)) == 1
