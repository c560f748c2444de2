"""Engines: what each driver must be told, and how an engine survives a fork.

SQLite's driver begins transactions by itself and too late, so it is told not to, and SQLAlchemy sends BEGIN: the
remedy of its documentation, but by the dialect's `do_begin`, because listening to an engine's "begin" makes every
connection half as slow again.
"""

from __future__ import annotations

import math
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Engine, PoolProxiedConnection, create_engine, event, make_url
from sqlalchemy.pool import QueuePool

from wellwired.clock import Deadline
from wellwired.containers._fork import keep_for_ever
from wellwired.settings.tls import ssl_context
from wellwired.settings.urls import driver_of
from wellwired.writers._connection import WRITING

if TYPE_CHECKING:
    from wellwired.settings import SQLSettings, TLSSettings

__all__ = ["immediate_view", "make_engine", "renew_engine"]


@dataclass
class _Made:
    """How an engine was made, and how far its first connection has come: SQLAlchemy learns from it once what server
    it talks to.
    """

    name: str
    settings: SQLSettings
    connecting: bool = False
    connected: bool = False

    def on_connecting(self, *_: Any) -> None:
        self.connecting = True

    def on_connected(self, *_: Any) -> None:
        self.connected = True


_made: WeakKeyDictionary[Engine, _Made] = WeakKeyDictionary()

# As long as Python's own driver waits. More than a write may take would be lowered and raised again at every write.
_USUAL_PATIENCE = 5.0
_SSLMODES = {"full": "verify-full", "ca": "verify-ca", "none": "require"}


def make_engine(name: str, settings: SQLSettings) -> Engine:
    """See `wellwired.containers.pools.open_engine`."""
    url = _full_url(settings)
    options: dict[str, Any] = {"hide_parameters": True, "pool_logging_name": name}
    if settings.isolation_level is not None:
        options["isolation_level"] = settings.isolation_level
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, **options, **_sqlite_options(url, settings))
        _listen_sqlite(engine, in_file=not _in_memory(url), patience=_patience(settings))
    else:
        arguments = _mysql_arguments if url.drivername.endswith("+pymysql") else _postgresql_arguments
        engine = create_engine(url, **options, **_pool_options(settings), connect_args=arguments(name, settings))
        _listen_server(engine, settings)
    made = _made[engine] = _Made(name, settings)
    event.listen(engine, "do_connect", made.on_connecting)
    event.listen(engine, "connect", made.on_connected)
    return engine


def _full_url(settings: SQLSettings) -> URL:
    text = settings.url.get_secret_value()
    driver = driver_of(text)
    url = make_url(text)
    return url.set(drivername=driver.scheme) if driver else url


def _pool_options(settings: SQLSettings) -> dict[str, Any]:
    return {
        "poolclass": QueuePool,
        "pool_size": settings.pool_size,
        "max_overflow": settings.max_overflow,
        "pool_timeout": settings.pool_timeout,
        "pool_recycle": -1 if settings.pool_recycle is None else math.ceil(settings.pool_recycle),
        "pool_pre_ping": settings.pre_ping,
    }


def _mysql_arguments(_name: str, settings: SQLSettings) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "connect_timeout": settings.connect_timeout,
        "read_timeout": settings.socket_timeout,
        "write_timeout": settings.socket_timeout,
    }
    return arguments | ({"ssl": ssl_context(settings.tls)} if settings.tls else {})


def _postgresql_arguments(name: str, settings: SQLSettings) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        # libpq counts whole seconds, and psycopg no fewer than two.
        "connect_timeout": math.ceil(settings.connect_timeout),
        "tcp_user_timeout": round(settings.socket_timeout * 1000),
        "keepalives_idle": max(1, round(settings.socket_timeout / 2)),
        "keepalives_interval": max(1, round(settings.socket_timeout / 6)),
        "keepalives_count": 3,
        "fallback_application_name": name,
    }
    return arguments | (_libpq_tls(settings.tls) if settings.tls else {})


