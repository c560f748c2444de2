"""One attempt at many writes of one type in a database: as few transactions as the data allows, usually one.

At first all are done in one transaction without a savepoint, because nearly always all are good. If one is refused,
they are done again behind savepoints, by halves, until the bad ones are alone (see `_bisect`); the good ones are
committed together. If it is the transaction that refuses (a constraint that is checked at COMMIT), it is the
transaction that is halved. What is not about one request ends the attempt for all that are not decided: a deadlock, a
lost connection, the deadline, a COMMIT without an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wellwired.clock import Deadline
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Phase, Retry, WriteError
from wellwired.handlers._requests import Requests
from wellwired.handlers.after import Collected
from wellwired.handlers.protocol import Handler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers._answers import Answer, Committed, atomic_failure, error_for
from wellwired.writers._bisect import Bisection, Span
from wellwired.writers._claiming import LOOKS, KeyTakenError, came_and_went
from wellwired.writers._ground import Ground
from wellwired.writers._keys import Key, stored_form
from wellwired.writers._resolving import COMMITTED_LATE, is_open

__all__ = ["Many", "SQLBatch"]

Many = Callable[[Sequence[WriteRequest], Any], Sequence[Any]]
"""A handler's `handle_many`."""

_SAVEPOINT = "wellwired_batch"


class _SomeFailedError(Exception):
    """One of several that were tried together without a savepoint failed.

    Args:
        at: its position, if that is known.
        failure: its error, if so.
    """

    def __init__(self, at: int | None, failure: WriteError) -> None:
        self.at, self.failure = at, failure
        super().__init__(at)


class SQLBatch:
    """One `write_batch`; for one thread.

    Args:
        ground: where.
        requests: what to write.
        handler: who does it.
        deadline: by when COMMIT must have been sent.
        atomic: whether all or nothing is to be applied.
        key_of: makes the key of a request that has one.
    """

    def __init__(
        self,
        ground: Ground,
        requests: Sequence[WriteRequest],
        *,
        handler: Handler,
        deadline: Deadline,
        atomic: bool,
        key_of: Callable[[WriteRequest], Key],
    ) -> None:
        self.ground = ground
        self.requests = requests if isinstance(requests, Requests) else Requests(requests)
        self.handler = handler
        self.deadline = deadline
        self.atomic = atomic
        self.keys: dict[int, Key] = {}
        self._answers: dict[int, Answer] = {}
        self._whole: Committed | None = None
        self._make_keys(key_of)

    def run(self) -> Sequence[Answer]:
        """Makes the attempt.

        Returns:
            For each request, at its position, its result or its error.
        """
        for _ in range(LOOKS):
            if not self._may_go_on():
                break
            try:
                self._settle(self._open())
                break
            except KeyTakenError:
                self._replay([position for position in self._open() if position in self.keys])
        if self._whole is not None:
            return self._whole
        for position in self._open():
            self._answers[position] = came_and_went(self.requests[position], "lock")
        return [self._answers[position] for position in range(len(self.requests))]

    def _make_keys(self, key_of: Callable[[WriteRequest], Key]) -> None:
        for position, request in enumerate(self.requests.originals):
            if request.idempotency_key is not None:
                try:
                    self.keys[position] = key_of(self.requests[position])
                except InvalidRequestError as error:
                    self._answers[position] = error

    def _open(self) -> list[int]:
        if not self._answers:
            return list(range(len(self.requests)))
        return [position for position in range(len(self.requests)) if position not in self._answers]

    def _may_go_on(self) -> bool:
        """Whether there is something to do; refuses the rest of an atomic batch of which one was refused."""
        culprits = [at for at, answer in self._answers.items() if isinstance(answer, WriteError)]
        if self.atomic and culprits:
            for position in self._open():
                self._answers[position] = atomic_failure(self.requests[position], culprits)
        return len(self._answers) < len(self.requests)

    def _settle(self, positions: list[int]) -> None:
        """Does what is open, by halves of transactions if it must be; raises `KeyTakenError`."""
        plan, guarded = Bisection(len(positions)), False
        while (span := plan.span) is not None:
            here = positions[span.start : span.stop]
            attempt = _Attempt(self, here)
            try:
                failure = attempt.run(guarded=guarded)
            except _SomeFailedError as some:
                guarded = True
                if self.atomic and some.at is not None:
                    self._answers.update(attempt.none_but({some.at: some.failure}))
                    return
                continue
            if failure is None and attempt.flawless and len(here) == len(self.requests):
                self._whole = Committed(attempt.data, pending=attempt.pending)
            elif failure is None:
                self._answers.update(attempt.answers())
            elif not (self.atomic or attempt.over) and len(here) > 1 and _may_be_about_one(failure):
                plan.failed()
                continue
            else:
                self._answers.update(attempt.ended_by(failure))
            plan.passed()

    def _replay(self, positions: list[int]) -> None:
        """Answers what earlier writes with the same keys have left, and leaves those open whose key is free."""
        transaction = self.ground.transaction(self.requests[positions[0]], self.deadline)
        try:
            found = self.ground.look_many(transaction.open(), [self.keys[position] for position in positions])
            transaction.commit()
        except BaseException as error:
            failure = transaction.fail(error)
            if failure is None:
                raise
            self._answers.update({at: _unread(self.requests[at], transaction.phase, failure) for at in positions})
            self._answers.update({at: error_for(failure, self.requests[at]) for at in self._open()})
            return
        finally:
            transaction.close()
        for position in positions:
            kept = found.get(self.keys[position].id)
            if isinstance(kept, InvalidRequestError):
                self._answers[position] = kept
            elif kept is not None:
                pending = transaction.pending
                done = WriteResult(message="done before", data=kept.data, replayed=True, pending=pending)
                self._answers[position] = done


