"""Faults of a writer: attempts that fail before anything is sent, or after COMMIT, that are late, or that hang.

An attempt is a write by itself, a batch, or a transaction. What fails before is refused at its begin; what fails after
COMMIT is done by the real writer first, if it is to be applied, and its answer is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wellwired.clock import SYSTEM, Clock, Deadline
from wellwired.errors import ErrorCode, Outcome, UnknownProviderError, WriteError
from wellwired.operations import WriteRequest
from wellwired.testing._broken import CODES, coded
from wellwired.testing._intercept import intercepted

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance
    from wellwired.writers import Writer

__all__ = ["WriterFaults", "find_writer"]

_ATTEMPTS = ("write", "write_batch", "begin")


@dataclass(frozen=True, slots=True)
class _Order:
    """How an attempt fails.

    Args:
        code: the error's code.
        outcome: what the caller is told.
        applied: whether the real writer does it all the same.
        reason: the error's word of detail, or "".
    """

    code: ErrorCode
    outcome: Outcome
    applied: bool
    reason: str

    def error(self, request: WriteRequest) -> WriteError:
        """The error of one request."""
        return coded(request, self.code, self.outcome, self.reason)


class WriterFaults:
    """Orders faults of one writer; made by `Faults.writer`. What was ordered first happens first.

    Args:
        writer: the writer, which stays the real one.
        stack: what takes the faults away.
        clock: what a late attempt sleeps on.
    """

    def __init__(self, writer: Writer, stack: ExitStack, clock: Clock) -> None:
        self._writer, self._stack, self._clock = writer, stack, clock
        self._orders: list[_Order] = []
        self._always: _Order | None = None
        self._late = 0.0
        self._hung = threading.Event()
        self._hung.set()
        self._lock = threading.Lock()
        self.attempts = 0
        """How many attempts there have been since the first fault was ordered."""
        names = [name for name in _ATTEMPTS if callable(getattr(writer, name, None))]
        stack.enter_context(intercepted(writer, self._around, names))
        stack.callback(self.end)

    def fails(
        self,
        code: str = ErrorCode.BACKEND,
        outcome: str = Outcome.NOT_APPLIED,
        times: int = 1,
        *,
        applied: bool | None = None,
        reason: str = "",
    ) -> None:
        """Has the next attempts fail.

        Args:
            code: `BACKEND`, `TIMEOUT` or `INVALID_REQUEST`.
            outcome: what the caller is told: `NOT_APPLIED`, or `UNKNOWN` as when the answer to a COMMIT is lost.
            times: how many attempts.
            applied: whether the real writer does it all the same; None: if the outcome is UNKNOWN.
            reason: the error's word of detail, such as ``"duplicate"``; "" for the usual one of the code.

        Raises:
            ValueError: no writer fails so: another code, a TIMEOUT that may be applied, or NOT_APPLIED that is.
        """
        order = _order(ErrorCode(code), Outcome(outcome), applied, reason)
        with self._lock:
            self._orders += [order] * times

    def dead(self) -> None:
        """Has every attempt fail as when the server is gone; what was ordered with `fails` comes first."""
        self._always = _order(ErrorCode.BACKEND, Outcome.NOT_APPLIED, None, "")

    def slow(self, seconds: float) -> None:
        """Has every attempt begin late.

        Args:
            seconds: how much; on a virtual clock that is moved by as much.
        """
        self._late = seconds

    def hung(self) -> None:
        """Has every attempt wait for its deadline, and then fail with a TIMEOUT, as a server that does not answer."""
        self._hung.clear()

    def end(self) -> None:
        """Ends all faults of this writer; attempts that hang go on."""
        with self._lock:
            self._orders.clear()
        self._always, self._late = None, 0.0
        self._hung.set()

    def _around(self, name: str, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.attempts += 1
        self._wait(kwargs["deadline"])
        with self._lock:
            order = self._orders.pop(0) if self._orders else self._always
        if order is None:
            return call(*args, **kwargs)
        if name == "begin":
            return self._begin(order, call, args, kwargs)
        done = call(*args, **kwargs) if order.applied else None
        if name == "write_batch":
            return _answers(order, args[0], done)
        raise order.error(args[0])

    def _wait(self, deadline: Deadline) -> None:
        if self._late:
            self._clock.sleep(self._late)
        if self._hung.is_set():
            return
        if deadline.clock is SYSTEM:
            self._hung.wait(min(deadline.left(), threading.TIMEOUT_MAX))
        else:
            deadline.clock.sleep(deadline.left())

    def _begin(self, order: _Order, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A transaction that is refused, or whose COMMIT gets no answer."""
        error = order.error(WriteRequest(args[0], "transaction", None))
        if order.outcome is Outcome.NOT_APPLIED:
            raise error
        unit = call(*args, **kwargs)

        def commit(_name: str, real: Callable[..., Any], *_: Any) -> None:
            if order.applied:
                real()
            else:
                unit.rollback()
            raise error

        self._stack.enter_context(intercepted(unit, commit, ["commit"]))
        return unit


def _order(code: ErrorCode, outcome: Outcome, applied: bool | None, reason: str) -> _Order:
    unknown = outcome is Outcome.UNKNOWN
    if code not in CODES or outcome is Outcome.PARTIAL or (unknown and code is not ErrorCode.BACKEND):
        raise ValueError(
            f"no writer fails with {code} {outcome}: give {', '.join(CODES)}, and with UNKNOWN only {ErrorCode.BACKEND}"
        )
    if applied and not unknown:
        raise ValueError("what is applied is not told to be NOT_APPLIED; give outcome='UNKNOWN'")
    return _Order(code, outcome, unknown if applied is None else applied, reason)


def _answers(order: _Order, requests: Sequence[WriteRequest], done: Sequence[Any] | None) -> list[Any]:
    """The answers to a batch: an ordered error for each request that the real writer has not failed by itself."""
    answers: list[Any] = [order.error(request) for request in requests]
    pairs = zip(answers if done is None else done, answers, strict=True)
    return [own if isinstance(own, WriteError) else ordered for own, ordered in pairs]


def find_writer(container: ContainerInstance, target: str) -> Writer:
    """The writer of a target in a container.

    Args:
        container: whose.
        target: such as ``sql.main``.

    Raises:
        UnknownProviderError: no writer supports it; names those that there are.
    """
    writers: tuple[Writer, ...] = container.resolve("write_manager").writers
    for writer in writers:
        if writer.supports(target):
            return writer
    known = ", ".join(writer.name for writer in writers) or "none"
    raise UnknownProviderError(f"no writer of {container.title} supports {target!r}; there are: {known}")
