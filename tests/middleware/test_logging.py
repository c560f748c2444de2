"""Tests of the log's lines."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import CapturingLogger

from tests.middleware.kit import SECRET, Scripted, never, operation, safe, unknown
from wellwired.errors import InvalidRequestError, WriteError, WriterNotFoundError
from wellwired.middleware import SILENT, WriteEvent, WriteLog, chain, logged
from wellwired.middleware.events import retried
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock


def line(**meta: Any) -> dict[str, Any]:
    """The fields of the line of a success with that meta."""
    logger: Any = CapturingLogger()
    request = WriteRequest("sql.main", "profile", {"password": SECRET}, meta)
    chain(Scripted(), [logged(logger)])(operation(request=request))
    (call,) = logger.calls
    return dict(call.kwargs)


def failed(error: WriteError) -> tuple[str, dict[str, Any]]:
    """The level and the fields of the line of that failure."""
    logger: Any = CapturingLogger()
    with pytest.raises(WriteError):
        chain(Scripted(error), [logged(logger)])(operation())
    (call,) = logger.calls
    assert call.args == ("wellwired.write",)
    return call.method_name, dict(call.kwargs)


@pytest.fixture
def lines() -> Iterator[list[bytes]]:
    """The lines that structlog renders as JSON, with its configuration put back afterwards."""
    written: list[bytes] = []

    class Sink:
        def msg(self, text: str) -> None:
            written.append(text.encode())

        info = warning = error = msg

    before = structlog.get_config()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=lambda *args: Sink(),
        cache_logger_on_first_use=False,
    )
    yield written
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


def test_a_success_is_one_line(virtual_clock: VirtualClock) -> None:
    """With target, type, code, outcome, attempts, duration and the trace id."""
    logger: Any = CapturingLogger()

    def slow() -> WriteResult[Any]:
        virtual_clock.advance(0.123456789)
        return WriteResult(attempts=2)

    chain(Scripted(slow), [logged(logger)])(operation(virtual_clock))
    assert [(call.method_name, call.args, call.kwargs) for call in logger.calls] == [
        (
            "info",
            ("wellwired.write",),
            {
                "target": "sql.main",
                "type": "profile",
                "code": "OK",
                "outcome": "APPLIED",
                "attempts": 2,
                "duration": 0.123457,
                "trace_id": "abc",
            },
        )
    ]


def test_a_replay_is_told_apart() -> None:
    """By a field that other lines do not have."""
    logger: Any = CapturingLogger()
    chain(Scripted(WriteResult(replayed=True)), [logged(logger)])(operation())
    assert logger.calls[0].kwargs["replayed"] is True
    assert "replayed" not in line()


def test_a_failure_of_the_backend_is_an_error() -> None:
    """With the reason and the backend's own code."""
    level, fields = failed(unknown(backend_code=2013, attempts=1))
    assert level == "error"
    assert fields["code"] == "BACKEND"
    assert fields["outcome"] == "UNKNOWN"
    assert (fields["reason"], fields["backend_code"], fields["attempts"]) == ("commit_unknown", 2013, 1)
    assert "cause" not in fields


def test_a_failure_without_a_code_tells_what_was_behind_it() -> None:
    """By its class, beneath errors of ours too, so that a caught error leaves a trace; the text may hold data."""
    error, above = unknown(attempts=1), unknown(attempts=2)
    error.__cause__, above.__cause__ = ZeroDivisionError(SECRET), error
    for told in (error, above):
        _, fields = failed(told)
        assert fields["cause"] == "ZeroDivisionError" and SECRET not in str(fields)
    assert "cause" not in failed(unknown(attempts=1))[1]


@pytest.mark.parametrize("error", [InvalidRequestError("no"), WriterNotFoundError("no")])
def test_a_refused_request_is_a_warning(error: WriteError) -> None:
    """Nothing is wrong with a backend."""
    assert failed(error)[0] == "warning"


def test_what_is_not_there_has_no_field() -> None:
    """No empty reason and no code that nobody gave."""
    assert not {"reason", "backend_code"} & failed(InvalidRequestError("no"))[1].keys()


def test_a_retry_is_a_warning_of_its_own() -> None:
    """With what failed and how long it waits."""
    logger: Any = CapturingLogger()
    WriteLog(logger).retried(retried(operation(), safe("deadlock", backend_code="40P01"), 1, 0.0123456789))
    (call,) = logger.calls
    assert (call.method_name, call.args) == ("warning", ("wellwired.retry",))
    assert call.kwargs == {
        "target": "sql.main",
        "type": "profile",
        "attempt": 1,
        "code": "BACKEND",
        "outcome": "NOT_APPLIED",
        "reason": "deadlock",
        "backend_code": "40P01",
        "wait": 0.012346,
    }


def test_meta_is_bound_as_far_as_it_is_scalar() -> None:
    """Strings, numbers and booleans; what could hold anything is left out."""
    fields = line(trace_id="abc", user=7, ratio=0.5, dry=True, nested={"password": SECRET}, many=[SECRET], none=None)
    assert {"trace_id": "abc", "user": 7, "ratio": 0.5, "dry": True}.items() <= fields.items()
    assert not {"nested", "many", "none"} & fields.keys()


