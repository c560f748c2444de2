"""Many writes to memory in one transaction, with an answer for each: the twin of a database's batch for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wellwired.clock import Deadline
from wellwired.errors import Phase, WriteError
from wellwired.handlers._requests import Requests
from wellwired.handlers.after import Collected
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._answers import Answer, atomic_failure
from wellwired.writers._memory_state import Fault, State, late, ordered, perform, perform_many, warned
from wellwired.writers._memory_unit import Entry

__all__ = ["MemoryBatch"]


class MemoryBatch:
    """One `write_batch`; for one thread.

    Args:
        requests: what to write.
        handler: who does it.
        atomic: whether all take effect or none.
        keeps: whether idempotency keys are kept.
    """

    def __init__(self, requests: Sequence[WriteRequest], *, handler: Handler, atomic: bool, keeps: bool) -> None:
        self._requests = requests if isinstance(requests, Requests) else Requests(requests)
        self._handler = handler
        self._atomic = atomic
        self._keeps = keeps
        self._answers: dict[int, Answer] = {}
        self._after: dict[int, Collected] = {}
        self._entries: list[Entry] = []

    def run(self, state: State, fault: Callable[[], Fault], deadline: Deadline) -> Sequence[Entry]:
        """Makes the attempt.

        Args:
            state: what is there; it stays as it is.
            fault: gives the failure that was ordered for the next request.
            deadline: by when the handler must have returned for the last.

        Returns:
            What is to count.
        """
        faults = [fault() for _ in self._requests.originals]
        state = state.copied()
        if not (self._may_be_together(faults) and self._together(state)):
            for at, (error, applied) in enumerate(faults):
                self._one(state, at, error, applied=applied)
        culprits = [at for at, answer in self._answers.items() if isinstance(answer, WriteError)]
        if self._atomic and culprits:
            self._give_up(lambda request: atomic_failure(request, culprits))
        elif deadline.passed:
            self._give_up(lambda request: late(request, Phase.EXECUTE))
        for at, (error, applied) in enumerate(faults):
            if error is not None and applied:
                self._answers[at] = ordered(error, self._requests.originals[at])
        return self._entries

    def finish(self) -> list[Answer]:
        """Runs what is to be done after the commit, and gives the answers by position."""
        for at, after in sorted(self._after.items()):
            answer = self._answers[at]
            if isinstance(answer, WriteResult) and not answer.replayed:
                self._answers[at] = warned(answer, after.run())
        return [self._answers[at] for at in range(len(self._requests))]

    def _may_be_together(self, faults: Sequence[Fault]) -> bool:
        many = getattr(self._handler, "handle_many", None) is not None and len(self._requests) > 1
        return many and not any(
            error is not None or request.idempotency_key is not None
            for (error, _), request in zip(faults, self._requests.originals, strict=True)
        )

    def _together(self, state: State) -> bool:
        """Whether all of them could be done at once; if not, nothing has happened."""
        after = Collected()
        try:
            done = perform_many(state, self._requests[:], self._handler, after)
        except WriteError:
            return False
        self._answers = dict(enumerate(done.results))
        self._after[0] = after
        self._entries = [(done, self._requests.originals)]
        return True

    def _one(self, state: State, at: int, error: Exception | None, *, applied: bool) -> None:
        request, after = self._requests[at], Collected()
        try:
            if error is not None and not applied:
                raise ordered(error, request)
            done = perform(state, request, self._handler, after, keeps=self._keeps)
        except WriteError as failure:
            self._answers[at] = failure
            return
        done.apply(state)
        self._answers[at], self._after[at] = done.results[0], after
        self._entries.append((done, (self._requests.originals[at],)))

    def _give_up(self, error: Callable[[WriteRequest], WriteError]) -> None:
        self._entries = []
        for at, answer in self._answers.items():
            if isinstance(answer, WriteResult):
                self._answers[at] = error(self._requests.originals[at])
