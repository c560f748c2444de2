"""Our own writers and handlers pass the suites that we hand to others, on real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, cast

import pytest
import redis
import sqlalchemy as sa

from tests.servers import FreshDatabases, Missing, required
from tests.servers.databases import sqlite
from wellwired.containers import pools
from wellwired.handlers import Handler, Registry
from wellwired.handlers import redis as redis_handlers
from wellwired.handlers import sql as table_handlers
from wellwired.settings import RedisSettings, SQLSettings
from wellwired.testing.conformance import HandlerSuite, WriterSuite
from wellwired.writers import MemoryWriter, Writer
from wellwired.writers.idempotency import create_tables
from wellwired.writers.idempotency import table as keys_table
from wellwired.writers.redis import RedisWriter
from wellwired.writers.sql import SQLWriter

metadata = sa.MetaData()
texts = sa.Table(
    "texts",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("text", sa.String(50), nullable=False),
    mysql_engine="InnoDB",
)
accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String(20), nullable=False),
    mysql_engine="InnoDB",
)


@pytest.fixture(scope="module")
def databases(
    _databases: Callable[[str], FreshDatabases], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], sa.Engine]]:
    """The engine of a kind, as an application gets it, with the tables; made once, for there are many tests."""
    made: dict[str, sa.Engine] = {}
    urls: list[tuple[FreshDatabases, str]] = []

    def database(kind: str) -> sa.Engine:
        if kind not in made:
            if kind == "sqlite":
                url = sqlite(tmp_path_factory.mktemp("conformance"))
            else:
                fresh = _databases(kind)
                url = fresh.make()
                urls.append((fresh, url))
            made[kind] = pools.open_engine("sql.main", SQLSettings.model_validate({"url": url}))
            metadata.create_all(made[kind])
            create_tables(made[kind])
        return made[kind]

    yield database
    for engine in made.values():
        pools.close_engine(engine)
    for fresh, url in urls:
        fresh.drop(url)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("mariadb", marks=pytest.mark.mariadb),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ]
)
def engine(request: pytest.FixtureRequest, databases: Callable[[str], sa.Engine]) -> sa.Engine:
    """An engine on a database with the tables, empty."""
    try:
        engine = databases(request.param)
    except Missing as missing:
        if request.param in required():
            raise
        pytest.skip(f"no {request.param}: {missing}")
    with engine.begin() as connection:
        for table in (texts, accounts, keys_table):
            connection.execute(table.delete())
    return engine


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client as an application gets it."""
    made = pools.open_redis("redis.main", RedisSettings.model_validate({"url": redis_url}))
    yield made
    pools.close_redis(made)


class TestSQLWriter(WriterSuite):
    """On SQLite, MariaDB and PostgreSQL."""

    engine: sa.Engine

    @pytest.fixture
    def writer(self, engine: sa.Engine) -> Writer:
        """A writer on a fresh database."""
        self.engine = engine
        return SQLWriter("sql.main", engine)

    def put(self, connection: sa.Connection, text: str) -> None:
        """A row."""
        connection.execute(texts.insert(), {"text": text})

    def written(self, writer: Writer) -> Iterable[str]:
        """The rows that others see."""
        with self.engine.connect() as connection:
            return connection.scalars(sa.select(texts.c.text)).all()

    def refuse(self, connection: sa.Connection) -> None:
        """A row that its table does not allow."""
        connection.execute(texts.insert(), {"text": None})

    def after_fork(self, writer: Writer) -> None:
        """What a container does by itself for the engines that it opened."""
        pools.renew_engine_after_fork(self.engine)


@pytest.mark.parametrize("engine", [pytest.param("postgresql", marks=pytest.mark.postgresql)], indirect=True)
class TestResolvingSQLWriter(TestSQLWriter):
    """One that asks PostgreSQL what became of its transactions: begun in another way, with the same promises."""

    @pytest.fixture
    def writer(self, engine: sa.Engine) -> Writer:
        """A writer on a fresh database."""
        self.engine = engine
        return SQLWriter("sql.main", engine, resolve=True)


class TestRedisWriter(WriterSuite):
    """On fakeredis and on a real Redis."""

    client: redis.Redis

    @pytest.fixture
    def writer(self, client: redis.Redis, redis_url: str) -> Writer:
        """A writer on an empty Redis."""
        self.client, self.shared = client, not redis_url.startswith("memory:")  # type: ignore[misc]
        return RedisWriter("redis.main", client)

    def put(self, connection: Any, text: str) -> None:
        """An element of a list."""
        connection.rpush("texts", text)

    def written(self, writer: Writer) -> Iterable[str]:
        """The list."""
        return [text.decode() for text in cast("list[bytes]", self.client.lrange("texts", 0, -1))]

    def refuse(self, connection: Any) -> None:
        """A command for another kind of key."""
        connection.set("counter", "no number")
        connection.incr("counter")

    def after_fork(self, writer: Writer) -> None:
        """What a container does by itself for the clients that it opened."""
        pools.renew_redis_after_fork(self.client)


