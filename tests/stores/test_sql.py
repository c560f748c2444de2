"""The SQL store: the contract of a layer on every database, its table, its time, damaged values and its fences."""

from __future__ import annotations

import pickle
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, OperationalError

from tests.stores.layer_contract import LayerContract, PassTime
from wellwired.errors import CodecError, MissingTableError
from wellwired.stores import MISSING, DelegatedStore, Hit, Layer
from wellwired.stores._sql_dialects import check_dialect, server_ms, was_undone
from wellwired.stores.codecs import JSONCodec, MsgpackCodec
from wellwired.stores.damage import Damage, Reason
from wellwired.stores.keys import KEY_BYTES
from wellwired.stores.loader import LoaderStore
from wellwired.stores.protocols import Atomic, Entry, Fenced, FencedMany, KeepsStale, Many, Ordered, Tagged
from wellwired.stores.sql import SQLStore
from wellwired.testing.clock import VirtualClock

only_sqlite = pytest.mark.parametrize("sql_url", ["sqlite"], indirect=True)


@pytest.fixture
def store(sql_engine: sa.Engine) -> SQLStore:
    """An SQL store with a fresh table."""
    store = SQLStore(sql_engine, namespace="users")
    store.create_table()
    return store


@pytest.fixture
def pass_time(store: SQLStore, sql_engine: sa.Engine) -> PassTime:
    """Shortens the lives of the rows, for a server's time cannot be moved."""

    def pass_time(seconds: float) -> None:
        with sql_engine.begin() as connection:
            expires = store.table.c.expires_at
            connection.execute(sa.update(store.table).values(expires_at=expires - int(seconds * 1000)))

    return pass_time


@pytest.fixture
def statements(sql_engine: sa.Engine) -> Iterator[list[str]]:
    """The statements that the engine has sent, transactions included."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append(statement.split(None, 1)[0])

    event.listen(sql_engine, "before_cursor_execute", note)
    yield sent
    event.remove(sql_engine, "before_cursor_execute", note)


def count(engine: sa.Engine, table: sa.Table) -> int:
    """How many rows there are, of whatever kind."""
    with engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


class TestContract(LayerContract):
    """The SQL store keeps the contract of a layer."""

    abilities = (Many, Fenced, FencedMany, Ordered, Atomic, KeepsStale, Tagged)

    @pytest.fixture
    def store(self, sql_engine: sa.Engine) -> SQLStore:
        """An SQL store with a fresh table."""
        store = SQLStore(sql_engine, namespace="users")
        store.create_table()
        return store

    @pytest.fixture
    def pass_time(self, pass_time: PassTime) -> PassTime:
        """Shortens the lives of the rows."""
        return pass_time

    @pytest.fixture
    def another(self, store: SQLStore, sql_engine: sa.Engine) -> SQLStore:
        """Another store on the same data."""
        return SQLStore(sql_engine, namespace="users")


# --- the table


def test_no_table_is_created_by_itself(sql_engine: sa.Engine) -> None:
    """Without its table every call says which one is missing and what creates it; none creates it."""
    store = SQLStore(sql_engine, namespace="users", table="shop_cache")
    calls: list[Callable[[], Any]] = [
        lambda: store.get("a"),
        lambda: store.set("a", 1),
        lambda: store.delete("a"),
        lambda: store.has("a"),
        store.clear,
        lambda: list(store.keys()),
        lambda: store.get_many(["a"]),
        lambda: store.set_many({"a": Entry(1)}),
        lambda: store.delete_many(["a"]),
        lambda: store.read("a"),
        lambda: store.tokens(["a"]),
        store.purge,
    ]
    for call in calls:
        with pytest.raises(
            MissingTableError, match=r"the table shop_cache does not exist; call .*create_table\(\)"
        ) as caught:
            call()
        assert isinstance(caught.value.__cause__, DBAPIError)
    assert sa.inspect(sql_engine).get_table_names() == []


def test_other_errors_pass_as_they_came(store: SQLStore, sql_engine: sa.Engine) -> None:
    """A table of another shape is the driver's own error and not a missing table."""
    with sql_engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE wellwired_store"))
        connection.execute(sa.text("CREATE TABLE wellwired_store (a INT)"))
    with pytest.raises(DBAPIError):
        store.get("a")


