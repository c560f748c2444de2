"""Which failed writes become dead letters, and what is told about it.

A letter is kept before the error reaches the caller. If the sink fails, the caller still gets the error, with a note,
and the log a line of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import WriteError
from wellwired.middleware.notices import LetterKept, LetterLost, NoticeObserver
from wellwired.middleware.observe import notify
from wellwired.middleware.retry import is_nested
from wellwired.operations import WriteRequest
from wellwired.writers.admission import named
from wellwired.writers.dead_letters import DEFAULT_CODES, DeadLetters, Letter

__all__ = ["Keeping", "without_letters"]

_switched_off: ContextVar[bool] = ContextVar("wellwired_without_letters", default=False)

_OWN_WILL: Final = frozenset({"rolled_back", "over"})
"""The `reason` of what its own caller has undone, or has misused: to send it again would be against its will."""


class Keeping:
    """Keeps letters in a sink; safe to share by threads.

    Args:
        sink: takes the letters.
        observers: told of each that was kept or lost.
        clock: tells the time of day.
    """

    def __init__(self, sink: DeadLetters, observers: tuple[NoticeObserver, ...] = (), clock: Clock = SYSTEM) -> None:
        self.sink, self._observers, self._clock = sink, observers, clock
        self._codes = frozenset(getattr(sink, "codes", DEFAULT_CODES))

    def keep(self, requests: Sequence[WriteRequest], error: WriteError, *, together: bool = False) -> None:
        """Keeps the letters of writes that failed, if they are wanted; never raises.

        A write that a handler made while its own write was under way has none: the outer write's letter stands for it.

        Args:
            requests: the writes.
            error: what they ended with; what goes wrong here becomes a note on it.
            together: whether they stood or fell together, in one transaction.
        """
        if error.code not in self._codes or error.reason in _OWN_WILL or _switched_off.get() or is_nested():
            return
        fit = [one for one in requests if isinstance(one, WriteRequest) and named(one.target) and named(one.type)]
        unit = uuid.uuid4().hex if together and len(fit) > 1 else ""

        def made(some: Sequence[WriteRequest]) -> list[Letter]:
            return [Letter.of(request, error, clock=self._clock, unit=unit) for request in some]

        for failure in self._kept(fit, made, error) if fit else ():
            error.add_note(failure)

    def _kept(
        self,
        requests: Sequence[WriteRequest],
        made: Callable[[Sequence[WriteRequest]], list[Letter]],
        error: WriteError,
    ) -> tuple[str, ...]:
        try:
            letters = made(requests)
            self.sink.keep(letters)
        except Exception as trouble:  # noqa: BLE001 - told to the caller by a note, and loudly in the log
            if len(requests) > 1:
                # One that has no form takes none of the others with it.
                return tuple(note for one in requests for note in self._kept([one], made, error))
            return self._lost(requests[0], error, trouble)
        notes: tuple[str, ...] = ()
        for one in letters:
            notes += (f"kept as dead letter {one.id}",)
            notes += notify(self._observers, LetterKept(one.id, one.target, one.type, one.code, one.outcome))
        return notes

    def _lost(self, request: WriteRequest, error: WriteError, trouble: Exception) -> tuple[str, ...]:
        what: dict[str, Any] = {"target": request.target, "type": request.type, "error": type(trouble).__name__}
        notice = LetterLost(code=error.code.value, outcome=error.outcome.value, **what)
        note = f"no dead letter could be kept ({type(trouble).__name__}): only this error knows of the write"
        return (note, *notify(self._observers, notice))


@contextmanager
def without_letters() -> Iterator[None]:
    """Keeps no letters of writes in this thread while it is entered: a replay has the letter already."""
    token = _switched_off.set(True)
    try:
        yield
    finally:
        _switched_off.reset(token)