@pytest.mark.parametrize("key", ["target", "code", "event", "level", "self", "method_name", "exc_info", "_record"])
def test_meta_cannot_pass_for_something_else(key: str) -> None:
    """A name that the line, structlog or Python has taken gets a prefix."""
    fields = line(**{key: "forged"})
    assert fields[f"meta_{key}"] == "forged"
    assert fields.get(key) != "forged"


@pytest.mark.parametrize("key", ["password", "api_key", "API-KEY", "Authorization", "set_cookie", "user_token"])
def test_meta_that_sounds_like_a_secret_is_not_shown(key: str) -> None:
    """The field is there, so that one sees that it was sent."""
    assert line(**{key: SECRET})[key] == "***"


def test_long_meta_is_cut() -> None:
    """A line stays a line, whatever a caller puts into it."""
    fields = line(**{"trace_id": "x" * 1000, "k" * 1000: 1})
    assert len(fields["trace_id"]) == 257
    assert max(map(len, fields)) == 256


def test_meta_that_is_no_mapping_of_names_does_no_harm() -> None:
    """A refused request may carry anything."""
    logger: Any = CapturingLogger()
    meta: Any = {1: "x", "ok": 1}
    WriteLog(logger)(WriteEvent("", "", "", "INVALID_REQUEST", "NOT_APPLIED", 0, 0.0, False, "meta", None, meta))
    assert logger.calls[0].kwargs["ok"] == 1
    assert all(isinstance(name, str) for name in logger.calls[0].kwargs)


def test_a_payload_is_in_no_line(lines: list[bytes]) -> None:
    """Nor a key, nor anything that an error's cause quotes."""
    error = never()
    error.__cause__ = ValueError(SECRET)
    chain(Scripted(), [logged()])(operation())
    with pytest.raises(WriteError):
        chain(Scripted(error), [logged()])(operation())
    assert len(lines) == 2
    assert SECRET not in repr(lines)


def test_a_line_is_rendered_by_the_application(lines: list[bytes]) -> None:
    """With its processors and with the context that it has bound."""
    structlog.contextvars.bind_contextvars(request_id="r1")
    chain(Scripted(), [logged()])(operation())
    fields = json.loads(lines[0])
    assert (fields["event"], fields["level"], fields["request_id"]) == ("wellwired.write", "info", "r1")


def test_a_configuration_that_comes_later_counts(lines: list[bytes]) -> None:
    """Unless it asks for loggers to be kept, a line follows the configuration of its moment."""
    call = chain(Scripted(), [logged()])
    call(operation())
    structlog.configure(processors=[lambda logger, name, fields: "plain"])
    call(operation())
    assert lines[1] == b"plain"


def test_a_kept_logger_is_kept(lines: list[bytes]) -> None:
    """Where the configuration asks for it, the logger is put together once."""
    structlog.configure(cache_logger_on_first_use=True)
    call = chain(Scripted(), [logged()])
    call(operation())
    structlog.configure(processors=[lambda logger, name, fields: "plain"])
    call(operation())
    assert b"wellwired.write" in lines[1]


def test_a_bound_logger_keeps_its_context(lines: list[bytes]) -> None:
    """One that is handed over may have been bound before."""
    chain(Scripted(), [logged(structlog.get_logger().bind(service="shop"))])(operation())
    assert json.loads(lines[0])["service"] == "shop"


def test_no_log_is_no_line(lines: list[bytes]) -> None:
    """For those who want none."""
    chain(Scripted(), [logged(SILENT)])(operation())
    WriteLog(SILENT).retried(retried(operation(), safe(), 1, 0.1))
    assert lines == []


def test_structlog_is_used_and_never_configured() -> None:
    """A line is written with whatever configuration there is, and there is none after it that was not before."""
    script = (
        "from wellwired.middleware import WriteLog, WriteEvent; "
        "WriteLog()(WriteEvent('w', 't', 'y', 'OK', 'APPLIED', 1, 0.0, False, '', None, {})); "
        "import structlog; assert not structlog.is_configured()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_a_logger_that_follows_the_configuration_is_put_together_once(lines: list[bytes]) -> None:
    """Until the configuration, or a stream that a factory may take, is another one: then at the next line."""
    made: list[int] = []
    config = structlog.get_config()

    def factory(*_args: Any) -> Any:
        made.append(1)
        return config["logger_factory"]()

    structlog.configure(logger_factory=factory)
    call = chain(Scripted(), [logged()])
    for _ in range(3):
        call(operation())
    assert (len(lines), len(made)) == (3, 1)
    structlog.configure(processors=[lambda logger, name, fields: "another"])
    call(operation())
    assert (lines[-1], len(made)) == (b"another", 2)
    with contextlib.redirect_stdout(io.StringIO()):
        call(operation())
    assert len(made) == 3
