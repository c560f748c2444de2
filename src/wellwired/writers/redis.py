"""The writer for Redis: a handler queues commands, and they are sent as one step.

A handler is given a pipeline. Nothing is sent while it queues; then everything goes in one packet, as a MULTI block or
as a script that looks at the deadline first (see `_redis_fence`). What is reported follows from whether that packet had
left (see `_lane`) and from the first word of Redis's answer:

- a TIMEOUT was never sent, or was refused by the script: it is not applied and never will be. Once the commands have
  been sent, a missing answer is a BACKEND error with the outcome UNKNOWN, at the latest `commit_grace` after the
  deadline;
- a block that Redis discards (EXECABORT, a watched key that changed) is not applied; Redis rolls nothing back, so a
  write in which one command fails is PARTIAL, unless none of them was applied;
- with an idempotency key the queued commands run at most once (see `_redis_script`), and after a lost answer the key's
  record is looked for.

Many writes go together in few packets (`_redis_batch`), several in one step (`_redis_unit`).

A handler with `uses_client` is given a client instead, for what a pipeline cannot do, and sends its commands one by
one: the same is noted for each, and a failure after the first that was applied is PARTIAL.

The same code runs on fakeredis, behind ``memory://``. Redis Cluster is not supported: a write's keys may be anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from redis import Redis

from wellwired.clock import SYSTEM, Clock, Deadline
from wellwired.errors import InvalidRequestError, Phase, WriteError
from wellwired.handlers.after import Collected
from wellwired.handlers.protocol import Handler
from wellwired.handlers.registry import Registry
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._failures import POOL_FULL, TOO_LATE, write_error
from wellwired.writers._gate import Gate
from wellwired.writers._redis_attempt import Backend
from wellwired.writers._redis_batch import RedisBatch
from wellwired.writers._redis_clients import check_client, has_room, places
from wellwired.writers._redis_unit import RedisUnit
from wellwired.writers.protocol import WriterCapabilities

__all__ = ["RedisWriter"]

_BACKEND = "redis"
_DAYS_3 = 3 * 86_400.0
_CAPABILITIES = WriterCapabilities(
    deadline="fenced", idempotency=True, savepoints=True, batches=True, resolves_unknown=True
)


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
        fence: whether the handlers that ask for it have their commands sent as a script that looks at the deadline;
            it needs a user that may run scripts, as idempotency keys do.

    Raises:
        RegistrationError: a writer cannot keep its promises with this client; see `_redis_clients`.
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
        fence: bool = True,
    ) -> None:
        self.name = name
        self.targets = (name, *(target for target in targets if target != name))
        self._handlers = Registry() if handlers is None else handlers
        self._served = frozenset(self.targets)
        check_client(name, client)
        self._client = client
        self._backend = Backend(client, clock, commit_grace, key_ttl, fence)
        self._gate = Gate(places(client), self._room)

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
    def capabilities(self) -> WriterCapabilities:
        """What it can promise. Redis undoes nothing, so a write may be PARTIAL; it is never TIMEOUT and applied."""
        return _CAPABILITIES

    @property
    def keeps_keys(self) -> bool:
        """Whether a key that was seen is answered with the stored result: yes, for handlers that queue commands."""
        return True

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Makes one attempt.

        Args:
            request: a valid request.
            handler: called with the request and a pipeline to queue commands on; or a client, if it `uses_client`.
            deadline: by when the commands must have been sent; and have been taken up, if the handler is `fenced` or
                there is an idempotency key.

        Returns:
            What the handler returned; the list of Redis's answers if that was None.

        Raises:
            WriteTimeoutError: nothing was sent, or it was taken up too late; nothing is applied.
            InvalidRequestError: the idempotency key was used with another payload, or cannot be kept for this handler.
            BackendError: Redis or the handler failed; see its `outcome` and `retry`.
        """
        if not self._gate.enter(deadline):
            raise write_error(POOL_FULL, request, Phase.CHECKOUT)
        after = Collected()
        try:
            result = self._backend.attempt(request, handler, deadline, after)
        finally:
            self._gate.leave()
        warnings = () if result.replayed else after.run()
        return replace(result, warnings=warnings) if warnings else result

    def write_batch(
        self, requests: Sequence[WriteRequest], *, handler: Handler, deadline: Deadline, atomic: bool
    ) -> list[WriteResult[Any] | WriteError]:
        """Makes one attempt at all of them: independent writes, sent together; see `WritesMany.write_batch`.

        Args:
            requests: valid ones, with converted payloads.
            handler: the handler to call for all of them.
            deadline: by when the commands must have been sent; what has not been sent by then is a TIMEOUT.
            atomic: refused, because Redis undoes nothing.

        Returns:
            For each request, at its position, its result or its error.
        """
        if atomic:
            return [_not_atomic(request) for request in requests]
        if not self._gate.enter(deadline):
            return [write_error(POOL_FULL, request, Phase.CHECKOUT) for request in requests]
        batch = RedisBatch(self._backend, requests, handler=handler, deadline=deadline)
        try:
            answers = batch.run()
        finally:
            self._gate.leave()
        return batch.finish(answers)

    def begin(self, target: str, /, *, deadline: Deadline) -> RedisUnit:
        """Opens a unit of several writes that are sent together at its commit; see `Transacts.begin`.

        Args:
            target: for the words of errors.
            deadline: by when everything must have been sent.

        Raises:
            WriteTimeoutError: the deadline has passed.
        """
        if deadline.passed:
            raise write_error(TOO_LATE, WriteRequest(target, "transaction", None), Phase.BEGIN)
        return RedisUnit(self._backend, self._gate, target, deadline)

    def __repr__(self) -> str:
        return f"RedisWriter({self.name!r})"

    def _room(self) -> bool:
        return has_room(self._client.connection_pool)


def _not_atomic(request: WriteRequest) -> InvalidRequestError:
    return InvalidRequestError(
        "a batch on Redis cannot be atomic, because Redis undoes nothing; write it without atomic=True, or in a "
        "transaction, which is sent as one block",
        target=request.target,
        type=request.type,
        reason="atomic",
    )
