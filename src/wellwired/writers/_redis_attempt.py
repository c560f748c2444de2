"""One attempt at a write to Redis: the handler, what it queued, the way there, and what the answer means.

A handler is called first, and nothing is sent while it queues. Then the commands go as a fenced script if the handler
asks for that (`fenced`) or the request has an idempotency key, and as a MULTI block otherwise. A write with a key whose
answer was lost is looked for once more before the caller is told that its outcome is unknown.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from redis import Redis, RedisError

from wellwired.clock import Clock, Deadline
from wellwired.errors import Outcome, Phase, WriteError
from wellwired.handlers.after import Collected
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._failures import TOO_LATE, write_error
from wellwired.writers._keys import Key, stored_form
from wellwired.writers._lane import Lane, LateError
from wellwired.writers._redis_failures import check_answers, judge
from wellwired.writers._redis_fence import Command, fits
from wellwired.writers._redis_pipeline import WritePipeline
from wellwired.writers._redis_run import Keyed, Runner, no_key
from wellwired.writers._redis_script import Answer

__all__ = ["Backend", "Queued", "told"]

_NEVER_WORDS = (
    "the answer was lost, and Redis, asked again, had not applied the write and no longer will, because the deadline "
    "has passed; allow more time"
)


@dataclass(frozen=True, slots=True)
class Queued:
    """What a handler has done with its pipeline.

    Args:
        data: what it returned.
        commands: what it queued, in order.
    """

    data: Any
    commands: Sequence[Command]

    def result(self, answers: list[Any], request: WriteRequest) -> WriteResult[Any]:
        """The result of a write, from the answers to its commands.

        Raises:
            BackendError: one of them failed: PARTIAL, or not applied if none of them was.
        """
        check_answers(answers, self.commands, request)
        return WriteResult(message="applied", data=answers if self.data is None else self.data)


class Backend:
    """What the writes of one writer share; safe to share by threads.

    Args:
        client: the application's.
        clock: tells when keys expire.
        grace: seconds after the deadline for which answers are waited for.
        key_ttl: seconds for which keys are kept.
        fence: whether handlers may have their commands fenced.
    """

    __slots__ = ("_clock", "_fence", "_key_ttl", "client", "grace", "runner")

    def __init__(self, client: Redis, clock: Clock, grace: float, key_ttl: float, fence: bool) -> None:
        self.client = client
        self.grace = grace
        self.runner = Runner(client)
        self._clock = clock
        self._key_ttl = key_ttl
        self._fence = fence

    def attempt(
        self, request: WriteRequest, handler: Handler, deadline: Deadline, after: Collected
    ) -> WriteResult[Any]:
        """Makes one attempt at one request.

        Args:
            request: a valid one.
            handler: its handler.
            deadline: by when the commands must have been sent.
            after: collects what is to be done after the commit.

        Raises:
            WriteError: it failed.
        """
        lane = self.lane(deadline)
        direct = bool(getattr(handler, "uses_client", False))
        try:
            return (self._directly if direct else self._queued)(lane, request, handler, after)
        except BaseException as error:
            failure = judge(error, lane, request, direct=direct)
            if failure is None or failure is error:
                raise
            raise failure  # noqa: B904 - its cause is set: redis-py's own exception
        finally:
            lane.close()

    def lane(self, deadline: Deadline) -> Lane:
        """A way to Redis until a deadline, and for answers as long as the grace."""
        return Lane(self.client.connection_pool, deadline, self.grace)

    def pipeline(self, lane: Lane) -> WritePipeline:
        """What a handler queues on."""
        return WritePipeline(lane, self.client.response_callbacks)

    def fences(self, handler: Handler, commands: Sequence[Command]) -> bool:
        """Whether a handler's commands are sent as a fenced script."""
        return self._fence and bool(getattr(handler, "fenced", False)) and fits(commands)

    def keyed(self, request: WriteRequest, queued: Queued) -> Keyed:
        """A write with a key, ready to be sent; raises `InvalidRequestError` if its payload cannot be compared."""
        key = Key.of(request, now=self._clock.wall(), ttl=self._key_ttl)
        stored = b"" if queued.data is None else stored_form(queued.data)
        return Keyed(key, os.urandom(8), stored, queued.commands)

    def find_out(self, lost: Lane, keyed: Keyed, request: WriteRequest, error: WriteError) -> WriteResult[Any]:
        """Looks what became of a write with a key whose answer was lost, as long as the grace lasts.

        Args:
            lost: the lane that it was sent on.
            keyed: the write.
            request: the same.
            error: what is known so far.

        Returns:
            Its result, if it was applied.

        Raises:
            WriteError: it was not applied and never will be; or `error`, if it may still come, or nobody answers.
        """
        assert lost.limit is not None, "it was never sent"
        until = replace(lost.deadline, at=lost.deadline.at + self.grace)
        lane = Lane(self.client.connection_pool, until, 0.0)
        try:
            answer = self.runner.ask(lane, keyed, lost.limit)
        except (RedisError, OSError, LateError):
            raise error from error.__cause__  # nobody answers: what is known stays
        finally:
            lane.close()
        if answer.state == "expired":
            raise write_error(TOO_LATE, request, Phase.EXECUTE, error.__cause__, message=_NEVER_WORDS)
        if answer.state == "open":
            raise error from error.__cause__
        return told(answer, keyed, request)

    def _directly(self, lane: Lane, request: WriteRequest, handler: Handler, after: Collected) -> WriteResult[Any]:
        if request.idempotency_key is not None and not getattr(handler, "idempotent", False):
            raise no_key(request, "uses the client")
        with after:
            return WriteResult(message="applied", data=handler.handle(request, self._client_on(lane)))

    def _queued(self, lane: Lane, request: WriteRequest, handler: Handler, after: Collected) -> WriteResult[Any]:
        pipeline = self.pipeline(lane)
        with after:
            data = handler.handle(request, pipeline)
        queued = Queued(data, pipeline.take())
        if request.idempotency_key is not None:
            if pipeline.conditional:
                raise no_key(request, "watches keys or runs scripts")
            return self._once(lane, request, self.keyed(request, queued))
        if not pipeline.conditional and self.fences(handler, queued.commands):
            return queued.result(self.runner.fenced(lane, request, queued.commands), request)
        return queued.result(pipeline.commit(), request)

    def _once(self, lane: Lane, request: WriteRequest, keyed: Keyed) -> WriteResult[Any]:
        try:
            answer = self.runner.once(lane, request, keyed)
        except Exception as error:
            failure = judge(error, lane, request, direct=False)
            if failure is None or failure.outcome is not Outcome.UNKNOWN or failure.reason != "commit_unknown":
                raise
            return self.find_out(lane, keyed, request, failure)
        return told(answer, keyed, request)

    def _client_on(self, lane: Lane) -> Redis:
        """The application's client, except that it uses the lane."""
        client = copy.copy(self.client)
        client.connection_pool = cast(Any, lane)
        client.connection, client.auto_close_connection_pool = None, False
        return client


def told(answer: Answer, keyed: Keyed, request: WriteRequest) -> WriteResult[Any]:
    """The result of a write with a key, from what the script said.

    Raises:
        BackendError: a command of it failed.
    """
    check_answers(answer.answers, keyed.commands, request)
    replayed = answer.state == "replay"
    message = "done before" if replayed else "applied"
    data = answer.answers if answer.data is None else answer.data
    return WriteResult(message=message, data=data, replayed=replayed)
