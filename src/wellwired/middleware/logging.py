"""One line in the log for each write, and one for each retry, through structlog.

The line is named ``wellwired.write`` and has the fields ``target``, ``type``, ``code``, ``outcome``, ``attempts`` and
``duration`` (seconds); then the request's `meta`, a trace id for example, as far as its values are strings, numbers or
booleans; one whose name sounds like a secret is there without its value, and one whose name is taken gets ``meta_`` in
front. A payload is not in the event and so cannot be in the line. A success is ``info``, a request that was
refused before anything was sent is ``warning``, what a backend did not do is ``error``, a retry is ``warning``.

structlog is never configured here, only used; what the application binds stays bound. It is imported at the first
line, because it brings more modules with it than this library has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

from wellwired.errors import ErrorCode
from wellwired.middleware.chain import WriteMiddleware
from wellwired.middleware.events import OK, RetryEvent, WriteEvent
from wellwired.middleware.observe import observed

__all__ = ["SILENT", "Logger", "WriteLog", "logged"]

_REFUSED = frozenset({ErrorCode.INVALID_REQUEST, ErrorCode.WRITER_NOT_FOUND, ErrorCode.TYPE_NOT_SUPPORTED})

# Fields of the line, and names that structlog or Python would take for something else.
_OWN = ("target", "type", "code", "outcome", "attempts", "duration", "reason", "backend_code", "replayed")
_FOREIGN = (
    "event",
    "exc_info",
    "exception",
    "level",
    "log_level",
    "logger",
    "logger_name",
    "method_name",
    "positional_args",
    "self",
    "stack",
    "stack_info",
    "timestamp",
)
_TAKEN = frozenset(_OWN + _FOREIGN)
_SECRET = re.compile(r"(?i)passw|secret|token|credential|authori[sz]ation|cookie|api[-_]?key|session")
_SCALARS = frozenset({str, int, float, bool})
_LONGEST = 256


class Logger(Protocol):
    """What a log line is given to: a structlog logger, or whatever takes an event and fields by keyword."""

    def info(self, event: str, /, **fields: Any) -> Any:
        """Takes the line of a write that took effect."""
        ...

    def warning(self, event: str, /, **fields: Any) -> Any:
        """Takes the line of a write that was refused, or is tried again."""
        ...

    def error(self, event: str, /, **fields: Any) -> Any:
        """Takes the line of a write that failed."""
        ...


class _Silence:
    __slots__ = ()

    def info(self, event: str, /, **fields: Any) -> None:
        """Drops the line."""

    warning = error = info


SILENT: Final[Logger] = _Silence()
"""A logger that drops every line, for those who want none."""


class WriteLog:
    """An observer that writes a line for each event; safe to share by threads.

    Args:
        logger: where lines go, its bound context kept; None for structlog's logger named ``wellwired``, which
            follows the application's configuration.
    """

    def __init__(self, logger: Logger | None = None) -> None:
        self._logger = logger

    def __call__(self, event: WriteEvent) -> None:
        """Writes the line of a write that is over."""
        logger = self._logger or self._found()
        fields: dict[str, Any] = {
            "target": event.target,
            "type": event.type,
            "code": event.code,
            "outcome": event.outcome,
            "attempts": event.attempts,
            "duration": round(event.duration, 6),
        }
        if event.meta:
            _add_meta(fields, event.meta)
        if event.code == OK:
            if event.replayed:
                fields["replayed"] = True
            logger.info("wellwired.write", **fields)
            return
        if event.reason:
            fields["reason"] = event.reason
        if event.backend_code is not None:
            fields["backend_code"] = event.backend_code
        (logger.warning if event.code in _REFUSED else logger.error)("wellwired.write", **fields)

    def retried(self, event: RetryEvent) -> None:
        """Writes the line of an attempt that failed and will be followed by another."""
        (self._logger or self._found()).warning(
            "wellwired.retry",
            target=event.target,
            type=event.type,
            attempt=event.attempt,
            code=event.code,
            outcome=event.outcome,
            reason=event.reason,
            backend_code=event.backend_code,
            wait=round(event.wait, 6),
        )

    def _found(self) -> Logger:
        import structlog

        logger = structlog.get_logger("wellwired")
        # What get_logger gives follows the configuration at each line, unless that asks for loggers to be kept.
        if structlog.get_config()["cache_logger_on_first_use"]:
            logger = logger.bind()
        found: Logger = logger
        self._logger = found
        return found


def logged(logger: Logger | None = None) -> WriteMiddleware:
    """The middleware that writes one line for each write.

    Args:
        logger: where lines go; None for structlog's logger named ``wellwired``.
    """
    return observed(WriteLog(logger))


def _add_meta(fields: dict[str, Any], meta: Mapping[str, Any]) -> None:
    for key, value in meta.items():
        if type(key) is not str or type(value) not in _SCALARS:
            continue
        field, shown = _field(key)
        if not shown:
            value = "***"
        elif type(value) is str and len(value) > _LONGEST:
            value = value[:_LONGEST] + "…"
        fields[field] = value


@lru_cache(maxsize=512)
def _field(key: str) -> tuple[str, bool]:
    """The name in the line for a key of `meta`, and whether its value may be shown."""
    named = key[:_LONGEST]
    return (f"meta_{named}" if key in _TAKEN or key.startswith("_") else named, not _SECRET.search(key))
