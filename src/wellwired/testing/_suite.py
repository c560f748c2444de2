"""What the tests of the writer suite stand on: how they write, and what every error must be.

A test writes short texts through handlers of its own, which it registers as an application would, and reads back what
is really there. Each payload has a secret in it, and each error that a test meets is looked over for it.
"""

from __future__ import annotations

import itertools
import pickle
import secrets
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import pytest

from wellwired.clock import Deadline
from wellwired.errors import ErrorCode, Outcome, Phase, Retry, WriteError, WriteTimeoutError
from wellwired.handlers import FunctionHandler
from wellwired.operations import WriteRequest, WriteResult
from wellwired.writers.protocol import Writer, WriterCapabilities, capabilities_of

__all__ = ["SECRET", "Common", "Work", "look_over"]

SECRET = f"hidden-{secrets.token_hex(8)}"
"""Stands in every payload, and in the text of every exception that a handler raises; in no error of a writer's."""

Work = Callable[[WriteRequest, Any], Any]
"""What a test has a handler do."""

_numbers = itertools.count(1)
_AFTER = (Phase.COMMIT, Phase.DONE)


def look_over(error: WriteError) -> None:
    """Asserts what holds for every error of a writer, whatever happened.

    Args:
        error: what the writer raised.
    """
    said: Any = error
    assert isinstance(said.code, ErrorCode) and isinstance(said.outcome, Outcome), f"no code or outcome: {error!r}"
    assert isinstance(said.phase, Phase) and isinstance(said.retry, Retry), f"no phase or retry: {error!r}"
    if isinstance(error, WriteTimeoutError):
        assert error.outcome is Outcome.NOT_APPLIED, "a TIMEOUT means not applied, and nothing else"
        assert error.phase not in _AFTER, "once COMMIT has been sent there is no TIMEOUT any more"
    if error.outcome is not Outcome.NOT_APPLIED:
        assert error.retry is not Retry.SAFE, f"an outcome of {error.outcome} is never safe to send again"
    travelled = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(travelled) is type(error) and str(travelled) == str(error), "the error does not survive pickling"
    facts = ("outcome", "retry", "phase", "reason", "backend_code", "target", "type", "attempts")
    lost = [fact for fact in facts if getattr(travelled, fact) != getattr(error, fact)]
    assert lost == [], f"pickling loses {lost}"
    shown = [str(error), repr(error), repr(error.args), *getattr(error, "__notes__", ())]
    assert not any(SECRET in text for text in shown), (
        "the error shows the payload, or what the handler's exception said"
    )
    assert SECRET.encode() not in pickle.dumps(error), "the pickled error has the payload in it"


class Common:
    """What a subclass says about its writer, and what the tests use of it."""

    shared: ClassVar[bool] = True
    """Whether what is written is seen by other processes; False for a backend that lives in its process."""

    @pytest.fixture
    def writer(self) -> Writer:
        """The writer under test, fresh, on a backend of its own with nothing written; every subclass overrides this."""
        raise NotImplementedError("a subclass supplies the writer")

    def put(self, connection: Any, text: str) -> None:
        """Writes one text, within a handler; to do it twice writes it twice. Every subclass overrides this.

        Args:
            connection: what the writer hands its handlers.
            text: some letters and digits.
        """
        raise NotImplementedError("a subclass says how a text is written")

    def written(self, writer: Any) -> Iterable[str]:
        """The texts that are there for good, in any order, by another way than the writer. Every subclass overrides it.

        Args:
            writer: what `writer` gave.
        """
        raise NotImplementedError("a subclass says what has been written")

    def refuse(self, connection: Any) -> None:
        """Has the backend refuse something, within a handler; without it the tests of refusals are skipped.

        Args:
            connection: what the writer hands its handlers.
        """
        raise NotImplementedError("a subclass says what the backend refuses")

    def after_fork(self, writer: Any) -> None:
        """What an application does in a forked child before it writes; nothing, if not overridden.

        Args:
            writer: what `writer` gave.
        """

    @pytest.fixture
    def promised(self, writer: Writer) -> WriterCapabilities:
        """What the writer promises: its attribute `capabilities`, or what can be told by looking at it."""
        return capabilities_of(writer)

    @pytest.fixture
    def refusing(self) -> Callable[[Any], None]:
        """What has the backend refuse."""
        if type(self).refuse is Common.refuse:
            pytest.skip("the suite was not told how to have the backend refuse: override `refuse`")
        return self.refuse

    def there(self, writer: Writer) -> list[str]:
        """What is written, sorted."""
        return sorted(self.written(writer))

    def puts(self, request: WriteRequest, connection: Any) -> str:
        """The usual work of a handler: writes the payload's text and returns it."""
        text = str(request.payload["text"])
        self.put(connection, text)
        return text

    def handler(self, writer: Writer, work: Work | None = None, **traits: Any) -> FunctionHandler[Any, Any]:
        """A handler that the writer knows, under a type of its own.

        Args:
            writer: where it is registered.
            work: what it does; by default it writes the payload's text.
            traits: as for `FunctionHandler`.
        """
        made = FunctionHandler[Any, Any](work or self.puts, type=f"conformance_{next(_numbers)}", **traits)
        writer.register_handler(made)
        return made

    def request(self, writer: Writer, type: str, text: str = "one", key: str | None = None) -> WriteRequest:
        """A valid request to write a text."""
        return WriteRequest(writer.name, type, {"text": text, "secret": SECRET}, idempotency_key=key)

    def attempt(
        self,
        writer: Writer,
        work: Work | None = None,
        *,
        text: str = "one",
        deadline: Deadline | None = None,
    ) -> WriteResult[Any]:
        """One attempt by a handler of its own."""
        handler = self.handler(writer, work)
        return self.send(writer, handler, text=text, deadline=deadline)

    def send(
        self,
        writer: Writer,
        handler: FunctionHandler[Any, Any],
        *,
        text: str = "one",
        key: str | None = None,
        deadline: Deadline | None = None,
    ) -> WriteResult[Any]:
        """One attempt by this handler."""
        request = self.request(writer, handler.type, text, key)
        result: object = writer.write(request, handler=handler, deadline=deadline or Deadline.after(60))
        assert isinstance(result, WriteResult) and result.success, f"write() returned {type(result).__name__}"
        return result

    def failing(self, act: Callable[[], Any]) -> WriteError:
        """The error of something that must fail, looked over."""
        try:
            act()
        except WriteError as error:
            look_over(error)
            return error
        except Exception as error:
            raise AssertionError(f"a writer raises WriteErrors only, and this was {type(error).__name__}") from error
        raise AssertionError("it was to fail and was reported as a success")

    def assert_honest(self, error: WriteError, writer: Writer, before: Iterable[str]) -> None:
        """Asserts that what is there is what the error's outcome says."""
        if error.outcome is Outcome.NOT_APPLIED:
            assert self.there(writer) == sorted(before), "the error says NOT_APPLIED, and something was applied"
