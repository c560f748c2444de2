"""The job behind `wellwired load`: every line ends as a write that took effect, or as a reject on disk.

Safe to repeat: a request goes out as it is when its handler is idempotent, and otherwise with an idempotency key made
of the batch, its content and its place among equal lines. What can be given neither is rejected before it is sent.
Nothing lost: a reject is written and flushed before the next chunk is begun, and a load that stops says at which line.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

from wellwired.cli.lines import Line, Reject, reject_line, with_key
from wellwired.clock import SYSTEM, Clock
from wellwired.errors import ErrorCode, Outcome, WriteError
from wellwired.handlers import traits
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers import KeepsKeys, WriteManager

__all__ = ["LoadReport", "Manager", "RejectsFile", "Repeat", "load", "security_of"]


class Repeat(StrEnum):
    """What makes it harmless to load a line again."""

    HARMLESS = "harmless"
    BY_KEY = "by key"
    UNSAFE = "unsafe"


Secure = Callable[[WriteRequest], Repeat]


def security_of(manager: WriteManager) -> Secure:
    """Tells of any request how the manager's writers and handlers make a repeat of it harmless.

    A request that no writer or handler is found for is HARMLESS: the manager will refuse it with the better words.
    """

    def secure(request: WriteRequest) -> Repeat:
        names: tuple[object, object] = (request.target, request.type)
        if not all(isinstance(name, str) for name in names):
            return Repeat.HARMLESS
        for writer in manager.writers:
            if writer.supports(request.target) and (found := writer.find_handler(request.type)) is not None:
                return Repeat.HARMLESS if traits(found).idempotent else _by_key(writer)
        return Repeat.HARMLESS

    return secure


def _by_key(writer: object) -> Repeat:
    return Repeat.BY_KEY if isinstance(writer, KeepsKeys) and writer.keeps_keys else Repeat.UNSAFE


class Manager(Protocol):
    """The part of a `WriteManager` that a load needs."""

    def write_many(self, requests: Sequence[WriteRequest], /) -> Sequence[WriteResult[Any] | WriteError]:
        """An answer for each request, by position."""
        ...


@dataclass(slots=True)
class LoadReport:
    """What became of a load; every line read is in exactly one of the counts.

    Args:
        applied: lines that took effect now.
        replayed: lines that had taken effect in an earlier load.
        rejected: lines that did not, by code.
        unknown: rejected lines of which the outcome is not known; load the rejects again to settle them.
        seconds: how long it took.
        stopped_at: the number of the first line that was not tried, if the load gave up.
    """

    applied: int = 0
    replayed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    seconds: float = 0.0
    stopped_at: int | None = None

    @property
    def lines(self) -> int:
        """How many lines were tried."""
        return self.applied + self.replayed + self.rejected.total()

    @property
    def rate(self) -> float:
        """Lines per second."""
        return self.lines / self.seconds if self.seconds else 0.0


class RejectsFile:
    """A JSON Lines file that is made at the first reject, readable by its owner only, for it holds payloads.

    Args:
        path: where; an existing file is refused, so that no earlier reject is lost.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def write(self, rejects: Sequence[bytes]) -> None:
        """Appends lines and waits until the disk has them.

        Raises:
            FileExistsError: the file was there before the load began.
        """
        if not rejects:
            return
        if self._file is None:
            self._file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._file.writelines(rejects)
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> RejectsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()


def _chunks(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    iterator = iter(lines)
    while chunk := list(islice(iterator, size)):
        yield chunk


_UNSAFE = Reject(
    ErrorCode.INVALID_REQUEST.value,
    Outcome.NOT_APPLIED.value,
    "a second load could apply it twice: its handler is not idempotent and its writer keeps no idempotency keys; "
    "create the key table, declare the handler idempotent, or load it once with --unsafe",
)


def _prepared(line: Line, secure: Secure, batch: str, unsafe: bool) -> WriteRequest | Reject:
    if line.request is None:
        assert line.reject is not None
        return line.reject
    verdict = secure(line.request)
    if verdict is Repeat.BY_KEY:
        return with_key(line, batch)
    return _UNSAFE if verdict is Repeat.UNSAFE and not unsafe else line.request


def _is_down(answers: Sequence[WriteResult[Any] | WriteError]) -> bool:
    """Whether a whole chunk failed for reasons that are the backend's and not the lines' own."""
    backend = (ErrorCode.BACKEND, ErrorCode.TIMEOUT, ErrorCode.RETRY_EXHAUSTED)
    data = ("constraint", "duplicate", "handler", "data")
    return bool(answers) and all(
        isinstance(a, WriteError) and a.code in backend and a.reason not in data for a in answers
    )


def load(
    lines: Iterable[Line],
    manager: Manager,
    rejects: RejectsFile,
    *,
    secure: Secure,
    batch: str,
    unsafe: bool = False,
    chunk: int = 100,
    advance: Callable[[int], None] = lambda _count: None,
    clock: Clock = SYSTEM,
) -> LoadReport:
    """Writes every line, in order, and files what could not be written.

    Args:
        lines: from `parse_all`.
        manager: does the writes.
        rejects: takes the lines that did not take effect.
        secure: how a repeat of a request is made harmless.
        batch: names this load in the idempotency keys it makes.
        unsafe: whether lines go out that a second load could apply twice.
        chunk: lines handed to the manager at a time.
        advance: told after each chunk how many lines it had.
        clock: measures the time it takes.

    Returns:
        The counts. When a whole chunk fails because the backend is down the load stops there, and `stopped_at`
        names the first line that was not tried.
    """
    report, started = LoadReport(), clock.monotonic()
    pending = _chunks(lines, chunk)
    for group in pending:
        prepared = [_prepared(line, secure, batch, unsafe) for line in group]
        sent = [request for request in prepared if isinstance(request, WriteRequest)]
        answers = manager.write_many(sent)
        rejects.write(_settle(group, prepared, answers, report))
        advance(len(group))
        if _is_down(answers):
            following = next(pending, None)
            report.stopped_at = following[0].number if following else None
            break
    report.seconds = clock.monotonic() - started
    return report


def _settle(
    group: Sequence[Line],
    prepared: Sequence[WriteRequest | Reject],
    answers: Iterable[WriteResult[Any] | WriteError],
    report: LoadReport,
) -> list[bytes]:
    """Counts each line of a chunk, and gives the lines to be rejected."""
    lines: list[bytes] = []
    remaining = iter(answers)
    for line, request in zip(group, prepared, strict=True):
        if isinstance(request, Reject):
            reject, sent = request, None
        else:
            answer = next(remaining)
            if isinstance(answer, WriteResult):
                report.replayed += answer.replayed
                report.applied += not answer.replayed
                continue
            reject, sent = Reject.of(answer), request
        report.rejected[reject.code] += 1
        report.unknown += reject.outcome != Outcome.NOT_APPLIED
        lines.append(reject_line(line, reject, sent))
    return lines
