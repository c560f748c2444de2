"""The application's log: configured only while its resource is open, and never over the application's own."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

from wellwired.containers.logs import configure_logging
from wellwired.operations import WriteResult
from wellwired.settings import LogSettings


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """Each test begins with structlog as it is after import."""
    structlog.reset_defaults()
    yield
    _open.clear()
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


_open: list[Iterator[bool]] = []


def _opened(settings: LogSettings) -> tuple[Iterator[bool], bool, io.StringIO]:
    stream = io.StringIO()
    resource = configure_logging(settings, stream)
    _open.append(resource)  # a generator that nobody holds is closed at once
    return resource, next(resource), stream


def test_json_is_one_object_a_line_with_level_time_and_bound_context() -> None:
    """A JSON line carries the event, its level, its time and what is bound to the context."""
    resource, _, stream = _opened(LogSettings())
    structlog.contextvars.bind_contextvars(trace_id="t-1")
    structlog.get_logger().info("wellwired.write", target="sql.main")
    line = json.loads(stream.getvalue())
    assert line["event"] == "wellwired.write"
    assert (line["level"], line["trace_id"], line["target"]) == ("info", "t-1", "sql.main")
    assert line["timestamp"].endswith("Z")
    resource.close()  # type: ignore[attr-defined]


def test_the_console_is_for_people() -> None:
    """The console format is plain text where the stream is no terminal."""
    _, configured, stream = _opened(LogSettings(format="console"))
    structlog.get_logger().info("started", pools=2)
    assert configured
    assert "started" in stream.getvalue()
    assert "pools=2" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_events_below_the_level_are_dropped() -> None:
    """Only events at the level or above it are written."""
    _, _, stream = _opened(LogSettings(level="WARNING"))
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_closing_puts_structlog_back() -> None:
    """When the resource is closed, structlog is as unconfigured as before."""
    resource, _, _ = _opened(LogSettings())
    assert structlog.is_configured()
    assert next(resource, "closed") == "closed"
    assert not structlog.is_configured()


def test_the_applications_own_configuration_wins() -> None:
    """structlog that was configured by the application is left alone, also at the end."""
    lines: list[str] = []

    def keep(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
        lines.append(event["event"])
        return str(event["event"])

    structlog.configure(processors=[keep])
    resource, configured, stream = _opened(LogSettings())
    structlog.get_logger().info("mine")
    assert not configured
    assert lines == ["mine"]
    assert stream.getvalue() == ""
    assert next(resource, "closed") == "closed"
    assert structlog.is_configured()


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_local_variables(form: str) -> None:
    """Neither format prints the locals of a traceback, where secrets would be."""
    _, _, stream = _opened(LogSettings(format=form))  # type: ignore[arg-type]
    try:
        planted = "hunter" + "2"
        raise ValueError(len(planted))
    except ValueError:
        structlog.get_logger().exception("failed")
    assert "ValueError" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_a_value_that_json_does_not_know_is_named_by_its_type() -> None:
    """A foreign object in an event is written as its type, never as its repr."""

    class Secretive:
        def __repr__(self) -> str:
            return "hunter2"

    _, _, stream = _opened(LogSettings())
    structlog.get_logger().info("odd", thing=Secretive())
    assert "hunter2" not in stream.getvalue()
    assert "Secretive" in stream.getvalue()


@pytest.mark.parametrize(
    "fields",
    [
        {"target": "sql.main", "attempts": 2, "duration": 0.25, "replayed": True, "backend_code": None},
        {"name": "Zoë \N{SNOWMAN}"},
        {"half": "\udc80"},
        {"deep": {"a": [1, {"b": None}]}},
        {"huge": 10**40},
        {"data": b"hunter2", "when": WriteResult(data="hunter2")},
    ],
)
def test_a_line_says_the_same_whichever_way_it_was_written(fields: dict[str, Any]) -> None:
    """Plain lines take a short way; it is ASCII like the other, and reads back as the same."""
    _, _, stream = _opened(LogSettings())
    structlog.get_logger().info("event", **fields)
    text = stream.getvalue()
    known = {key: value for key, value in json.loads(text).items() if key in fields}
    assert known == json.loads(json.dumps(fields, default=lambda value: f"<{type(value).__qualname__}>"))
    assert text.isascii() and "hunter2" not in text
    assert (
        text.startswith('{"') and '": ' not in text and '", ' not in text
    )  # one spacing, for those who search by text


def test_the_time_of_a_line_is_the_time_of_day_in_utc() -> None:
    """Two lines of different seconds have different times, each between the moments before and after it."""
    _, _, stream = _opened(LogSettings())
    moments = []
    with pytest.MonkeyPatch.context() as patched:
        for now in (1_700_000_000_999_999_000, 1_700_000_001_000_000_000, 1_700_000_001_000_001_000):
            patched.setattr("time.time_ns", lambda now=now: now)
            structlog.get_logger().info("event")
            moments.append(json.loads(stream.getvalue().splitlines()[-1])["timestamp"])
    assert moments == ["2023-11-14T22:13:20.999999Z", "2023-11-14T22:13:21.000000Z", "2023-11-14T22:13:21.000001Z"]
