"""`write_many`: takes requests apart into groups and chunks, has each done in the best way there is, and answers all.

A group is what has one target, one type and one timeout. It goes to a writer that `WritesMany` in chunks, each with
the time of a single write; to any other writer one by one. So does a group of one, and every group if there is
middleware that knows single writes only. What is wrong with a request is its own answer.

What is told: one line and one count for each group that was led as a batch; a write that went by itself is told like
any other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from wellwired.clock import Clock, Deadline
from wellwired.errors import InvalidRequestError, Outcome, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.writers._aftermath import Aftermath, deferring
from wellwired.writers._answers import Answer, Answers, Committed, atomic_failure, error_for
from wellwired.writers._endpoint import unusable
from wellwired.writers._many_admitted import Admitted
from wellwired.writers._many_chunk import Chunk, Chunks
from wellwired.writers._many_mixed import mixed
from wellwired.writers._many_plan import chunked, grouped
from wellwired.writers._many_told import Telling
from wellwired.writers.admission import check_request
from wellwired.writers.protocol import BATCH_SIZE, Writer, WritesMany

__all__ = ["Batching", "Route"]

Route = Callable[[WriteRequest], tuple[Writer, Handler]]
"""Finds who does a request, or raises why nobody does."""


class Batching:
    """What a manager needs for its batches; safe to share by threads.

    Args:
        route: finds writer and handler.
        admit: validates a request and gives its operation, as for a write by itself.
        refuse: tells the observers of a request that was refused.
        telling: tells them of a group.
        aftermath: given every request once.
        clock: what time it is.
        timeout: seconds for a chunk whose requests name none.
    """

    def __init__(
        self,
        *,
        route: Route,
        admit: Callable[[WriteRequest, float], WriteOperation],
        refuse: Callable[[WriteRequest, WriteError, float], WriteError],
        telling: Telling,
        aftermath: Aftermath,
        clock: Clock,
        timeout: float,
    ) -> None:
        self._route, self._admit, self._refuse = route, admit, refuse
        self._telling, self._aftermath = telling, aftermath
        self._clock, self._timeout = clock, timeout
        self._single: Callable[[WriteOperation], WriteResult[Any]]
        self._chunks: Chunks | None = None

    def use(self, single: Callable[[WriteOperation], WriteResult[Any]], chunks: Chunks | None) -> None:
        """Takes the ways that requests go from now on.

        Args:
            single: the call for a write by itself.
            chunks: leads chunks; None if there is middleware that knows single writes only.
        """
        self._single, self._chunks = single, chunks

    def write(self, requests: Iterable[WriteRequest], *, atomic: bool, ordered: bool, timeout: float | None) -> Answers:
        """See `WriteManager.write_many`."""
        given, began = list(requests), self._clock.monotonic()
        limit = Deadline.never(self._clock) if timeout is None else Deadline(began + timeout, self._clock)
        if not atomic and _all_plain(given):
            return self._done(given, limit, plain=True)
        answers: dict[int, Answer] = {}
        positions, keys = self._sound(given, answers, began)
        if atomic:
            answers |= self._all_or_nothing(given, positions, answers, limit)
        else:
            for group in grouped(keys, ordered=ordered):
                chosen = [positions[at] for at in group]
                answers |= zip(chosen, self._done([given[at] for at in chosen], limit), strict=True)
        return Answers([[answers[at] for at in range(len(given))]])

    def _sound(
        self, given: Sequence[WriteRequest], answers: dict[int, Answer], began: float
    ) -> tuple[list[int], list[Hashable]]:
        """The positions of requests whose fields are right, and by what to group them; answers for the others."""
        positions: list[int] = []
        keys: list[Hashable] = []
        for position, request in enumerate(given):
            try:
                check_request(request)
            except WriteError as error:
                answers[position] = self._refuse(request, error, began)
                continue
            positions.append(position)
            keys.append((request.target, request.type, request.timeout))
        return positions, keys

    def _done(self, requests: list[WriteRequest], limit: Deadline, *, plain: bool = False) -> Answers:
        if len(requests) == 1:
            return Answers([[self._alone(requests[0], limit)]])
        began, chunks, name = self._clock.monotonic(), self._chunks, ""
        try:
            writer, handler = self._route(requests[0])
        except Exception as error:  # noqa: BLE001 - it becomes the answer
            failure = error if isinstance(error, WriteError) else unusable(error)
            answers = Answers([[error_for(failure, request) for request in requests]])
        else:
            if chunks is None or not isinstance(writer, WritesMany):
                return Answers([[self._alone(request, limit) for request in requests]])
            name = writer.name
            answers = self._in_chunks(Admitted(writer, handler, requests, self._aftermath, plain=plain), limit, chunks)
        return self._told(name, requests, answers, began, plain=plain)

    def _alone(self, request: WriteRequest, limit: Deadline) -> Answer:
        began = self._clock.monotonic()
        try:
            operation = self._admit(request, began)
        except WriteError as error:
            return self._refuse(request, error, began).with_traceback(None)
        except Exception as error:  # noqa: BLE001 - it becomes the answer
            return self._refuse(request, unusable(error), began)
        if limit.at < operation.deadline.at:
            operation = replace(operation, deadline=limit)
        try:
            return self._single(operation)
        except WriteError as error:
            # An answer that is kept must not keep the frames of its write alive.
            return error.with_traceback(None)

    def _in_chunks(self, admitted: Admitted, limit: Deadline, chunks: Chunks) -> Answers:
        every = chunked(admitted.open(), getattr(admitted.writer, "batch_size", BATCH_SIZE))
        if not (admitted.faults or admitted.keyed):
            return Answers([self._sent(admitted, positions, limit, chunks) for positions in every])
        answers: dict[int, Answer] = dict(admitted.faults)
        for positions in every:
            answers |= self._chunk(admitted, positions, limit, chunks)
        return Answers([[answers[at] for at in range(len(admitted.requests))]])

    def _chunk(
        self,
        admitted: Admitted,
        positions: Sequence[int],
        limit: Deadline,
        chunks: Chunks,
        *,
        atomic: bool = False,
    ) -> Mapping[int, Answer]:
        """Does some that may have one idempotency key twice."""
        repeats = admitted.repeats(positions)
        answers: dict[int, Answer] = dict(repeats.reused)
        if repeats.first and not (atomic and answers):
            done = self._sent(admitted, repeats.first, limit, chunks, atomic=atomic)
            answers |= zip(repeats.first, done, strict=True)
        for position, first in repeats.same.items():
            if first in answers:
                answers[position] = _same(answers[first], admitted.requests[position])
        return answers

    def _sent(
        self,
        admitted: Admitted,
        positions: Sequence[int],
        limit: Deadline,
        chunks: Chunks,
        *,
        atomic: bool = False,
    ) -> Sequence[Answer]:
        began = self._clock.monotonic()
        deadline = self._deadline(admitted, positions, began, limit)
        return self._followed(admitted.chunk(positions, began, deadline, atomic), chunks)

    def _deadline(self, admitted: Admitted, positions: Sequence[int], began: float, limit: Deadline) -> Deadline:
        given = {admitted.requests[at].timeout for at in positions} if admitted.mixed else {admitted.timeout}
        seconds = min(self._timeout if one is None else one for one in given)
        return limit if limit.at <= began + seconds else Deadline(began + seconds, self._clock)

    def _followed(self, chunk: Chunk, chunks: Chunks) -> Sequence[Answer]:
        """Writes a chunk, with what follows for its stores, and the time that it took."""
        aftermath, requests = self._aftermath, chunk.requests
        try:
            answers = chunks.lead(chunk)
        except BaseException:
            # The program is being ended, perhaps after COMMIT was sent.
            aftermath.committed([(request, chunk.handler) for request in requests])
            raise
        duration = self._clock.monotonic() - chunk.began
        if isinstance(answers, Committed):
            answers.duration = duration
        else:
            answers = [_timed(answer, duration) for answer in answers]
        return self._evicted(chunk, answers) if aftermath.evicts else answers

    def _evicted(self, chunk: Chunk, answers: Sequence[Answer]) -> Sequence[Answer]:
        """Evicts what a chunk changed or may have changed: once for those that are done, once for those in doubt."""
        pairs = [(request, chunk.handler) for request in chunk.requests]
        open_ = {at: one for at, one in enumerate(answers) if isinstance(one, WriteError)}
        open_ = {at: error for at, error in open_.items() if error.outcome is not Outcome.NOT_APPLIED}
        if open_:
            self._aftermath.evict_in_doubt([pairs[at] for at in open_], next(iter(open_.values())))
        done = [isinstance(answer, WriteResult) for answer in answers]
        pending = any(isinstance(answer, WriteResult) and answer.pending for answer in answers)
        defer = deferring(chunk.writer) if pending else None
        warnings = self._aftermath.committed([pair for pair, good in zip(pairs, done, strict=True) if good], defer)
        if not warnings:
            return answers
        return [_warned(answer, warnings) if good else answer for answer, good in zip(answers, done, strict=True)]

    def _told(
        self, writer: str, requests: Sequence[WriteRequest], answers: Answers, began: float, *, plain: bool = False
    ) -> Answers:
        duration = self._clock.monotonic() - began
        warnings = self._telling(writer, requests, answers, duration, plain=plain)
        return Answers([[_warned(answer, warnings) for answer in answers]]) if warnings else answers

    def _all_or_nothing(
        self, given: Sequence[WriteRequest], positions: list[int], answers: Mapping[int, Answer], limit: Deadline
    ) -> Mapping[int, Answer]:
        requests, began = [given[at] for at in positions], self._clock.monotonic()
        if not requests:
            return {}
        if answers:
            return _none(positions, requests, answers)
        name = ""
        try:
            writer, handler, chunks = self._together(requests)
            name = writer.name
        except Exception as error:  # noqa: BLE001 - it becomes the answer
            failure = error if isinstance(error, WriteError) else unusable(error)
            done: Mapping[int, Answer] = {at: error_for(failure, request) for at, request in enumerate(requests)}
        else:
            admitted = Admitted(writer, handler, requests, self._aftermath, plain=False)
            done = dict(admitted.faults)
            if not done:
                done = self._chunk(admitted, admitted.open(), limit, chunks, atomic=True)
            done = {**_none(range(len(requests)), requests, done), **done}
        for group in grouped(request.type for request in requests):
            told = self._told(name, [requests[at] for at in group], Answers([[done[at] for at in group]]), began)
            done = {**done, **dict(zip(group, told, strict=True))}
        return {positions[at]: answer for at, answer in done.items()}

    def _together(self, requests: Sequence[WriteRequest]) -> tuple[Writer, Handler, Chunks]:
        """Who does all of them in one transaction; raises if nobody can."""
        first = requests[0]
        if len({request.target for request in requests}) > 1:
            raise _not_atomic(first, "its requests have several targets; give it one")
        handlers: dict[str, Handler] = {}
        writer, _ = self._route(first)
        for request in requests:
            if request.type not in handlers:
                handlers[request.type] = self._route(request)[1]
        if self._chunks is None:
            raise _not_atomic(first, "a middleware knows single writes only; give it an attribute `many`")
        if not isinstance(writer, WritesMany):
            raise _not_atomic(first, f"the writer {writer.name!r} cannot write many at once")
        if len({bool(getattr(one, "uses_client", False)) for one in handlers.values()}) > 1:
            raise _not_atomic(first, "some of its handlers use the client and some do not; send them apart")
        return writer, mixed(handlers), self._chunks


def _all_plain(given: Sequence[WriteRequest]) -> bool:
    """Whether all requests have one sound target and type and nothing else but a payload."""
    if not given:
        return False
    try:
        check_request(given[0])
    except WriteError:
        return False
    target, kind = given[0].target, given[0].type
    for one in given:
        if type(one) is not WriteRequest or one.target != target or one.type != kind or one.timeout is not None:
            return False
        if one.idempotency_key is not None or one.meta or one.changes or type(one.meta) is not dict:
            return False
    return True


def _timed(answer: Answer, duration: float) -> Answer:
    if isinstance(answer, WriteResult):
        return replace(answer, duration=duration)
    # An answer that is kept must not keep the frames of its write alive.
    return answer.with_traceback(None)


def _same(answer: Answer, request: WriteRequest) -> Answer:
    return error_for(answer, request) if isinstance(answer, WriteError) else replace(answer, replayed=True)


def _warned(answer: Answer, warnings: tuple[str, ...]) -> Answer:
    if isinstance(answer, WriteResult):
        return replace(answer, warnings=answer.warnings + warnings)
    for warning in warnings:
        answer.add_note(warning)
    return answer


def _none(
    positions: Sequence[int], requests: Sequence[WriteRequest], answers: Mapping[int, Answer]
) -> dict[int, Answer]:
    """What an atomic batch answers for the requests that were not to blame for its failure."""
    culprits = [at for at, answer in answers.items() if isinstance(answer, WriteError)]
    pairs = zip(positions, requests, strict=True)
    return {at: atomic_failure(request, culprits) for at, request in pairs if at not in answers}


def _not_atomic(request: WriteRequest, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the batch cannot be atomic: {why}", target=request.target, type=request.type, reason="atomic"
    )
