"""The first half of the writer suite: names and handlers, one write, its failures, its time, and what follows it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from wellwired.clock import Deadline
from wellwired.errors import (
    BackendError,
    InvalidRequestError,
    Outcome,
    RegistrationError,
    Retry,
    WriteTimeoutError,
)
from wellwired.handlers.after import after_commit
from wellwired.operations import WriteRequest
from wellwired.testing._suite import SECRET, Common
from wellwired.testing.clock import VirtualClock
from wellwired.writers.protocol import Listed, Writer, WriterCapabilities

__all__ = ["AfterCommit", "Failures", "Names", "Time"]


class Names(Common):
    """Targets, handlers and the plain success."""

    def test_it_is_a_writer(self, writer: Writer) -> None:
        """It has what the manager asks for, and a name."""
        assert isinstance(writer, Writer)
        assert writer.name and isinstance(writer.name, str)

    def test_it_supports_its_own_name_and_no_other(self, writer: Writer) -> None:
        """Its name is a target of its own; what it does not list is somebody else's."""
        assert writer.supports(writer.name)
        assert not writer.supports("conformance.nobody")

    def test_what_it_lists_is_what_it_supports(self, writer: Writer) -> None:
        """If it lists targets, its name is the first, and it supports each."""
        if not isinstance(writer, Listed):
            pytest.skip("the writer lists nothing")
        assert writer.targets[0] == writer.name
        assert [target for target in writer.targets if not writer.supports(target)] == []

    def test_a_handler_is_found_by_its_type(self, writer: Writer) -> None:
        """What was registered is found, and listed; an unknown type is None and no error."""
        handler = self.handler(writer)
        assert writer.find_handler(handler.type) is handler
        assert writer.find_handler("conformance_nothing") is None
        if isinstance(writer, Listed):
            assert handler.type in writer.types()

    def test_a_type_has_one_handler(self, writer: Writer) -> None:
        """A second handler of a type is refused, and the first goes on serving it."""
        first = self.handler(writer)

        class Second:
            type = first.type

            def handle(self, request: WriteRequest, connection: Any, /) -> None:
                """Is never called."""

        with pytest.raises(RegistrationError):
            writer.register_handler(Second())
        assert writer.find_handler(first.type) is first

    def test_a_success_is_there_once(self, writer: Writer) -> None:
        """What the handler wrote is there when the write has returned, as often as it was written."""
        result = self.attempt(writer)
        assert self.there(writer) == ["one"]
        assert result.data == "one" and not result.replayed

    def test_each_success_is_there(self, writer: Writer) -> None:
        """One write does not undo another."""
        for text in ("one", "two", "two"):
            self.attempt(writer, text=text)
        assert self.there(writer) == ["one", "two", "two"]

    def test_a_handler_is_called_once(self, writer: Writer) -> None:
        """An attempt is one call of the handler, with the request as it was given."""
        seen: list[Any] = []

        def work(request: WriteRequest, connection: Any) -> None:
            seen.append((request.payload["text"], request.target, request.type))
            self.put(connection, "one")

        handler = self.handler(writer, work)
        self.send(writer, handler)
        assert seen == [("one", writer.name, handler.type)]


