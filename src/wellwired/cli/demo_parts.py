"""What the demo is made of: its settings, its table, its handlers and its container.

The container is an ordinary `Application`. Where the environment names a database ``main`` or a Redis ``cache`` they
are used; otherwise a SQLite file in a folder of the demo's own and an embedded Redis.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from wellwired.containers import Application, providers
from wellwired.handlers import Registry, handler
from wellwired.handlers.examples import UserProfileUpdate, cache_set
from wellwired.handlers.sql import insert, upsert
from wellwired.middleware import WriteEvent
from wellwired.operations import WriteRequest
from wellwired.settings import Settings
from wellwired.stores import DelegatedStore, Layer, MemoryStore
from wellwired.stores.redis import RedisStore
from wellwired.stores.table import TableStore

__all__ = ["NAMESPACE", "Demo", "Tally", "deadlock_once", "demo_settings", "profiles"]

NAMESPACE = "wellwired-demo"
"""What every Redis key of the demo begins with, and in the same spirit its table's name."""

profiles = sa.Table(
    "wellwired_demo_profiles",
    sa.MetaData(),
    sa.Column("user_id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("email", sa.String(254), nullable=False),
)


class Tally:
    """Metrics of the demo's own: how many writes ended with each code, and how often one was tried again."""

    def __init__(self) -> None:
        self.writes: Counter[str] = Counter()
        self.retries = 0

    def record(self, event: WriteEvent, /) -> None:
        """Counts one write."""
        self.writes[event.code] += 1
        self.retries += max(0, event.attempts - 1)


@handler("demo_deadlock", backend="sql")
def deadlock_once(request: WriteRequest, connection: sa.Connection) -> int:
    """Writes a row, and on the first attempt is then chosen as the victim of a deadlock by the database."""
    tries: list[int] = request.meta["tries"]
    tries.append(len(tries) + 1)
    connection.execute(profiles.insert(), dict(request.payload))
    if len(tries) == 1:
        _be_the_victim(connection)
    return len(tries)


def _be_the_victim(connection: sa.Connection) -> None:
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'demo' USING ERRCODE = '40P01'; END $$")
    elif dialect in ("mysql", "mariadb"):
        connection.exec_driver_sql("SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'demo'")
    else:
        # SQLite knows no deadlock; its nearest is a snapshot that another writer has overtaken.
        fault = sqlite3.OperationalError("demo")
        fault.sqlite_errorcode = 517
        raise OperationalError(None, None, fault)


def demo_settings(folder: Path) -> Settings:
    """The settings of the environment, with embedded defaults for what it does not name.

    Args:
        folder: where the SQLite file goes, if one is needed.
    """
    given = Settings.load()
    defaults: dict[str, Any] = {}
    if "main" not in given.sql:
        defaults["sql"] = {"main": {"url": f"sqlite:///{folder / 'demo.db'}"}}
    if "cache" not in given.redis:
        defaults["redis"] = {"cache": {"url": "memory://"}}
    return Settings.load(**defaults) if defaults else given


class Demo(Application):
    """The demo's container: three handlers more, its own counters, and a store of three layers over its table."""

    metrics = providers.Singleton(Tally)
    handlers = providers.Singleton(
        Registry,
        upsert(profiles, type="user_profile_update", payload=UserProfileUpdate),
        insert(profiles, type="profile_insert"),
        cache_set,
        deadlock_once,
    )
    memory = providers.Singleton(MemoryStore, share=True)
    shared = providers.Singleton(RedisStore, Application.redis["cache"], namespace=NAMESPACE)
    table = providers.Singleton(TableStore, Application.sql["main"], profiles)
    profile_store = providers.Resource(
        DelegatedStore[dict[str, Any]],
        providers.List(
            providers.Singleton(Layer, memory, ttl=60, name="memory"),
            providers.Singleton(Layer, shared, ttl=3600, name="redis.cache"),
            providers.Singleton(Layer, table, primary=True, name="sql.main"),
        ),
        name="profiles",
    ).closed_by(DelegatedStore.close)
