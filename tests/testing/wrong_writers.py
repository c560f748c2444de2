"""Writers that break one promise each, under the suite that must say so; run by `test_conformance_bites.py` alone.

All are an honest writer into a list but for one place. The names of the tests that must fail stand with each.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, ClassVar

import pytest

from wellwired.clock import Deadline
from wellwired.errors import BackendError, InvalidRequestError, Phase, Retry, WriteError, WriteTimeoutError
from wellwired.handlers import Handler, Registry
from wellwired.handlers.after import Collected
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing.conformance import WriterSuite
from wellwired.writers.protocol import Writer, WriterCapabilities, handler_failed


class RefusedError(Exception):
    """The backend's own error."""


class Draft(list[str]):
    """What a handler is given."""

    def refuse(self) -> None:
        """Refuses."""
        raise RefusedError


class Honest:
    """Keeps every promise that it makes."""

    name = "list.main"
    targets = (name,)
    capabilities = WriterCapabilities(deadline="fenced", atomic=True, idempotency=True)

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.kept: dict[tuple[str, str], tuple[Any, Any]] = {}
        self.handlers = Registry()
        self.turn = threading.RLock()

    def supports(self, target: str) -> bool:
        """Its name."""
        return target == self.name

    def find_handler(self, type: str) -> Handler | None:
        """The handler of a type."""
        return self.handlers.find(type)

    def register_handler(self, handler: Handler) -> None:
        """Adds a handler."""
        self.handlers.register(handler)

    def types(self) -> tuple[str, ...]:
        """What it has handlers for."""
        return self.handlers.types()

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """One attempt."""
        key, after = (request.type, request.idempotency_key or ""), Collected()
        with self.turn:
            if request.idempotency_key and key in self.kept:
                return self.replay(request, *self.kept[key])
            self.check(deadline, Phase.CHECKOUT)
            draft = self.draft()
            data = self.work(request, handler, draft, after)
            self.check(deadline, Phase.EXECUTE)
            self.texts[:] = draft
            if request.idempotency_key:
                self.kept[key] = (request.payload, data)
        return WriteResult(data=data, warnings=after.run())

    def draft(self) -> Draft:
        """What a handler works on."""
        return Draft(self.texts)

    def check(self, deadline: Deadline, phase: Phase) -> None:
        """The fence."""
        if deadline.passed:
            raise WriteTimeoutError("too late", retry=Retry.SAFE, phase=phase)

    def work(self, request: WriteRequest, handler: Handler, draft: Draft, after: Collected) -> Any:
        """The handler's part."""
        try:
            with after:
                return handler.handle(request, draft)
        except WriteError:
            raise
        except RefusedError as error:
            raise BackendError("refused", phase=Phase.EXECUTE, reason="data") from error
        except Exception as error:
            raise self.failed(error, request) from error

    def failed(self, error: Exception, request: WriteRequest) -> WriteError:
        """The error for a handler's bug."""
        return handler_failed(error, request)

    def replay(self, request: WriteRequest, payload: Any, data: Any) -> WriteResult[Any]:
        """The answer for a key that was seen."""
        if payload != request.payload:
            raise InvalidRequestError("another payload")
        return WriteResult(data=data, replayed=True)


class Swallowing(Honest):
    """Calls a failure a success."""

    def work(self, request: WriteRequest, handler: Handler, draft: Draft, after: Collected) -> Any:
        """Swallows what the handler raises."""
        try:
            return super().work(request, handler, draft, after)
        except WriteError:
            return None


class CommittingLate(Honest):
    """Tells its caller of a TIMEOUT while another thread goes on with the write, and commits it."""

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Waits for a thread, not longer than the deadline."""
        answers: list[Any] = []

        def attempt() -> None:
            try:
                answers.append(super(CommittingLate, self).write(request, handler=handler, deadline=Deadline.never()))
            except BaseException as error:  # noqa: BLE001 - raised by the waiting thread
                answers.append(error)

        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join(deadline.left())
        if not answers:
            raise WriteTimeoutError("too late", retry=Retry.SAFE, phase=Phase.EXECUTE)
        if isinstance(answers[0], BaseException):
            raise answers[0]
        result: WriteResult[Any] = answers[0]
        return result


class WithoutFence(Honest):
    """Asks the deadline once, before the work."""

    def check(self, deadline: Deadline, phase: Phase) -> None:
        """Only at first."""
        if phase is Phase.CHECKOUT:
            super().check(deadline, phase)


class TimingOutAfterCommit(Honest):
    """Asks the deadline once more when it is too late to ask."""

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Commits, and then calls it a TIMEOUT."""
        result = super().write(request, handler=handler, deadline=deadline)
        self.check(deadline, Phase.EXECUTE)
        return result