def test_creating_twice_is_harmless(store: SQLStore, sql_engine: sa.Engine) -> None:
    """The second call finds the table there and leaves its rows alone."""
    store.set("a", 1)
    store.create_table()
    SQLStore(sql_engine, namespace="other").create_table()
    assert store.get("a") == Entry(1)


def test_the_ddl_creates_the_same_table(sql_engine: sa.Engine) -> None:
    """What `ddl()` gives can be kept with the migrations: the store works on the table that it makes."""
    store = SQLStore(sql_engine, namespace="users", table="migrated")
    with sql_engine.begin() as connection:
        for statement in store.ddl().split(";"):
            if statement.strip():
                connection.execute(sa.text(statement))
    store.set("a", [1], 50.0)
    entry = store.get("a")
    assert entry is not None and entry.value == [1]
    inspector = sa.inspect(sql_engine)
    assert [index["column_names"] for index in inspector.get_indexes("migrated")] == [["expires_at"]]
    assert inspector.get_pk_constraint("migrated")["constrained_columns"] == ["namespace", "entry_key"]


def test_expiry_uses_its_index(store: SQLStore, sql_engine: sa.Engine) -> None:
    """The column that purge goes by has an index on every database."""
    assert "expires_at" in {
        name for index in sa.inspect(sql_engine).get_indexes("wellwired_store") for name in index["column_names"]
    }


def test_a_database_that_is_not_known_is_refused() -> None:
    """The error comes when the store is made, and says which ones are known."""

    class Strange:
        class dialect:  # noqa: N801
            name = "oracle"

    with pytest.raises(ValueError, match="sqlite, mysql, mariadb, postgresql; the engine's dialect is oracle"):
        check_dialect(Strange())  # type: ignore[arg-type]


def test_the_table_may_lie_in_a_schema(postgresql_url: str) -> None:
    """A schema can be named; the error for a missing table names it too."""
    engine = sa.create_engine(postgresql_url)
    schema = f"s_{threading.get_ident()}"
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(schema))
    store = SQLStore(engine, namespace="users", schema=schema)
    with pytest.raises(MissingTableError, match=rf"the table {schema}\.wellwired_store"):
        store.get("a")
    store.create_table()
    store.set("a", 1)
    assert store.get("a") == Entry(1) and schema in repr(store)
    engine.dispose()


# --- the namespace and the keys


def test_a_namespace_never_reaches_into_another(store: SQLStore, sql_engine: sa.Engine) -> None:
    """Stores share a table; clear, keys and deletes concern one namespace exactly, case included."""
    others = {name: SQLStore(sql_engine, namespace=name) for name in ("users2", "user", "Users", "users.x")}
    for other in others.values():
        other.set("a", other.namespace)
    store.set("a", "mine")
    store.delete("b")
    store.clear()
    assert list(store.keys()) == []
    assert [other.get("a") for other in others.values()] == [Entry(name) for name in others]


