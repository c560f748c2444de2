"""Bounds what happens before there is a transaction to bound: making a connection, and the pool's pre-ping.

Both wait for the server by the driver's own patience, which is ten seconds here, two at least there, and for an answer
to a ping often for ever. A write has only as long as its deadline leaves. So while a writer checks a connection out,
its thread is marked, and two hooks look for the mark: SQLAlchemy's event `do_connect`, which makes the connection with
the time that is left, and the dialect's `do_ping`, which has no event. Both put the connection under the writer's
watch (see `_watch`) until the checkout is over, so that whatever else is asked of a new connection is bounded too.
Checkouts of others find no mark, and nothing is different for them.

A connection on which the server has just answered a writer's COMMIT or ROLLBACK is not pinged again for a writer:
the ping would be a round trip in every write, and say no more than that the connection was well a moment ago. If it was
lost in that moment, the write is "not applied, safe", and the retry takes another.

Not bounded is the lookup of a host's name, which the system does; and an engine with a `creator` of its own connects as
that does.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import Dialect

from wellwired.clock import Deadline
from wellwired.writers._connecting import connect
from wellwired.writers._cutting import shut_down
from wellwired.writers._watch import Guard, Watch

__all__ = ["Checkout", "CheckoutLateError", "answered", "bound_checkouts"]

_MOMENT = 0.5
"""Seconds for which a connection that has answered is taken to be well."""

_here = threading.local()
_answered: WeakKeyDictionary[Any, float] = WeakKeyDictionary()


def answered(driver: Any) -> None:
    """Notes that the server has just answered on a connection, and that nothing is under way there.

    Args:
        driver: the driver's own connection.
    """
    if type(driver).__weakrefoffset__:
        _answered[driver] = time.monotonic()


class CheckoutLateError(Exception):
    """The deadline passed before there was a connection."""


class Checkout:
    """One thread's way to a connection; a context manager around it.

    Args:
        watch: cuts what takes too long.
        deadline: by when the connection must be there; a finite one.
    """

    __slots__ = ("_deadline", "_guard", "_watch")

    def __init__(self, watch: Watch, deadline: Deadline) -> None:
        self._watch = watch
        self._deadline = deadline
        self._guard: Guard | None = None

    @property
    def fired(self) -> bool:
        """Whether a connection was cut; the one that was checked out, if there is one."""
        return self._guard is not None and self._guard.fired

    def __enter__(self) -> Checkout:
        _here.checkout = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _here.checkout = None
        if self._guard is not None:
            self._watch.end(self._guard)

    def left(self) -> float:
        """Seconds that are left.

        Raises:
            CheckoutLateError: there are none.
        """
        left = self._deadline.left()
        if left <= 0 or self.fired:
            raise CheckoutLateError
        return left

    def over(self, driver: Any) -> None:
        """Has a connection cut at the deadline, in the place of the one before.

        Args:
            driver: the driver's own connection.
        """
        left, cut = self.left(), partial(shut_down, driver)
        if self._guard is None:
            self._guard = self._watch.guard(left, cut)
        elif not self._guard.move(time.monotonic() + left, cut):
            raise CheckoutLateError


def bound_checkouts(engine: Engine) -> None:
    """Puts the hooks onto an engine's dialect; doing so twice changes nothing.

    Args:
        engine: of a server.
    """
    dialect = engine.dialect
    if getattr(dialect.do_ping, "__func__", None) is _ping:
        return
    event.listen(engine, "do_connect", _on_connect)
    usual = dialect.do_ping
    dialect.do_ping = _Pinged(usual).ping  # type: ignore[assignment, method-assign]


class _Pinged:
    __slots__ = ("_usual",)

    def __init__(self, usual: Callable[[Any], bool]) -> None:
        self._usual = usual

    def ping(self, driver: Any) -> bool:
        checkout: Checkout | None = getattr(_here, "checkout", None)
        if checkout is not None:
            if type(driver).__weakrefoffset__ and time.monotonic() - _answered.get(driver, -math.inf) < _MOMENT:
                return True
            checkout.over(driver)
        return self._usual(driver)


_ping = _Pinged.ping


def _on_connect(dialect: Dialect, record: Any, positional: list[Any], named: dict[str, Any]) -> Any:
    checkout: Checkout | None = getattr(_here, "checkout", None)
    if checkout is None:
        return None
    left = checkout.left()
    # Those who listen after us would not be asked any more if we give a connection.
    made = _by_later_listeners(dialect, record, positional, named)
    if made is None:
        made = connect(dialect, positional, named, left, checkout.over)
    if made is not None:
        try:
            checkout.over(made)
        except CheckoutLateError:
            # Nobody else knows of it yet, so nobody else would close it.
            with suppress(Exception):
                made.close()
            raise
    return made


def _by_later_listeners(dialect: Dialect, record: Any, positional: list[Any], named: dict[str, Any]) -> Any:
    listeners = list(dialect.dispatch.do_connect)
    for listener in listeners[listeners.index(_on_connect) + 1 :]:
        made = listener(dialect, record, positional, named)
        if made is not None:
            return made
    return None