class Failures(Common):
    """What a failure leaves behind, what it says, and that nothing is tried twice."""

    def test_a_handlers_bug_is_rolled_back(self, writer: Writer, promised: WriterCapabilities) -> None:
        """Any exception is the handler's failure, never to be sent again; of an atomic write nothing is left."""

        def work(_request: WriteRequest, connection: Any) -> None:
            self.put(connection, "head")
            raise KeyError(SECRET)

        error = self.failing(lambda: self.attempt(writer, work))
        assert isinstance(error, BackendError) and error.retry is Retry.NEVER
        assert error.reason == "handler" and isinstance(error.__cause__, KeyError)
        self.assert_honest(error, writer, [])
        if promised.atomic:
            assert error.outcome is Outcome.NOT_APPLIED and self.there(writer) == []

    def test_a_write_error_of_the_handlers_passes_as_it_is(self, writer: Writer, promised: WriterCapabilities) -> None:
        """What a handler refuses with a `WriteError` reaches the caller, and nothing is applied."""
        refusal = InvalidRequestError("no such account", reason="account")

        def work(_request: WriteRequest, connection: Any) -> None:
            self.put(connection, "head")
            raise refusal

        error = self.failing(lambda: self.attempt(writer, work))
        assert isinstance(error, InvalidRequestError) and error.reason == "account"
        self.assert_honest(error, writer, [])
        if promised.atomic:
            assert self.there(writer) == []

    def test_a_refusal_of_the_backends_says_what_it_left(
        self, writer: Writer, refusing: Callable[[Any], None], promised: WriterCapabilities
    ) -> None:
        """It is a BACKEND error around the backend's own, and its outcome is true."""

        def work(_request: WriteRequest, connection: Any) -> None:
            self.put(connection, "head")
            refusing(connection)

        error = self.failing(lambda: self.attempt(writer, work))
        assert isinstance(error, BackendError) and error.__cause__ is not None
        self.assert_honest(error, writer, [])
        if promised.atomic:
            assert error.outcome is Outcome.NOT_APPLIED and self.there(writer) == []

    def test_a_swallowed_refusal_is_no_half_success(
        self, writer: Writer, refusing: Callable[[Any], None], promised: WriterCapabilities
    ) -> None:
        """A handler that goes on after an error gets all that it did, or an error that says what is there."""

        def work(_request: WriteRequest, connection: Any) -> None:
            self.put(connection, "head")
            try:
                refusing(connection)
            except Exception:  # noqa: BLE001, S110 - the mistake that is tested
                pass
            self.put(connection, "tail")

        done = list[Any]()
        try:
            error = self.failing(lambda: done.append(self.attempt(writer, work)))
        except AssertionError:
            if not done:
                raise
            assert self.there(writer) == ["head", "tail"], "half of what was reported as a success is there"
            return
        self.assert_honest(error, writer, [])
        whole = self.there(writer) in ([], ["head", "tail"])
        assert whole or not promised.atomic, "half of an atomic write is there"

    def test_nothing_is_tried_twice(self, writer: Writer) -> None:
        """Not even what is safe to retry: retries are the manager's."""
        calls: list[int] = []

        def work(_request: WriteRequest, _connection: Any) -> None:
            calls.append(1)
            raise BackendError("busy", retry=Retry.SAFE, reason="lock")

        error = self.failing(lambda: self.attempt(writer, work))
        assert error.retry is Retry.SAFE and calls == [1]

    def test_a_failure_spoils_nothing_that_follows(self, writer: Writer) -> None:
        """After a failure the next write is as good as the first; more often than any pool has connections."""

        def work(_request: WriteRequest, _connection: Any) -> None:
            raise ValueError(SECRET)

        broken, sound = self.handler(writer, work), self.handler(writer)
        for _ in range(20):
            self.failing(lambda: self.send(writer, broken))
        self.send(writer, sound)
        assert self.there(writer) == ["one"]

    def test_a_request_to_stop_passes(self, writer: Writer, promised: WriterCapabilities) -> None:
        """`KeyboardInterrupt` and its like are nobody's to swallow; an atomic write leaves nothing behind."""

        def work(_request: WriteRequest, connection: Any) -> None:
            self.put(connection, "head")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.attempt(writer, work)
        if promised.atomic:
            assert self.there(writer) == []
        self.attempt(writer)
        assert "one" in self.there(writer)


