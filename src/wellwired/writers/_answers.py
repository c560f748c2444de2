"""What a batch answers: for each request, at its position, its result or its error."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias, overload

from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteError
from wellwired.operations import WriteRequest, WriteResult

__all__ = ["Answer", "Answers", "Committed", "atomic_failure", "error_for"]

Answer: TypeAlias = WriteResult[Any] | WriteError
"""The result of a request of a batch, or its error."""


class Committed(Sequence[Answer]):
    """The results of requests that were committed together: each is made when somebody looks at it.

    A thousand result objects take as long as a third of the INSERT of a thousand rows, and few callers look at them.

    Args:
        data: what the handler returned for each.
        pending: whether they take effect with a transaction around them only, which is not their writer's.
    """

    __slots__ = ("_data", "_made", "attempts", "duration", "pending")

    def __init__(self, data: Sequence[Any], *, pending: bool = False) -> None:
        self.attempts, self.duration, self.pending = 1, 0.0, pending
        self._data = data
        self._made: dict[int, WriteResult[Any]] = {}

    def __len__(self) -> int:
        return len(self._data)

    @overload
    def __getitem__(self, at: int) -> Answer: ...
    @overload
    def __getitem__(self, at: slice) -> list[Answer]: ...
    def __getitem__(self, at: int | slice) -> Answer | list[Answer]:
        """One result, the same object each time, or a list of some."""
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        at = range(len(self._data))[at]
        made = self._made.get(at)
        if made is None:
            done = "written" if self.pending else "committed"
            made = WriteResult(True, done, self._data[at], self.attempts, self.duration, pending=self.pending)
            # Two threads that look at it at once get the same one.
            made = self._made.setdefault(at, made)
        return made


class Answers(Sequence[Answer]):
    """The answers to a batch: the result or the error of each request, at its position.

    A batch raises nothing for its requests, so look at `failed`, or call `raise_for_errors`. Safe to share by threads.

    Args:
        parts: answers, in order; laid end to end they are all of them.
    """

    __slots__ = ("_failed", "parts")
    __hash__ = None  # type: ignore[assignment]  # like a list's

    def __init__(self, parts: Iterable[Sequence[Answer]] = ()) -> None:
        self.parts = tuple(part for part in parts if len(part))
        self._failed: dict[int, WriteError] | None = None

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Answer]:
        return chain.from_iterable(self.parts)

    @overload
    def __getitem__(self, at: int) -> Answer: ...
    @overload
    def __getitem__(self, at: slice) -> list[Answer]: ...
    def __getitem__(self, at: int | slice) -> Answer | list[Answer]:
        """One answer, or a list of some."""
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        at = range(len(self))[at]
        for part in self.parts:
            if at < len(part):
                return part[at]
            at -= len(part)
        raise AssertionError("the range was checked")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Answers | list):
            return NotImplemented
        return list(self) == list(other)

    def __repr__(self) -> str:
        return f"<answers to {len(self)} requests, {len(self.failed)} failed>"

    @property
    def failed(self) -> dict[int, WriteError]:
        """The errors, by position."""
        if self._failed is None:
            good = all(isinstance(part, Committed) for part in self.parts)
            pairs = () if good else enumerate(self)
            self._failed = {position: answer for position, answer in pairs if isinstance(answer, WriteError)}
        return dict(self._failed)

    def raise_for_errors(self) -> None:
        """Does nothing if every request took effect.

        Raises:
            ExceptionGroup: of the errors of those that did not, or may not have; a note on each has its position.
        """
        failed = self.failed
        if not failed:
            return
        for position, error in failed.items():
            note = f"position {position} of the batch"
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
        raise ExceptionGroup(f"{len(failed)} of {len(self)} writes failed", list(failed.values()))


def error_for(error: WriteError, request: WriteRequest) -> WriteError:
    """An error that ended several writes at once, as an object of its own for one of them.

    Args:
        error: the error; it stays as it is.
        request: one of the writes.
    """
    own = copy.copy(error)
    own.target, own.type = request.target, request.type
    own.__cause__ = error.__cause__
    if notes := getattr(error, "__notes__", None):
        own.__notes__ = list(notes)
    return own


def atomic_failure(request: WriteRequest, culprits: Iterable[int], phase: Phase = Phase.EXECUTE) -> BackendError:
    """The error of a request that was fine, in a batch of which all or nothing was to be applied.

    Args:
        request: the request.
        culprits: positions of requests that were not fine.
        phase: how far the batch had come.
    """
    where = ", ".join(str(position) for position in culprits)
    return BackendError(
        f"not applied, because the batch is atomic and another of its requests failed (position {where}); "
        "mend or remove that one, then send all of them again",
        outcome=Outcome.NOT_APPLIED,
        retry=Retry.SAFE,
        phase=phase,
        target=request.target,
        type=request.type,
        reason="atomic",
    )
