"""Tests of dead letters in a file: on the disk when it says so, whole whoever writes, readable whatever happened."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from tests.writers.letters_kit import SECRET, died, ending, letter, run, started
from wellwired.errors import DeadLettersError, ErrorCode, MissingExtraError, Outcome
from wellwired.writers._journal_file import JournalFile
from wellwired.writers.dead_letters import (
    DEFAULT_CODES,
    DeadLetters,
    Functions,
    Letter,
    Mark,
    Replayable,
    Waiting,
    fernet,
)
from wellwired.writers.letters_file import JSONLines, _lines, _piled


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the letters are."""
    return tmp_path / "letters.jsonl"


def waiting(sink: JSONLines) -> list[Letter]:
    """The letters that have not been done."""
    return [one.letter for one in sink.pile().waiting]


def test_a_letter_comes_back_as_it_was_kept(path: Path) -> None:
    """With its payload, its key and all its facts."""
    sink = JSONLines(path)
    one = letter(
        meta={"trace_id": "abc"}, timeout=2.5, idempotency_key="k-1", changes={"stores.users": ["user:1"]}, unit="u"
    )
    sink.keep([one])
    assert waiting(sink) == [one]
    request = waiting(sink)[0].request()
    assert (request.payload, request.idempotency_key) == ({"key": "a", "value": SECRET}, "k-1")
    assert dict(request.changes) == {"stores.users": ("user:1",)}
    sink.close()


def test_it_is_what_the_protocols_say(path: Path) -> None:
    """A sink, and one that can be replayed."""
    sink: object = JSONLines(path, codes=[ErrorCode.TIMEOUT])
    assert isinstance(sink, DeadLetters) and isinstance(sink, Replayable)
    assert getattr(sink, "codes") == {ErrorCode.TIMEOUT}  # noqa: B009 - it is an optional attribute
    assert JSONLines(path).codes == DEFAULT_CODES


def test_what_cannot_be_written_down_of_the_meta_is_left_out(path: Path) -> None:
    """It is about the request; the payload is the request."""
    sink = JSONLines(path)
    sink.keep([letter(meta={"trace_id": "abc", "socket": object()})])
    assert waiting(sink)[0].meta == {"trace_id": "abc"}
    with pytest.raises(TypeError, match="object"):
        sink.keep([letter(), letter(payload={"a": object()})])
    assert len(waiting(sink)) == 1
    sink.close()


def test_the_file_is_for_its_owner_only(path: Path) -> None:
    """It holds payloads."""
    sink = JSONLines(path)
    sink.keep([letter()])
    assert path.stat().st_mode & 0o777 == 0o600
    sink.close()


def test_a_letter_is_on_the_disk_before_keep_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced after the write, and its folder when the file is new."""
    calls: list[str] = []
    write, sync = os.write, os.fsync

    def writing(fd: int, data: Any) -> int:
        calls.append("write")
        return write(fd, data)

    def syncing(fd: int) -> None:
        calls.append("folder" if os.fstat(fd).st_mode & 0o040000 else "file")
        sync(fd)

    monkeypatch.setattr(os, "write", writing)
    monkeypatch.setattr(os, "fsync", syncing)
    sink = JSONLines(path)
    sink.keep([letter(), letter()])
    sink.keep([letter()])
    assert calls == ["folder", "write", "file", "write", "file"]
    sink.close()


def test_many_threads_and_processes_lose_nothing(path: Path) -> None:
    """Every letter of four threads in each of two processes is there, whole, once."""
    code = """
import sys, threading
from tests.writers.letters_kit import letter
from wellwired.writers.letters_file import JSONLines
sink = JSONLines(sys.argv[1])
def work(name):
    for number in range(15):
        sink.keep([letter(payload={"key": f"{sys.argv[2]}-{name}-{number}", "value": "x" * 5000})])
threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sink.close()
"""
    both = [threading.Thread(target=run, args=(code, path, name)) for name in "ab"]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    pile = JSONLines(path).pile()
    keys = [one.letter.payload["key"] for one in pile.waiting]
    assert sorted(keys) == sorted(f"{p}-{t}-{n}" for p in "ab" for t in range(4) for n in range(15))
    assert pile.damaged == ()


def test_a_torn_last_line_takes_no_other_with_it(path: Path) -> None:
    """Neither those before it nor the next one; it is reported."""
    sink = JSONLines(path)
    first, second = letter(), letter()
    sink.keep([first])
    with path.open("ab") as stream:
        stream.write(b'{"letter": 1, "id": "torn", "pla')
    pile = sink.pile()
    assert [one.letter for one in pile.waiting] == [first]
    assert pile.damaged == ("line 2: it is torn: its writer died in the middle",)
    sink.keep([second])
    pile = sink.pile()
    assert [one.letter for one in pile.waiting] == [first, second]
    assert pile.damaged == ("line 2: it is damaged",)
    sink.close()


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_any_lines_are_read_past(lines: list[bytes]) -> None:
    """Whatever got into the file: no exception, nothing of it shown, and good letters are found."""
    good = letter()
    held = {"letter": 1, **good.facts(), "plain": good.held().decode()}
    data = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines) + json.dumps(held).encode() + b"\n"
    pile = _piled(_lines(data), None)
    assert [one.letter.id for one in pile.waiting] == [good.id]


@pytest.mark.parametrize(
    "line",
    [
        '{"mark": "hunter2", "id": "x"}',
        '{"letter": 2}',
        '["hunter2"]',
        '"hunter2"',
        "7",
        '{"letter": 1, "id": "a", "plain": "{\\"id\\": \\"b\\"}"}',
        '{"letter": 1, "id": "a", "plain": "{\\"$date\\": \\"hunter2\\"}"}',
        '{"letter": 1, "id": "a", "sealed": "hunter2"}',
    ],
)
def test_a_foreign_line_is_reported_and_not_shown(path: Path, line: str) -> None:
    """By its number alone."""
    path.write_text(f"{line}\n")
    damaged = JSONLines(path).pile().damaged
    assert len(damaged) == 1 and damaged[0].startswith("line 1: it")
    assert "hunter2" not in damaged[0]


def test_a_rotation_is_followed(path: Path) -> None:
    """The next letter makes a new file; nothing goes into the one that was taken away."""
    sink = JSONLines(path)
    old, new = letter(), letter()
    sink.keep([old])
    moved = path.rename(path.with_suffix(".1"))
    sink.keep([new])
    assert (waiting(sink), waiting(JSONLines(moved))) == ([new], [old])
    path.unlink()
    sink.keep([old])
    assert waiting(sink) == [old]
    sink.close()


def test_a_full_disk_takes_nothing_of_a_letter(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had taken is cut off again, and the next letter is whole."""
    sink, write, room = JSONLines(path), os.write, [10]
    sink.keep([letter()])
    size = path.stat().st_size

    def filling(fd: int, data: Any) -> int:
        if not room:
            return write(fd, data)
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "no space")
        done = write(fd, data[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(os, "write", filling)
    with pytest.raises(OSError, match="no space"):
        sink.keep([letter()])
    assert path.stat().st_size == size
    room.clear()
    sink.keep([letter()])
    assert (len(sink.pile().waiting), sink.pile().damaged) == (2, ())
    sink.close()


def test_a_short_write_is_gone_on_with(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take less than it was given."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:100]))
    sink = JSONLines(path)
    sink.keep([letter()])
    assert len(waiting(sink)) == 1
    sink.close()


def test_who_holds_the_lock_for_too_long_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write that failed must end."""
    monkeypatch.setattr("wellwired.writers.letters_file._PATIENCE", 0.05)
    sink = JSONLines(path)
    sink.keep([letter()])
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError):
            sink.keep([letter()])
    sink.keep([letter()])
    assert len(waiting(sink)) == 2
    sink.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_keeps_letters_of_its_own(path: Path) -> None:
    """Parent and child write to the same file without sharing a lock, even if a thread of the parent held it."""
    sink = JSONLines(path)
    sink.keep([letter()])
    with sink._turn:
        child = os.fork()
        if child == 0:
            try:
                sink.keep([letter()])
            finally:
                os._exit(0 if len(sink.pile().waiting) == 2 else 1)
        assert os.waitpid(child, 0)[1] == 0
    sink.keep([letter()])
    assert len(waiting(sink)) == 3
    sink.close()


def test_marks_lie_beside_the_letters(path: Path) -> None:
    """What is done is gone from the pile; what was begun may have been applied."""
    sink = JSONLines(path)
    one, two, three = letter(), letter(), letter(ending(Outcome.UNKNOWN))
    sink.keep([one, two, three])
    with sink.alone():
        first, second, third = sink.pile().waiting
        assert [first.doubtful, second.doubtful, third.doubtful] == [False, False, True]
        assert sink.mark(first, Mark.BEGUN)
        assert sink.mark(Waiting(one, Mark.BEGUN), Mark.DONE)
        assert sink.mark(second, Mark.BEGUN)
    pile = JSONLines(path).pile()
    assert ([one.letter for one in pile.waiting], pile.done) == ([two, three], 1)
    assert pile.waiting[0].doubtful
    sink.close()


def test_a_replay_keeps_its_file_while_it_is_rotated(path: Path) -> None:
    """A mark lies where its letter lies."""
    sink = JSONLines(path)
    sink.keep([letter()])
    with sink.alone():
        (first,) = sink.pile().waiting
        moved = path.rename(path.with_suffix(".1"))
        sink.keep([letter()])
        sink.mark(first, Mark.DONE)
        assert sink.pile().done == 1
    assert (JSONLines(moved).pile().done, JSONLines(path).pile().done) == (1, 0)
    sink.close()


def test_one_replay_at_a_time(path: Path) -> None:
    """Another one is told so; letters are kept meanwhile."""
    sink, other = JSONLines(path), JSONLines(path)
    sink.keep([letter()])
    with sink.alone():
        with pytest.raises(DeadLettersError, match="under way"), other.alone():
            raise AssertionError("it was let in")
        other.keep([letter()])
    with other.alone():
        assert len(other.pile().waiting) == 2
    sink.close()
    other.close()


def test_where_there_is_no_file_it_is_said(path: Path) -> None:
    """With the path."""
    sink = JSONLines(path)
    with pytest.raises(DeadLettersError, match=r"letters\.jsonl"):
        sink.pile()
    with pytest.raises(DeadLettersError, match=r"letters\.jsonl"), sink.alone():
        raise AssertionError("it was let in")
    with pytest.raises(DeadLettersError, match="alone"):
        sink.mark(Waiting(letter()), Mark.DONE)
    assert not path.exists()


def test_an_encrypted_letter_shows_names_and_codes_only(path: Path) -> None:
    """Payload, meta and keys are for who has the key; an old key still reads."""
    old, new = Fernet.generate_key(), Fernet.generate_key()
    sink = JSONLines(path, cipher=fernet(old))
    one = letter(meta={"trace_id": SECRET}, idempotency_key=SECRET, changes={"stores.users": [SECRET]})
    sink.keep([one])
    sink.close()
    text = path.read_text()
    assert SECRET not in text and "trace_id" not in text
    assert json.loads(text)["target"] == "sql.main"
    assert waiting(JSONLines(path, cipher=fernet(new, old))) == [one]
    for cipher in (None, fernet(new)):
        pile = JSONLines(path, cipher=cipher).pile()
        assert pile.waiting == () and len(pile.damaged) == 1 and "crypt" in pile.damaged[0]


def test_a_pair_of_functions_encrypts_as_well(path: Path) -> None:
    """For those who have a key service of their own."""
    sink = JSONLines(path, cipher=Functions(lambda data: data[::-1], lambda token: token[::-1]))
    one = letter()
    sink.keep([one])
    assert "hunter2" not in path.read_text()
    assert waiting(sink) == [one]
    sink.close()


def test_a_key_that_is_none_is_refused_without_being_shown() -> None:
    """When the cipher is made."""
    with pytest.raises(ValueError, match="no Fernet key") as caught:
        fernet("hunter2")
    assert "hunter2" not in str(caught.value) and caught.value.__context__ is None


def test_without_cryptography_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be installed."""
    monkeypatch.setitem(__import__("sys").modules, "cryptography.fernet", None)
    with pytest.raises(MissingExtraError, match=r"wellwired\[encryption\]"):
        fernet(b"x")


def test_a_letter_survives_a_kill_in_the_middle_of_the_next(path: Path) -> None:
    """A process that dies between the parts of a write leaves a torn line, and the ones before it whole."""
    died(
        """
import os, signal, sys
from tests.writers.letters_kit import letter
from wellwired.writers.letters_file import JSONLines
sink, write = JSONLines(sys.argv[1]), os.write
sink.keep([letter()])
def torn(fd, data):
    write(fd, data[:50])
    os.kill(os.getpid(), signal.SIGKILL)
os.write = torn
sink.keep([letter()])
""",
        path,
    )
    sink = JSONLines(path)
    sink.keep([letter()])
    pile = sink.pile()
    assert len(pile.waiting) == 2
    assert pile.damaged == ("line 2: it is damaged",)
    sink.close()


@given(st.data())
def test_a_file_that_ends_anywhere_keeps_every_whole_letter(data: st.DataObject) -> None:
    """Wherever a crash cuts it off, and also after the next letter was added behind the cut."""
    lines = [_as_line(letter(payload={"key": "ä" * size})) for size in range(4)]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    ends = [sum(map(len, lines[: number + 1])) for number in range(4)]
    found = _piled(_lines(whole[:cut]), None)
    # A letter is whole with its last brace; the line end after it may be missing.
    assert len(found.waiting) == sum(end - 1 <= cut for end in ends)
    mended = whole[:cut] + (b"\n" if cut and not whole[:cut].endswith(b"\n") else b"") + _as_line(letter())
    assert len(_piled(_lines(mended), None).waiting) == len(found.waiting) + 1
    assert len(found.damaged) <= 1


def _as_line(one: Letter) -> bytes:
    return json.dumps({"letter": 1, **one.facts(), "plain": one.held().decode()}).encode() + b"\n"


def test_what_was_told_as_kept_is_there_after_a_kill(path: Path) -> None:
    """Four threads keep letters as fast as they can and are killed in the middle: none that was told is missing."""
    code = """
import os, sys, threading
from tests.writers.letters_kit import letter
from wellwired.writers.letters_file import JSONLines
sink = JSONLines(sys.argv[1])
def work():
    while True:
        one = letter()
        sink.keep([one])
        os.write(1, one.id.encode() + b"\\n")
for _ in range(4):
    threading.Thread(target=work).start()
"""
    with started(code, path) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(40)]
        process.kill()
        told += [line.strip() for line in process.stdout if line.endswith("\n")]
    pile = JSONLines(path).pile()
    assert {*told} <= {one.letter.id for one in pile.waiting}
    assert len(pile.damaged) <= 1


def test_a_file_is_opened_for_nobody_else(tmp_path: Path) -> None:
    """Its descriptor does not leak into programs that the process starts."""
    file = JournalFile(tmp_path / "x")
    assert not os.get_inheritable(file.fd)
    file.close()