class TestMemoryWriter(WriterSuite):
    """The fake that tests use keeps what a real one promises."""

    shared = False

    @pytest.fixture
    def writer(self) -> Writer:
        """An empty one."""
        return MemoryWriter("memory.main", keeps_keys=True)

    def put(self, connection: Any, text: str) -> None:
        """An element of a list."""
        connection["texts"] = [*connection.get("texts", ()), text]

    def written(self, writer: Writer) -> Iterable[str]:
        """The list."""
        assert isinstance(writer, MemoryWriter)
        return cast("list[str]", writer.data.get("texts", []))


class Rows(HandlerSuite):
    """What the ready-made handlers of a table have in common."""

    good = {"id": 1, "owner": "Ada"}  # noqa: RUF012 - as a user would write it
    bad: ClassVar[Iterable[Any]] = (
        {},
        {"id": 1},
        {"id": "hunter2", "owner": "Ada"},
        {"id": 1, "owner": "hunter2" * 9},
        {"id": 1, "hunter2": 2},
    )
    secrets = ("hunter2hunter2", "'hunter2'")
    engine: sa.Engine

    @pytest.fixture
    def writer(self, engine: sa.Engine, handler: Handler) -> Writer:
        """A database with two rows."""
        self.engine = engine
        with engine.begin() as connection:
            connection.execute(accounts.insert(), [{"id": 7, "owner": "Bob"}, {"id": 8, "owner": "Eve"}])
        return SQLWriter("sql.main", engine, handlers=Registry(handler))

    def state(self, writer: Writer) -> Any:
        """All rows."""
        with self.engine.connect() as connection:
            return sorted(map(tuple, connection.execute(sa.select(accounts)).all()))


class TestInsert(Rows):
    """`wellwired.handlers.sql.insert`."""

    @pytest.fixture
    def handler(self) -> Handler:
        """A row more."""
        return table_handlers.insert(accounts, type="account_add")


class TestUpsert(Rows):
    """`wellwired.handlers.sql.upsert`."""

    @pytest.fixture
    def handler(self) -> Handler:
        """A row more, or another owner."""
        return table_handlers.upsert(accounts, type="account_set")


class TestUpdate(Rows):
    """`wellwired.handlers.sql.update`."""

    good = {"id": 7, "owner": "Ada"}  # noqa: RUF012 - as a user would write it
    bad = ({}, {"id": 7}, {"owner": "Ada"}, {"id": "hunter2", "owner": "Ada"})

    @pytest.fixture
    def handler(self) -> Handler:
        """Another owner."""
        return table_handlers.update(accounts, type="account_change")


class TestDelete(Rows):
    """`wellwired.handlers.sql.delete`."""

    good = {"id": 7}  # noqa: RUF012 - as a user would write it
    bad = ({}, {"id": None}, {"id": "hunter2"}, {"id": 7, "owner": "Ada"})

    @pytest.fixture
    def handler(self) -> Handler:
        """A row less."""
        return table_handlers.delete(accounts, type="account_close")


READY: dict[str, tuple[Any, Any, list[Any]]] = {
    "set_value": (redis_handlers.set_value, {"key": "a", "value": {"n": 1}}, [{}, {"key": "a", "value": 1, "ttl": -1}]),
    "delete_keys": (redis_handlers.delete_keys, {"keys": ["there"]}, [{}, {"keys": []}, {"keys": "hunter2hunter2"}]),
    "hash_set": (redis_handlers.hash_set, {"key": "h", "fields": {"f": 1}}, [{"key": "h"}, {"key": "h", "fields": {}}]),
    "increment": (redis_handlers.increment, {"key": "n"}, [{}, {"key": "n", "by": "hunter2hunter2"}]),
    "stream_add": (redis_handlers.stream_add, {"key": "s", "fields": {"f": "v"}}, [{"key": "s"}]),
}


@pytest.mark.parametrize("name", READY)
class TestRedisHandlers(HandlerSuite):
    """The ready-made handlers for Redis."""

    secrets = ("hunter2",)
    client: redis.Redis

    @pytest.fixture(autouse=True)
    def payloads(self, name: str) -> None:
        """The payloads of the handler in turn."""
        _, self.good, self.bad = READY[name]  # type: ignore[misc]

    @pytest.fixture
    def handler(self, name: str) -> Handler:
        """The handler in turn."""
        made: Handler = READY[name][0](type=name)
        return made

    @pytest.fixture
    def writer(self, client: redis.Redis, handler: Handler) -> Writer:
        """A Redis with one key."""
        self.client = client
        client.set("there", 1)
        return RedisWriter("redis.main", client, handlers=Registry(handler))

    def state(self, writer: Writer) -> Any:
        """All keys, with what their kind shows of them."""
        keys = sorted(cast("list[bytes]", self.client.keys()))
        seen = [(key, self.client.dump(key)) for key in keys if not key.startswith(b"wellwired:")]
        return [(key, self.client.type(key), data) for key, data in seen]
