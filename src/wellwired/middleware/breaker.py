"""A circuit breaker: a backend that fails most of the time is left alone for a while, and then tried with a few calls.

It is a pure state machine that is told the time and what became of each call, and starts nothing by itself. Closed, it
counts calls in a window that moves on in ten steps; it opens on evidence, a share of failed or slow calls among enough
of them, and never on the first error. Open, it admits nothing until its pause is over. Half open, it admits a few
probes; if all of them succeed it closes, and with the first that fails it opens again.

A call belongs to the era in which it was admitted. What ends in a later era says nothing about that and is not counted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Breaker", "BreakerPolicy", "BreakerState"]

_STEPS = 10


class BreakerState(StrEnum):
    """Whether calls are admitted."""

    CLOSED = "closed"
    """All of them."""
    OPEN = "open"
    """None."""
    HALF_OPEN = "half-open"
    """A few, to find out."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a breaker opens and closes; immutable.

    Args:
        window: seconds over which calls are counted.
        calls: how many calls there must be in the window before anything is concluded from them.
        failures: the share of failed calls, above 0 and up to 1, that opens it.
        slow: seconds after which a call counts as failed although it succeeded; None: never.
        pause: seconds that it stays open before it is tried.
        probes: how many calls try it, and must all succeed.
    """

    window: float = 10.0
    calls: int = 20
    failures: float = 0.5
    slow: float | None = None
    pause: float = 5.0
    probes: int = 3

    def __post_init__(self) -> None:
        if not (self.window > 0 and self.pause > 0 and (self.slow is None or self.slow > 0)):
            raise ValueError("window, pause and slow of a breaker are more than 0 seconds")
        if self.calls < 1 or self.probes < 1 or not 0 < self.failures <= 1:
            raise ValueError("calls and probes of a breaker are at least 1, and failures is a share: above 0, up to 1")


class Breaker:
    """The state of one breaker; safe for threads.

    Args:
        policy: when it opens and closes.
    """

    __slots__ = (
        "_begun",
        "_counts",
        "_era",
        "_failed",
        "_lock",
        "_out",
        "_passed",
        "_step",
        "_until",
        "policy",
        "state",
    )

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self.state = BreakerState.CLOSED
        self._era = 0
        self._until = self._begun = float("-inf")
        self._out = self._passed = self._step = 0
        self._counts: list[int] = []
        self._failed: list[int] = []
        self.after_fork()

    def after_fork(self) -> None:
        """Keeps the state and forgets the counts and the calls on their way, which are the parent's."""
        self._lock = threading.Lock()
        self._out = 0
        self._forget()

    def admit(self, now: float) -> int | None:
        """Asks for leave to make a call.

        Args:
            now: the monotonic time, in seconds.

        Returns:
            The era of the call, to be handed to `note`; None if it is not to be made.
        """
        state = self.state
        if state is BreakerState.CLOSED:  # by far the most frequent case takes no lock
            return self._era
        with self._lock:
            if self.state is BreakerState.OPEN:
                if now < self._until:
                    return None
                self._turn(BreakerState.HALF_OPEN)
                self._begun = now
            elif self.state is BreakerState.HALF_OPEN and now - self._begun >= self.policy.pause:
                # A probe whose end nobody told, because its thread was interrupted, must not block it for ever.
                self._out, self._begun = self._passed, now
            if self.state is BreakerState.HALF_OPEN:
                if self._out >= self.policy.probes:
                    return None
                self._out += 1
            return self._era

    def note(self, era: int, now: float, *, failed: bool, seconds: float = 0.0) -> BreakerState | None:
        """Takes note of how a call ended.

        Args:
            era: what `admit` gave for it.
            now: the monotonic time, in seconds.
            failed: whether it says that the backend does not work.
            seconds: how long it took.

        Returns:
            The new state, if this has changed it.
        """
        failed = failed or (self.policy.slow is not None and seconds >= self.policy.slow)
        with self._lock:
            if era != self._era:
                return None
            if self.state is BreakerState.HALF_OPEN:
                return self._judge_probe(now, failed=failed)
            self._count(now, failed=failed)
            return self._opens(now) if failed and self._damning else None

    def forgo(self, era: int) -> None:
        """Gives back the leave for a call that ended without saying anything about the backend.

        Args:
            era: what `admit` gave for it.
        """
        with self._lock:
            if era == self._era and self.state is BreakerState.HALF_OPEN and self._out > self._passed:
                self._out -= 1

    @property
    def evidence(self) -> tuple[int, int]:
        """How many calls failed in the window, and how many there were."""
        return sum(self._failed), sum(self._counts)

    def retry_after(self, now: float) -> float:
        """Seconds until it may admit a call, 0 if it may do so already."""
        if self.state is not BreakerState.OPEN:
            return 0.0
        return min(self.policy.pause, max(0.0, self._until - now))

    @property
    def _damning(self) -> bool:
        calls, failed = sum(self._counts), sum(self._failed)
        return calls >= self.policy.calls and failed >= self.policy.failures * calls

    def _judge_probe(self, now: float, *, failed: bool) -> BreakerState | None:
        if failed:
            return self._opens(now)
        self._passed += 1
        if self._passed < self.policy.probes:
            return None
        self._forget()
        return self._turn(BreakerState.CLOSED)

    def _count(self, now: float, *, failed: bool) -> None:
        step = int(now * _STEPS / self.policy.window)
        for gone in range(self._step + 1, min(step, self._step + _STEPS) + 1):
            self._counts[gone % _STEPS] = self._failed[gone % _STEPS] = 0
        self._step = max(step, self._step)
        self._counts[self._step % _STEPS] += 1
        self._failed[self._step % _STEPS] += failed

    def _opens(self, now: float) -> BreakerState:
        self._until = now + self.policy.pause
        return self._turn(BreakerState.OPEN)

    def _turn(self, state: BreakerState) -> BreakerState:
        self.state = state
        self._era += 1
        self._out = self._passed = 0
        return state

    def _forget(self) -> None:
        self._counts = [0] * _STEPS
        self._failed = [0] * _STEPS
        self._step = -(2**62)
