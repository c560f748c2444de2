"""The handler suite: what its payload model refuses, and that what is declared of a handler is true."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec
import pytest

from wellwired.clock import Deadline
from wellwired.errors import InvalidRequestError, WriteError
from wellwired.handlers import Handler, traits, validate_payload
from wellwired.operations import WriteRequest, WriteResult
from wellwired.testing._suite import look_over
from wellwired.writers.protocol import Writer, capabilities_of

__all__ = ["HandlerSuite"]


class HandlerSuite:
    """What a handler must be. A subclass overrides `handler`, `writer`, `state` and `good`, and may override `bad`."""

    good: ClassVar[Any] = None
    """A payload that is accepted and takes effect on the fresh backend. Every subclass overrides it."""

    bad: ClassVar[Iterable[Any]] = ()
    """Payloads that must be refused before anything is sent."""

    secrets: ClassVar[Iterable[str]] = ()
    """Texts in `bad` that must not be shown by the refusals."""

    @pytest.fixture
    def handler(self) -> Handler:
        """The handler under test; every subclass overrides this."""
        raise NotImplementedError("a subclass supplies the handler")

    @pytest.fixture
    def writer(self) -> Writer:
        """A fresh writer for it, on a backend that has what the handler needs; every subclass overrides this."""
        raise NotImplementedError("a subclass supplies a writer")

    def state(self, writer: Any) -> Any:
        """What the handler changes, as it is there for good, to be compared by ``==``; every subclass overrides this.

        Args:
            writer: what `writer` gave.
        """
        raise NotImplementedError("a subclass says what the handler changes")

    def test_it_is_a_handler(self, handler: Handler) -> None:
        """It has a type and a `handle`, and its optional attributes are of the right kind."""
        assert isinstance(handler, Handler)
        assert traits(handler).backend == getattr(handler, "backend", "")

    def test_a_good_payload_takes_effect(self, handler: Handler, writer: Writer) -> None:
        """It is accepted, the write succeeds, and something has changed."""
        before = self.state(writer)
        assert self._write(handler, writer).success
        assert self.state(writer) != before

    def test_a_bad_payload_is_refused(self, handler: Handler, writer: Writer) -> None:
        """Each is an INVALID_REQUEST that shows no value, and nothing is changed."""
        payloads = list(self.bad)
        if not payloads:
            pytest.skip("the suite was given no bad payloads: override `bad`")
        before = self.state(writer)
        for number, payload in enumerate(payloads):
            request = WriteRequest(writer.name, handler.type, payload)
            error = _refusal(handler, writer, request)
            assert error is not None, f"the bad payload number {number} was accepted"
            look_over(error)
            assert [secret for secret in self.secrets if secret in f"{error!r}{error}"] == []
        assert self.state(writer) == before

    def test_an_idempotent_handler_is_idempotent(self, handler: Handler, writer: Writer) -> None:
        """Doing it twice leaves what doing it once leaves, if it says so; the manager repeats it on its word."""
        if not traits(handler).idempotent:
            pytest.skip("the handler is not declared idempotent")
        self._write(handler, writer)
        once = self.state(writer)
        self._write(handler, writer)
        assert self.state(writer) == once, "declared idempotent, and a second time changed what the first had left"

    def test_the_payload_is_left_alone(self, handler: Handler, writer: Writer) -> None:
        """A retry must find it as it was."""
        request = validate_payload(handler, WriteRequest(writer.name, handler.type, copy.deepcopy(self.good)))
        before = copy.deepcopy(request.payload)
        writer.write(request, handler=handler, deadline=Deadline.after(60))
        assert request.payload == before

    def test_its_result_can_be_kept(self, handler: Handler, writer: Writer) -> None:
        """What it returns has a JSON form, which an idempotency key needs to be replayed."""
        data = self._write(handler, writer).data
        if not capabilities_of(writer).idempotency:
            pytest.skip("the writer keeps no idempotency keys")
        try:
            msgspec.json.encode(data)
        except (TypeError, ValueError) as error:
            raise AssertionError(f"the handler returned a {type(data).__name__}, which has no JSON form") from error

    def test_a_key_is_one_write(self, handler: Handler, writer: Writer) -> None:
        """With an idempotency key, sent twice, it is done once and answered the same."""
        if not capabilities_of(writer).idempotency:
            pytest.skip("the writer keeps no idempotency keys")
        first = self._write(handler, writer, key="k1")
        once = self.state(writer)
        again = self._write(handler, writer, key="k1")
        assert again.replayed and self.state(writer) == once
        assert msgspec.json.encode(again.data) == msgspec.json.encode(first.data)

    def _write(self, handler: Handler, writer: Writer, key: str | None = None) -> WriteResult[Any]:
        payload = copy.deepcopy(self.good)
        try:
            return _send(handler, writer, WriteRequest(writer.name, handler.type, payload, idempotency_key=key))
        except WriteError as error:
            raise AssertionError(f"the good payload was refused: {error}") from error


def _refusal(handler: Handler, writer: Writer, request: WriteRequest) -> InvalidRequestError | None:
    try:
        _send(handler, writer, request)
    except InvalidRequestError as error:
        return error
    return None


def _send(handler: Handler, writer: Writer, request: WriteRequest) -> WriteResult[Any]:
    return writer.write(validate_payload(handler, request), handler=handler, deadline=Deadline.after(60))
