"""Keeps writes on Django's connections within their deadlines, by the same means as the SQL writer's.

On a server a watching thread cuts the connection of a write that is late; SQLite has a busy timeout and a progress
handler. Making a connection is bounded too: Django makes it by `get_new_connection`, in whose place stands, while a
write waits for one, a function that tells the driver how long it has. Not bounded is what a pool of psycopg's
(`OPTIONS["pool"]`) waits: that has a `timeout` of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from wellwired.clock import Deadline
from wellwired.integrations.django._writer_overlay import Overlay
from wellwired.writers._bounds import Leash, ServerLeash, SQLiteLeash, Usual
from wellwired.writers._checkout import CheckoutLateError
from wellwired.writers._connecting import psycopg_class
from wellwired.writers._cutting import Cutter, Grip, gripped, shut_down
from wellwired.writers._watch import Guard, Watch

__all__ = ["Bounds", "Way"]


class Way:
    """One write's way to its connection; for one thread. `end` must be called, or `leash` and that one's `end`.

    Args:
        watch: cuts what takes too long.
        deadline: by when.
    """

    __slots__ = ("_deadline", "_guard", "_held", "_watch")

    def __init__(self, watch: Watch, deadline: Deadline) -> None:
        self._watch, self._deadline = watch, deadline
        self._guard: Guard | None = None
        self._held: Any = None

    def left(self) -> float:
        """Seconds that are left; raises `CheckoutLateError` if there are none."""
        left = self._deadline.left()
        if left <= 0 or (self._guard is not None and self._guard.fired):
            raise CheckoutLateError
        return left

    def over(self, driver: Any, cut: Callable[[Any], None] = shut_down) -> None:
        """Has a driver's connection cut at the deadline, in the place of the one before."""
        left = self.left()
        before, self._held = self._held, gripped(driver)
        try:
            if math.isinf(left):
                return
            if self._guard is None:
                self._guard = self._watch.guard(left, partial(cut, self._held))
            elif not self._guard.move(time.monotonic() + left, partial(cut, self._held)):
                raise CheckoutLateError
        finally:
            if isinstance(before, Grip):
                before.close()

    def leash(self, driver: Any, cutter: Cutter) -> ServerLeash:
        """Has the work on a connection cut at the deadline, at the server too."""
        self.over(driver, cutter.cut)
        guard, self._guard = self._guard, None
        held, self._held = self._held, None
        return ServerLeash(self._watch, driver, guard, held)

    def end(self) -> None:
        """Nothing is cut any more."""
        if self._guard is not None:
            self._watch.end(self._guard)
        held, self._held = self._held, None
        if isinstance(held, Grip):
            held.close()


class Bounds:
    """The bounds of one alias; safe to use from many threads.

    Args:
        alias: which of Django's connections.
        name: the writer's name.
        vendor: of the database.
    """

    def __init__(self, alias: str, name: str, vendor: str) -> None:
        self._watch = Watch(name)
        self._cutter = Cutter(partial(_kill, alias) if vendor == "mysql" else None)
        self._file = vendor == "sqlite"

    def reach(self, connection: BaseDatabaseWrapper, deadline: Deadline) -> Way:
        """Makes sure that there is a connection that was well when it was last looked at.

        Args:
            connection: Django's, with no transaction open.
            deadline: by when.

        Raises:
            CheckoutLateError: there was none in time.
            django.db.Error: the driver failed.
        """
        way = Way(self._watch, deadline)
        try:
            if connection.connection is not None and not self._file:
                way.over(connection.connection)
            if connection.errors_occurred:
                connection.close_if_unusable_or_obsolete()
            else:
                connection.close_if_health_check_failed()
            if connection.connection is None:
                self._connect(connection, way)
        except BaseException:
            way.end()
            raise
        return way

    def leash(self, connection: BaseDatabaseWrapper, deadline: Deadline, way: Way | None) -> Leash:
        """Bounds the work on a connection that is there.

        Args:
            connection: Django's.
            deadline: by when.
            way: what has led there; None if the connection was in use already.
        """
        driver: Any = connection.connection
        if not self._file:
            return (way or Way(self._watch, deadline)).leash(driver, self._cutter)
        leash = _FileLeash(_file_of(connection), deadline)
        try:
            leash.begin()
        except BaseException:
            leash.end()
            raise
        return leash

    def _connect(self, connection: BaseDatabaseWrapper, way: Way) -> None:
        make = connection.get_new_connection

        def within(params: dict[str, Any]) -> Any:
            if self._file:
                return make(params)
            made = _made(connection, make, dict(params), way)
            way.over(made)
            return made

        overlay = Overlay(connection, get_new_connection=within)
        try:
            connection.ensure_connection()
        except BaseException:
            with suppress(Exception):  # one that is half made would be taken for a whole one
                connection.close()
            raise
        finally:
            overlay.off()


class _File:
    """A connection to a file: how it is left, and who bounds work on it, a write inside a write last."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.usual = Usual.of(driver)
        self.leashes: list[_FileLeash] = []


# Of the process and not of a writer: two may write on one alias, one of them in a handler of the other.
_files: WeakKeyDictionary[BaseDatabaseWrapper, _File] = WeakKeyDictionary()


def _file_of(connection: BaseDatabaseWrapper) -> _File:
    file, driver = _files.get(connection), connection.connection
    if file is None or file.driver is not driver:
        file = _files[connection] = _File(driver)
    return file


class _FileLeash(SQLiteLeash):
    """A leash that hands back to that of the write around it, for there is one progress handler."""

    __slots__ = ("_deadline", "_file")

    def __init__(self, file: _File, deadline: Deadline) -> None:
        super().__init__(file.driver, file.usual)
        self._file, self._deadline = file, deadline

    def begin(self) -> None:
        self._file.leashes.append(self)
        self.start(self._deadline.left())

    def end(self) -> None:
        super().end()
        around = self._file.leashes
        if self in around:
            around.remove(self)
            if around and not around[-1].fired:
                around[-1].start(around[-1]._deadline.left())


def _made(connection: BaseDatabaseWrapper, make: Callable[[Any], Any], params: dict[str, Any], way: Way) -> Any:
    module: Any = connection.Database  # type: ignore[attr-defined]  # each backend's wrapper has its driver there
    left = way.left()
    if math.isinf(left):
        return make(params)
    if module.__name__ == "psycopg" and not getattr(connection, "pool", None):
        overlay = Overlay(connection, Database=_Psycopg(module, left))
        try:
            return make(params)
        finally:
            overlay.off()
    if connection.vendor != "mysql":
        return make(params)
    usual = params.get("connect_timeout") or 10
    if module.__name__ != "pymysql":
        params["connect_timeout"] = max(1, math.ceil(min(usual, left)))
        return make(params)
    made = make({**params, "connect_timeout": min(usual, left), "defer_connect": True})
    way.over(made)
    made.connect()
    return made


class _Psycopg:
    """psycopg's module for a connection that is being made: its `connect` has only so long.

    Args:
        module: the module.
        seconds: how long.
    """

    def __init__(self, module: Any, seconds: float) -> None:
        self._module, self._seconds = module, seconds

    def connect(self, **params: Any) -> Any:
        """Connects within the time."""
        return psycopg_class().connect_within(self._seconds, **params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def _kill(alias: str, session: int) -> None:
    """Ends a session of MySQL's or MariaDB's on a connection of its own."""
    spare = connections.create_connection(alias)
    try:
        with spare.cursor() as cursor:
            cursor.execute(f"KILL {session}")
    finally:
        spare.close()
