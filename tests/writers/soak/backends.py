"""Where a run's writes go: tables or keys, the handlers that fill them, and what is found there afterwards.

A place has two ways in: through the fault proxy, which the writers use, and the straight one, by which it is prepared
and read. `settled` waits until the server has ended every session that came the first way: before that, a COMMIT may
still be on its way, and what is read proves nothing.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import redis
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from tests.writers.soak.verdicts import Found
from tests.writers.soak.workload import ACCOUNTS
from wellwired.handlers import Registry, handler
from wellwired.handlers.decorator import FunctionHandler
from wellwired.operations import WriteRequest
from wellwired.writers import Writer
from wellwired.writers._group import GroupCommit
from wellwired.writers.idempotency import create_tables
from wellwired.writers.redis import RedisWriter
from wellwired.writers.sql import SQLWriter

__all__ = ["GRACE", "TARGET", "Place", "RedisPlace", "SQLPlace", "sharing"]

TARGET = "sql.main"
GRACE = 0.3
_SECONDS_TO_SETTLE = 60.0
_PLACES = 10

metadata = sa.MetaData()

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False, index=True),
    sa.Column("part", sa.Integer, nullable=False),
    sa.Column("tag", sa.String(10)),
    sa.Column("body", sa.Text().with_variant(sa.Text(1_000_000), "mysql", "mariadb")),
    sa.CheckConstraint("part >= 0", name="no_negative_part"),
    mysql_engine="InnoDB",
)
accounts = sa.Table(
    "accounts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("balance", sa.Integer, nullable=False),
    mysql_engine="InnoDB",
)
marks = sa.Table(
    "marks", metadata, sa.Column("number", sa.Integer, primary_key=True, autoincrement=False), mysql_engine="InnoDB"
)


class Place(Protocol):
    """One backend of one run."""

    def prepare(self) -> None:
        """Makes it empty and ready."""
        ...

    def open(self, port: int) -> Writer:
        """A writer that comes in by a port: the proxy's, or the server's own."""
        ...

    def leave(self) -> None:
        """Closes every connection of the writers."""
        ...

    def settled(self) -> bool:
        """Waits until the server has ended every session of the writers; whether it has."""
        ...

    def found(self) -> Found:
        """What is there."""
        ...

    def close(self) -> None:
        """Closes everything."""
        ...


def _until(reached: Callable[[], bool]) -> bool:
    until = time.monotonic() + _SECONDS_TO_SETTLE
    while not reached():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@handler("append", backend="sql")
def append(request: WriteRequest, connection: sa.Connection) -> int:
    """Adds a row for each part and moves its amount."""
    payload = request.payload
    number = int(payload["number"])
    for part, (account, amount) in enumerate(payload["parts"]):
        body = "x" * (payload["size"] if part == 0 else 1)
        connection.execute(entries.insert(), {"number": number, "part": part, "tag": "good", "body": body})
        if amount:
            change = accounts.c.balance + amount
            connection.execute(accounts.update().where(accounts.c.id == account).values(balance=change))
    if payload["nap"]:
        sleep = "pg_sleep" if connection.dialect.name == "postgresql" else "sleep"
        connection.execute(sa.text(f"SELECT {sleep}({payload['nap']:.3f})"))
    if payload["spoilt"]:
        connection.execute(_SPOILT[payload["spoilt"]])
    return number


_SPOILT: dict[str, sa.Executable] = {
    "check": entries.insert().values(number=-1, part=-1),
    "null": entries.insert().values(number=-1, part=None),
    "duplicate": accounts.insert().values(id=1, balance=0),
    "table": sa.text("INSERT INTO nowhere VALUES (1)"),
    "syntax": sa.text("INSERT INSERT"),
    "length": entries.insert().values(number=-1, part=0, tag="longer than ten"),
}


def add_all(requests: Sequence[WriteRequest], connection: sa.Connection) -> list[int]:
    """Adds the rows of many requests by one statement."""
    rows = []
    for payload in (request.payload for request in requests):
        for part in range(len(payload["parts"])):
            body = "x" * (payload["size"] if part == 0 else 1)
            rows.append({"number": payload["number"], "part": part, "tag": "good", "body": body})
        rows[-1] |= _BAD_FIELDS[payload["spoilt"]]
    connection.execute(entries.insert(), rows)
    return [int(request.payload["number"]) for request in requests]


_BAD_FIELDS: dict[str, dict[str, Any]] = {
    "": {},
    "check": {"part": -1},
    "null": {"part": None},
    "length": {"tag": "longer than ten"},
}


@handler("rows", backend="sql", many=add_all)
def add_rows(request: WriteRequest, connection: sa.Connection) -> int:
    """Adds the rows of one request."""
    return add_all([request], connection)[0]


@handler("mark", backend="sql", idempotent=True)
def mark(request: WriteRequest, connection: sa.Connection) -> int:
    """Marks a number, once or more."""
    number = int(request.payload["number"])
    postgresql = connection.dialect.name == "postgresql"
    words = "INSERT INTO marks VALUES (:n) ON CONFLICT DO NOTHING" if postgresql else "INSERT IGNORE marks VALUES (:n)"
    connection.execute(sa.text(words), {"n": number})
    return number


class SQLPlace:
    """A database.

    Args:
        url: the straight way to it, empty.
        make: makes the writer of an engine.
        ping: whether the pool asks a connection for a sign of life first.
    """

    def __init__(
        self, url: str, make: Callable[[str, sa.Engine, Registry], Writer] | None = None, *, ping: bool = False
    ) -> None:
        self._url = make_url(url)
        self._ping = ping
        self._name = f"soak-{secrets.token_hex(4)}"
        self._postgresql = self._url.get_backend_name() == "postgresql"
        self._make = make or _sql_writer
        self._straight = sa.create_engine(self._url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        self._engines: list[sa.Engine] = []

    def prepare(self) -> None:
        """See `Place`."""
        metadata.create_all(self._straight)
        create_tables(self._straight)
        with self._straight.connect() as connection:
            connection.execute(accounts.insert(), [{"id": number, "balance": 0} for number in range(1, ACCOUNTS)])

    def open(self, port: int) -> Writer:
        """See `Place`."""
        # PyMySQL would load the system's certificates for each connection, which is twenty milliseconds of work.
        arguments: dict[str, Any] = {"application_name": self._name} if self._postgresql else {"ssl_disabled": True}
        engine = sa.create_engine(
            self._url.set(port=port),
            pool_size=_PLACES,
            max_overflow=2,
            pool_recycle=10,
            pool_pre_ping=self._ping,
            connect_args=arguments,
        )
        self._engines.append(engine)
        return self._make(TARGET, engine, Registry(append, add_rows, mark))

    def leave(self) -> None:
        """See `Place`."""
        for engine in self._engines:
            engine.dispose()

    def settled(self) -> bool:
        """See `Place`."""
        if self._postgresql:
            question = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{self._name}'"
        else:
            question = (
                "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
        return _until(lambda: self._ask(question) == 0)

    def found(self) -> Found:
        """See `Place`."""
        counted = sa.select(entries.c.number, entries.c.part, sa.func.count()).group_by(
            entries.c.number, entries.c.part
        )
        with self._straight.connect() as connection:
            rows = {(row[0], row[1]): int(row[2]) for row in connection.execute(counted)}
            marked = frozenset(connection.scalars(sa.select(marks.c.number)))
            balances = {row.id: int(row.balance) for row in connection.execute(sa.select(accounts))}
        return Found(rows, marked, balances)

    def close(self) -> None:
        """See `Place`."""
        self.leave()
        self._straight.dispose()

    def _ask(self, question: str) -> Any:
        with self._straight.connect() as connection:
            return connection.scalar(sa.text(question))


def _sql_writer(name: str, engine: sa.Engine, handlers: Registry) -> Writer:
    return sharing("rows")(name, engine, handlers)


def sharing(*types: str, resolve: bool = False) -> Callable[[str, sa.Engine, Registry], Writer]:
    """Makes writers that let single writes of some types share transactions, and look for lost COMMITs or do not."""
    groups = {each: GroupCommit(max_batch=8) for each in types}

    def make(name: str, engine: sa.Engine, handlers: Registry) -> Writer:
        return SQLWriter(name, engine, handlers=handlers, commit_grace=GRACE, group_commit=groups, resolve=resolve)

    return make


@handler("append", backend="redis")
def count_parts(request: WriteRequest, pipeline: Any) -> int:
    """Counts each part up and moves its amount."""
    payload = request.payload
    number = int(payload["number"])
    for part, (account, amount) in enumerate(payload["parts"]):
        if payload["spoilt"] != "alone":
            pipeline.hincrby("entries", f"{number}:{part}", 1)
        if amount and payload["spoilt"] != "alone":
            pipeline.hincrby("accounts", account, amount)
    if payload["spoilt"]:
        pipeline.lpush("string", number)
    else:
        pipeline.set(f"body:{number}", "x" * payload["size"], ex=3600)
    return number


fenced = FunctionHandler(count_parts.handle, type="fenced", backend="redis", fenced=True)


@handler("mark", backend="redis", idempotent=True)
def add_mark(request: WriteRequest, pipeline: Any) -> int:
    """Marks a number, once or more."""
    number = int(request.payload["number"])
    pipeline.sadd("marks", number)
    return number


@handler("direct", backend="redis", uses_client=True)
def count_directly(request: WriteRequest, client: Any) -> int:
    """Counts each part up by a command of its own."""
    number = int(request.payload["number"])
    for part in range(len(request.payload["parts"])):
        client.hincrby("entries", f"{number}:{part}", 1)
    return number


class RedisPlace:
    """A logical database of a Redis.

    Args:
        url: the straight way to it, empty.
        make: makes the writer of a client.
    """

    def __init__(self, url: str, make: Callable[[str, redis.Redis, Registry], Writer] | None = None) -> None:
        self._url = make_url(url)
        self._make = make or _redis_writer
        self._name = f"soak-{secrets.token_hex(4)}"
        self._straight: Any = redis.Redis.from_url(url, single_connection_client=False)
        self._clients: list[redis.Redis] = []

    def prepare(self) -> None:
        """See `Place`."""
        self._straight.set("string", "no list")

    def open(self, port: int) -> Writer:
        """See `Place`."""
        url = self._url.set(port=port).render_as_string(hide_password=False)
        # A connection is made within the client's own limits, not the write's; redis-py's are five seconds.
        limits = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
        client = redis.Redis.from_url(url, max_connections=_PLACES, **limits)
        self._clients.append(client)
        return self._make(TARGET, client, Registry(count_parts, fenced, add_mark, count_directly))

    def leave(self) -> None:
        """See `Place`."""
        for client in self._clients:
            client.close()

    def settled(self) -> bool:
        """See `Place`."""
        return _until(lambda: len([c for c in self._straight.client_list() if c["db"] == (self._url.database)]) <= 1)

    def found(self) -> Found:
        """See `Place`."""
        counted = {tuple(map(int, name.split(b":"))): int(n) for name, n in self._straight.hgetall("entries").items()}
        rows = {(number, part): count for (number, part), count in counted.items()}
        balances = {int(account): int(amount) for account, amount in self._straight.hgetall("accounts").items()}
        return Found(rows, frozenset(map(int, self._straight.smembers("marks"))), balances)

    def close(self) -> None:
        """See `Place`."""
        self.leave()
        self._straight.close()


def _redis_writer(name: str, client: redis.Redis, handlers: Registry) -> Writer:
    return RedisWriter(name, client, handlers=handlers, commit_grace=GRACE)
