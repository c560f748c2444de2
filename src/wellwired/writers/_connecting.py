"""How each driver is made to connect within a time of any length.

- PyMySQL takes a fraction of a second, but only for the socket, and reads the server's greeting by another timeout. Its
  connection is made first and connected after, so that it can be cut meanwhile.
- psycopg takes whole seconds and no fewer than two. It waits in steps of a tenth of a second, at each of which the
  time is asked here.
- Other drivers are told whole seconds, at least one, if they know the usual name for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from functools import cache
from typing import Any

from sqlalchemy.engine.interfaces import Dialect

__all__ = ["connect", "psycopg_class"]

_WHOLE_SECONDS = frozenset({"psycopg2", "psycopg2cffi", "mysqldb", "pg8000"})


def connect(
    dialect: Dialect, positional: list[Any], named: dict[str, Any], seconds: float, watched: Callable[[Any], None]
) -> Any:
    """Makes a connection within some seconds, or tells the driver how long it has.

    Args:
        dialect: whose driver.
        positional: the driver's arguments.
        named: the driver's named arguments; changed in place where the driver is told.
        seconds: how long it may take; more than 0.
        watched: puts a connection that is being made under watch.

    Returns:
        The driver's connection, or None if SQLAlchemy is to make it with the arguments as they are now.
    """
    if dialect.driver == "pymysql":
        return _by_pymysql(dialect, positional, named, seconds, watched)
    if dialect.driver == "psycopg" and not dialect.is_async:
        return psycopg_class().connect_within(seconds, *positional, **named)
    if dialect.driver in _WHOLE_SECONDS:
        usual = float(named.get("connect_timeout") or named.get("timeout") or math.inf)
        named["timeout" if dialect.driver == "pg8000" else "connect_timeout"] = max(1, math.ceil(min(usual, seconds)))
    return None


def _by_pymysql(
    dialect: Dialect, positional: list[Any], named: dict[str, Any], seconds: float, watched: Callable[[Any], None]
) -> Any:
    limits = {name: min(named.get(name) or math.inf, seconds) for name in ("read_timeout", "write_timeout")}
    limits["connect_timeout"] = min(named.get("connect_timeout", 10), seconds)
    connection: Any = dialect.loaded_dbapi.connect(*positional, **{**named, **limits, "defer_connect": True})
    watched(connection)
    connection.connect()
    # For what comes after, the application's own patience; there is no public way to set it.
    connection._read_timeout, connection._write_timeout = named.get("read_timeout"), named.get("write_timeout")
    return connection


@cache
def psycopg_class() -> Any:
    """A psycopg connection whose making asks for the time; made at first use, because psycopg may not be there."""
    import threading

    import psycopg

    here = threading.local()

    class Connecting(psycopg.Connection[Any]):
        @classmethod
        def connect_within(cls, seconds: float, *positional: Any, **named: Any) -> Any:
            here.until = time.monotonic() + seconds
            return cls.connect(*positional, **named)

        @classmethod
        def _connect_gen(cls, *positional: Any, **named: Any) -> Generator[Any, Any, Any]:
            # The steps are the base class's, and so is the connection: only the time is asked in between.
            steps: Any = psycopg.Connection._connect_gen(*positional, **named)
            answer: Any = None
            try:
                while True:
                    step = steps.send(answer)
                    if time.monotonic() >= here.until:
                        raise psycopg.errors.ConnectionTimeout("there was no connection in the time that was left")
                    answer = yield step
            except StopIteration as end:
                return end.value
            finally:
                steps.close()

    return Connecting