def test_keys_are_told_apart_by_their_bytes(store: SQLStore) -> None:
    """No collation folds cases, accents, blanks at the end or anything else, and the longest key fits."""
    keys = [
        "a",
        "A",
        "á",
        "a ",
        " a",
        "a\0",
        "ss",
        "ß",
        "x" * KEY_BYTES,
        "x" * (KEY_BYTES - 1) + "y",
        "é" * (KEY_BYTES // 2),
    ]
    for number, key in enumerate(keys):
        store.set(key, number)
    assert [getattr(store.get(key), "value", None) for key in keys] == list(range(len(keys)))
    assert sorted(store.keys()) == sorted(keys)
    assert store.delete_many(keys) == len(keys)


def test_a_value_copied_to_another_key_is_not_served(store: SQLStore, sql_engine: sa.Engine) -> None:
    """A row whose value was copied from another row is a miss."""
    store.set_many({"a": Entry("Ada's"), "b": Entry("Bob's")})
    columns = store.table.c
    with sql_engine.begin() as connection:
        copied = connection.execute(sa.select(columns.value).where(columns.entry_key == b"a")).scalar_one()
        connection.execute(sa.update(store.table).where(columns.entry_key == b"b").values(value=copied))
    assert store.get("b") is None and store.damage.counts == {Reason.KEY: 1}


def test_more_keys_than_a_batch(store: SQLStore) -> None:
    """Batches are cut where the databases need it, and answered as a whole."""
    items = {f"k{number}": Entry(number, 500.0 if number % 2 else None) for number in range(1_200)}
    store.set_many(items)
    assert {key: entry.value for key, entry in store.get_many(list(items)).items()} == {
        key: entry.value for key, entry in items.items()
    }
    assert len(list(store.keys())) == 1_200
    seen = store.read_many([*items, "nothing"])
    assert len(seen) == 1_201 and seen["nothing"][0] is None
    assert len(store.fill_many({key: (Entry("filled"), token) for key, (_, token) in seen.items()})) == 1_201
    assert store.delete_many([*items, "nothing", "never"]) == 1_201
    store.set_many(items)
    store.clear()
    assert list(store.keys()) == []


def test_many_keys_are_few_statements(store: SQLStore, statements: list[str]) -> None:
    """A hundred keys cost as many statements as one."""
    items = {f"k{number}": Entry(number, 500.0) for number in range(100)}
    store.read("a")
    statements.clear()
    store.set_many(items)
    assert statements == ["SELECT", "INSERT", "SELECT"]
    statements.clear()
    store.get_many(list(items))
    assert statements == ["SELECT"]
    statements.clear()
    seen = store.read_many([*items, "x", "y"])
    assert statements.count("SELECT") <= 2
    statements.clear()
    store.fill_many({key: (Entry(0), token) for key, (_, token) in seen.items()})
    assert len(statements) <= 8
    statements.clear()
    store.delete_many(list(items))
    assert statements == ["SELECT", "UPDATE"]


def test_one_key_is_one_statement_or_two(store: SQLStore, statements: list[str]) -> None:
    """A get and a read are one statement; a set and a delete are one more, which looks at the epoch."""
    store.read("a")
    statements.clear()
    store.set("a", 1, 50.0)
    store.get("a")
    store.read("a")
    store.delete("a")
    assert statements == ["INSERT", "SELECT", "SELECT", "SELECT", "SELECT", "UPDATE"]


def test_a_batch_is_stored_whole_or_not_at_all(store: SQLStore) -> None:
    """One value that cannot be encoded refuses all."""
    with pytest.raises(CodecError):
        store.set_many({"a": Entry(1), "b": Entry(object())})
    assert list(store.keys()) == []


# --- time


def test_time_is_the_servers_own(sql_engine: sa.Engine) -> None:
    """The expression gives whole milliseconds since 1970 in UTC, whatever the session's time zone is."""
    with sql_engine.connect() as connection:
        true = connection.execute(sa.select(server_ms())).scalar_one()
        if sql_engine.dialect.name == "postgresql":
            connection.execute(sa.text("SET TIME ZONE 'Asia/Tokyo'"))
        elif sql_engine.dialect.name != "sqlite":
            connection.execute(sa.text("SET time_zone = '+09:00'"))
        again = connection.execute(sa.select(server_ms())).scalar_one()
    assert type(true) is int
    assert 0 <= again - true < 60_000
    assert true > 1_700_000_000_000


@pytest.mark.parametrize("skew", [-86_400.0, 86_400.0])
def test_this_machines_time_of_day_does_not_matter(store: SQLStore, sql_engine: sa.Engine, skew: float) -> None:
    """A process whose clock is a day off writes and reads lives as every other does."""
    clock = VirtualClock()
    clock.step_wall(skew)
    skewed = SQLStore(sql_engine, namespace="users", clock=clock)
    skewed.set("a", 1, 50.0)
    for reader in (store, skewed):
        entry = reader.get("a")
        assert entry is not None and entry.left is not None and 40.0 < entry.left <= 50.0


def test_no_more_is_left_than_the_server_knows(store: SQLStore, sql_engine: sa.Engine) -> None:
    """The seconds that an entry has left are never more than what its row has left."""
    columns = store.table.c
    for ttl in (0.2, 1.0, 59.999, 1e6):
        store.set("a", 1, ttl)
        with sql_engine.connect() as connection:
            known = connection.execute(
                sa.select(columns.expires_at - server_ms()).where(columns.entry_key == b"a")
            ).scalar_one()
        entry = store.get("a")
        if entry is not None:
            assert entry.left is not None and entry.left * 1000 <= known <= ttl * 1000


def test_a_slow_answer_counts_against_the_life(sql_engine: sa.Engine) -> None:
    """What passed between the question and the answer is taken off what is left."""
    clock = VirtualClock()
    store = SQLStore(sql_engine, namespace="users", clock=clock)
    store.create_table()
    store.set("a", 1, 50.0)

    def slowly(*_: Any) -> None:
        clock.advance(20.0)

    event.listen(sql_engine, "after_cursor_execute", slowly)
    entry = store.get("a")
    event.remove(sql_engine, "after_cursor_execute", slowly)
    assert entry is not None and entry.left is not None and 25.0 < entry.left <= 30.0


@pytest.mark.parametrize("ttl", [0, -1.0, 0.0004])
def test_a_life_that_is_over_leaves_nothing(store: SQLStore, ttl: float) -> None:
    """Such a value takes away the one before it, and the fills that it overtook."""
    store.set("a", 1)
    _, token = store.read("a")
    store.set("a", 2, ttl)
    assert store.get("a") is None and list(store.keys()) == []
    assert store.fill("a", Entry(1), token) is False
    assert store.fill("a", Entry(1, ttl), store.read("a")[1]) is False
    store.set_many({"a": Entry(1, ttl), "b": Entry(1)})
    assert list(store.keys()) == ["b"]


# --- damage


@pytest.mark.parametrize(
    "damage",
    [b"", b"text", pickle.dumps({"a": 1}), b"\xc1WW\x02", b"\xc1WW\x01msgpack" + b"\0" * 60],
    ids=["empty", "text", "pickle", "newer", "zeroes"],
)
def test_a_damaged_value_is_a_miss_and_an_event(store: SQLStore, sql_engine: sa.Engine, damage: bytes) -> None:
    """It is served by no call and raises in none; it is counted and told; a fill mends it."""
    told: list[Damage] = []
    store.damage.listen(told.append)
    store.set("a", "good", 500.0)
    with sql_engine.begin() as connection:
        connection.execute(sa.update(store.table).where(store.table.c.entry_key == b"a").values(value=damage))
    assert store.get("a") is None and store.has("a") is False
    assert store.get_many(["a"]) == {} and store.read("a")[0] is None
    assert store.damage.total == len(told) == 4 and {event.key for event in told} == {"a"}
    assert store.fill("a", Entry("filled"), store.read("a")[1]) is True and store.get("a") == Entry("filled")


def test_another_codecs_value_is_a_miss(store: SQLStore, sql_engine: sa.Engine) -> None:
    """JSON is not handed to MessagePack."""
    SQLStore(sql_engine, namespace="users", codec=JSONCodec()).set("a", {"x": 1})
    assert store.get("a") is None and store.damage.counts == {Reason.CODEC: 1}


# --- purge


def test_purge_removes_what_has_been_dead_for_ten_minutes(
    store: SQLStore, sql_engine: sa.Engine, pass_time: PassTime
) -> None:
    """Ended rows and tombstones go, in chunks and of every namespace; the living and the freshly dead stay."""
    other = SQLStore(sql_engine, namespace="other")
    store.set_many({f"dead{number}": Entry(number, 5.0) for number in range(7)})
    store.set("deleted", 1)
    store.delete("deleted")
    other.set("dead", 1, 5.0)
    pass_time(1_000.0)
    store.set_many({"living": Entry(1, 500.0), "for ever": Entry(2), "just dead": Entry(3, 0.0)})
    rows = count(sql_engine, store.table)
    assert [store.purge(4), store.purge(4), store.purge(4), store.purge(4)] == [4, 4, 1, 0]
    assert count(sql_engine, store.table) == rows - 9
    assert sorted(store.keys()) == ["for ever", "living"]


def test_purge_keeps_to_the_end_of_the_stale_life(store: SQLStore, pass_time: PassTime) -> None:
    """A value that may still be served as stale stays, however long it has ended; then it goes as others do."""
    store.set_many({"a": Entry(1, 10.0, 2_000.0), "b": Entry(2, 10.0), "c": Entry(3, 10.0, 2_000.0)})
    store.delete("c")
    pass_time(1_000.0)
    assert store.purge() == 2 and store.purge() == 0
    assert store.get("a") is None and store.read_stale(["a"])["a"].value == 1
    pass_time(1_500.0)
    assert store.read_stale(["a"]) == {} and store.purge() == 0
    pass_time(200.0)
    assert store.purge() == 1 and store.purge() == 0


def test_purge_finds_the_dead_among_many_that_are_kept_as_stale(store: SQLStore, pass_time: PassTime) -> None:
    """However many there are, and no more than it was told to remove."""
    store.set_many({f"kept{number:03d}": Entry(number, 10.0, 9_000.0) for number in range(600)})
    store.set_many({f"spent{number}": Entry(number, 10.0, 20.0) for number in range(5)})
    pass_time(1_000.0)
    assert [store.purge(3), store.purge(3), store.purge(3)] == [3, 2, 0]
    assert len(store.read_stale([f"kept{number:03d}" for number in range(600)])) == 600


def test_a_value_that_is_filled_again_is_not_purged_for_what_it_was(
    store: SQLStore, sql_engine: sa.Engine, pass_time: PassTime
) -> None:
    """Purge looks again in the transaction that removes; a fill keeps the generation and gives a new life."""
    store.set_many({"a": Entry(1, 10.0, 20.0)})
    pass_time(1_000.0)
    rows = store._rows
    page = rows._sql
    facts = {"grace": 600_000, "limit": 10, "after_expires_at": 0, "after_namespace": "", "after_entry_key": b""}
    with sql_engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(page.spared, facts)]
    assert store.fill("a", Entry(2, 10.0, 20.0), store.read("a")[1]) is True
    doomed = [(row[1], row[2], row[4]) for row in found]
    assert len(doomed) == 1
    assert rows._written(lambda connection: rows._remove_spent(connection, doomed)) == 0
    assert store.get("a") is not None


