"""Dead letters in a file of JSON Lines, a line for each letter and for each mark that a replay makes.

A line of a letter has its names, codes and numbers, and under ``plain`` what only it may hold, or under ``sealed`` the
same encrypted. Marks follow in the same file, so that a rotation takes both away together: rename the file
(logrotate's default), and the next letter makes a new one. Do not let it be copied and truncated, for a letter that
comes in between would be lost.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wellwired.clock import SYSTEM, Clock, Deadline
from wellwired.errors import DeadLettersError, ErrorCode
from wellwired.writers._forks import renew_in_child
from wellwired.writers._journal_file import JournalFile, held
from wellwired.writers._sealing import opened, sealed
from wellwired.writers.dead_letters import DEFAULT_CODES, Cipher, Letter, Mark, Pile, Waiting

__all__ = ["JSONLines"]

_PATIENCE = 5.0
_MARKS = {mark.value: mark for mark in Mark}


class JSONLines:
    """Dead letters in a file; safe to share by threads, forked children and processes that name the same path.

    A letter is on the disk when `keep` returns: one write at the end of the file, and fsync. It waits at most 5 seconds
    for others who write.

    Args:
        path: the file; it is made at the first letter, readable by its owner only. Its folder must be there.
        codes: of which errors letters are wanted.
        cipher: encrypts what letters hold; None leaves it readable.
        clock: tells the time of day.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        codes: Collection[ErrorCode] = DEFAULT_CODES,
        cipher: Cipher | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.path, self.codes = Path(path), frozenset(codes)
        self._cipher, self._clock = cipher, clock
        self._file: JournalFile | None = None
        self._replayed: JournalFile | None = None
        self._turn = threading.Lock()
        renew_in_child(self)

    def beside(self, path: str | Path) -> JSONLines:
        """The same for another file, such as one that was rotated away.

        Args:
            path: the file.
        """
        return JSONLines(path, codes=self.codes, cipher=self._cipher, clock=self._clock)

    def keep(self, letters: Sequence[Letter], /) -> None:
        """Adds letters, all or none.

        Raises:
            TypeError: something in a payload has no form.
            OSError: the disk did not take them; `TimeoutError` if others wrote for too long.
        """
        data = b"".join(self._line(letter) for letter in letters)
        deadline = Deadline.after(_PATIENCE)
        if not self._turn.acquire(timeout=_PATIENCE):
            raise TimeoutError("other threads are writing dead letters for too long")
        try:
            while not self._opened().append(data, deadline):
                self._closed()
        except BaseException:
            # What failed may be a file system that went away: the next letter opens the file anew.
            self._closed()
            raise
        finally:
            self._turn.release()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lets one replay at a time have the file, and holds on to it even if it is rotated meanwhile."""
        try:
            self._replayed = JournalFile(self.path, create=False)
        except OSError as error:
            raise DeadLettersError(f"there are no dead letters in {self.path}: {error.strerror}") from None
        guard = JournalFile(self.path.with_name(f"{self.path.name}.lock"))
        try:
            with held(guard.fd, Deadline.after(0.0)):
                yield
        except TimeoutError:
            raise DeadLettersError(f"another replay of {self.path} is under way; wait for its end") from None
        finally:
            guard.close()
            self._replayed.close()
            self._replayed = None

    def pile(self) -> Pile:
        """Reads the file; a torn or damaged line is left out and reported.

        Raises:
            DeadLettersError: there is no such file.
        """
        if self._replayed is not None:
            return _piled(_lines(self._replayed.read()), self._cipher)
        try:
            return _piled(_lines(self.path.read_bytes()), self._cipher)
        except OSError as error:
            raise DeadLettersError(f"there are no dead letters in {self.path}: {error.strerror}") from None

    def mark(self, waiting: Waiting, mark: Mark, /) -> bool:
        """Adds a mark, durably; only while `alone` is entered.

        Raises:
            DeadLettersError: nobody entered `alone`.
            OSError: the disk did not take it.
        """
        if self._replayed is None:
            raise DeadLettersError("a letter is marked by a replay; enter alone() first")
        line = {"mark": mark.value, "id": waiting.letter.id, "at": round(self._clock.wall(), 3)}
        self._replayed.amend(json.dumps(line).encode() + b"\n", Deadline.after(_PATIENCE))
        return True

    def close(self) -> None:
        """Closes the file; the next letter opens it again."""
        with self._turn:
            self._closed()

    def renew(self) -> None:
        """Begins anew in a forked child: a lock that it shares with its parent would keep neither of them out."""
        self._turn = threading.Lock()
        self._closed()

    def __repr__(self) -> str:
        return f"JSONLines({str(self.path)!r})"

    def _opened(self) -> JournalFile:
        if self._file is None:
            self._file = JournalFile(self.path)
        return self._file

    def _closed(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _line(self, letter: Letter) -> bytes:
        how, text = sealed(letter.held(), self._cipher)
        return json.dumps({"letter": 1, **letter.facts(), how: text}).encode() + b"\n"


def _lines(data: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Each line that is not blank, with its number and whether it is whole."""
    whole, _, torn = data.rpartition(b"\n")
    for number, line in enumerate(whole.split(b"\n"), 1):
        if line.strip():
            yield number, line, True
    if torn.strip():
        yield data.count(b"\n") + 1, torn, False


def _piled(lines: Iterable[tuple[int, bytes, bool]], cipher: Cipher | None) -> Pile:
    letters: dict[str, Letter] = {}
    marks: dict[str, Mark] = {}
    damaged: list[str] = []
    for number, line, whole in lines:
        try:
            found: Any = json.loads(line)
            if "mark" in found:
                marks[str(found["id"])] = _MARKS[found["mark"]]
            else:
                letter = _letter(found, cipher)
                letters[letter.id] = letter
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            why = str(error) if type(error) is ValueError else "it is damaged"
            damaged.append(f"line {number}: {why if whole else 'it is torn: its writer died in the middle'}")
    waiting = (Waiting(letter, marks.get(id)) for id, letter in letters.items() if marks.get(id) is not Mark.DONE)
    done = sum(1 for id in letters if marks.get(id) is Mark.DONE)
    return Pile(tuple(sorted(waiting, key=lambda one: one.letter.at)), done, tuple(damaged))


def _letter(found: dict[str, Any], cipher: Cipher | None) -> Letter:
    if found["letter"] != 1:
        raise ValueError("it was written by a later version")
    how = "sealed" if "sealed" in found else "plain"
    return Letter.rebuilt(found, opened(how, found[how], cipher))
