"""Which failed writes become dead letters, and what is told about it.

A letter is kept before the error reaches the caller. If the sink fails, the caller still gets the error, with a note,
and the log a line of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, TypeAlias

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import WriteError
from wellwired.middleware.notices import LetterKept, LetterLost, NoticeObserver
from wellwired.middleware.observe import notify
from wellwired.middleware.retry import is_nested
from wellwired.operations import WriteRequest
from wellwired.writers.admission import named
from wellwired.writers.dead_letters import DEFAULT_CODES, DeadLetters, Letter

__all__ = ["Failed", "Keeping", "without_letters"]

_switched_off: ContextVar[bool] = ContextVar("wellwired_without_letters", default=False)

Failed: TypeAlias = tuple[WriteRequest, WriteError]
"""A write, and what it ended with."""

_OWN_WILL: Final = frozenset({"rolled_back", "over"})
"""The `reason` of what its own caller has undone, or has misused: to send it again would be against its will."""

_WITH_OTHERS: Final = "atomic"
"""The `reason` of a write that failed only because another of its batch did."""


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

    def keep(self, failed: Sequence[Failed], *, together: bool = False) -> None:
        """Keeps the letters of writes that failed, as far as they are wanted; never raises.

        A write that a handler made while its own write was under way has none: the outer write's letter stands for it.

        Args:
            failed: the writes, each with what its caller is about to get; what goes wrong here becomes a note on that.
            together: whether they stood or fell together, in one transaction; then all are kept or none.
        """
        if _switched_off.get() or is_nested():
            return
        chosen = [one for one in failed if self._wants(one[1])]
        if together and any(error.reason != _WITH_OTHERS for _, error in chosen):
            chosen = list(failed)
        fit = [one for one in chosen if _is_fit(one[0])]
        if fit:
            self._keep(fit, f"{uuid.uuid4().hex[:20]}-{len(fit)}" if together and len(fit) > 1 else "")

    def _wants(self, error: WriteError) -> bool:
        return error.code in self._codes and error.reason not in _OWN_WILL

    def _keep(self, failed: Sequence[Failed], unit: str) -> None:
        try:
            letters = [Letter.of(request, error, clock=self._clock, unit=unit) for request, error in failed]
            self.sink.keep(letters)
        except Exception as trouble:  # noqa: BLE001 - told to the caller by a note, and loudly in the log
            if len(failed) == 1:
                self._lose(*failed[0], trouble)
                return
            for one in failed:
                # One that has no form takes none of the others with it.
                self._keep([one], unit)
            return
        for letter, (_, error) in zip(letters, failed, strict=True):
            error.add_note(f"kept as dead letter {letter.id}")
            kept = LetterKept(letter.id, letter.target, letter.type, letter.code, letter.outcome)
            for failure in notify(self._observers, kept):
                error.add_note(failure)

    def _lose(self, request: WriteRequest, error: WriteError, trouble: Exception) -> None:
        what = type(trouble).__name__
        error.add_note(f"no dead letter could be kept ({what}): only this error knows of the write")
        lost = LetterLost(request.target, request.type, error.code.value, error.outcome.value, what)
        for failure in notify(self._observers, lost):
            error.add_note(failure)


def _is_fit(request: object) -> bool:
    return isinstance(request, WriteRequest) and named(request.target) and named(request.type)


@contextmanager
def without_letters() -> Iterator[None]:
    """Keeps no letters of writes in this thread while it is entered: a replay has the letter already."""
    token = _switched_off.set(True)
    try:
        yield
    finally:
        _switched_off.reset(token)