def test_it_stands_in_for_a_source_that_fails(store: SQLStore, pass_time: PassTime) -> None:
    """As a layer with `stale=` it serves what has ended while what is below does not answer, marked as such."""
    answers: list[Any] = ["v", RuntimeError("down"), MISSING]

    def load(_: str) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with DelegatedStore[Any]([Layer(store, ttl=10.0, stale=500.0), LoaderStore(load)]) as layered:
        assert layered.get("a") == "v"
        layered.flush(10)
        pass_time(20.0)
        seen = layered.lookup("a")
        assert isinstance(seen, Hit) and (seen.value, seen.layer, seen.stale) == ("v", "sql", True)
        assert layered.get("a", None) is None


def test_rows_of_the_dead_do_not_serve(store: SQLStore, sql_engine: sa.Engine, pass_time: PassTime) -> None:
    """A row that has ended is there until purge, and for no reader."""
    store.set("a", 1, 10.0)
    pass_time(11.0)
    assert count(sql_engine, store.table) >= 1
    assert store.get("a") is None and store.get_many(["a"]) == {} and store.read("a")[0] is None
    assert list(store.keys()) == [] and store.delete("a") is False


# --- fences


def test_a_token_ends_before_its_tombstone(sql_engine: sa.Engine, pass_time: Any, store: SQLStore) -> None:
    """A fill later than a minute after its read is refused, so purged tombstones let nothing in."""
    clock = VirtualClock()
    late = SQLStore(sql_engine, namespace="users", clock=clock)
    _, token = late.read("a")
    clock.advance(59.0)
    assert late.fill("b", Entry(1), late.read("b")[1]) is True
    assert late.fill("a", Entry(1), token) is True
    _, token = late.read("c")
    clock.advance(61.0)
    store.set("c", 2)
    store.delete("c")
    pass_time(700.0)
    assert store.purge() >= 1
    assert late.fill("c", Entry("old"), token) is False and store.get("c") is None