class _Attempt:
    """One transaction over some of a batch's requests; for one thread.

    Args:
        batch: the batch.
        positions: which of its requests.
    """

    def __init__(self, batch: SQLBatch, positions: list[int]) -> None:
        self._batch = batch
        self._positions = positions
        self._requests = batch.requests.chosen(positions)
        self._keys: dict[int, Key] = {}
        if batch.keys:
            self._keys = {here: batch.keys[there] for here, there in enumerate(positions) if there in batch.keys}
        self._many: Many | None = getattr(batch.handler, "handle_many", None)
        self._transaction = batch.ground.transaction(batch.requests.originals[positions[0]], batch.deadline)
        self.data: list[Any] = [None] * len(positions)
        self._errors: dict[int, WriteError] = {}
        self._after: list[tuple[Collected, Span]] = []
        self._warnings: dict[int, tuple[str, ...]] = {}
        self._at: int | None = None

    def run(self, *, guarded: bool) -> WriteError | None:
        """Does it.

        Args:
            guarded: whether behind savepoints.

        Returns:
            What ended the whole transaction, or None if it was committed.

        Raises:
            KeyTakenError: a key was there; nothing is applied.
            _SomeFailedError: it was not guarded, and one failed; nothing is applied.
        """
        transaction = self._transaction
        lost: WriteError | None = None
        try:
            self._work(transaction.open(), guarded=guarded)
        except (KeyTakenError, _SomeFailedError):
            transaction.undo()
            raise
        except BaseException as error:
            failure = transaction.fail(error)
            if failure is None:
                raise
            if not is_open(failure):
                return failure
            lost = failure
        finally:
            trouble = transaction.close()
        if lost is not None:
            try:
                self._batch.ground.resolve(transaction, lost)
            except WriteError as error:
                return error
            trouble = COMMITTED_LATE
        self._follow_up(trouble)
        return None

    def _work(self, connection: Any, *, guarded: bool) -> None:
        if guarded:
            self._by_halves(connection)
        else:
            self._at_once(connection)
        if self._errors and (self._batch.atomic or len(self._errors) == len(self._positions)):
            self._transaction.undo()
            self._after.clear()
            return
        # One row tells for all, because they are committed together.
        self._transaction.keys += [key for here, key in self._keys.items() if here not in self._errors][:1]
        self._transaction.commit()

    @property
    def pending(self) -> bool:
        """Whether what it has done takes effect with a transaction around it only, which is not the writer's."""
        return self._transaction.pending

    @property
    def over(self) -> bool:
        """Whether nothing more can be tried, because the transaction around it cannot be committed any more."""
        return self._transaction.over

    @property
    def flawless(self) -> bool:
        """Whether there is nothing to say but the data of each, after `run` has returned None."""
        return not (self._errors or self._warnings)

    def answers(self) -> dict[int, Answer]:
        """By position in the batch, what became of each after `run` has returned None."""
        if self._batch.atomic and self._errors:
            return self.none_but(self._errors)
        answers: dict[int, Answer] = {}
        for here, there in enumerate(self._positions):
            answers[there] = self._errors.get(here) or WriteResult(
                True,
                "written" if self.pending else "committed",
                self.data[here],
                warnings=self._warnings.get(here, ()),
                pending=self.pending,
            )
        return answers

    def none_but(self, errors: Mapping[int, WriteError]) -> dict[int, Answer]:
        """The answers of an atomic batch of which some failed."""
        culprits = [self._positions[here] for here in errors]
        return {
            there: errors.get(here) or atomic_failure(self._requests[here], culprits)
            for here, there in enumerate(self._positions)
        }

    def ended_by(self, failure: WriteError) -> dict[int, Answer]:
        """The answers if the whole transaction has failed: what was found to be bad stays so."""
        return {
            there: self._errors.get(here) or error_for(failure, self._batch.requests.originals[there])
            for here, there in enumerate(self._positions)
        }

    def _at_once(self, connection: Any) -> None:
        try:
            self._do(Span(0, len(self._positions)), connection)
        except KeyTakenError:
            raise
        except Exception as error:
            failure = self._failure_of_one(error) if len(self._positions) > 1 else None
            if failure is None:
                raise
            raise _SomeFailedError(self._at, failure) from error

    def _by_halves(self, connection: Any) -> None:
        transaction, plan = self._transaction, Bisection(len(self._positions))
        while (span := plan.span) is not None:
            transaction.check()
            transaction.set_savepoint(_SAVEPOINT)
            try:
                self._do(span, connection)
                transaction.check()
                transaction.release_savepoint(_SAVEPOINT)
            except KeyTakenError:
                raise
            except Exception as error:
                failure = self._failure_of_one(error)
                if failure is None or not transaction.back_to_savepoint(_SAVEPOINT):
                    raise
                self._after = [one for one in self._after if one[1] is not span]
                culprit = plan.failed(self._at)
                if culprit is not None:
                    self._errors[culprit] = failure
                    if self._batch.atomic:
                        return
            else:
                plan.passed()

    def _failure_of_one(self, error: Exception) -> WriteError | None:
        """The error of one request, or None if it is about the whole transaction."""
        failure = self._transaction.judge(error)
        assert failure is not None, "an Exception is always judged"
        # What the handler itself raised is about its request, even if it may be sent again.
        own = failure is error or failure.retry is Retry.NEVER
        return failure if own and failure.outcome is Outcome.NOT_APPLIED else None

    def _do(self, span: Span, connection: Any) -> None:
        """Does neighbours: takes their keys, calls the handler, stores their results."""
        requests, collected = self._requests[span.start : span.stop], Collected()
        self._at, self._transaction.request = None, requests.originals[0]
        keys = {here: key for here, key in self._keys.items() if span.start <= here < span.stop}
        if keys:
            self._batch.ground.claim_many(connection, list(keys.values()), requests[0])
        with collected:
            if self._many is None or len(span) == 1:
                self._one_by_one(span, requests, connection)
            else:
                data = self._many(requests, connection)
                if len(data) != len(span):
                    raise _miscounted(len(data), len(span))
                self.data[span.start : span.stop] = data
        if collected.mark:
            self._after.append((collected, span))
        if keys:
            self._store(keys, connection)

    def _one_by_one(self, span: Span, requests: Requests, connection: Any) -> None:
        handle = self._batch.handler.handle
        for here, request in enumerate(requests, span.start):
            self._at, self._transaction.request = here, request
            self.data[here] = handle(request, connection)
            # An error that it swallowed may have spoilt the transaction, and the next one must not be blamed for it.
            self._transaction.check()
        # What goes wrong from here on is not known to be about the last one.
        self._at = None if len(span) > 1 else span.start

    def _store(self, keys: Mapping[int, Key], connection: Any) -> None:
        forms: dict[str, bytes] = {}
        for here, key in keys.items():
            if self.data[here] is not None:
                self._at = here
                forms[key.id] = stored_form(self.data[here])
        self._at = None
        self._batch.ground.store_many(connection, forms)

    def _follow_up(self, trouble: str) -> None:
        """Runs what handlers wanted done after the commit; each result has the warnings of its own call."""
        everyone = (trouble,) if trouble else ()
        if everyone:
            self._warnings = dict.fromkeys(range(len(self._positions)), everyone)
        for collected, span in self._after:
            if self.pending:
                self._batch.ground.defer(collected.run)
                continue
            failures = collected.run()
            for here in range(span.start, span.stop) if failures else ():
                self._warnings[here] = self._warnings.get(here, ()) + failures


def _may_be_about_one(failure: WriteError) -> bool:
    """Whether a transaction failed for what one of its requests did, so that the others may do without it."""
    clean = failure.outcome is Outcome.NOT_APPLIED and failure.retry is Retry.NEVER
    return clean and failure.phase in (Phase.EXECUTE, Phase.COMMIT)


def _miscounted(given: int, wanted: int) -> BackendError:
    return BackendError(
        f"handle_many returned {given} values for {wanted} requests; it must return one for each, by position",
        phase=Phase.EXECUTE,
        reason="handler",
    )


def _unread(request: WriteRequest, phase: Phase, cause: WriteError) -> BackendError:
    # Not "not applied", and so not a TIMEOUT either: a row with one of the keys has been seen.
    unread = BackendError(
        "a write with this idempotency key may have been done before, and its stored result could not be read; "
        "send it again",
        outcome=Outcome.UNKNOWN,
        retry=Retry.IF_IDEMPOTENT,
        phase=phase,
        target=request.target,
        type=request.type,
        reason="replay",
    )
    unread.__cause__ = cause
    return unread
