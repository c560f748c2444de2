"""Which requests of a batch are sent again, and after how long: the rule alone, told the time and a random number.

Each request has a history of its own, and what is decided about it is what would be decided about a write by itself.
They are sent again together, though: after the longest of their waits, and for the price of one retry, because that is
what it costs the backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from wellwired.errors import Outcome, WriteError, WriteTimeoutError
from wellwired.middleware.policy import Decision, RetryPolicy, Stop, Wait
from wellwired.middleware.verdict import verdict

__all__ = ["Again", "Tries"]


class Again(NamedTuple):
    """Send some again.

    Args:
        positions: which, in order.
        seconds: after how long.
        error: how one of them failed, for the log.
    """

    positions: list[int]
    seconds: float
    error: WriteError


class Tries:
    """What became of the requests of one chunk so far; for one thread.

    Args:
        policy: the rules for a write by itself.
        repeatable: for each request, whether doing it twice is harmless.
        atomic: whether they are all applied or none, so that all are sent again or none.
    """

    __slots__ = ("_atomic", "_histories", "_policy", "_repeatable", "attempt", "final")

    def __init__(self, policy: RetryPolicy, repeatable: Sequence[bool], *, atomic: bool = False) -> None:
        self.attempt = 1
        self.final: dict[int, WriteError] = {}
        self._policy = policy
        self._repeatable = repeatable
        self._atomic = atomic
        self._histories: dict[int, list[WriteError]] = {}

    def after(
        self, errors: Mapping[int, WriteError], *, left: float, draw: float, spend: Callable[[WriteError], bool]
    ) -> Again | None:
        """Decides what follows an attempt.

        Args:
            errors: how it failed, by position; the others succeeded.
            left: seconds until the deadline.
            draw: a random number from 0 to 1.
            spend: pays for a retry after an error; false if the budget does not allow it.

        Returns:
            What to send again, or None. Errors about which nothing more can be done are in `final`.
        """
        for position, error in errors.items():
            self._histories.setdefault(position, []).append(error)
        decisions = self._decisions(errors, left, draw)
        waits = {position: one.seconds for position, one in decisions.items() if isinstance(one, Wait)}
        if waits and not spend(_heaviest([errors[position] for position in waits])):
            decisions |= dict.fromkeys(waits, Stop("budget"))
            waits = {}
        for position, decision in decisions.items():
            if isinstance(decision, Stop):
                self.final[position] = verdict(self._histories[position], decision.reason)
        if not waits:
            return None
        self.attempt += 1
        return Again(sorted(waits), max(waits.values()), errors[min(waits)])

    def _decisions(self, errors: Mapping[int, WriteError], left: float, draw: float) -> dict[int, Decision]:
        def decide(error: WriteError, *, repeatable: bool) -> Decision:
            return self._policy.decide(error, attempt=self.attempt, repeatable=repeatable, left=left, draw=draw)

        if not self._atomic or not errors:
            return {at: decide(error, repeatable=self._repeatable[at]) for at, error in errors.items()}
        culprits = [error for error in errors.values() if error.reason != "atomic"] or list(errors.values())
        verdicts = [decide(error, repeatable=all(self._repeatable)) for error in culprits]
        # One that must not be sent again keeps all from it.
        chosen = next((one for one in verdicts if isinstance(one, Stop)), verdicts[0])
        return dict.fromkeys(errors, chosen)


def _heaviest(errors: Sequence[WriteError]) -> WriteError:
    heavy = (error for error in errors if error.outcome is Outcome.UNKNOWN or isinstance(error, WriteTimeoutError))
    return next(heavy, errors[0])