def test_purge_cannot_bring_back_what_was_deleted(store: SQLStore, pass_time: PassTime) -> None:
    """A tombstone that is younger than any token stays, whatever purge is told."""
    _, token = store.read("a")
    store.set("a", "new", 0.001)
    pass_time(120.0)
    store.purge()
    assert store.fill("a", Entry("old"), token) is False and store.get("a") is None


def test_an_ended_row_can_be_filled_again(store: SQLStore, pass_time: PassTime) -> None:
    """Its token is as good as that of a key that never was."""
    store.set("a", 1, 10.0)
    pass_time(11.0)
    entry, token = store.read("a")
    assert entry is None and store.fill("a", Entry(2, 10.0), token) is True
    entry = store.get("a")
    assert entry is not None and entry.value == 2


def test_a_fill_of_an_ended_row_does_not_overtake_other_fills(store: SQLStore, pass_time: PassTime) -> None:
    """Two readers that saw the same moment may both fill; a put is a write, and makes both stale."""
    store.set("a", 1, 10.0)
    pass_time(11.0)
    first, second, third = (store.read("a")[1] for _ in range(3))
    assert store.fill("a", Entry(2, 10.0), first) is True and store.fill("a", Entry(2, 10.0), second) is True
    assert list(store.put_many({"a": (Entry(3), second)})) == ["a"]
    assert store.fill("a", Entry(2, 10.0), third) is False and store.get("a") == Entry(3)


