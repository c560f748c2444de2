"""One line in the log for each write, and one for each retry, through structlog.

The line is named ``wellwired.write`` and has the fields ``target``, ``type``, ``code``, ``outcome``, ``attempts`` and
``duration`` (seconds); then the request's `meta`, a trace id for example, as far as its values are strings, numbers or
booleans; one whose name sounds like a secret is there without its value, and one whose name is taken gets ``meta_`` in
front. A payload is not in the event and so cannot be in the line. A success is ``info``, a request that was
refused before anything was sent is ``warning``, what a backend did not do is ``error``, a retry is ``warning``. Where a
backend gave no code of its own, ``cause`` is the class of the exception behind a failure, and never its text. A success
with warnings is a ``warning`` that has them. A batch has one line, ``wellwired.write_many``, for each group of requests
with one target and type, with the numbers of what became of them. Lines of their own tell of an eviction that failed
(``wellwired.eviction_failed``), a circuit that changed (``wellwired.circuit``), and a dead letter that was kept
(``wellwired.dead_letter``) or, as ``error``, could not be (``wellwired.dead_letter_lost``).

structlog is never configured here, only used; what the application binds stays bound. It is imported at the first
line, because it brings more modules with it than this library has.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from wellwired.errors import ErrorCode
from wellwired.middleware.batches import BatchEvent
from wellwired.middleware.chain import WriteMiddleware
from wellwired.middleware.events import OK, PENDING, RetryEvent, WriteEvent
from wellwired.middleware.notices import CircuitChanged, EvictionFailed, LetterKept, LetterLost, Notice
from wellwired.middleware.observe import observed

__all__ = ["SILENT", "Logger", "WriteLog", "logged"]

_REFUSED = frozenset({ErrorCode.INVALID_REQUEST, ErrorCode.WRITER_NOT_FOUND, ErrorCode.TYPE_NOT_SUPPORTED})

# Fields of the line, and names that structlog or Python would take for something else.
_OWN = (
    "target",
    "type",
    "code",
    "outcome",
    "attempts",
    "duration",
    "reason",
    "backend_code",
    "cause",
    "replayed",
    "warnings",
)
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
_LINES: dict[type[Notice], str] = {
    EvictionFailed: "wellwired.eviction_failed",
    CircuitChanged: "wellwired.circuit",
    LetterKept: "wellwired.dead_letter",
    LetterLost: "wellwired.dead_letter_lost",
}
_LOUD = (LetterLost,)
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
        self._lazy: Any = None
        self._direct: Logger | None = None
        self._kept: _Kept | None = None

    def __call__(self, event: WriteEvent) -> None:
        """Writes the line of a write that is over."""
        logger = self._found()
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
            if event.warnings:
                fields["warnings"] = list(event.warnings)
            (logger.warning if event.warnings else logger.info)("wellwired.write", **fields)
            return
        if event.reason:
            fields["reason"] = event.reason
        if event.backend_code is not None:
            fields["backend_code"] = event.backend_code
        elif event.cause:
            fields["cause"] = event.cause
        (logger.warning if event.code in _REFUSED else logger.error)("wellwired.write", **fields)

    def retried(self, event: RetryEvent) -> None:
        """Writes the line of an attempt that failed and will be followed by another."""
        size = {"size": event.size} if event.size > 1 else {}
        self._found().warning(
            "wellwired.retry",
            target=event.target,
            type=event.type,
            attempt=event.attempt,
            code=event.code,
            outcome=event.outcome,
            reason=event.reason,
            backend_code=event.backend_code,
            wait=round(event.wait, 6),
            **size,
        )

    def many(self, event: BatchEvent) -> None:
        """Writes the line of a group of a batch."""
        fields: dict[str, Any] = {}
        if event.meta:
            _add_meta(fields, event.meta)
        fields |= {
            "target": event.target,
            "type": event.type,
            "size": event.size,
            "applied": event.applied,
            **({"pending": pending} if (pending := event.counts.get((OK, PENDING), 0)) else {}),
            "attempts": event.attempts,
            "duration": round(event.duration, 6),
        }
        failed = {f"{code} {outcome}": n for (code, outcome), n in event.counts.items() if code != OK}
        more = {"replayed": event.replayed, "failed": failed, "reasons": event.reasons, "warnings": [*event.warnings]}
        fields |= {name: value for name, value in more.items() if value}
        logger = self._found()
        if failed:
            refused = all(code in _REFUSED for code, _ in event.counts if code != OK)
            (logger.warning if refused else logger.error)("wellwired.write_many", **fields)
        else:
            (logger.warning if event.warnings else logger.info)("wellwired.write_many", **fields)

    def noticed(self, notice: Notice) -> None:
        """Writes the line of what is told beside the events of writes."""
        logger, kind = self._found(), type(notice)
        fields = {name: getattr(notice, name) for name in kind.__slots__}
        (logger.error if kind in _LOUD else logger.warning)(_LINES[kind], **fields)

    def _found(self) -> Logger:
        """The logger of the next line: structlog would put it together anew for each, which costs as much as a line."""
        if self._direct is not None:
            return self._direct
        import structlog

        if self._lazy is None:
            lazy = structlog.get_logger("wellwired")
            if self._logger is not None and type(self._logger) is not type(lazy):
                self._direct = self._logger
                return self._direct
            self._lazy = self._logger or lazy
        config = structlog.get_config()
        now, kept = (config, sys.stdout, sys.stderr), self._kept
        if kept is None or kept.made_for != now:
            kept = self._kept = _Kept(now, self._lazy.bind())
        if config["cache_logger_on_first_use"]:
            self._direct = kept.logger
        return kept.logger


class _Kept(NamedTuple):
    """A logger put together, and what it depends on: the configuration, and the streams that a factory may take."""

    made_for: tuple[Any, ...]
    logger: Logger


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
