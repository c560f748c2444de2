"""The application's log: structlog configured while a container runs, and put back as it was afterwards.

This is the only place of the library that configures structlog, and only when the resource `Application.logging` is
opened. An application that has configured structlog by itself keeps its configuration. Neither format prints local
variables: a traceback with locals is a leak of payloads and passwords.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, MutableMapping
from datetime import UTC, datetime
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TextIO

import msgspec

if TYPE_CHECKING:
    import structlog

    from wellwired.settings import LogSettings

__all__ = ["configure_logging", "processors_of"]

# By number, so that neither `logging` nor structlog is needed to read settings.
_LEVELS: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}


def processors_of(settings: LogSettings, *, colors: bool = False) -> list[structlog.typing.Processor]:
    """The steps from an event to a line.

    Args:
        settings: gives the format.
        colors: whether the console format may use them.

    Returns:
        structlog processors, the renderer last.
    """
    import structlog

    steps: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _Stamp(),
    ]
    if settings.format == "json":
        return [*steps, structlog.processors.format_exc_info, _as_json]
    plain = structlog.dev.plain_traceback
    return [*steps, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


class _Stamp:
    """Adds the time of day, as structlog's own stamp in UTC does; the whole second is written out once."""

    def __init__(self) -> None:
        self._second = (-1, "")

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        now = time.time_ns() // 1000
        second, text = self._second
        if second != now // 1_000_000:
            second = now // 1_000_000
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = (second, text)
        event["timestamp"] = f"{text}.{now % 1_000_000:06d}Z"
        return event


_SCALARS: Final = frozenset({str, int, float, bool, NoneType})


def _as_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """The renderer: a line of plain values, as each write's is, takes a tenth of the time that any other does."""
    if type(event) is dict and all(type(value) in _SCALARS for value in event.values()):
        try:
            line = msgspec.json.encode(event)
        except (TypeError, UnicodeEncodeError):  # a key that is no string, half of a character
            line = b"\xff"
        # A stream may be able to take ASCII only, which `json` never leaves.
        if line.isascii():
            return line.decode()
    return json.dumps(event, default=_name_of_type, separators=(",", ":"))


def _name_of_type(value: object) -> str:
    # The default would be `repr`, and a repr may hold what must not be logged.
    return f"<{type(value).__qualname__}>"


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> Iterator[bool]:
    """Configures structlog until it is closed, unless the application has done so by itself.

    A generator, to be the initialiser of a `Resource`.

    Args:
        settings: level and format.
        stream: where lines go; standard error by default.

    Yields:
        Whether it configured structlog.
    """
    import structlog

    if structlog.is_configured():
        yield False
        return
    out: TextIO = sys.stderr if stream is None else stream
    structlog.configure(
        processors=processors_of(settings, colors=out.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        logger_factory=structlog.WriteLoggerFactory(out),
        # Loggers kept by modules must see the configuration end with the resource.
        cache_logger_on_first_use=False,
    )
    try:
        yield True
    finally:
        structlog.reset_defaults()
