"""Removes from a layer, as soon as it answers again, what a write could not reach there.

This process does not read such a key before it has removed it (`_doubts`). Other processes know nothing of that, and
would serve the old value until its ttl has passed. So a thread tries again and again, with pauses that grow, for as
long as something is in doubt. It starts with the first doubt and ends with the last, or when the store is closed.
"""

from __future__ import annotations

import threading
import weakref
from typing import Final

import structlog

from wellwired.stores._forks import renew_in_child
from wellwired.stores._rungs import Rung
from wellwired.stores._stack import Stack

__all__ = ["Mender"]

_log = structlog.get_logger("wellwired.stores")
_LONGEST: Final = 2.0
_LOOK: Final = 0.25
_BATCH: Final = 1000


class Mender:
    """The thread that mends the layers of one delegated store; safe for threads.

    Args:
        stack: the layers.
        pause: seconds before the first attempt; later pauses are longer, two seconds at most.
    """

    def __init__(self, stack: Stack, pause: float) -> None:
        self._stack, self._pause = weakref.ref(stack), pause
        self._name = stack.name
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        renew_in_child(self)

    def wake(self) -> None:
        """Sees to it that somebody tries, now that something is in doubt."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name=f"wellwired-mender-{self._name}", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending, or out of threads: the next doubt wakes it
                self._thread = None

    def after_fork(self) -> None:
        """Has no thread in a child."""
        self._lock, self._thread = threading.Lock(), None

    def _run(self) -> None:
        pause = self._pause
        waits = threading.Event()
        while self._waited(waits, pause) and (stack := self._stack()) is not None:
            for rung in stack.rungs:
                _mend(rung)
            with self._lock:
                if not any(rung.doubts.any for rung in stack.rungs):
                    self._thread = None
                    return
            del stack  # while it sleeps, the store may go
            pause = min(_LONGEST, pause * 1.5)

    def _waited(self, waits: threading.Event, pause: float) -> bool:
        """Sleeps, in short naps; False if the store was closed or has gone meanwhile."""
        while pause > 0:
            stack = self._stack()
            if stack is None or stack.background.closed:
                return False
            del stack
            waits.wait(min(pause, _LOOK))
            pause -= _LOOK
        return True


def _mend(rung: Rung) -> None:
    """Removes some of what is in doubt, as long as the layer lets it."""
    doubts = rung.doubts
    try:
        if doubts.everything is not None:
            rung.clear()
        while keys := doubts.some(_BATCH):
            rung.drop(keys)
    except Exception as error:  # noqa: BLE001 - whatever a driver raises: it is tried again
        _log.debug("store.not_mended", store=rung.store_name, layer=rung.name, error=type(error).__qualname__)
