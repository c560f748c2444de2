"""What a failure on a Django connection means: by the driver's own code, which Django keeps behind its exceptions.

Django files every driver's exceptions under classes of its own and keeps the original as the cause; a few of MySQL's
it files anew, with the number but without a cause. Neither class nor text is looked at here: the code and the phase
decide, by the tables of `wellwired.writers.classification`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.db import Error as DjangoError
from django.db.backends.base.base import BaseDatabaseWrapper

from wellwired.errors import BackendError, ErrorCode, InvalidRequestError, Outcome, Phase, Retry, WriteError
from wellwired.operations import WriteRequest
from wellwired.writers._failures import TOO_LATE, fill, write_error
from wellwired.writers._native import login_trouble, native_code, shown_code
from wellwired.writers._rules import Rule
from wellwired.writers.classification import Verdict, classify
from wellwired.writers.protocol import handler_failed

__all__ = ["Moment", "StoppedError", "driver_error", "is_gone", "judged"]

_CUT = "the deadline passed during the work, which was cut off and rolled back; allow more time"
_NO_PASSWORD = Verdict(ErrorCode.BACKEND, Outcome.NOT_APPLIED, Retry.NEVER, "permission")


class StoppedError(Exception):
    """A transaction stops for a reason that no driver gave.

    Args:
        verdict: what it means.
        message: the words for it; the usual ones if empty.
    """

    def __init__(self, verdict: Verdict, message: str = "") -> None:
        self.verdict, self.message = verdict, message
        super().__init__(verdict.reason)


@dataclass(frozen=True, slots=True)
class Moment:
    """How things stood when something failed.

    Args:
        request: the write under way.
        phase: how far it had come.
        connection: Django's connection.
        rules: the writer's own rules about error codes.
        lost: whether the driver's connection is gone.
        late: whether the deadline had passed.
        cut: whether the work was cut off because of it.
        ended_by: an error that ended the transaction and that the handler let nobody see.
    """

    request: WriteRequest
    phase: Phase
    connection: BaseDatabaseWrapper
    rules: Mapping[Any, Rule]
    lost: bool
    late: bool
    cut: bool
    ended_by: BaseException | None


def judged(error: Exception, moment: Moment) -> tuple[WriteError, bool]:
    """The error to raise for a failure, and whether the connection must be closed.

    Args:
        error: what was raised.
        moment: how things stood.
    """
    request, phase = moment.request, moment.phase
    if isinstance(error, StoppedError):
        failure = write_error(error.verdict, request, phase, error.__cause__, message=error.message)
        return failure, error.verdict.renew
    if isinstance(error, SynchronousOnlyOperation):
        return _asynchronous(error, request), False
    if moment.cut and phase is not Phase.COMMIT:
        return write_error(TOO_LATE, request, phase, error, message=_CUT), True
    if (native := driver_error(error, moment.connection)) is not None:
        return _native(native, moment)
    if isinstance(error, WriteError):
        return fill(error, request, phase), False
    if phase is Phase.EXECUTE:
        ended_by = moment.ended_by
        driver = None if ended_by is None else driver_error(ended_by, moment.connection)
        return (handler_failed(error, request), False) if driver is None else _native(driver, moment)
    return _unusable(error, moment), True


def driver_error(error: BaseException, connection: BaseDatabaseWrapper) -> BaseException | None:
    """The driver's own exception behind another, or what has its code; None if the backend did not raise it.

    Args:
        error: as Django raised it.
        connection: whose driver.
    """
    module: Any = connection.Database  # type: ignore[attr-defined]  # each backend's wrapper has its driver there
    own: type[BaseException] = module.Error
    for one in (error, error.__cause__):
        if isinstance(one, own):
            return one
    # Django's cursor for MySQL files some errors anew, by their number, and keeps that.
    return error if isinstance(error, DjangoError) and native_code(error) is not None else None


def is_gone(driver: Any) -> bool:
    """Whether a driver's connection has noticed that it is closed or broken.

    Args:
        driver: the driver's own connection.
    """
    try:
        return bool(getattr(driver, "closed", False)) or not getattr(driver, "open", True)
    except Exception:  # noqa: BLE001 - one that cannot even say is of no use
        return True


def _native(native: BaseException, moment: Moment) -> tuple[WriteError, bool]:
    code, phase = native_code(native), moment.phase
    vendor = moment.connection.vendor
    verdict = classify(vendor, code, phase, lost=moment.lost, late=moment.late, rules=moment.rules)
    if code is None and phase is Phase.CHECKOUT and (trouble := login_trouble(native)):
        verdict = _NO_PASSWORD if trouble == "permission" else replace(verdict, reason=trouble)
    return write_error(verdict, moment.request, phase, native, native=shown_code(native, code)), verdict.renew


def _asynchronous(error: Exception, request: WriteRequest) -> InvalidRequestError:
    wrong = InvalidRequestError(
        "the write was asked for in the thread of an event loop, where Django lets nobody use a database; await "
        "sync_to_async(manager.write)(request) instead",
        outcome=Outcome.NOT_APPLIED,
        target=request.target,
        type=request.type,
        reason="async",
    )
    wrong.__cause__ = error
    return wrong


def _unusable(error: Exception, moment: Moment) -> BackendError:
    request, alias = moment.request, moment.connection.alias
    # Not from the backend, after COMMIT was sent: what became of the data is anybody's guess.
    known = moment.phase is not Phase.COMMIT
    unusable = BackendError(
        f"Django's connection {alias!r} could not be used: {type(error).__name__}; see the cause, and look at "
        f"DATABASES[{alias!r}]",
        outcome=Outcome.NOT_APPLIED if known else Outcome.UNKNOWN,
        retry=Retry.NEVER,
        phase=moment.phase,
        target=request.target,
        type=request.type,
        reason="connection" if known else "commit_unknown",
    )
    unusable.__cause__ = error
    return unusable
