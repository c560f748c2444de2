"""Tests of the protocol for metrics."""

from __future__ import annotations

import pytest

from tests.middleware.kit import Scripted, never, operation
from wellwired.errors import WriteError
from wellwired.middleware import Metrics, NoMetrics, WriteEvent, chain, measured


class Counted:
    """Metrics in a list."""

    def __init__(self) -> None:
        self.events: list[WriteEvent] = []

    def record(self, event: WriteEvent, /) -> None:
        """Keeps the event."""
        self.events.append(event)


def test_every_write_is_recorded_once() -> None:
    """Whatever became of it."""
    metrics = Counted()
    call = chain(Scripted(never()), [measured(metrics)])
    with pytest.raises(WriteError):
        call(operation())
    call(operation())
    assert [event.code for event in metrics.events] == ["BACKEND", "OK"]


def test_a_backend_needs_one_method() -> None:
    """And the one that drops everything has it."""
    assert isinstance(Counted(), Metrics)
    assert isinstance(NoMetrics(), Metrics)
    chain(Scripted(), [measured(NoMetrics())])(operation())
