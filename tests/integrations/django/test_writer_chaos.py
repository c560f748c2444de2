"""The Django writer while messages are lost, torn and held back at random: whatever it says is true."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from django.db import Error, connections, transaction

from tests.integrations.django.writer_kit import Alias, Entry, ledger
from tests.writers.proxy import Fault, Hit, Proxy
from tests.writers.wire import WIRES, Message
from wellwired.clock import Deadline
from wellwired.errors import Outcome, WriteError, WriteTimeoutError
from wellwired.handlers import FunctionHandler
from wellwired.integrations.django.writer import DjangoWriter
from wellwired.operations import WriteRequest

WRITES = 150
_FAULTS = (
    Hit(Fault.LOSE_ANSWER),
    Hit(Fault.LOSE_REQUEST),
    Hit(Fault.RESET),
    Hit(Fault.TEAR),
    Hit(Fault.SILENCE, 1.0),
    Hit(Fault.NO_ANSWER, 1.0),
    Hit(Fault.LATE_ANSWER, 0.3),
)


@pytest.fixture(params=["mariadb", "postgresql"])
def alias(request: pytest.FixtureRequest) -> Iterator[Alias]:
    """A fresh database with its tables."""
    with ledger(request.getfixturevalue("fresh_database")(request.param)) as made:
        yield made


class Told:
    """What the writer has said of each text."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self.never: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.longest = 0.0
        self.truthful = True

    def write(self, writer: DjangoWriter, handler: FunctionHandler[object, None], text: str) -> bool:
        """Writes a text, as often as it takes; whether it was said to be written."""
        request = WriteRequest(writer.name, "test", {"text": text})
        began = time.monotonic()
        try:
            pending = writer.write(request, handler=handler, deadline=Deadline.after(0.4)).pending
        except WriteError as error:
            self.counts[f"{error.code} {error.outcome}"] += 1
            if error.outcome is Outcome.NOT_APPLIED:
                self.never.add(text)
            self.truthful &= not isinstance(error, WriteTimeoutError) or error.outcome is Outcome.NOT_APPLIED
            return False
        else:
            self.counts["PENDING" if pending else "OK"] += 1
            if not pending:
                self.done.add(text)
            return True
        finally:
            self.longest = max(self.longest, time.monotonic() - began)


def put(request: WriteRequest, connection: object) -> None:
    """Writes the text in two steps, so that half of it would be seen."""
    for half in ("a", "b"):
        Entry.objects.using(connection.alias).create(text=f"{request.payload['text']}{half}")  # type: ignore[attr-defined]


@pytest.mark.timeout(170)
def test_what_is_said_is_true(alias: Alias, record_property: Callable[[str, object], None]) -> None:
    """A success is there, what is not applied never will be, nothing is there by half, and nobody waits too long."""
    dice, lock, told = random.Random(20_260), threading.Lock(), Told()

    def judge(_number: int, _before: int, message: Message) -> Hit | None:
        with lock:
            return dice.choice(_FAULTS) if dice.random() < 0.04 else None

    handler = FunctionHandler[object, None](put, type="test", backend="django")
    port = alias.url.port
    assert port is not None
    with Proxy(port, wire=WIRES[alias.kind], judge=judge) as proxy, alias.through(proxy.port) as name:
        writer = DjangoWriter(name, commit_grace=0.4)
        for number in range(WRITES):
            if number % 3:
                told.write(writer, handler, f"w{number}")
            else:
                _in_a_block(name, writer, handler, told, f"w{number}")
        proxy.calm()
        connections[name].close()
        assert proxy.settle(10)
    there = [row[1] for row in alias.rows("writer_kit_entry")]
    whole = {text[:-1] for text in there}
    assert sorted(there) == sorted(f"{text}{half}" for text in whole for half in "ab"), "half of a write is there"
    assert told.done <= whole, "what was said to be done is not there"
    assert not told.never & whole, "what was said not to be applied is there"
    assert told.truthful, "a TIMEOUT is not applied, and nothing else"
    assert told.longest < 2.0
    assert {"OK", "PENDING", "BACKEND NOT_APPLIED", "TIMEOUT NOT_APPLIED"} <= told.counts.keys()
    record_property("counts", f"django {alias.kind} under faults: {dict(told.counts)}")


def _in_a_block(name: str, writer: DjangoWriter, handler: FunctionHandler[object, None], told: Told, text: str) -> None:
    """A block that goes on after a write has failed, as an application's may."""
    said: list[bool] = []
    try:
        with transaction.atomic(using=name):
            said += [told.write(writer, handler, f"{text}{part}") for part in "xy"]
    except Error:
        connections[name].close()  # as at the end of a request; of the block nobody knows
        return
    if all(said):
        told.done.update(f"{text}{part}" for part in "xy")