def test_a_clear_changes_two_rows_however_many_there_are(
    store: SQLStore, sql_engine: sa.Engine, statements: list[str]
) -> None:
    """What it leaves behind is seen by nobody, and purge removes it, at most so many at a time, and nothing else."""
    other = SQLStore(sql_engine, namespace="others")
    other.set("a", 1)
    store.set_many({f"k{number}": Entry(number) for number in range(20)})
    statements.clear()
    store.clear()
    assert len(statements) <= 3
    assert list(store.keys()) == [] and store.get("k1") is None and store.delete("k1") is False
    store.set_many({"k2": Entry("new"), "k3": Entry("new", 60.0, 0.0, ("tag",))})
    assert rows_of(store, sql_engine) >= 20
    assert [store.purge(10), store.purge(10), store.purge(10)] == [10, 7, 0]
    assert sorted(store.keys()) == ["k2", "k3"] and other.get("a") == Entry(1)


def test_a_write_that_knows_an_older_epoch_is_made_in_the_new_one(store: SQLStore, sql_engine: sa.Engine) -> None:
    """After another process has cleared the namespace, a set of this one is seen by both."""
    other = SQLStore(sql_engine, namespace=store.namespace)
    store.set("a", 1)
    other.clear()
    store.set("b", 2)
    assert other.get("b") == Entry(2)
    store.clear()
    other.set_many({"c": Entry(3), "d": Entry(4)})
    other.clear()
    store.set("e", 5)
    assert other.get("e") == Entry(5) and sorted(other.keys()) == ["e"]
    store.clear()
    other.set_many({"c": Entry(3), "d": Entry(4)})
    assert sorted(store.keys()) == sorted(other.keys()) == ["c", "d"]
    assert store.get("b") is None and store.get("c") == Entry(3)


def test_values_of_version_1_are_read_until_a_clear(store: SQLStore, sql_engine: sa.Engine) -> None:
    """What an earlier version has written, without an epoch, is there, counted by a delete, and ends with a clear."""
    bound, value = b"users:a", MsgpackCodec().encode(7)
    covered = b"\x00" + len(bound).to_bytes(2, "big") + bytes(16) + bound + value
    old = b"\xc1WW\x01msgpack\0\0\0\0\0" + zlib.crc32(covered).to_bytes(4, "big") + covered
    where = store.table.c.entry_key == b"a"

    def write_as_before() -> None:
        store.set("a", 1)
        with sql_engine.begin() as connection:
            connection.execute(store.table.update().where(where).values(value=old))

    assert store.namespace == "users"
    write_as_before()
    assert store.get("a") == Entry(7) and list(store.keys()) == ["a"] and store.delete("a") is True
    store.clear()
    write_as_before()
    assert store.get("a") is None and list(store.keys()) == [] and store.delete("a") is False


def rows_of(store: SQLStore, engine: sa.Engine) -> int:
    """How many rows the table has for the store's keys."""
    count = sa.select(sa.func.count()).select_from(store.table).where(store.table.c.namespace == store.namespace)
    with engine.connect() as connection:
        return int(connection.execute(count).scalar_one())


