"""Tests that no middleware can change what became of a write."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.middleware.kit import SECRET, Scripted, never, operation, safe, timeout, unknown
from wellwired.errors import BackendError, InvalidRequestError, Outcome, Retry, WriteError, WriteTimeoutError
from wellwired.middleware import WriteMiddleware, WriteNext, chain, sealed
from wellwired.operations import WriteOperation, WriteResult


def layer(body: Callable[[WriteNext, WriteOperation], Any]) -> WriteMiddleware:
    """A middleware with that body."""

    def wrap(next: WriteNext) -> WriteNext:
        def call(given: WriteOperation) -> WriteResult[Any]:
            result: WriteResult[Any] = body(next, given)
            return result

        return call

    return wrap


def through(endpoint: Scripted, *bodies: Callable[[WriteNext, WriteOperation], Any]) -> WriteResult[Any]:
    """What becomes of a write through sealed layers."""
    return chain(endpoint, [sealed([layer(body) for body in bodies])])(operation())


def failing(endpoint: Scripted, *bodies: Callable[[WriteNext, WriteOperation], Any]) -> WriteError:
    """How a write through sealed layers fails."""
    with pytest.raises(WriteError) as caught:
        through(endpoint, *bodies)
    return caught.value


def before(next: WriteNext, given: WriteOperation) -> Any:
    """Fails on the way in."""
    raise KeyError(SECRET)


def after(next: WriteNext, given: WriteOperation) -> Any:
    """Fails on the way out, whatever happened."""
    try:
        next(given)
    finally:
        raise KeyError(SECRET)


def plain(next: WriteNext, given: WriteOperation) -> Any:
    """Does nothing of its own."""
    return next(given)


def silent(next: WriteNext, given: WriteOperation) -> Any:
    """Forgets to return."""
    next(given)


def test_good_layers_are_not_noticed() -> None:
    """The result is the one that they return, in their order."""
    seen: list[str] = []

    def note(name: str) -> Callable[[WriteNext, WriteOperation], Any]:
        def body(next: WriteNext, given: WriteOperation) -> Any:
            seen.append(name)
            return next(given)

        return body

    result: WriteResult[Any] = WriteResult(message="written")
    assert through(Scripted(result), note("first"), note("last")) is result
    assert seen == ["last", "first"]


@pytest.mark.parametrize("body", [after, silent])
def test_a_failure_after_a_commit_is_a_warning(body: Any) -> None:
    """A caller who was told of an error would send the write again."""
    result = through(Scripted(WriteResult(message="written", data=7, warnings=("w",))), body)
    assert (result.message, result.data, result.warnings[0]) == ("written", 7, "w")
    assert "after the write had taken effect" in result.warnings[1]
    assert SECRET not in repr(result)


@pytest.mark.parametrize("error", [timeout(), InvalidRequestError("no"), safe(), never()])
def test_no_write_error_after_a_commit_either(error: WriteError) -> None:
    """Least of all one that says that nothing was applied, or that the write may be sent again."""

    def late(next: WriteNext, given: WriteOperation) -> Any:
        next(given)
        raise error

    result = through(Scripted(), late)
    assert result.success
    assert type(error).__name__ in result.warnings[0]


def test_a_failure_before_the_write_stops_it() -> None:
    """Nothing was sent; the error is a fault of the middleware and is not retried."""
    endpoint = Scripted()
    error = failing(endpoint, before)
    assert isinstance(error, BackendError)
    assert (error.outcome, error.retry, error.reason) == (Outcome.NOT_APPLIED, Retry.NEVER, "middleware")
    assert (error.target, error.type) == ("sql.main", "profile")
    assert isinstance(error.__cause__, KeyError)
    assert SECRET not in str(error)
    assert endpoint.seen == []


def test_a_middleware_may_refuse_by_a_write_error() -> None:
    """Which reaches the caller as it is."""
    refusal = InvalidRequestError("not on Sundays")

    def closed(next: WriteNext, given: WriteOperation) -> Any:
        raise refusal

    assert failing(Scripted(), closed) is refusal


def test_an_error_of_the_backend_passes() -> None:
    """As it is."""
    error = unknown()
    assert failing(Scripted(error), plain) is error


def test_an_open_outcome_cannot_be_covered_up() -> None:
    """Not by a fault in the middleware, and not by an error that claims that nothing was applied."""
    assert failing(Scripted(unknown()), after).outcome is Outcome.UNKNOWN

    def claiming(next: WriteNext, given: WriteOperation) -> Any:
        try:
            return next(given)
        except WriteError:
            raise timeout() from None

    error = failing(Scripted(unknown()), claiming)
    assert not isinstance(error, WriteTimeoutError)
    assert error.outcome is Outcome.UNKNOWN


def test_a_middleware_may_repeat_a_write_by_itself() -> None:
    """What it did last stands; what it did before is not forgotten."""

    def twice(next: WriteNext, given: WriteOperation) -> Any:
        try:
            return next(given)
        except WriteError:
            return next(given)

    assert through(Scripted(safe(), WriteResult(data=2)), twice).data == 2
    assert failing(Scripted(unknown(), never()), twice).outcome is Outcome.UNKNOWN


def test_a_middleware_may_answer_without_a_write() -> None:
    """With a result."""
    result: WriteResult[Any] = WriteResult(message="cached")
    assert through(Scripted(), lambda _, given: result) is result


@pytest.mark.parametrize("answer", [None, True, WriteResult(False, "no")], ids=["nothing", "a flag", "no success"])
def test_a_middleware_answers_with_a_success_or_an_error(answer: Any) -> None:
    """Anything else is a fault of its own."""
    error = failing(Scripted(), lambda _, given: answer)
    assert (error.reason, error.outcome) == ("middleware", Outcome.NOT_APPLIED)
    assert "gave no successful result" in str(error)


def test_a_write_within_a_write_is_witnessed_apart() -> None:
    """An audit record that took effect does not make the refused write a success."""
    audit = Scripted()
    inner = chain(audit, [sealed([layer(plain)])])

    def audited(next: WriteNext, given: WriteOperation) -> Any:
        inner(given)
        return next(given)

    error = never()
    assert failing(Scripted(error), audited) is error
    assert len(audit.seen) == 1


def test_a_write_through_the_same_layers_is_witnessed_apart() -> None:
    """A middleware may write a record of its own through the manager that it belongs to."""
    lost = unknown()
    calls: list[Callable[[WriteOperation], WriteResult[Any]]] = []

    def audited(next: WriteNext, given: WriteOperation) -> Any:
        if given.attempt == 1:
            calls[0](operation(attempt=2))
        return next(given)

    def endpoint(given: WriteOperation) -> WriteResult[Any]:
        if given.attempt == 1:
            raise lost
        return WriteResult(data="audit")

    calls.append(chain(endpoint, [sealed([layer(audited), layer(after)])]))
    with pytest.raises(WriteError) as caught:
        calls[0](operation())
    assert isinstance(caught.value, BackendError)
    assert (caught.value.reason, caught.value.outcome) == ("middleware", Outcome.UNKNOWN)
    assert calls[0](operation(attempt=2)).data == "audit"


def test_a_layer_may_use_a_thread_of_its_own() -> None:
    """The write gets through, though it is not witnessed."""

    def threaded(next: WriteNext, given: WriteOperation) -> Any:
        box: list[WriteResult[Any]] = []
        thread = threading.Thread(target=lambda: box.append(next(given)))
        thread.start()
        thread.join()
        return box[0]

    assert through(Scripted(WriteResult(data=1)), threaded).data == 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_passes(stop: type[BaseException]) -> None:
    """Untouched, after a commit as well."""

    def stopping(next: WriteNext, given: WriteOperation) -> Any:
        next(given)
        raise stop

    with pytest.raises(stop):
        through(Scripted(), stopping)


def test_racing_writes_have_witnesses_of_their_own() -> None:
    """A commit of one thread is no excuse for another's failure."""
    start = threading.Barrier(8)
    wrong: list[object] = []

    def body(next: WriteNext, given: WriteOperation) -> Any:
        result = next(given)
        raise KeyError(result.data)

    def endpoint(given: WriteOperation) -> WriteResult[Any]:
        if given.attempt % 2:
            raise never()
        return WriteResult(data=given.attempt)

    call = chain(endpoint, [sealed([layer(body)])])

    def answer(number: int) -> object:
        try:
            return call(operation(attempt=number)).data
        except WriteError:
            return "refused"

    def run(number: int) -> None:
        start.wait()
        expected = "refused" if number % 2 else number
        wrong.extend(found for found in (answer(number) for _ in range(200)) if found != expected)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
