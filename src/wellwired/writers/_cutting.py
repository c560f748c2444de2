"""Cuts a database connection that another thread is waiting on.

Two steps. The socket is shut down, which wakes the waiting thread at once and needs no answer from anyone. Then, on a
thread of its own because it may take as long as a connection attempt, the server is asked to end the session, so that
locks held by a statement that it is still running are given up.

The socket is reached through a duplicate of its descriptor. A descriptor may be closed and given to another
connection at any moment; if the driver's connection still has the same one after the duplication, the duplicate is
the right socket.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Engine

from wellwired.writers._forks import renew_in_child

__all__ = ["Cutter", "Grip", "gripped", "killing", "shut_down"]

_log = logging.getLogger(__name__)
_MOST_REQUESTS = 8
_PATIENCE = 3.0
_EVENTS = {1: selectors.EVENT_READ, 2: selectors.EVENT_WRITE}
"""What libpq's polling states wait for."""


def shut_down(driver: Any) -> None:
    """Shuts a connection's socket down, so that whoever waits on it gets an error; asks nothing of the server.

    Args:
        driver: the driver's own connection, in use by another thread.
    """
    try:
        number = _descriptor(driver)
        if number < 0:
            return
        with socket.socket(fileno=os.dup(number)) as twin:
            if _descriptor(driver) == number:
                twin.shutdown(socket.SHUT_RDWR)
    except Exception as error:  # noqa: BLE001 - each driver has its own way to say that it is closed already
        _log.debug("nothing to shut down: %s", type(error).__name__)


class Grip:
    """Stands for the connection of a driver that tells other threads nothing while it is in use (mysqlclient's).

    Made in the thread that uses the connection, before it does; `close` must be called when nobody cuts any more.

    Args:
        driver: the driver's own connection.
    """

    __slots__ = ("_number", "_session")

    def __init__(self, driver: Any) -> None:
        self._session = int(driver.thread_id())
        self._number = os.dup(driver.fileno())

    def fileno(self) -> int:
        """The duplicate of the descriptor."""
        return self._number

    def thread_id(self) -> int:
        """The number of the session."""
        return self._session

    def close(self) -> None:
        """Gives the duplicate back."""
        os.close(self._number)


def gripped(driver: Any) -> Any:
    """What another thread may cut a connection by: the connection itself, or its `Grip`.

    Args:
        driver: the driver's own connection, not in use.
    """
    return Grip(driver) if type(driver).__module__.startswith("MySQLdb.") else driver


def _descriptor(driver: Any) -> int:
    sock = getattr(driver, "_sock", None)  # PyMySQL has no public way to its socket
    if sock is not None:
        return int(sock.fileno())
    return int(driver.fileno()) if hasattr(driver, "fileno") else -1


def killing(engine: Engine) -> Callable[[int], None] | None:
    """What ends a session of MySQL or MariaDB on a connection of its own; None for another server.

    Args:
        engine: its pool's settings are used to reach the server again.
    """
    if engine.dialect.name not in ("mysql", "mariadb"):
        return None

    def kill(session: int) -> None:
        spare = engine.pool.recreate()
        try:
            connection = spare.connect()
            try:
                cursor = connection.cursor()
                cursor.execute(f"KILL {session}")
                cursor.close()
            finally:
                connection.close()
        finally:
            spare.dispose()

    return kill


class Cutter:
    """Ends sessions of one database, at the client and at the server; safe to use from many threads.

    Args:
        kill: ends a session of MySQL or MariaDB by its number, on another connection; None if it is no such server.
    """

    __slots__ = ("__weakref__", "_kill", "_requests")

    def __init__(self, kill: Callable[[int], None] | None) -> None:
        self._kill = kill
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Begins anew in a forked child, where no request is under way."""
        # With the server unreachable each request waits for a connection; beyond a few there is no use in more.
        self._requests = threading.Semaphore(_MOST_REQUESTS)

    def cut(self, driver: Any) -> None:
        """Ends what a connection is waiting for; does not block.

        Args:
            driver: the driver's own connection, in use by another thread.
        """
        ask = self._request(driver)
        shut_down(driver)
        requests = self._requests
        if ask is None or not requests.acquire(blocking=False):
            return
        try:
            threading.Thread(target=_run, args=(ask, requests), name="wellwired-cancel", daemon=True).start()
        except RuntimeError:  # no thread to be had: the server will find the closed socket by itself
            requests.release()

    def _request(self, driver: Any) -> Callable[[], object] | None:
        """What asks the server to end the session, prepared while the connection still knows its own id."""
        try:
            if self._kill is not None:
                return partial(self._kill, int(driver.thread_id()))
            native = getattr(driver, "pgconn", None)
            if native is not None and hasattr(native, "cancel_conn"):
                request = native.cancel_conn()
                return lambda: _cancel(request)
        except Exception as error:  # noqa: BLE001 - the connection was closed in the meantime
            _log.debug("no session to end: %s", type(error).__name__)
        return None


def _cancel(request: Any) -> None:
    """Sends a cancel request of libpq 17 or later; older ones block the whole process while they wait."""
    request.start()
    until = time.monotonic() + _PATIENCE
    while (state := request.poll()) in _EVENTS and (left := until - time.monotonic()) > 0:
        with selectors.DefaultSelector() as selector:
            selector.register(request.socket, _EVENTS[state])
            selector.select(left)
    request.finish()


def _run(ask: Callable[[], object], requests: threading.Semaphore) -> None:
    try:
        ask()
    except Exception as error:  # noqa: BLE001 - the server is gone or the session has ended: what was wanted
        _log.debug("the server was not asked to end a session: %s", type(error).__name__)
    finally:
        requests.release()
