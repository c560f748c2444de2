"""Fresh, empty places on a shared server, one for each test, which no other test or test run can meet.

SQLite: a file. MariaDB: a database. PostgreSQL: a schema in a database of the session's own, chosen by the URL's
search path, because a new schema takes a millisecond and a new database fifty. Redis: a logical database.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.servers.admin import execute, redis_client
from tests.servers.finding import Found
from tests.servers.recipes import Missing

__all__ = ["FreshDatabases", "FreshRedis", "sqlite"]

_CLAIM_SECONDS = 3 * 3600
_STALE_SECONDS = 24 * 3600


def _name() -> str:
    # The hour lets a later run recognise what a killed one left behind.
    return f"ww_{int(time.time()) // 3600}_{os.getpid()}_{secrets.token_hex(4)}"


def _stale(name: str) -> bool:
    hour = name.split("_")[1]
    return hour.isdigit() and int(hour) * 3600 < time.time() - _STALE_SECONDS


def sqlite(folder: Path) -> str:
    """The URL of a file that does not exist yet."""
    return f"sqlite:///{folder / f'fresh_{secrets.token_hex(4)}.sqlite'}"


class FreshDatabases:
    """Makes and drops databases on one PostgreSQL or MariaDB server.

    Args:
        server: where.
    """

    def __init__(self, server: Found) -> None:
        self._server = server
        self._postgresql = server.kind == "postgresql"
        self._database = ""
        self._sweep()

    def make(self) -> str:
        """The URL of a new empty database (a new empty schema, on PostgreSQL)."""
        url = make_url(self._server.url)
        if not self._postgresql:
            name = _name()
            execute(self._server.url, f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
            return url.set(database=name).render_as_string(hide_password=False)
        if not self._database:
            self._database = _name()
            execute(self._server.url, f'CREATE DATABASE "{self._database}" TEMPLATE template0')
        schema = f"t_{secrets.token_hex(6)}"
        url = url.set(database=self._database)
        execute(url.render_as_string(hide_password=False), f'CREATE SCHEMA "{schema}"')
        return url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Removes what `make` gave, whatever connections a test has left on it."""
        if not self._postgresql:
            self._drop_mariadb(make_url(url).database or "")
        # A schema goes with its session's database: dropping it here could wait for a lock that a test still holds.

    def close(self) -> None:
        """Removes the session's database."""
        if self._database:
            execute(self._server.url, f'DROP DATABASE IF EXISTS "{self._database}" WITH (FORCE)')
            self._database = ""

    def _drop_mariadb(self, name: str) -> None:
        rows = execute(self._server.url, f"SELECT id FROM information_schema.processlist WHERE db = '{name}'")
        # An open transaction would make DROP wait for its metadata lock.
        kills = [f"KILL {row[0]}" for row in rows]
        for statement in (*kills, f"DROP DATABASE IF EXISTS `{name}`"):
            try:
                execute(self._server.url, statement)
            except Exception:
                if not statement.startswith("KILL"):  # a connection that has left by itself is as good as killed
                    raise

    def _sweep(self) -> None:
        """Drops what runs of more than a day ago have left."""
        if self._postgresql:
            rows = execute(self._server.url, r"SELECT datname FROM pg_database WHERE datname LIKE 'ww\_%\_%\_%'")
            for name in (row[0] for row in rows if _stale(row[0])):
                execute(self._server.url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            return
        for name in (row[0] for row in execute(self._server.url, r"SHOW DATABASES LIKE 'ww\_%\_%\_%'")):
            if _stale(name):
                self._drop_mariadb(name)


class FreshRedis:
    """Hands out empty logical databases of one Redis server.

    On a server of our own each call gives the next of 4,096. On a shared one the session claims a logical database
    by a key in database 0, and empties that one each time.

    Args:
        server: where.
    """

    def __init__(self, server: Found) -> None:
        self._server = server
        self._shared = not server.how.startswith("started")
        self._next = 0
        self._claimed: int | None = None
        self._token = secrets.token_hex(8)

    def make(self) -> str:
        """The URL of an empty logical database."""
        if self._shared and self._claimed is None:
            self._claimed = self._claim()
        self._next = self._next % 4095 + 1
        number = self._claimed if self._claimed is not None else self._next
        url = make_url(self._server.url).set(database=str(number)).render_as_string(hide_password=False)
        with redis_client(url) as client:
            client.flushdb()
        return url

    def close(self) -> None:
        """Gives a claimed logical database back, empty."""
        if self._claimed is None:
            return
        url = make_url(self._server.url)
        with redis_client(url.set(database=str(self._claimed)).render_as_string(hide_password=False)) as client:
            client.flushdb()
        with redis_client(url.set(database="0").render_as_string(hide_password=False)) as client:
            client.delete(self._key(self._claimed))
        self._claimed = None

    def _claim(self) -> int:
        with redis_client(make_url(self._server.url).set(database="0").render_as_string(hide_password=False)) as client:
            for number in range(1, 16):
                if client.set(self._key(number), self._token, nx=True, ex=_CLAIM_SECONDS):
                    return number
        raise Missing("the logical databases 1 to 15 of the shared Redis are all claimed by other runs")

    @staticmethod
    def _key(number: int) -> str:
        return f"wellwired:test:claimed:{number}"