class Time(Common):
    """TIMEOUT means not applied, for a writer that promises a fence."""

    @pytest.fixture
    def fenced(self, promised: WriterCapabilities) -> None:
        """Only for a writer whose capabilities say so."""
        if promised.deadline != "fenced":
            pytest.skip("the writer does not promise that a TIMEOUT is never applied: its deadline is best effort")

    @pytest.mark.usefixtures("fenced")
    def test_what_comes_too_late_does_nothing(self, writer: Writer) -> None:
        """A deadline that has passed is a TIMEOUT, and nothing is applied."""
        clock = VirtualClock()
        deadline = Deadline.after(1, clock)
        clock.advance(2)
        error = self.failing(lambda: self.attempt(writer, deadline=deadline))
        assert isinstance(error, WriteTimeoutError) and error.retry is Retry.SAFE
        assert self.there(writer) == []

    @pytest.mark.usefixtures("fenced")
    def test_work_that_ends_late_is_not_applied(self, writer: Writer) -> None:
        """The deadline is asked once more when the handler has returned, directly before the commit."""
        clock = VirtualClock()

        def work(_request: WriteRequest, connection: Any) -> None:
            self.put(connection, "late")
            clock.advance(100)

        error = self.failing(lambda: self.attempt(writer, work, deadline=Deadline.after(50, clock)))
        assert isinstance(error, WriteTimeoutError)
        assert self.there(writer) == []

    @pytest.mark.usefixtures("fenced")
    def test_a_timeout_is_never_applied_later(self, writer: Writer) -> None:
        """Nobody goes on with the work, or commits it, after the caller was told of a TIMEOUT."""
        ended, threads = threading.Event(), list[int]()

        def work(_request: WriteRequest, connection: Any) -> None:
            threads.append(threading.get_ident())
            self.put(connection, "late")
            threading.Event().wait(0.4)
            ended.set()

        self.attempt(writer, lambda _request, _connection: None)  # so that a connection need not be made first
        error = self.failing(lambda: self.attempt(writer, work, deadline=Deadline.after(0.15)))
        assert isinstance(error, WriteTimeoutError)
        assert not threads or ended.wait(10), "the handler was left behind"
        # In the caller's own thread nothing can be under way any more; elsewhere it is given a while.
        until = time.monotonic() + (0 if threads == [threading.get_ident()] else 1)
        while True:
            assert self.there(writer) == [], "what was reported as a TIMEOUT was applied later"
            if time.monotonic() >= until:
                break
            threading.Event().wait(0.05)

    @pytest.mark.usefixtures("fenced")
    def test_time_that_passes_after_the_commit_is_no_timeout(self, writer: Writer) -> None:
        """A write that was committed in time is a success, whatever follows it."""
        clock = VirtualClock()

        def work(_request: WriteRequest, connection: Any) -> None:
            _after(lambda: clock.advance(100))
            self.put(connection, "one")

        self.attempt(writer, work, deadline=Deadline.after(50, clock))
        assert self.there(writer) == ["one"]


class AfterCommit(Common):
    """`after_commit`: after the commit, only after a commit, and never a reason for an error."""

    def test_it_runs_after_the_commit_and_in_order(self, writer: Writer) -> None:
        """What a callback looks for is there already, and each runs once."""
        seen: list[Any] = []

        def work(_request: WriteRequest, connection: Any) -> None:
            _after(lambda: seen.append(self.there(writer)))
            _after(lambda: seen.append("second"))
            self.put(connection, "one")
            assert seen == []

        self.attempt(writer, work)
        assert seen == [["one"], "second"]

    def test_nothing_runs_for_a_write_that_failed(self, writer: Writer) -> None:
        """A write that was rolled back has no after; nor has it one at the next write."""
        seen: list[str] = []

        def work(_request: WriteRequest, connection: Any) -> None:
            _after(lambda: seen.append("never"))
            self.put(connection, "head")
            raise ValueError(SECRET)

        self.failing(lambda: self.attempt(writer, work))
        self.attempt(writer)
        assert seen == []

    def test_a_callback_that_fails_is_a_warning(self, writer: Writer) -> None:
        """The write is what it is; the next callback runs; the warning does not quote what was raised."""
        seen: list[str] = []

        def fails() -> None:
            raise ValueError(SECRET)

        def work(_request: WriteRequest, connection: Any) -> None:
            _after(fails)
            _after(lambda: seen.append("next"))
            self.put(connection, "one")

        result = self.attempt(writer, work)
        assert len(result.warnings) == 1 and SECRET not in repr(result)
        assert (self.there(writer), seen) == (["one"], ["next"])


def _after(callback: Callable[[], object]) -> None:
    try:
        after_commit(callback)
    except RegistrationError:
        pytest.skip("the writer collects no after_commit callbacks: see wellwired.handlers.after.Collected")
