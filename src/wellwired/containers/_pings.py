"""Pings in threads of their own: sent at once, waited for within a limit, and never more than one to an object.

A call into a driver cannot be ended from outside, so a ping that hangs is left behind in a daemon thread. As long as
it hangs, whoever asks again is given the same ping instead of another thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from wellwired.clock import Clock
from wellwired.containers._fork import ForkLock, generation

__all__ = ["Ping", "PingOutcome", "send"]


@dataclass(frozen=True, slots=True)
class PingOutcome:
    """How a ping ended: the seconds it took, and the class of what it raised, if anything."""

    latency: float
    raised: type[BaseException] | None = None


class Ping:
    """A question to one object, under way or answered.

    Args:
        function: called with the object; it works unless an exception comes.
        value: the object.
        clock: for the latency.
    """

    def __init__(self, function: Callable[[Any], Any], value: Any, clock: Clock) -> None:
        self.value = value
        self.clock = clock
        self.started = clock.monotonic()
        self.generation = generation()
        self._function = function
        self._outcome: Future[PingOutcome] = Future()

    @property
    def under_way(self) -> bool:
        """Whether it is waiting for an answer, in this process: no thread survives a fork."""
        return not self._outcome.done() and self.generation == generation()

    def outcome(self, until: float) -> PingOutcome | None:
        """Waits for the answer until a moment of the clock, and returns None if it does not come."""
        try:
            return self._outcome.result(max(0.0, until - self.clock.monotonic()))
        except TimeoutError:
            return None

    def run(self) -> None:
        """Asks, in the calling thread."""
        raised: type[BaseException] | None = None
        try:
            self._function(self.value)
        except BaseException as error:  # noqa: BLE001 - it is the answer, and there is nobody in this thread to tell
            raised = type(error)
        self.end(raised)

    def end(self, raised: type[BaseException] | None = None) -> None:
        """Notes the answer."""
        self._outcome.set_result(PingOutcome(self.clock.monotonic() - self.started, raised))


_lock = ForkLock()
_under_way: WeakKeyDictionary[Any, Ping] = WeakKeyDictionary()


def send(resource: Any, function: Callable[[Any], Any], value: Any, clock: Clock) -> tuple[Ping, bool]:
    """Pings an object, unless the last ping to it is still under way. Safe from many threads.

    Args:
        resource: on whose behalf; its last ping is remembered as long as it lives.
        function: called with the object.
        value: the object.
        clock: for the latency.

    Returns:
        The ping, and whether it was sent by this call.
    """
    with _lock.current():
        last = _under_way.get(resource)
        if last is not None and last.under_way and last.value is value:
            return last, False
        ping = _under_way[resource] = Ping(function, value, clock)
    _start(ping)
    return ping, True


def _start(ping: Ping) -> None:
    try:
        threading.Thread(target=ping.run, name="wellwired-ping", daemon=True).start()
    except RuntimeError as error:  # no thread to be had: the process is in trouble, which is an answer too
        ping.end(type(error))
