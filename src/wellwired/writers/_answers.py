"""What a batch answers: for each request, at its position, its result or its error."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, TypeAlias

from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteError
from wellwired.operations import WriteRequest, WriteResult

__all__ = ["Answer", "Answers", "atomic_failure", "error_for"]

Answer: TypeAlias = WriteResult[Any] | WriteError
"""The result of a request of a batch, or its error."""


class Answers(list[Answer]):
    """The answers to a batch: a list with one for each request, at its position.

    A batch raises nothing for its requests, so look at `failed`, or call `raise_for_errors`.
    """

    __slots__ = ()

    @property
    def failed(self) -> dict[int, WriteError]:
        """The errors, by position."""
        return {position: answer for position, answer in enumerate(self) if isinstance(answer, WriteError)}

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
