"""The writer for Redis: a handler queues commands, and they are sent in one MULTI block.

A handler is given a pipeline. Nothing is sent while it queues; then everything goes in one packet, and what is
reported follows from whether that packet had left (see `_lane`) and from the first word of Redis's answer:

- a TIMEOUT was never sent and never will be; once the commands have been sent, a missing answer is a BACKEND error
  with the outcome UNKNOWN, at the latest `commit_grace` after the deadline;
- a block that Redis discards (EXECABORT, a watched key that changed) is not applied; Redis rolls nothing back, so a
  block in which one command fails is PARTIAL, unless none of them was applied;
- with an idempotency key the queued commands run at most once (see `_redis_script`).

A handler with `uses_client` is given a client instead, for what a pipeline cannot do, and sends its commands one by
one: the same is noted for each, and a failure after the first that was applied is PARTIAL.

The same code runs on fakeredis, behind ``memory://``. Redis Cluster is not supported: a write's keys may be anywhere.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, cast

from redis import BlockingConnectionPool, Redis

from wellwired.clock import SYSTEM, Clock, Deadline
from wellwired.errors import InvalidRequestError, Phase, RegistrationError
from wellwired.handlers.protocol import Handler
from wellwired.handlers.registry import Registry
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._failures import POOL_FULL, write_error
from wellwired.writers._gate import Gate
from wellwired.writers._keys import Key, reused, stored_form
from wellwired.writers._lane import Lane
from wellwired.writers._redis_failures import check_answers, judge
from wellwired.writers._redis_pipeline import WritePipeline
from wellwired.writers._redis_script import SCRIPT, Answer, Command, arguments, parse, record_name

__all__ = ["RedisWriter"]

_BACKEND = "redis"
_DAYS_3 = 3 * 86_400.0
_MOST_PLACES = 10_000


class RedisWriter:
    """Writes to one Redis; safe to use from many threads and after a fork.

    Args:
        name: the dotted name of its target, such as ``redis.cache``.
        client: stays the application's; nothing of it is changed. It must not retry by itself.
        handlers: those for the backend ``redis`` and for any; others are left alone. None for an empty registry.
        targets: further targets that it writes for.
        clock: tells when idempotency keys expire.
        commit_grace: seconds after the deadline for which the answer to sent commands is waited for; the client's
            own `socket_timeout` ends the wait if that is sooner.
        key_ttl: seconds for which an idempotency key is remembered.

    Raises:
        RegistrationError: the client retries commands by itself, or is none for a single Redis.
    """

    def __init__(
        self,
        name: str,
        client: Redis,
        *,
        handlers: Registry | None = None,
        targets: Iterable[str] = (),
        clock: Clock = SYSTEM,
        commit_grace: float = 2.0,
        key_ttl: float = _DAYS_3,
    ) -> None:
        self.name = name
        self.targets = (name, *(target for target in targets if target != name))
        self._handlers = Registry() if handlers is None else handlers
        self._clock = clock
        self._grace = commit_grace
        self._key_ttl = key_ttl
        self._served = frozenset(self.targets)
        _refuse_retries(name, client)
        self._client = client
        self._gate = Gate(_places(client), self._room)

    def supports(self, target: str) -> bool:
        """Whether it writes for this target."""
        return target in self._served

    def find_handler(self, type: str) -> Handler | None:
        """The handler of a type, or None."""
        return self._handlers.find(type, _BACKEND)

    def register_handler(self, handler: Handler) -> None:
        """Adds a handler; raises `RegistrationError` if its type has one already."""
        self._handlers.register(handler)

    def types(self) -> tuple[str, ...]:
        """Every type that it has a handler for, sorted."""
        return self._handlers.types(_BACKEND)

    @property
    def keeps_keys(self) -> bool:
        """Whether a key that was seen is answered with the stored result: yes, for handlers that queue commands."""
        return True

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Makes one attempt.

        Args:
            request: a valid request.
            handler: called with the request and a pipeline to queue commands on; or a client, if it `uses_client`.
            deadline: by when the commands must have been sent.

        Returns:
            What the handler returned; the list of Redis's answers if that was None.

        Raises:
            WriteTimeoutError: nothing was sent.
            InvalidRequestError: the idempotency key was used with another payload, or cannot be kept for this handler.
            BackendError: Redis or the handler failed; see its `outcome` and `retry`.
        """
        if not self._gate.enter(deadline):
            raise write_error(POOL_FULL, request, Phase.CHECKOUT)
        direct = bool(getattr(handler, "uses_client", False))
        lane = Lane(self._client.connection_pool, deadline, self._grace)
        try:
            return (self._directly if direct else self._queued)(lane, request, handler)
        except BaseException as error:
            failure = judge(error, lane, request, direct=direct)
            if failure is None or failure is error:
                raise
            raise failure  # noqa: B904 - its cause is set: redis-py's own exception
        finally:
            lane.close()
            self._gate.leave()

    def __repr__(self) -> str:
        return f"RedisWriter({self.name!r})"

    def _directly(self, lane: Lane, request: WriteRequest, handler: Handler) -> WriteResult[Any]:
        if request.idempotency_key is not None and not getattr(handler, "idempotent", False):
            raise _no_key(request, "uses the client")
        return WriteResult(message="applied", data=handler.handle(request, self._client_on(lane)))

    def _queued(self, lane: Lane, request: WriteRequest, handler: Handler) -> WriteResult[Any]:
        pipeline = WritePipeline(lane, self._client.response_callbacks)
        data = handler.handle(request, pipeline)
        commands = pipeline.take()
        if request.idempotency_key is not None:
            if pipeline.conditional:
                raise _no_key(request, "watches keys or runs scripts")
            return self._once(lane, request, data, commands)
        answers = pipeline.commit()
        check_answers(answers, commands, request)
        return WriteResult(message="applied", data=answers if data is None else data)

    def _once(self, lane: Lane, request: WriteRequest, data: Any, commands: Sequence[Command]) -> WriteResult[Any]:
        """Sends the commands as one script that runs them only if the key is new."""
        key = Key.of(request, now=self._clock.wall(), ttl=self._key_ttl)
        stored = b"" if data is None else stored_form(data)
        sent = (SCRIPT, 1, record_name(key), *arguments(key, stored, commands))
        client = self._client_on(lane)
        raw: Any = client.execute_command("EVAL", *sent, NEVER_DECODE=True)  # type: ignore[no-untyped-call]
        answer = parse(raw, self._client.get_encoder().decode)
        if answer.state == "reused":
            raise reused(key)
        answers = self._called_back(answer, commands)
        check_answers(answers, commands, request)
        replayed = answer.state == "replay"
        message = "done before" if replayed else "applied"
        return WriteResult(message=message, data=answers if answer.data is None else answer.data, replayed=replayed)

    def _called_back(self, answer: Answer, commands: Sequence[Command]) -> list[Any]:
        """The answers as the client's methods would return them."""
        if len(answer.answers) != len(commands):  # stored by an earlier version of the handler
            return answer.answers
        callbacks = self._client.response_callbacks
        return [
            callbacks[words[0]](reply, **options)
            if words[0] in callbacks and not isinstance(reply, Exception)
            else reply
            for reply, (words, options) in zip(answer.answers, commands, strict=True)
        ]

    def _client_on(self, lane: Lane) -> Redis:
        """The application's client, except that it uses the lane."""
        client = copy.copy(self._client)
        client.connection_pool = cast(Any, lane)
        client.connection, client.auto_close_connection_pool = None, False
        return client

    def _room(self) -> bool:
        pool = self._client.connection_pool
        return not isinstance(pool, BlockingConnectionPool) or not pool.pool.empty()


def _no_key(request: WriteRequest, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"an idempotency key cannot be kept for {request.type!r}, because its handler {why}; leave the key out, or let "
        "the handler only queue commands",
        target=request.target,
        type=request.type,
        reason="idempotency_key",
    )


def _places(client: Redis) -> int | None:
    places = int(client.connection_pool.max_connections)
    # redis-py's word for "no limit" is a very large number.
    return places if places <= _MOST_PLACES else None


def _refuse_retries(name: str, client: Redis) -> None:
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        raise RegistrationError(f"the client of {name} is for a cluster, or for no Redis; it must be a redis.Redis")
    # Made, but not connected: only a connection knows what its arguments come to.
    retries = pool.connection_class(**pool.connection_kwargs).retry.get_retries()
    if retries:
        raise RegistrationError(
            f"the client of {name} sends a command up to {retries} times more by itself, which can apply it twice; "
            "make it with retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0), and leave retries to the write manager"
        )
