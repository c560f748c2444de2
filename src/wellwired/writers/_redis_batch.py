"""One attempt at many writes of one type to Redis: independent items, sent together in chunks.

Each item is atomic by itself (see `_redis_items`), so a bad one fails alone and none is half done. A chunk is one
packet, and its answers are read before the next is sent. If the connection is lost, what was sent and not answered has
an unknown outcome, and what was not sent is not applied. A batch as a whole is not atomic: Redis undoes nothing.

A handler with `handle_many` queues a chunk's commands at once, and they are one block. If Redis refuses that as a whole
for what it holds, its requests are done one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from wellwired.clock import Deadline
from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteError
from wellwired.handlers._requests import Requests
from wellwired.handlers.after import Collected
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._answers import Answer, error_for
from wellwired.writers._lane import Lane, LaneConnection
from wellwired.writers._redis_attempt import Backend, Queued
from wellwired.writers._redis_clock import NO_LIMIT
from wellwired.writers._redis_failures import judge
from wellwired.writers._redis_items import MOST_BYTES, Item, Piece, Sent, pieces, reply
from wellwired.writers._redis_pipeline import WritePipeline
from wellwired.writers._redis_run import no_key

__all__ = ["RedisBatch"]

_MOST_ITEMS: Final = 500


class RedisBatch:
    """One `write_batch`; for one thread.

    Args:
        backend: where.
        requests: what to write.
        handler: who does it.
        deadline: by when the commands must have been sent.
    """

    def __init__(
        self, backend: Backend, requests: Sequence[WriteRequest], *, handler: Handler, deadline: Deadline
    ) -> None:
        self._backend = backend
        self._requests = requests if isinstance(requests, Requests) else Requests(requests)
        self._handler = handler
        self._deadline = deadline
        self._answers: dict[int, Answer] = {}
        self._after: list[tuple[int, Collected]] = []
        self._flying: dict[int, Item] = {}
        self._lost: Lane | None = None

    def run(self) -> list[Answer]:
        """Makes the attempt.

        Returns:
            For each request, at its position, its result or its error.
        """
        if getattr(self._handler, "uses_client", False):
            self._one_by_one()
        else:
            if self._may_be_together():
                self._together()
            items = self._items()
            if items:
                self._send(items)
            self._find_out()
        return [self._answers[at] for at in range(len(self._requests))]

    def finish(self, answers: list[Answer]) -> list[Answer]:
        """Runs what is to be done after the commits; to be called when the connection has been given back.

        Args:
            answers: what `run` has returned; changed in place.
        """
        for at, after in self._after:
            answer = answers[at]
            if isinstance(answer, WriteResult) and not answer.replayed:
                warnings = after.run()
                if warnings:
                    answers[at] = replace(answer, warnings=answer.warnings + warnings)
        return answers

    def _open(self) -> list[int]:
        return [at for at in range(len(self._requests)) if at not in self._answers]

    def _settle(self, at: int, error: BaseException, lane: Lane) -> None:
        """Answers with an error; raises what asks the thread to stop."""
        failure = judge(error, lane, self._requests.originals[at], direct=False)
        if failure is None:
            raise error
        self._answers[at] = error_for(failure, self._requests.originals[at])

    def _one_by_one(self) -> None:
        for at in self._open():
            after = Collected()
            try:
                self._answers[at] = self._backend.attempt(self._requests[at], self._handler, self._deadline, after)
                self._after.append((at, after))
            except WriteError as error:
                self._answers[at] = error

    def _may_be_together(self) -> bool:
        many = getattr(self._handler, "handle_many", None) is not None and len(self._requests) > 1
        return many and all(request.idempotency_key is None for request in self._requests.originals)

    def _together(self) -> None:
        for chunk in _chunks_of(self._open()):
            lane, after = self._backend.lane(self._deadline), Collected()
            try:
                data = self._one_block(lane, chunk, after)
            except BaseException as error:
                failure = judge(error, lane, self._requests.originals[chunk[0]], direct=False)
                if failure is None:
                    raise
                # What is wrong with one of them must not be the fault of the others.
                if failure.outcome is not Outcome.NOT_APPLIED or failure.retry is not Retry.NEVER:
                    self._answers |= {at: error_for(failure, self._requests.originals[at]) for at in chunk}
            else:
                self._after.append((chunk[0], after))
                self._answers |= {
                    at: WriteResult(message="applied", data=one) for at, one in zip(chunk, data, strict=True)
                }
            finally:
                lane.close()

    def _one_block(self, lane: Lane, chunk: list[int], after: Collected) -> Sequence[Any]:
        backend, pipeline = self._backend, self._backend.pipeline(lane)
        many: Any = self._handler
        requests = self._requests.chosen(chunk)
        with after:
            data: Sequence[Any] = many.handle_many(requests, pipeline)
        if len(data) != len(chunk):
            raise _wrong_number(len(data), len(chunk))
        queued = Queued(data, pipeline.take())
        first = self._requests.originals[chunk[0]]
        if not pipeline.conditional and backend.fences(self._handler, queued.commands):
            queued.result(backend.runner.fenced(lane, first, queued.commands), first)
        else:
            queued.result(pipeline.commit(), first)
        return data

    def _items(self) -> list[Item]:
        """Has the handler queue for each request that is open."""
        lane = self._backend.lane(self._deadline)
        pipeline, items = self._backend.pipeline(lane), []
        for at in self._open():
            try:
                item = self._item(at, pipeline)
            except BaseException as error:  # noqa: BLE001 - settling raises what is not an error
                self._settle(at, error, lane)
                item = None
            if item is not None:
                items.append(item)
            if item is None or pipeline.conditional:
                lane.close()
                lane = self._backend.lane(self._deadline)
                pipeline = self._backend.pipeline(lane)
        lane.close()
        return items

    def _item(self, at: int, pipeline: WritePipeline) -> Item | None:
        """What is to be sent for a request, or None if it is answered already."""
        request, after = self._requests[at], Collected()
        with after:
            data = self._handler.handle(request, pipeline)
        queued = Queued(data, pipeline.take())
        if pipeline.conditional:
            if request.idempotency_key is not None:
                raise no_key(request, "watches keys or runs scripts")
            # It has a connection of its own, on which it watches.
            self._answers[at] = queued.result(pipeline.commit(), request)
            self._after.append((at, after))
            return None
        pipeline.command_stack = []  # the next item's
        if request.idempotency_key is not None:
            return Item(at, request, queued, True, self._backend.keyed(request, queued), after)
        if not queued.commands:
            self._answers[at] = queued.result([], request)
            self._after.append((at, after))
            return None
        return Item(at, request, queued, self._backend.fences(self._handler, queued.commands), None, after)

    def _send(self, items: list[Item]) -> None:
        lane = self._backend.lane(self._deadline)
        try:
            self._send_on(lane, items)
        except BaseException as error:  # noqa: BLE001 - settling raises what is not an error
            # What was not sent is not applied, whatever became of the rest.
            unsent = self._backend.lane(self._deadline)
            unsent.phase, unsent.dropped, self._lost = lane.phase, lane.dropped, lane
            for item in items:
                if item.at not in self._answers:
                    self._settle(item.at, error, lane if item.at in self._flying else unsent)
        finally:
            lane.close()

    def _send_on(self, lane: Lane, items: list[Item]) -> None:
        connection = lane.get_connection()
        try:
            self._send_all(lane, connection, items)
        finally:
            # One on which answers are still to come is broken by `close`.
            if not self._flying:
                lane.release(connection)

    def _send_all(self, lane: Lane, connection: LaneConnection, items: list[Item]) -> None:
        fenced = any(item.fenced for item in items)
        limit = self._backend.runner.clocks.limit(connection, self._deadline) if fenced else NO_LIMIT
        lane.limit = limit.at
        sent = Sent(self._backend, self._deadline, limit)
        whole = list(pieces(items))
        # One that the server forgets again is sent in full by the next attempt.
        lessons = [("SCRIPT LOAD", script.text) for script in {piece.script for piece in whole} if script is not None]
        for chunk in _chunks(whole):
            self._send_chunk(lane, connection, chunk, sent, lessons)
            lessons = []

    def _send_chunk(
        self, lane: Lane, connection: LaneConnection, chunk: list[Piece], sent: Sent, lessons: Sequence[Sequence[Any]]
    ) -> None:
        chunk, packed = self._packed(connection, chunk, sent)
        before = lane.sent
        try:
            connection.send_many([*connection.pack_commands(lessons), *packed])
        finally:
            if lane.sent > before:
                self._flying = {item.at: item for piece in chunk for item in piece.items}
        for _ in lessons:
            reply(connection)  # if it was refused, so will be what needs it
        for piece in chunk:
            self._read(connection, piece, sent, lane)

    def _packed(self, connection: LaneConnection, chunk: list[Piece], sent: Sent) -> tuple[list[Piece], list[bytes]]:
        """The pieces that can be sent, as bytes; what cannot be is answered."""
        try:
            words = [command for piece in chunk for command in piece.words(sent)]
            return chunk, connection.pack_commands(words)
        except Exception:  # noqa: BLE001 - one of them is to blame, and is found below
            single = [one for piece in chunk for item in piece.items for one in pieces([item])]
        good: list[Piece] = []
        packed: list[bytes] = []
        for piece in single:
            try:
                packed += connection.pack_commands(piece.words(sent))
                good.append(piece)
            except Exception as error:  # noqa: BLE001 - such as a value that cannot be encoded: it fails alone
                self._settle(piece.items[0].at, error, self._backend.lane(self._deadline))
        return good, packed

    def _read(self, connection: LaneConnection, piece: Piece, sent: Sent, lane: Lane) -> None:
        try:
            said = piece.read(connection, sent)
        except Exception as error:
            if lane.dropped or lane.refused:
                raise
            said = [error] * len(piece.items)
        for item, one in zip(piece.items, said, strict=True):
            del self._flying[item.at]
            if isinstance(one, Exception):
                self._settle(item.at, one, lane)
            else:
                self._answers[item.at] = one
                self._after.append((item.at, item.after))

    def _find_out(self) -> None:
        """Looks what became of the writes with keys whose answers were lost, until one cannot be told."""
        lost = self._lost
        if lost is None:
            return
        for at, item in self._flying.items():
            error = self._answers[at]
            if item.keyed is not None and isinstance(error, WriteError) and error.reason == "commit_unknown":
                try:
                    self._answers[at] = self._backend.find_out(lost, item.keyed, item.request, error)
                    self._after.append((at, item.after))
                except WriteError as found:
                    self._answers[at] = found
                    if found.outcome is Outcome.UNKNOWN:
                        return


def _chunks_of(positions: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(positions), _MOST_ITEMS):
        yield positions[start : start + _MOST_ITEMS]


def _chunks(whole: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces in chunks of a bounded number and size of items; a large one is alone."""
    chunk: list[Piece] = []
    count = size = 0
    for piece in whole:
        more = sum(item.size for item in piece.items)
        if chunk and (count >= _MOST_ITEMS or size + more > MOST_BYTES):
            yield chunk
            chunk, count, size = [], 0, 0
        chunk.append(piece)
        count, size = count + len(piece.items), size + more
    if chunk:
        yield chunk


def _wrong_number(given: int, wanted: int) -> BackendError:
    return BackendError(
        f"handle_many() returned {given} results for {wanted} requests; it must return one for each, by position",
        retry=Retry.NEVER,
        phase=Phase.EXECUTE,
        reason="handler",
    )
