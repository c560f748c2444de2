"""A load: every line is applied or on disk with its reason, repeats are harmless, a dead backend ends it early."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from wellwired.cli.lines import parse_all
from wellwired.cli.loading import LoadReport, RejectsFile, Repeat, load, security_of
from wellwired.errors import BackendError, Outcome, WriteError
from wellwired.handlers import Registry, handler
from wellwired.middleware import SILENT, RetryPolicy
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers import MemoryWriter, WriteManager


@handler("set", idempotent=True)
def set_value(request: WriteRequest, data: Any) -> None:
    """Sets a key."""
    data[request.payload["key"]] = request.payload["value"]


@handler("add")
def add_value(request: WriteRequest, data: Any) -> None:
    """Adds to a key: harmful if done twice."""
    data[request.payload["key"]] = data.get(request.payload["key"], 0) + request.payload["value"]


@pytest.fixture
def writer() -> MemoryWriter:
    """A writer that keeps no keys."""
    return MemoryWriter("sql.main", handlers=Registry(set_value, add_value))


@pytest.fixture
def manager(writer: MemoryWriter) -> WriteManager:
    """A manager that tries once."""
    return WriteManager([writer], retry=RetryPolicy(attempts=1), logger=SILENT)


def _line(kind: str, key: str, value: int = 1, **more: object) -> bytes:
    payload = {"key": key, "value": value}
    return json.dumps({"target": "sql.main", "type": kind, "payload": payload, **more}).encode()


@pytest.fixture
def run(manager: WriteManager, tmp_path: Path) -> Callable[..., tuple[LoadReport, list[dict[str, Any]]]]:
    """Runs a load of lines and gives the report and what is in the rejects file."""

    def run(raws: Iterable[bytes], **options: Any) -> tuple[LoadReport, list[dict[str, Any]]]:
        path = tmp_path / "rejects.jsonl"
        options = {"secure": security_of(manager), "batch": "b", **options}
        with RejectsFile(path) as rejects:
            report = load(parse_all(raws), options.pop("manager", manager), rejects, **options)
        lines = path.read_bytes().splitlines() if path.exists() else []
        return report, [json.loads(line) for line in lines]

    return run


class Answering:
    """A manager that answers by a rule and remembers what it was sent."""

    def __init__(self, rule: Callable[[WriteRequest], WriteResult[Any] | WriteError]) -> None:
        self.rule, self.sent = rule, list[WriteRequest]()

    def write_many(self, requests: Sequence[WriteRequest], /) -> Sequence[WriteResult[Any] | WriteError]:
        """Answers each."""
        self.sent += requests
        return [self.rule(request) for request in requests]


def test_good_lines_are_written_in_order(run: Any, writer: MemoryWriter) -> None:
    """Every line takes effect, in the order of the file, and no rejects file is made."""
    report, rejects = run([_line("set", "a", n) for n in range(250)])
    assert (report.applied, report.lines, rejects) == (250, 250, [])
    assert [request.payload["value"] for request in writer.written] == list(range(250))


def test_every_line_is_applied_or_rejected(run: Any, writer: MemoryWriter) -> None:
    """Lines that are wrong are filed with code and reason, and never take a good one with them."""
    raws = [_line("set", "a"), b"{", _line("sett", "b"), b'{"target":"x","type":"set","payload":{}}', _line("set", "c")]
    report, rejects = run(raws)
    assert report.applied == 2
    assert report.rejected == {"MALFORMED": 1, "TYPE_NOT_SUPPORTED": 1, "WRITER_NOT_FOUND": 1}
    assert [reject["line"] for reject in rejects] == [2, 3, 4]
    assert all(reject["reason"] for reject in rejects)
    assert set(writer.data) == {"a", "c"}


def test_rejects_can_be_mended_and_loaded(
    run: Any, manager: WriteManager, writer: MemoryWriter, tmp_path: Path
) -> None:
    """The rejects file is itself a file to load, once what was wrong is mended."""
    _, rejects = run([_line("sett", "b")])
    mended = json.dumps(rejects[0]).replace("sett", "set").encode()
    with RejectsFile(tmp_path / "second.jsonl") as second:
        report = load(parse_all([mended]), manager, second, secure=security_of(manager), batch="b2")
    assert report.applied == 1
    assert writer.data == {"b": 1}


def test_a_line_that_a_second_load_would_apply_twice_is_refused(run: Any, writer: MemoryWriter) -> None:
    """Without an idempotent handler and without keys a line is rejected before it is sent."""
    report, rejects = run([_line("add", "a"), _line("set", "b")])
    assert report.rejected == {"INVALID_REQUEST": 1}
    assert "--unsafe" in rejects[0]["reason"]
    assert writer.data == {"b": 1}


def test_unsafe_lines_are_sent_on_request(run: Any, writer: MemoryWriter) -> None:
    """Who asks for it gets such lines sent."""
    report, _ = run([_line("add", "a"), _line("add", "a")], unsafe=True)
    assert report.applied == 2
    assert writer.data == {"a": 2}


def test_where_keys_are_kept_lines_are_sent_with_one(run: Any) -> None:
    """A request that needs a key gets one; one that is harmless by itself goes out as it is."""
    answering = Answering(lambda request: WriteResult())
    kinds = {"add": Repeat.BY_KEY, "set": Repeat.HARMLESS}
    run([_line("add", "a"), _line("set", "b")], manager=answering, secure=lambda request: kinds[request.type])
    assert [bool(request.idempotency_key) for request in answering.sent] == [True, False]


def test_a_replayed_line_is_counted_apart(run: Any) -> None:
    """What an earlier load had done is not counted as done now."""
    report, _ = run([_line("set", "a")], manager=Answering(lambda request: WriteResult(replayed=True)))
    assert (report.applied, report.replayed, report.lines) == (0, 1, 1)


def test_an_unknown_outcome_is_counted_and_keeps_its_key(run: Any) -> None:
    """A line whose outcome is not known is filed with the key it was sent with, to be settled by loading it again."""
    lost = Answering(lambda request: BackendError("lost", outcome=Outcome.UNKNOWN, reason="commit_unknown"))
    report, rejects = run([_line("add", "a")], manager=lost, secure=lambda request: Repeat.BY_KEY)
    assert report.unknown == 1
    assert rejects[0]["request"]["idempotency_key"] == lost.sent[0].idempotency_key


def test_a_dead_backend_ends_the_load_and_says_where(run: Any) -> None:
    """When a whole chunk fails by the backend, the rest is left for another run instead of being rejected."""
    dead = Answering(lambda request: BackendError("refused", reason="connection"))
    report, rejects = run([_line("set", str(n)) for n in range(10)], manager=dead, chunk=3)
    assert report.stopped_at == 4
    assert len(dead.sent) == 3
    assert [reject["line"] for reject in rejects] == [1, 2, 3]


def test_a_failing_line_among_good_ones_does_not_end_the_load(run: Any) -> None:
    """A backend error of one line is that line's; the load goes on."""
    answers: Iterator[WriteResult[Any] | WriteError] = iter(
        [BackendError("killed"), *[WriteResult() for _ in range(5)]]
    )
    report, _ = run([_line("set", str(n)) for n in range(6)], manager=Answering(lambda r: next(answers)), chunk=2)
    assert (report.stopped_at, report.applied, report.rejected.total()) == (None, 5, 1)


