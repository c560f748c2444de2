"""Tests of which writes become dead letters, and that nothing of it changes what the caller is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.writers.letters_kit import died
from tests.writers.manager_kit import SECRET, Acting, failure, lost, managed, open_commit, put, request
from tests.writers.test_aftermath import Lines, Noticed
from wellwired.errors import BackendError, ErrorCode, Outcome, RetryExhaustedError, WriteTimeoutError
from wellwired.handlers import Registry, handler
from wellwired.handlers.sql import insert
from wellwired.middleware import SILENT, LetterKept, LetterLost, RetryPolicy, WriteNext
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.testing.clock import VirtualClock
from wellwired.writers import MemoryWriter, WriteManager
from wellwired.writers import _letter_form as form
from wellwired.writers._keeping import without_letters
from wellwired.writers.dead_letters import Letter, NoLetters
from wellwired.writers.letters_file import JSONLines
from wellwired.writers.sql import SQLWriter

items = sa.Table(
    "items",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("n", sa.Integer),
)


class Box:
    """A sink in a list.

    Args:
        trouble: what keeping a letter of this key raises.
        codes: of which errors it wants letters.
    """

    def __init__(self, trouble: dict[str, Exception] | None = None, codes: Any = None) -> None:
        self.letters: list[Letter] = []
        self.calls = 0
        self._trouble = trouble or {}
        if codes is not None:
            self.codes = codes

    def keep(self, letters: Sequence[Letter], /) -> None:
        """Keeps the letters."""
        self.calls += 1
        for letter in letters:
            key = letter.payload.get("key") if isinstance(letter.payload, dict) else None
            if key in self._trouble:
                raise self._trouble[key]
        self.letters += letters


def acting(error: Exception) -> Any:
    """A writer that fails."""

    def act(request: WriteRequest, deadline: Any) -> WriteResult[Any]:
        raise error

    return Acting(act)


def test_a_write_that_fails_is_kept_with_all_that_is_needed_to_send_it_again() -> None:
    """The request as it came, and what it ended with."""
    box, clock = Box(), VirtualClock()
    manager, _ = managed(acting(open_commit()), clock=clock, dead_letters=box, stores={"stores.users": NoShelf()})
    sent = request(meta={"trace_id": "abc"}, timeout=3.0, changes={"stores.users": ("a",)})
    error = failure(manager, sent)
    (letter,) = box.letters
    assert letter.request() == sent
    assert (letter.code, letter.outcome, letter.reason, letter.attempts) == ("BACKEND", "UNKNOWN", "commit_unknown", 1)
    assert (letter.target, letter.type, letter.phase, letter.unit) == ("sql.main", "put", "admit", "")
    assert letter.at == clock.wall()
    assert error.__notes__ == [f"kept as dead letter {letter.id}"]
    assert SECRET not in repr(letter)


class NoShelf:
    """A store that has nothing to evict."""

    def evict(self, keys: tuple[str, ...], /) -> None:
        """Does nothing."""


def test_a_write_that_succeeds_leaves_no_letter() -> None:
    """Nor does one that succeeded at a second attempt."""
    box = Box()
    manager, writer = managed(dead_letters=box)
    writer.fail_next(lost())
    assert manager.write(request()).attempts == 2
    assert box.calls == 0


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (request(payload={"key": "a", 1: 2}), "INVALID_REQUEST"),
        (request(target="sql.other"), "WRITER_NOT_FOUND"),
        (request("other"), "TYPE_NOT_SUPPORTED"),
    ],
)
def test_a_wrong_request_is_kept_only_if_asked(sent: WriteRequest, code: str) -> None:
    """To send it again would not make it right."""
    for codes, kept in ((None, 0), ({ErrorCode(code)}, 1)):
        box = Box(codes=codes)
        failure(managed(dead_letters=box)[0], sent)
        assert len(box.letters) == kept


def test_what_is_no_request_is_no_letter() -> None:
    """There would be nothing to send again."""
    box = Box(codes=set(ErrorCode))
    manager, _ = managed(dead_letters=box)
    failure(manager, "no request")
    failure(manager, request(target=""))
    assert box.calls == 0


def test_codes_can_be_chosen() -> None:
    """By the sink."""
    box = Box(codes={ErrorCode.TIMEOUT})
    failure(managed(acting(BackendError("no")), dead_letters=box)[0], request())
    assert box.letters == []
    failure(managed(acting(WriteTimeoutError("late")), retry=RetryPolicy(attempts=1), dead_letters=box)[0], request())
    assert [letter.code for letter in box.letters] == ["TIMEOUT"]


def test_a_closed_manager_still_keeps_what_comes() -> None:
    """A write during shut-down is not lost."""
    box = Box()
    manager, _ = managed(dead_letters=box)
    manager.close()
    assert failure(manager, request()).reason == "closed"
    assert [letter.reason for letter in box.letters] == ["closed"]


def test_a_letter_is_kept_before_the_error_reaches_the_caller() -> None:
    """And after the last attempt: one for a write, whatever its attempts and its middleware."""
    box, order = Box(), list[str]()
    keep = box.keep
    box.keep = lambda letters: (order.append("kept"), keep(letters))[1]  # type: ignore[method-assign]

    def seeing(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            try:
                return next(operation)
            finally:
                order.append("middleware")

        return call

    manager, _ = managed(acting(lost()), middleware=[seeing], dead_letters=box)
    with pytest.raises(RetryExhaustedError):
        manager.write(request())
    order.append("caller")
    assert order == ["middleware", "kept", "caller"]
    assert [letter.attempts for letter in box.letters] == [3]


def test_a_sink_that_fails_changes_nothing_but_says_so_loudly() -> None:
    """The same error with a note, and an error line in the log; no payload in either."""
    metrics, lines = Noticed(), Lines()
    manager, _ = managed(acting(open_commit()), dead_letters=Box({"a": OSError(SECRET)}), metrics=metrics, logger=lines)
    error = failure(manager, request())
    assert (error.reason, error.outcome) == ("commit_unknown", Outcome.UNKNOWN)
    assert error.__notes__ == ["no dead letter could be kept (OSError): only this error knows of the write"]
    assert metrics.notices == [LetterLost("sql.main", "put", "BACKEND", "UNKNOWN", "OSError")]
    assert ("error", "wellwired.dead_letter_lost") in [(level, event) for level, event, _ in lines.lines]
    assert SECRET not in repr(lines.lines) + repr(error.__notes__)


def test_a_letter_is_told_to_log_and_metrics() -> None:
    """By its id, so that it can be found."""
    metrics, lines, box = Noticed(), Lines(), Box()
    failure(managed(acting(lost()), dead_letters=box, metrics=metrics, logger=lines)[0], request())
    (letter,) = box.letters
    assert metrics.notices == [LetterKept(letter.id, "sql.main", "put", "RETRY_EXHAUSTED", "NOT_APPLIED")]
    assert [fields["letter"] for _, event, fields in lines.lines if event == "wellwired.dead_letter"] == [letter.id]
    assert SECRET not in repr(lines.lines)


def test_a_batch_keeps_each_of_its_failures_once_and_together() -> None:
    """With one write of the sink; one that has no form takes no other with it."""
    box = Box({"c": TypeError()})
    manager, writer = managed(dead_letters=box, retry=RetryPolicy(attempts=1))
    writer.fail_next(lost(), lost(), lost())
    answers = manager.write_many([request(payload={"key": key}) for key in "abcd"] + [request("other")])
    assert [isinstance(answer, WriteResult) for answer in answers] == [False, False, False, True, False]
    assert [letter.payload["key"] for letter in box.letters] == ["a", "b"]
    assert {letter.unit for letter in box.letters} == {""}
    assert box.calls == 4
    box, (manager, writer) = Box(), managed(dead_letters=box, retry=RetryPolicy(attempts=1))
    manager, writer = managed(dead_letters=box, retry=RetryPolicy(attempts=1))
    writer.fail_next(lost(), lost())
    manager.write_many([request(payload={"key": key}) for key in "ab"])
    assert (len(box.letters), box.calls) == (2, 1)


def test_a_write_within_a_handler_is_kept_with_the_outer_one() -> None:
    """Sending the outer one again sends it too."""
    box = Box()
    manager, writer = managed(dead_letters=box)
    inner = MemoryWriter("redis.cache", handlers=Registry(put))
    inner.fail_next(*(lost() for _ in range(9)))
    manager.register(inner)

    @handler("outer")
    def outer(request: WriteRequest, connection: Any) -> None:
        manager.write(WriteRequest("redis.cache", "put", {"key": "inner"}))

    writer.register_handler(outer)
    failure(manager, request("outer"))
    assert [letter.type for letter in box.letters] == ["outer"]


def test_a_replay_keeps_no_second_letter() -> None:
    """It has the first one."""
    box = Box()
    manager, _ = managed(acting(lost()), dead_letters=box)
    with without_letters():
        failure(manager, request())
    assert box.letters == []
    failure(manager, request())
    assert len(box.letters) == 1


def test_without_a_sink_a_write_goes_the_short_way() -> None:
    """None, or one that drops everything."""
    assert not managed()[0]._keeps
    assert not managed(dead_letters=NoLetters())[0]._keeps
    assert managed(dead_letters=Box())[0]._keeps


@pytest.fixture
def shop(sqlite_url: str) -> Any:
    """A manager over a database with one table, its box and its clock."""
    engine, box, clock = sa.create_engine(sqlite_url), Box(), VirtualClock()
    items.create(engine)
    writer = SQLWriter("sql.main", engine, handlers=Registry(insert(items, type="add")))
    yield WriteManager([writer], dead_letters=box, timeout=30, clock=clock, logger=SILENT), box, clock
    engine.dispose()


def add(number: int) -> WriteRequest:
    """A row."""
    return WriteRequest("sql.main", "add", {"id": number, "n": number})


def ids(box: Box) -> list[int]:
    """The rows that letters are about."""
    return [form.read(letter.held())["payload"]["id"] for letter in box.letters]


def test_a_commit_that_fails_keeps_the_whole_transaction_as_one_unit(shop: Any) -> None:
    """Its writes stood or fell together, and are to be sent again together."""
    manager, box, clock = shop
    with pytest.raises(WriteTimeoutError):  # noqa: PT012, SIM117 - it comes from the end of the block
        with manager.transaction("sql.main") as transaction:
            transaction.write(add(1))
            transaction.write(add(2))
            clock.advance(60)
    assert ids(box) == [1, 2]
    assert {letter.code for letter in box.letters} == {"TIMEOUT"}
    assert len({letter.unit for letter in box.letters}) == 1
    assert box.letters[0].together == 2


@pytest.mark.parametrize("number", [2, 3])
def test_a_block_that_is_left_early_keeps_nothing(shop: Any, number: int) -> None:
    """It is a part of what was wanted, whether a write failed or the application gave up: to send it would halve it."""
    manager, box, _ = shop
    manager.write(add(2))
    with pytest.raises((BackendError, KeyError)):  # noqa: PT012, SIM117 - it comes from within the block
        with manager.transaction("sql.main") as transaction:
            transaction.write(add(1))
            transaction.write(add(number))
            raise KeyError
    assert box.letters == []


def test_an_atomic_batch_is_one_unit(shop: Any) -> None:
    """All of it, for none of it took effect."""
    manager, box, _ = shop
    manager.write(add(2))
    answers = manager.write_many([add(1), add(2), add(3)], atomic=True)
    assert len(answers.failed) == 3
    assert ids(box) == [1, 2, 3]
    assert {letter.together for letter in box.letters} == {3}


def test_a_letter_outlives_a_kill_right_after_the_error(tmp_path: Path, sqlite_url: str) -> None:
    """The process is killed by the first thing that its caller does; the letter is on the disk, whole."""
    died(
        f"""
import os, signal
import sqlalchemy as sa
from tests.writers.test_dead_letters import add, insert, items
from wellwired.errors import WriteError
from wellwired.handlers import Registry
from wellwired.middleware import SILENT
from wellwired.writers import WriteManager
from wellwired.writers.letters_file import JSONLines
from wellwired.writers.sql import SQLWriter
engine = sa.create_engine({sqlite_url!r})
items.create(engine)
writer = SQLWriter("sql.main", engine, handlers=Registry(insert(items, type="add")))
manager = WriteManager([writer], dead_letters=JSONLines({str(tmp_path / "letters.jsonl")!r}), logger=SILENT)
manager.write(add(7))
try:
    manager.write(add(7))
except WriteError:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    pile = JSONLines(tmp_path / "letters.jsonl").pile()
    assert [one.letter.payload for one in pile.waiting] == [{"id": 7, "n": 7}]
    assert pile.damaged == ()
