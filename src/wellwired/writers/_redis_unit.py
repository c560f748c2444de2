"""Several writes to Redis in one step: a `Unit` whose handlers queue, and whose commit sends.

Nothing is sent before the commit, so a unit holds no connection until then, and to go back to a savepoint is to forget
what was queued since. The commit is one MULTI block, or one fenced script if every handler in it asks for that. Redis
undoes nothing: a command that fails in the middle leaves the unit PARTIAL, as it leaves a single write.

An idempotency key belongs to one write and one answer, and what this commit would replay is several; so a write with a
key is refused here, as is a handler that uses the client or watches keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import InvalidRequestError, Phase, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._failures import POOL_FULL, TOO_LATE, spoilt, write_error
from wellwired.writers._gate import Gate
from wellwired.writers._redis_attempt import Backend, Queued
from wellwired.writers._redis_failures import judge
from wellwired.writers._redis_fence import Command

__all__ = ["RedisUnit"]

_LABEL = "transaction"


class RedisUnit:
    """See the module and `wellwired.writers.protocol.Unit`; for one thread.

    Args:
        backend: where.
        gate: the entrance to its pool.
        target: for the words of errors.
        deadline: by when everything must have been sent.
    """

    __slots__ = ("_backend", "_commands", "_deadline", "_failed", "_fenced", "_gate", "_label", "usable")

    def __init__(self, backend: Backend, gate: Gate, target: str, deadline: Deadline) -> None:
        self.usable = True
        self._backend = backend
        self._gate = gate
        self._deadline = deadline
        self._label = WriteRequest(target, _LABEL, None)
        self._commands: list[Command] = []
        self._fenced = True
        self._failed: WriteError | None = None

    def write(self, request: WriteRequest, *, handler: Handler) -> WriteResult[Any]:
        """See `wellwired.writers.protocol.Unit.write`."""
        if not self.usable:
            raise spoilt(request.target, self._failed)
        lane = self._backend.lane(self._deadline)
        try:
            queued = self._queued(request, handler)
        except BaseException as error:
            self.usable = False
            failure = self._failed = judge(error, lane, request, direct=False)
            if failure is None or failure is error:
                raise
            raise failure  # noqa: B904 - its cause is set
        self._fenced = self._fenced and self._backend.fences(handler, queued.commands)
        self._commands += queued.commands
        return WriteResult(message="queued", data=queued.data)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """See `wellwired.writers.protocol.Unit.savepoint`."""
        if not self.usable:
            raise spoilt(self._label.target, self._failed)
        mark, fenced = len(self._commands), self._fenced
        try:
            yield
            if not self.usable:
                raise spoilt(self._label.target, self._failed)
        except BaseException:
            del self._commands[mark:]
            self._fenced, self._failed, self.usable = fenced, None, True
            raise

    def commit(self) -> None:
        """See `wellwired.writers.protocol.Unit.commit`."""
        if not self.usable:
            raise spoilt(self._label.target, self._failed)
        self.usable = False
        if not self._gate.enter(self._deadline):
            raise write_error(POOL_FULL, self._label, Phase.CHECKOUT)
        try:
            self._send()
        finally:
            self._gate.leave()

    def rollback(self) -> None:
        """See `wellwired.writers.protocol.Unit.rollback`."""
        self.usable = False
        self._commands.clear()

    def close(self) -> str:
        """See `wellwired.writers.protocol.Unit.close`."""
        self.rollback()
        return ""

    def _queued(self, request: WriteRequest, handler: Handler) -> Queued:
        if getattr(handler, "uses_client", False):
            raise _no_part(request, "its handler uses the client and sends at once")
        if request.idempotency_key is not None:
            raise _no_part(request, "it has an idempotency key, which on Redis is kept for a single write")
        if self._deadline.passed:
            raise write_error(TOO_LATE, request, Phase.EXECUTE)
        lane = self._backend.lane(self._deadline)
        try:
            pipeline = self._backend.pipeline(lane)
            data = handler.handle(request, pipeline)
            commands = pipeline.take()
            if pipeline.conditional:
                raise _no_part(request, "its handler watches keys or runs scripts")
        finally:
            lane.close()
        return Queued(data, commands)

    def _send(self) -> None:
        backend, label, commands = self._backend, self._label, self._commands
        lane = backend.lane(self._deadline)
        try:
            if self._fenced:
                answers = backend.runner.fenced(lane, label, commands)
            else:
                pipeline = backend.pipeline(lane)
                pipeline.command_stack = commands
                answers = pipeline.commit()
            Queued(None, commands).result(answers, label)
        except BaseException as error:
            failure = judge(error, lane, label, direct=False)
            if failure is None or failure is error:
                raise
            raise failure  # noqa: B904 - its cause is set
        finally:
            lane.close()


def _no_part(request: WriteRequest, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{request.type!r} cannot be part of a transaction on Redis, because {why}; write it by itself",
        target=request.target,
        type=request.type,
        reason="transaction",
    )