def test_lines_that_the_data_refuses_do_not_look_like_a_dead_backend(run: Any) -> None:
    """A chunk of nothing but constraint violations is no reason to give up."""
    refusing = Answering(lambda request: BackendError("no", reason="constraint"))
    report, _ = run([_line("set", str(n)) for n in range(6)], manager=refusing, chunk=2)
    assert report.stopped_at is None
    assert report.lines == 6


def test_rejects_are_on_disk_before_the_next_chunk_is_sent(run: Any, tmp_path: Path) -> None:
    """A load that is killed has filed everything that it had answers for."""
    seen: list[int] = []

    def rule(request: WriteRequest) -> WriteResult[Any] | WriteError:
        path = tmp_path / "rejects.jsonl"
        seen.append(len(path.read_bytes().splitlines()) if path.exists() else 0)
        return BackendError("no", reason="constraint")

    run([_line("set", str(n)) for n in range(3)], manager=Answering(rule), chunk=1)
    assert seen == [0, 1, 2]


def test_the_rejects_file_is_its_owners_alone_and_never_overwrites(tmp_path: Path) -> None:
    """It holds payloads, so only its owner may read it; what was there before is left alone."""
    path = tmp_path / "r.jsonl"
    with RejectsFile(path) as rejects:
        rejects.write([])
        assert not path.exists()
        rejects.write([b"{}\n"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with RejectsFile(path) as second, pytest.raises(FileExistsError):
        second.write([b"{}\n"])
    assert path.read_bytes() == b"{}\n"


def test_progress_is_told_for_every_line(run: Any) -> None:
    """What is told to the progress bar adds up to the lines, rejected ones included."""
    told: list[int] = []
    run([_line("set", "a"), b"{", _line("set", "b")], chunk=2, advance=told.append)
    assert sum(told) == 3


def test_security_follows_handlers_and_writers(manager: WriteManager) -> None:
    """Idempotent is harmless, anything else needs keys; what is unknown is left to the manager's own words."""
    secure = security_of(manager)
    assert secure(WriteRequest("sql.main", "set", {})) is Repeat.HARMLESS
    assert secure(WriteRequest("sql.main", "add", {})) is Repeat.UNSAFE
    assert secure(WriteRequest("nowhere", "add", {})) is Repeat.HARMLESS
    assert secure(WriteRequest(7, "add", {})) is Repeat.HARMLESS  # type: ignore[arg-type]