def _libpq_tls(tls: TLSSettings) -> dict[str, Any]:
    arguments: dict[str, Any] = {"sslmode": _SSLMODES[tls.verify]}
    if tls.verify != "none":
        arguments["sslrootcert"] = str(tls.ca or "system")
    if tls.cert:
        arguments["sslcert"] = str(tls.cert)
        arguments["sslkey"] = str(tls.key or tls.cert)
    if tls.key_password:
        arguments["sslpassword"] = tls.key_password.get_secret_value()
    return arguments


def _listen_server(engine: Engine, settings: SQLSettings) -> None:
    """Sets the server's own timers on each new connection, if there are any to set."""
    statement, lock = settings.statement_timeout, settings.lock_timeout
    if statement is None and lock is None:
        return

    def on_connect(connection: Any, _record: Any) -> None:
        if engine.dialect.name == "postgresql":
            timers = {"statement_timeout": statement, "lock_timeout": lock}
            texts = [f"SET {key} = {math.ceil(value * 1000)}" for key, value in timers.items() if value is not None]
        else:
            texts = list(_mysql_timers("MariaDB" in connection.get_server_info(), statement, lock))
        with connection.cursor() as cursor:
            for text in texts:
                cursor.execute(text)
        connection.commit()  # PostgreSQL forgets a SET whose transaction is rolled back

    event.listen(engine, "connect", on_connect)


def _mysql_timers(mariadb: bool, statement: float | None, lock: float | None) -> list[str]:
    texts = []
    if statement is not None:
        # MySQL limits nothing but SELECT.
        limit = (
            f"max_statement_time = {statement}" if mariadb else f"max_execution_time = {math.ceil(statement * 1000)}"
        )
        texts.append(f"SET SESSION {limit}")
    if lock is not None:
        texts.append(f"SET SESSION innodb_lock_wait_timeout = {math.ceil(lock)}, lock_wait_timeout = {math.ceil(lock)}")
    return texts


def _in_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"


def _sqlite_options(url: URL, settings: SQLSettings) -> dict[str, Any]:
    pool = _pool_options(settings) | {"pool_recycle": -1, "pool_pre_ping": False}
    if _in_memory(url):
        pool |= {"pool_size": 1, "max_overflow": 0}
    return {**pool, "connect_args": {"check_same_thread": False, "timeout": _patience(settings)}}


def _patience(settings: SQLSettings) -> float:
    usual = min(_USUAL_PATIENCE, settings.socket_timeout)
    return usual if settings.lock_timeout is None else settings.lock_timeout


def _listen_sqlite(engine: Engine, *, in_file: bool, patience: float) -> None:
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin by itself
        connection.execute("PRAGMA foreign_keys = ON").close()
        if in_file:
            _write_ahead(connection, Deadline.after(patience))

    event.listen(engine, "connect", on_connect)
    engine.dialect.do_begin = _begin_sqlite  # type: ignore[assignment, method-assign]


def _write_ahead(connection: Any, deadline: Deadline) -> None:
    """Puts a file in write-ahead mode; two who do that at once make SQLite answer BUSY without its usual patience."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or deadline.passed:
                raise
            deadline.clock.sleep(min(0.005, deadline.left()))
        else:
            return


def _begin_sqlite(connection: PoolProxiedConnection) -> None:
    driver: Any = connection.driver_connection
    # A listener to SQLAlchemy's "begin" may have begun.
    if not driver.in_transaction and WRITING not in connection.info:
        driver.execute("BEGIN").close()


def immediate_view(engine: Engine) -> Engine:
    """See `wellwired.containers.pools.immediate`."""
    view = engine.execution_options()
    if engine.dialect.name == "sqlite":
        event.listen(view, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return view


def renew_engine(engine: Engine) -> None:
    """See `wellwired.containers.pools.renew_engine_after_fork`."""
    old = engine.pool
    keep_for_ever(old)
    made = _made.get(engine)
    if made is None or made.connected or not made.connecting:
        engine.dispose(close=False)
        return
    # A thread of the parent was in the middle of the first connection, and nobody will finish that here.
    fresh = make_engine(made.name, made.settings)
    fresh.pool.dispatch._update(old.dispatch, only_propagate=False)
    engine.dialect, engine.pool = fresh.dialect, fresh.pool
    _made[engine] = _made[fresh]
