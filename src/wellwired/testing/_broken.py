"""What backends raise when they are gone, for faults that are ordered: a driver's own error for the store of a layer,
and the coded error of a write, in the words that a real failure has.
"""

from __future__ import annotations

from typing import Any, Final

from wellwired.errors import ErrorCode, Outcome, Phase, Retry, WriteError
from wellwired.operations import WriteRequest
from wellwired.writers._failures import write_error
from wellwired.writers.classification import Verdict

__all__ = ["CODES", "coded", "of_layer", "too_slow"]

_GONE: Final = "no connection, as a test has ordered"
_SILENT: Final = "no answer, as a test has ordered"

_REASONS: Final = {
    ErrorCode.BACKEND: ("connection", Retry.SAFE, Phase.CHECKOUT),
    ErrorCode.TIMEOUT: ("deadline", Retry.SAFE, Phase.EXECUTE),
    ErrorCode.INVALID_REQUEST: ("constraint", Retry.NEVER, Phase.EXECUTE),
}
"""For each code that a writer may give: the reason, whether to send again, and how far it came; nothing is applied."""

CODES: Final = tuple(_REASONS)
"""The codes that a writer may give."""


def of_layer(store: Any) -> Exception:
    """What a layer raises when its server cannot be reached.

    Args:
        store: the layer's store.
    """
    return _error_of(store, _GONE, silent=False)


def too_slow(store: Any) -> Exception:
    """What a layer raises when its driver has waited long enough for an answer.

    Args:
        store: the layer's store.
    """
    return _error_of(store, _SILENT, silent=True)


def _error_of(store: Any, text: str, *, silent: bool) -> Exception:
    from wellwired.stores.redis import RedisStore
    from wellwired.stores.sql import SQLStore
    from wellwired.stores.table import TableStore

    if isinstance(store, RedisStore):
        from redis import exceptions

        return exceptions.TimeoutError(text) if silent else exceptions.ConnectionError(text)
    if isinstance(store, SQLStore | TableStore):
        from sqlalchemy.exc import OperationalError

        return OperationalError(text, None, TimeoutError(text) if silent else ConnectionError(text))
    return TimeoutError(text) if silent else ConnectionError(text)


def coded(request: WriteRequest, code: ErrorCode, outcome: Outcome, reason: str = "") -> WriteError:
    """The error of a write, as the backend's own failures are coded.

    Args:
        request: the write that fails.
        code: `BACKEND`, `TIMEOUT` or `INVALID_REQUEST`.
        outcome: what becomes of the data; a TIMEOUT and an INVALID_REQUEST are never applied.
        reason: the word of detail; "" for the usual one.
    """
    usual, retry, phase = _REASONS[code]
    if outcome is not Outcome.NOT_APPLIED:
        usual, retry, phase = "commit_unknown", Retry.IF_IDEMPOTENT, Phase.COMMIT
    return write_error(Verdict(code, outcome, retry, reason or usual), request, phase)
