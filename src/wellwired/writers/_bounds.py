"""How a transaction is begun and kept within its deadline, on a server and in SQLite.

On a server a watching thread cuts the connection (see `_watch`), because a server's own timers would cost a round
trip each time. SQLite runs in this process and has what is needed: a busy timeout for waits, a progress handler for
work; neither may run out during COMMIT, so both are set anew before it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Engine

from wellwired.clock import Deadline
from wellwired.writers._checkout import Checkout, bound_checkouts
from wellwired.writers._cutting import Cutter, Grip, gripped, killing, shut_down
from wellwired.writers._watch import Guard, Watch

__all__ = [
    "AutocommitError",
    "Bounds",
    "Leash",
    "SQLiteBounds",
    "SQLiteLeash",
    "ServerBounds",
    "ServerLeash",
    "Usual",
    "bounds_for",
]

_USUAL = "wellwired.usual"
_STEPS = 1_000
_SLACK = 1.05
_LONGEST = 2_000_000.0
_IN_ERROR = 3


class Leash(Protocol):
    """One transaction's bounds, from its beginning to its end; for the thread that runs it."""

    @property
    def fired(self) -> bool:
        """Whether the deadline ended the work."""
        ...

    @property
    def severed(self) -> bool:
        """Whether the connection is of no use any more, because the deadline ended it with the work."""
        ...

    @property
    def sturdy(self) -> bool:
        """Whether the connection can be rolled back after an interruption at any point."""
        ...

    def broken(self) -> str:
        """Why COMMIT would not commit what the handler did, or "" if it would."""
        ...

    def allow(self, seconds: float) -> bool:
        """Grants time for COMMIT or ROLLBACK, in which no work is cancelled any more.

        Returns:
            Whether the connection can still be used for it.
        """
        ...

    def end(self) -> None:
        """Takes everything off the connection again."""
        ...


class Bounds(Protocol):
    """Makes a leash for each transaction of an engine; safe to use from many threads."""

    def checkout(self, deadline: Deadline, /) -> Checkout | None:
        """What bounds the way to a connection, or None where nothing on it can take long."""
        ...

    def begin(self, driver: Any, info: dict[Any, Any], seconds: float, /) -> Leash:
        """Begins the transaction, if the driver does not by itself, and puts it on its leash.

        Args:
            driver: the driver's own connection.
            info: the connection's notes, which live as long as it does.
            seconds: how long the work may take; infinite for ever.
        """
        ...


def bounds_for(engine: Engine, name: str) -> Bounds:
    """The bounds that suit an engine's dialect.

    Args:
        engine: the engine.
        name: the writer's name.
    """
    return SQLiteBounds() if engine.dialect.name == "sqlite" else ServerBounds(engine, name)


class AutocommitError(Exception):
    """The connection commits every statement by itself."""


class ServerLeash:
    """The leash of a connection to a server.

    Args:
        watch: cuts it.
        driver: the driver's own connection.
        guard: the watch's; None without a deadline, until COMMIT has one.
        held: what the watch cuts it by; see `gripped`.
    """

    __slots__ = ("_driver", "_guard", "_held", "_watch")
    sturdy = False

    def __init__(self, watch: Watch, driver: Any, guard: Guard | None, held: Any) -> None:
        self._watch = watch
        self._driver = driver
        self._held = held
        self._guard = guard

    @property
    def fired(self) -> bool:
        return self._guard is not None and self._guard.fired

    severed = fired

    def broken(self) -> str:
        # psycopg answers COMMIT in a failed transaction with a ROLLBACK and no error.
        native = getattr(self._driver, "pgconn", None)
        if native is not None and native.transaction_status == _IN_ERROR:
            return "handler"
        return ""

    def allow(self, seconds: float) -> bool:
        # Only the socket: nobody may ask the server to cancel a COMMIT.
        cut = partial(shut_down, self._held)
        if self._guard is None:
            self._guard = self._watch.guard(seconds, cut)
            return True
        return self._guard.move(time.monotonic() + seconds, cut)

    def end(self) -> None:
        if self._guard is not None:
            self._watch.end(self._guard)
        held, self._held = self._held, self._driver
        if isinstance(held, Grip):
            held.close()


