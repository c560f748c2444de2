"""The application's log: structlog configured while a container runs, and put back as it was afterwards.

This is the only place of the library that configures structlog, and only when the resource `Application.logging` is
opened. An application that has configured structlog by itself keeps its configuration. Neither format prints local
variables: a traceback with locals is a leak of payloads and passwords.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TextIO

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
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.format == "json":
        return [*steps, structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=_name_of_type)]
    plain = structlog.dev.plain_traceback
    return [*steps, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


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
