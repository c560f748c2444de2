"""What follows a write that is over: copies of what it changed leave the stores, what failed goes to the dead letters.

A write by itself, a transaction and a batch all end here, once for each request. A committed write can only gain
warnings; one whose outcome is open has its keys evicted too, because to evict is always safe and the data may have
changed. Nothing of it is called when neither stores nor dead letters are there.

The two stand at different places around a single write: the eviction next to the retries, where it is known what was
really sent, the letter outside of everything, because it is about what the caller is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

from wellwired.clock import SYSTEM, Clock
from wellwired.errors import Outcome, WriteError
from wellwired.handlers.protocol import Handler
from wellwired.middleware.chain import WriteMiddleware, WriteNext
from wellwired.middleware.notices import NoticeObserver
from wellwired.operations import WriteOperation, WriteRequest, WriteResult
from wellwired.writers._changes import Changes, changed, merged
from wellwired.writers._evictions import Evictions, Stores, unknown_store
from wellwired.writers._keeping import Failed, Keeping
from wellwired.writers.dead_letters import DeadLetters
from wellwired.writers.directory import Directory
from wellwired.writers.protocol import Defers

__all__ = ["Aftermath", "Defer", "Pair", "deferring", "evicting"]

Pair: TypeAlias = tuple[WriteRequest, Handler | None]
"""A request and who was to do it; None if nobody was found."""

Defer: TypeAlias = Callable[[Callable[[], Sequence[str]]], None]
"""See `wellwired.writers.protocol.Defers.defer`."""


class Aftermath:
    """What a manager does after its writes; safe to share by threads.

    Args:
        stores: the layered stores that writes may name; None for none.
        letters: where writes that failed are kept; None for nowhere.
        observers: told of what fails here.
        clock: tells the time of day.
    """

    def __init__(
        self,
        stores: Stores | None = None,
        letters: DeadLetters | None = None,
        *,
        observers: tuple[NoticeObserver, ...] = (),
        clock: Clock = SYSTEM,
    ) -> None:
        self._evictions = None if stores is None else Evictions(stores, observers)
        self._keeping = None if letters is None else Keeping(letters, observers, clock)

    @property
    def evicts(self) -> bool:
        """Whether there are stores at all."""
        return self._evictions is not None

    def admitted(self, request: WriteRequest, handler: Handler) -> Changes:
        """Names and checks what a request would change, before anything is sent.

        Args:
            request: its payload converted.
            handler: who is to do it.

        Returns:
            All its keys, to be put into the request.

        Raises:
            InvalidRequestError: they are no mapping from names to keys, or there is no store of a name.
        """
        changes = changed(request, handler)
        if self._evictions is not None:
            self._evictions.check(changes, request)
        elif changes:
            raise unknown_store(next(iter(changes)), request)
        return changes

    def committed(self, pairs: Sequence[Pair], defer: Defer | None = None) -> tuple[str, ...]:
        """Evicts what committed writes changed; never raises.

        Args:
            pairs: the writes, each with its handler.
            defer: has it done later, if they are not committed yet: a copy that is evicted before could be filled
                again with what is about to be replaced.

        Returns:
            The warnings for their results.
        """
        if self._evictions is None:
            return ()
        if defer is None:
            return self._evicted(pairs)
        defer(partial(self._evicted, tuple(pairs)))
        return ()

    def failed(self, pairs: Sequence[Pair], error: WriteError, *, together: bool = False) -> None:
        """Evicts what failed writes may have changed all the same, and keeps their dead letters; never raises.

        Args:
            pairs: the writes that ended with this error, each with its handler.
            error: what their caller is about to get; what goes wrong here becomes a note on it.
            together: whether they stood or fell together, in one transaction.
        """
        self.evict_in_doubt(pairs, error)
        self.keep(pairs, error, together=together)

    def keep(self, pairs: Sequence[Pair], error: WriteError, *, together: bool = False) -> None:
        """The part of `failed` that is about dead letters."""
        self.keep_each([(request, error) for request, _ in pairs], together=together)

    def keep_each(self, failed: Sequence[Failed], *, together: bool = False) -> None:
        """As `keep`, for writes that each have an error of their own."""
        if self._keeping is not None:
            self._keeping.keep(failed, together=together)

    def evict_in_doubt(self, pairs: Sequence[Pair], error: WriteError) -> None:
        """The part of `failed` that is about stores."""
        if self._evictions is not None and error.outcome is not Outcome.NOT_APPLIED:
            for warning in self._evicted(pairs):
                error.add_note(warning)

    def _evicted(self, pairs: Sequence[Pair]) -> tuple[str, ...]:
        assert self._evictions is not None
        found: list[Changes] = []
        warnings: tuple[str, ...] = ()
        for request, handler in pairs:
            try:
                found.append(changed(request, handler))
            except Exception as error:  # noqa: BLE001 - told by the warning it becomes
                warnings += (f"the keys that {request.type!r} changed could not be named: {type(error).__name__}",)
        return warnings + self._evictions.evict(merged(found))


def deferring(writer: object) -> Defer | None:
    """What defers until the transaction is committed that a pending write of this writer is in."""
    return writer.defer if isinstance(writer, Defers) else None


def evicting(aftermath: Aftermath, directory: Directory) -> WriteMiddleware:
    """The middleware around the retries that evicts what a write changed, or may have.

    Args:
        aftermath: does it.
        directory: where the operation's handler is found again, which a middleware may have changed.
    """

    def wrap(next: WriteNext) -> WriteNext:
        def call(operation: WriteOperation) -> WriteResult[Any]:
            request = operation.request
            pair = (request, directory.named(operation.writer).find_handler(request.type))
            try:
                result = next(operation)
            except WriteError as error:
                aftermath.evict_in_doubt((pair,), error)
                raise
            except BaseException:
                # The program is being ended, perhaps after COMMIT was sent.
                aftermath.committed((pair,))
                raise
            defer = deferring(directory.named(operation.writer)) if result.pending else None
            warnings = aftermath.committed((pair,), defer)
            return replace(result, warnings=result.warnings + warnings) if warnings else result

        return call

    return wrap
