"""The pools of an application: engines and Redis clients as the settings say, their pings, and their life after a fork.

Everything opens without connecting: a pool connects when it is first used, so a container starts while a database
restarts. Drivers and libraries are imported when something is opened that needs them. What is opened here has its
own retries turned off, because the library's retry loop is the only one, and a limit on every wait.

After a fork the child has the same `Engine` and the same `Redis` object, with an empty pool behind it. What was
inherited is neither used nor closed: a goodbye from the child would be said on its parent's socket.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from wellwired.errors import MissingExtraError
from wellwired.settings.urls import driver_of

if TYPE_CHECKING:
    from redis import Redis
    from sqlalchemy import Engine

    from wellwired.settings import RedisSettings, SQLSettings

__all__ = [
    "EmbeddedServers",
    "close_engine",
    "close_redis",
    "immediate",
    "open_engine",
    "open_redis",
    "ping_engine",
    "ping_redis",
    "renew_engine_after_fork",
    "renew_redis_after_fork",
]


class EmbeddedServers:
    """The Redis servers inside this process, behind ``memory://``; one object for each container.

    Clients that are opened with the same object and the same name (or the same URL, if it has a name of its own, as
    in ``memory://shared``) share a server; its data goes with the last of them. A forked child finds none: it starts
    with empty ones.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._servers: dict[str, Any] = {}

    def server(self, name: str) -> Any:
        """The server of a name, a `fakeredis.FakeServer`, made at first use. Safe from many threads."""
        from fakeredis import FakeServer

        if self._pid != os.getpid():
            self._pid, self._servers = os.getpid(), {}
        return self._servers.setdefault(name, FakeServer(version=(7,)))


def _require_driver(url: str, name: str) -> None:
    driver = driver_of(url)
    if driver is not None and any(find_spec(module) is None for module in driver.modules):
        raise MissingExtraError(driver.package, extra=driver.extra, purpose=name)


def open_engine(name: str, settings: SQLSettings) -> Engine:
    """Makes the engine of a database; connects at first use.

    MySQL, MariaDB and PostgreSQL get a `QueuePool`, timeouts and TLS as the settings say. SQLite gets:

    - for a file: a `QueuePool`, write-ahead logging (readers and a writer do not wait for each other), foreign keys;
    - in memory: one connection for all threads, one at a time, so that all see one database; it lives as long as
      that connection. It has no pre-ping and is not recycled;
    - transactions that begin where SQLAlchemy says so, savepoints and DDL included. They take the write lock when they
      first write, which may fail if they have read before; see `immediate`.

    A statement's parameters are kept out of errors and logs.

    Args:
        name: the dotted name, such as ``sql.main``; PostgreSQL shows it as the application's.
        settings: the database's.

    Returns:
        The engine, to be closed by `close_engine`.

    Raises:
        MissingExtraError: the driver is not installed.
    """
    _require_driver(settings.url.get_secret_value(), name)
    from wellwired.containers._engines import make_engine

    return make_engine(name, settings)


def immediate(engine: Engine) -> Engine:
    """A view of an engine whose transactions on SQLite take the write lock when they begin.

    A transaction that reads and then writes can then not be overtaken by another writer, which SQLite would report as
    "database is locked" without waiting. On other databases it is the engine as it is.

    Args:
        engine: one of `open_engine`.

    Returns:
        An engine on the same pool.
    """
    from wellwired.containers._engines import immediate_view

    return immediate_view(engine)


def ping_engine(engine: Engine) -> None:
    """Asks a database for an answer; raises what the driver or the pool raises.

    A wait is limited by the settings: `pool_timeout`, then `connect_timeout`, then the socket's.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")


def close_engine(engine: Engine) -> None:
    """Closes the idle connections of an engine; one that is in use is closed when it comes back."""
    engine.dispose()


def renew_engine_after_fork(engine: Engine) -> None:
    """Gives an engine a new pool in a forked child; takes no lock that existed before the fork.

    Args:
        engine: one of `open_engine`; another's pool is replaced as well.
    """
    from wellwired.containers._engines import renew_engine

    renew_engine(engine)


def open_redis(name: str, settings: RedisSettings, *, servers: EmbeddedServers | None = None) -> Redis:
    """Makes the client of a Redis; connects at first use.

    A caller waits for a connection for `pool_timeout` and then gets `redis.exceptions.MaxConnectionsError`. Nothing
    is retried underneath, and notifications that would stretch the timeouts are off. ``memory://`` is a server with
    Lua inside this process, without sockets.

    Args:
        name: the dotted name, such as ``redis.cache``.
        settings: the server's.
        servers: where the servers behind ``memory://`` live; None for one that only this client has.

    Returns:
        The client, to be closed by `close_redis`.

    Raises:
        MissingExtraError: ``memory://`` was asked for and fakeredis is not installed.
    """
    _require_driver(settings.url.get_secret_value(), name)
    from wellwired.containers._redis_clients import make_client

    return make_client(name, settings, servers or EmbeddedServers())


def ping_redis(client: Redis) -> None:
    """Asks a Redis for an answer; raises what redis-py raises.

    A wait is limited by the settings: `pool_timeout`, then `connect_timeout`, then `socket_timeout`.
    """
    client.ping()


def close_redis(client: Redis) -> None:
    """Closes all connections of a client's pool, those in use included."""
    client.close()
    client.connection_pool.disconnect()


def renew_redis_after_fork(client: Redis) -> None:
    """Empties a client's pool in a forked child; neither waits for an inherited lock nor closes a connection.

    Args:
        client: one of `open_redis`, whose pool begins anew in place, so that those who hold on to it have the new one;
            the pool of another is replaced by a new one with the same arguments.
    """
    from wellwired.containers._redis_clients import renew_client

    renew_client(client)