class Direct(Honest):
    """Lets handlers work on the data itself, and still says NOT_APPLIED."""

    def draft(self) -> Draft:
        """No draft."""
        self.texts = draft = self.texts if isinstance(self.texts, Draft) else Draft(self.texts)
        return draft


class Quoting(Honest):
    """Tells what the handler's exception said."""

    def failed(self, error: Exception, request: WriteRequest) -> WriteError:
        """Quotes."""
        return BackendError(f"the handler failed: {error}", phase=Phase.EXECUTE, reason="handler")


class OddError(BackendError):
    """Does not survive pickling with what it knows."""

    def __reduce__(self) -> tuple[Any, ...]:
        return BackendError, ("another text",)


class NotPickling(Honest):
    """Raises errors that do not travel."""

    def failed(self, error: Exception, request: WriteRequest) -> WriteError:
        """An odd error."""
        return OddError("the handler failed", phase=Phase.EXECUTE, reason="handler")


class Retrying(Honest):
    """Tries again by itself."""

    def work(self, request: WriteRequest, handler: Handler, draft: Draft, after: Collected) -> Any:
        """Twice."""
        try:
            return super().work(request, handler, draft, after)
        except WriteError as error:
            if error.retry is not Retry.SAFE:
                raise
            return super().work(request, handler, draft, after)


class CallingEarly(Honest):
    """Runs callbacks before the commit."""

    def work(self, request: WriteRequest, handler: Handler, draft: Draft, after: Collected) -> Any:
        """Does not wait."""
        data = super().work(request, handler, draft, after)
        after.run()
        return data


class Trusting(Honest):
    """Does not look whether a key comes with the same payload."""

    def replay(self, request: WriteRequest, payload: Any, data: Any) -> WriteResult[Any]:
        """Replays anything."""
        return WriteResult(data=data, replayed=True)


class Hasty(Honest):
    """Keeps the key before it knows whether the write succeeds."""

    def work(self, request: WriteRequest, handler: Handler, draft: Draft, after: Collected) -> Any:
        """Files first."""
        self.kept[request.type, request.idempotency_key or ""] = (request.payload, None)
        return super().work(request, handler, draft, after)


class Racing(Honest):
    """Looks for the key before it waits for its turn."""

    def write(self, request: WriteRequest, *, handler: Handler, deadline: Deadline) -> WriteResult[Any]:
        """Looks too early."""
        key = (request.type, request.idempotency_key or "")
        if request.idempotency_key and key in self.kept:
            return self.replay(request, *self.kept[key])
        threading.Event().wait(0.05)
        plain = WriteRequest(request.target, request.type, request.payload)
        result = super().write(plain, handler=handler, deadline=deadline)
        self.kept[key] = (request.payload, result.data)
        return result


class Leaking(Honest):
    """Does not give a place back after a failure."""

    places = 5

    def failed(self, error: Exception, request: WriteRequest) -> WriteError:
        """Loses a place."""
        self.places -= 1
        if self.places < 0:
            raise RuntimeError("no place left")
        return super().failed(error, request)


class Ground(WriterSuite):
    """The suite on a writer into a list."""

    shared = False
    kind: ClassVar[type[Honest]] = Honest

    @pytest.fixture
    def writer(self) -> Writer:
        """A fresh one."""
        return self.kind()

    def put(self, connection: Draft, text: str) -> None:
        """An element."""
        connection.append(text)

    def written(self, writer: Writer) -> Iterable[str]:
        """The list."""
        assert isinstance(writer, Honest)
        return writer.texts

    def refuse(self, connection: Draft) -> None:
        """The draft's own refusal."""
        connection.refuse()


class TestHonest(Ground):
    """Passes."""


class TestSwallowing(Ground):
    """See `Swallowing`."""

    kind = Swallowing


class TestCommittingLate(Ground):
    """See `CommittingLate`."""

    kind = CommittingLate


class TestWithoutFence(Ground):
    """See `WithoutFence`."""

    kind = WithoutFence


class TestTimingOutAfterCommit(Ground):
    """See `TimingOutAfterCommit`."""

    kind = TimingOutAfterCommit


class TestDirect(Ground):
    """See `Direct`."""

    kind = Direct


class TestQuoting(Ground):
    """See `Quoting`."""

    kind = Quoting


class TestNotPickling(Ground):
    """See `NotPickling`."""

    kind = NotPickling


class TestRetrying(Ground):
    """See `Retrying`."""

    kind = Retrying


class TestCallingEarly(Ground):
    """See `CallingEarly`."""

    kind = CallingEarly


class TestTrusting(Ground):
    """See `Trusting`."""

    kind = Trusting


class TestHasty(Ground):
    """See `Hasty`."""

    kind = Hasty


class TestRacing(Ground):
    """See `Racing`."""

    kind = Racing


class TestLeaking(Ground):
    """See `Leaking`."""

    kind = Leaking
