"""The words of a failed write: from a verdict to the error that is raised.

A text says what happened and what to try next, and nothing of the data: neither SQL nor parameters nor the driver's
own message, which quotes both. The driver's exception is the cause, for debuggers.
"""

from __future__ import annotations

from wellwired.errors import BackendError, ErrorCode, Outcome, Phase, Retry, WriteError, wrap
from wellwired.operations import WriteRequest
from wellwired.writers._rules import Native
from wellwired.writers.classification import Speed, Verdict

__all__ = ["POOL_FULL", "TOO_LATE", "fill", "spoilt", "write_error"]

TOO_LATE = Verdict(ErrorCode.TIMEOUT, Outcome.NOT_APPLIED, Retry.SAFE, "deadline", Speed.SLOW)
"""The deadline had passed when COMMIT was to be sent, so it was not."""

POOL_FULL = Verdict(ErrorCode.TIMEOUT, Outcome.NOT_APPLIED, Retry.SAFE, "pool", Speed.SLOW)
"""No connection was free until the deadline."""

_WORDS = {
    "capacity": "the server has no room (memory, disk or locks); free some, then send it again",
    "commit_unknown": (
        "COMMIT was sent and its answer was lost; look whether the data is there before sending it again, or give "
        "such writes an idempotency key"
    ),
    "connection": "the connection to the server could not be made or was lost; check that it runs and is reachable",
    "connections": "the server or its pool has no connection left; raise the limit or lower the load",
    "constraint": "a constraint of the database refused the data; check it against the table's definition",
    "damaged": "the database file is damaged or is no database; restore it",
    "data": "the backend refused a value (its type, range or length); check the payload against the schema",
    "deadline": "the work was done and rolled back, because there was no time left to commit it; allow more time",
    "deadlock": "another transaction was in the way (deadlock) and this one was rolled back; send it again",
    "disk": "the server could not write to its disk; check the disk, then send it again",
    "duplicate": "something with this key exists already; use an upsert if it is to be replaced",
    "handler": "the handler went on after an error of the backend; let such errors through",
    "lock": "another transaction holds a lock on the same data; send it again",
    "login": (
        "the server was reached and asked for a password, and then it refused the login or ended the session; check "
        "the user and the password, then whether the server has a connection left"
    ),
    "moved": "the data is on another node of the cluster; use a client made for clusters",
    "no_database": "there is no such database; create it, or correct the target's URL",
    "not_ready": "the server is starting, stopping or not ready; send it again",
    "permission": "the backend refused the user (login or rights); check the credentials and the grants",
    "pool": "no connection of the pool was free in time; raise the pool's size or lower the load",
    "read_only": "the server or the database is read-only; write to the primary",
    "serialization": "another transaction changed the same data first; send it again",
    "server": "the server reports an internal error; see its log",
    "shutdown": "the server ended the session or is shutting down; send it again",
    "signal": "a rule in the database refused the write",
    "stale_plan": "what the connection knew was out of date; send it again",
    "statement": "the backend refused a statement; check the handler against the schema and the server's version",
    "timer": "a timer of the server, or an administrator, ended the statement; allow more time",
    "too_large": "the write is larger than the backend takes; split it",
    "unclassified": "the backend refused with a code that is not known here; see the cause",
}


def write_error(
    verdict: Verdict,
    request: WriteRequest,
    phase: Phase,
    cause: BaseException | None = None,
    *,
    native: Native | None = None,
    message: str = "",
) -> WriteError:
    """The error for a verdict; to be raised by the caller.

    Args:
        verdict: what the failure means.
        request: the write that failed.
        phase: how far it had come.
        cause: the exception behind it.
        native: the backend's own code.
        message: words of the caller's own instead of the usual ones.
    """
    text = message or _WORDS.get(verdict.reason) or f"the backend refused it ({verdict.reason}); see the cause"
    if verdict.code is ErrorCode.TIMEOUT and verdict.reason not in ("deadline", "pool"):
        text = f"the deadline passed before COMMIT was sent, and nothing was applied: {text}"
    return wrap(
        verdict.code,
        text,
        cause,
        outcome=verdict.outcome,
        retry=verdict.retry,
        phase=phase,
        target=request.target,
        type=request.type,
        backend_code=native,
        reason=verdict.reason,
    )


def fill(error: WriteError, request: WriteRequest, phase: Phase) -> WriteError:
    """Gives an error that a handler raised the facts that it did not give itself.

    Args:
        error: what the handler raised; changed in place.
        request: the write it was doing.
        phase: how far that had come.

    Returns:
        The same error.
    """
    if not error.target:
        error.target, error.type, error.phase = request.target, request.type, phase
    return error


def spoilt(target: str, first: WriteError | None) -> BackendError:
    """The error for going on with a transaction in which a write has failed.

    Args:
        target: where it is open.
        first: how that write failed, if it is known.
    """
    error = BackendError(
        "an earlier write of this transaction failed, so nothing of it is applied; leave its block, or give writes "
        "that may fail a nested() block of their own",
        retry=Retry.NEVER if first is None else first.retry,
        phase=Phase.EXECUTE,
        target=target,
        type="transaction",
        reason="spoilt",
    )
    if first is not None:
        error.outcome, error.backend_code, error.__cause__ = first.outcome, first.backend_code, first
    return error