class ServerBounds:
    """Bounds for MySQL, MariaDB, PostgreSQL and any other server behind a socket.

    Args:
        engine: whose connections they are for.
        name: the writer's name.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._cutter = Cutter(killing(engine))
        self._watch = Watch(name)
        self._engine = engine

    def checkout(self, deadline: Deadline, /) -> Checkout | None:
        """See `Bounds`."""
        if math.isinf(deadline.at):
            return None
        bound_checkouts(self._engine)  # each time, for a fork may have given the engine another dialect
        return Checkout(self._watch, deadline)

    def begin(self, driver: Any, _info: dict[Any, Any], seconds: float, /) -> Leash:
        """See `Bounds`; the driver itself sends BEGIN, with the first statement."""
        probe = getattr(driver, "get_autocommit", None)
        if probe() if callable(probe) else getattr(driver, "autocommit", False) is True:
            raise AutocommitError
        guard, held = None, gripped(driver)
        if not math.isinf(seconds):
            guard = self._watch.guard(seconds, partial(self._cutter.cut, held))
        return ServerLeash(self._watch, driver, guard, held)


class SQLiteLeash:
    """The leash of a connection to a file; to be started, and ended.

    Args:
        driver: the driver's own connection.
        usual: how it is left.
    """

    __slots__ = ("_busy", "_driver", "_usual", "_working", "fired")
    severed = False
    sturdy = True

    def __init__(self, driver: Any, usual: Usual) -> None:
        self._driver = driver
        self._usual = usual
        self._busy = usual.busy
        self._working = False
        self.fired = False

    def start(self, seconds: float) -> None:
        """Bounds the waits and the work.

        Args:
            seconds: how long it may take; infinite for ever.
        """
        # A PRAGMA costs as much as a small INSERT: it is sent only where the usual patience would be too much.
        if self._usual.busy > seconds * _SLACK:
            self._be_patient(seconds)
        if not math.isinf(seconds):
            self._driver.set_progress_handler(self._work_until(time.monotonic() + seconds), _STEPS)
            self._working = True

    def broken(self) -> str:
        # Some errors make SQLite roll back by itself, and after that every statement commits by itself.
        return "" if self._driver.in_transaction else "ended"

    def allow(self, seconds: float) -> bool:
        self._stop_work()
        # In WAL mode COMMIT waits for nobody; with a rollback journal it waits for those who read.
        if not self._usual.wal and self._busy > seconds:
            self._be_patient(seconds)
        return True

    def end(self) -> None:
        self._stop_work()
        if self._busy != self._usual.busy:
            self._be_patient(self._usual.busy)

    def _be_patient(self, seconds: float) -> None:
        self._busy = seconds
        # Upwards: giving up a moment before the deadline would not be a TIMEOUT.
        milliseconds = max(0, math.ceil(min(seconds, _LONGEST) * 1000))
        self._driver.execute(f"PRAGMA busy_timeout = {milliseconds}").close()

    def _stop_work(self) -> None:
        if self._working:
            self._working = False
            self._driver.set_progress_handler(None, 0)

    def _work_until(self, at: float) -> Callable[[], int]:
        def late() -> int:
            if time.monotonic() < at:
                return 0
            self.fired = True
            return 1

        return late


class SQLiteBounds:
    """Bounds for SQLite through Python's `sqlite3`."""

    def checkout(self, _deadline: Deadline, /) -> Checkout | None:
        """See `Bounds`; a file is opened at once."""
        return None

    def begin(self, driver: Any, info: dict[Any, Any], seconds: float, /) -> Leash:
        """See `Bounds`; takes the write lock at once, because a transaction that reads first may never get it."""
        if getattr(driver, "autocommit", None) is True:
            raise AutocommitError
        usual = info.get(_USUAL)
        if usual is None:
            usual = info[_USUAL] = Usual.of(driver)
        leash = SQLiteLeash(driver, usual)
        try:
            leash.start(seconds)
            if driver.in_transaction:  # the application's own listener, or autocommit=False, has begun a deferred one
                driver.execute("ROLLBACK").close()
            driver.execute("BEGIN IMMEDIATE").close()
        except BaseException:
            leash.end()
            raise
        return leash


class Usual(NamedTuple):
    """How a SQLite connection is when nobody has changed it: its patience in seconds, and whether it is in WAL mode."""

    busy: float
    wal: bool

    @classmethod
    def of(cls, driver: Any) -> Usual:
        """Asks a connection."""
        busy = driver.execute("PRAGMA busy_timeout").fetchone()[0]
        return cls(busy / 1000, driver.execute("PRAGMA journal_mode").fetchone()[0] == "wal")
