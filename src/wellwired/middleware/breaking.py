"""Leaves a backend alone that fails most of its writes: a circuit breaker for each writer, inside the retries.

The state machine is in `breaker`. Here is what it is told: only a connection that is lost or cannot be made, a server
without room, a timeout and an unknown outcome say that the backend does not work. A refusal of the data says that it
does. A bug of a handler or a middleware says nothing, nor does a deadline that had passed before anything was sent.

An open circuit refuses in microseconds: BACKEND, NOT_APPLIED, ``reason="circuit_open"``, with `retry_after`. The
retries outside wait for that long if the deadline allows it, and give up at once if it does not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteError, WriteTimeoutError
from wellwired.middleware.breaker import Breaker, BreakerPolicy, BreakerState
from wellwired.middleware.chain import WriteNext
from wellwired.middleware.notices import CircuitChanged, NoticeObserver
from wellwired.middleware.observe import notify
from wellwired.operations import WriteOperation, WriteResult

__all__ = ["OPEN", "SICK_REASONS", "Circuits", "blames"]

OPEN: Final = "circuit_open"
"""The `reason` of a write that was refused because the circuit is open."""

SICK_REASONS: Final = frozenset(
    {"capacity", "connection", "connections", "disk", "not_ready", "pool", "read_only", "shutdown"}
)
"""The `reason` of errors that say that the backend cannot be reached or has no room."""

_OURS = frozenset({"changes", "circuit_open", "closed", "handler", "middleware", "wiring", "writer"})


def blames(error: WriteError) -> bool | None:
    """What a failed attempt says about its backend.

    Args:
        error: how it failed.

    Returns:
        True if the backend does not work, False if it does and refused, None if the error says neither.
    """
    if error.reason in _OURS:
        return None
    if isinstance(error, WriteTimeoutError):
        return None if error.phase is Phase.ADMIT else True
    if error.outcome is Outcome.UNKNOWN or error.reason in SICK_REASONS:
        return True
    # What was refused before the transaction began never met the backend.
    return None if error.phase is Phase.ADMIT else False


def _blamed(operation: WriteOperation, error: WriteError) -> bool | None:
    # A write to elsewhere, inside a handler or a transaction, says nothing about this backend.
    return blames(error) if error.target in ("", operation.request.target) else None


class Circuits:
    """The middleware that breaks circuits, one for each writer; safe to share by threads.

    Args:
        policy: when a circuit opens and closes.
        observers: told whenever the state of one changes.
    """

    def __init__(self, policy: BreakerPolicy, observers: tuple[NoticeObserver, ...] = ()) -> None:
        self._policy, self._observers = policy, observers
        self._circuits: dict[str, _Circuit] = {}

    def __call__(self, next: WriteNext) -> WriteNext:
        """The call around an attempt."""

        def call(operation: WriteOperation) -> WriteResult[Any]:
            circuit, clock = self._of(operation.writer), operation.deadline.clock
            era = circuit.breaker.admit(began := clock.monotonic())
            circuit.tell()
            if era is None:
                raise _refusal(operation, circuit.breaker.retry_after(began))
            failed: bool | None = None
            try:
                result = next(operation)
                failed = False
            except WriteError as error:
                failed = _blamed(operation, error)
                raise
            finally:
                circuit.ended(era, began, clock.monotonic(), failed)
            return result

        return call

    @contextmanager
    def around(self, operation: WriteOperation) -> Iterator[None]:
        """As the call around an attempt, for one that is a block of the caller's: a transaction.

        Args:
            operation: what the block is about.

        Raises:
            BackendError: the circuit is open.
        """
        circuit, clock = self._of(operation.writer), operation.deadline.clock
        era = circuit.breaker.admit(began := clock.monotonic())
        circuit.tell()
        if era is None:
            raise _refusal(operation, circuit.breaker.retry_after(began))
        failed: bool | None = None
        try:
            yield
            failed = False
        except WriteError as error:
            failed = _blamed(operation, error)
            raise
        finally:
            circuit.ended(era, began, clock.monotonic(), failed)

    def states(self) -> Mapping[str, BreakerState]:
        """The state of each circuit, by the name of its writer."""
        return {name: circuit.breaker.state for name, circuit in tuple(self._circuits.items())}

    def renew(self) -> None:
        """Opens the locks in a forked child, which keeps the states and counts anew."""
        for circuit in tuple(self._circuits.values()):
            circuit.renew()

    def _of(self, name: str) -> _Circuit:
        found = self._circuits.get(name)
        return found or self._circuits.setdefault(name, _Circuit(name, Breaker(self._policy), self._observers))


class _Circuit:
    """A breaker and the state of it that was told last."""

    __slots__ = ("_observers", "_telling", "_told", "breaker", "name")

    def __init__(self, name: str, breaker: Breaker, observers: tuple[NoticeObserver, ...]) -> None:
        self.name, self.breaker, self._observers = name, breaker, observers
        self._told = breaker.state
        self._telling = threading.Lock()

    def ended(self, era: int, began: float, now: float, failed: bool | None) -> None:
        """Tells the breaker how an attempt ended, and the observers what follows."""
        if failed is None:
            self.breaker.forgo(era)
        else:
            self.breaker.note(era, now, failed=failed, seconds=now - began)
            self.tell()

    def tell(self) -> None:
        """Tells the observers if the state is another than the one they know."""
        if self.breaker.state is self._told:
            return
        with self._telling:
            was, state = self._told, self.breaker.state
            self._told = state
        if state is not was:
            failures, calls = self.breaker.evidence
            pause = self.breaker.policy.pause if state is BreakerState.OPEN else 0.0
            notify(self._observers, CircuitChanged(self.name, was.value, state.value, failures, calls, pause))

    def renew(self) -> None:
        self._telling = threading.Lock()
        self.breaker.after_fork()


def _refusal(operation: WriteOperation, wait: float) -> BackendError:
    refused = BackendError(
        f"the circuit of {operation.writer!r} is open, because most of its writes failed; look at the backend",
        outcome=Outcome.NOT_APPLIED,
        retry=Retry.SAFE,
        phase=Phase.ADMIT,
        target=operation.request.target,
        type=operation.request.type,
        reason=OPEN,
    )
    refused.retry_after = wait
    return refused