def test_a_clear_between_read_and_fill_by_one_who_never_read(store: SQLStore, sql_engine: sa.Engine) -> None:
    """The epoch is the database's: a clear by any store makes the tokens of all stale."""
    _, token = store.read("never there")
    SQLStore(sql_engine, namespace="users").clear()
    assert store.fill("never there", Entry(1), token) is False
    assert store.fill("never there", Entry(1), store.read("never there")[1]) is True


def test_a_clear_in_another_namespace_makes_nothing_stale(store: SQLStore, sql_engine: sa.Engine) -> None:
    """Epochs are by namespace."""
    _, token = store.read("a")
    SQLStore(sql_engine, namespace="users2").clear()
    assert store.fill("a", Entry(1), token) is True


def test_writers_and_clearers_at_once_leave_no_error(store: SQLStore, sql_engine: sa.Engine) -> None:
    """Sets, fills, deletes, batches and clears of the same keys from many threads neither deadlock nor fail."""
    errors: list[BaseException] = []
    start = threading.Barrier(6)
    keys = [f"k{number}" for number in range(4)]

    def work(me: int) -> None:
        start.wait(10)
        try:
            for step in range(8):
                key = keys[(me + step) % 4]
                _, token = store.read(key)
                if me % 3 == 0:
                    store.set_many({key: Entry([me, step]) for key in reversed(keys)})
                elif me % 3 == 1:
                    store.delete(key)
                    store.fill(key, Entry([me, step], 50.0), token)
                else:
                    store.put_many({key: (Entry([me, step]), token)})
                    store.set(key, step, 50.0)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert errors == []


def test_a_transaction_that_the_server_undid_is_done_again(
    store: SQLStore, sql_engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadlock costs another attempt; one that never ends is the driver's error, and nothing is stored twice."""
    monkeypatch.setattr("wellwired.stores._sql_rows.was_undone", lambda error: True)
    store.read("a")
    fails = [2]

    def fail(*_: Any) -> None:
        if fails[0]:
            fails[0] -= 1
            raise OperationalError("x", {}, Exception("deadlock"))

    event.listen(sql_engine, "before_cursor_execute", fail)
    store.set("a", 1)
    assert fails == [0]
    fails[0] = 100
    with pytest.raises(OperationalError):
        store.set("a", 2)
    assert fails == [94]
    event.remove(sql_engine, "before_cursor_execute", fail)
    assert store.get("a") == Entry(1)


@pytest.mark.parametrize(
    ("orig", "undone"),
    [
        (type("E", (Exception,), {"sqlstate": "40P01"})(), True),
        (type("E", (Exception,), {"sqlstate": "40001"})(), True),
        (type("E", (Exception,), {"pgcode": "40P01"})(), True),
        (Exception(1213, "Deadlock found"), True),
        (Exception(1205, "Lock wait timeout"), False),
        (Exception(1062, "Duplicate"), False),
        (sqlite3.OperationalError("database is locked"), False),
        (Exception("deadlock"), False),
    ],
)
def test_what_was_undone_is_known_by_its_code(orig: Exception, undone: bool) -> None:
    """The server's own codes say so, and neither a class nor a text."""
    assert was_undone(OperationalError("x", {}, orig)) is undone


@only_sqlite
def test_a_locked_database_is_the_drivers_error(sql_url: str) -> None:
    """A writer that holds the file too long is an error of SQLite's, within its timeout."""
    engine = sa.create_engine(sql_url, connect_args={"timeout": 0.1})
    store = SQLStore(engine, namespace="users")
    store.create_table()
    blocker = sqlite3.connect(sa.make_url(sql_url).database or "", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError):
        store.set("a", 1)
    blocker.execute("ROLLBACK")
    blocker.close()
    store.set("a", 1)
    assert store.get("a") == Entry(1)
    engine.dispose()


def test_the_engine_stays_usable(store: SQLStore, sql_engine: sa.Engine) -> None:
    """Closing the store closes nothing that it was handed, and no call keeps a connection."""
    store.close()
    assert store.get("a") is None
    pool: Any = sql_engine.pool
    assert pool.checkedout() == 0


def test_the_documentation_shows_the_ddl(store: SQLStore) -> None:
    """What the page tells to run is what `ddl()` gives, blanks aside."""
    page = (Path(__file__).parents[2] / "docs" / "decisions" / "backends.md").read_text()
    assert "".join(store.ddl().split()) in "".join(page.split())
