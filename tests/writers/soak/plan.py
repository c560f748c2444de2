"""Which messages meet which fault, and when the server itself is disturbed: pure functions of a seed.

What the threads of a run do first cannot be repeated to the letter. The faults can: each is drawn from the seed, the
connection's number, the moment and how often that connection has come to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import NamedTuple

from tests.writers.proxy import Fault, Hit
from tests.writers.wire import Message, Moment

__all__ = ["Disturbance", "FaultPlan", "Trouble", "disturbances"]

_AT_CONNECT = (Fault.LOSE_REQUEST, Fault.RESET, Fault.SILENCE, Fault.LATE_REQUEST)
_SILENT = (Fault.SILENCE, Fault.NO_ANSWER)

_RATES: Mapping[Moment, float] = {
    Moment.CONNECT: 0.03,
    Moment.HANDSHAKE: 0.01,
    Moment.BEGIN: 0.02,
    Moment.STATEMENT: 0.02,
    Moment.COMMIT: 0.06,
    Moment.ROLLBACK: 0.03,
    Moment.CANCEL: 0.3,
}


@dataclass(frozen=True)
class FaultPlan:
    """The faults of one run.

    Args:
        seed: two plans with the same seed, rates and faults judge alike.
        rates: how often a message of each moment meets a fault, from 0 to 1; never, if it is not there.
        faults: which to choose from, except at a connection's beginning.
        shortest: seconds for which a message or an answer is held back at least.
        longest: seconds for which it is held back at most.
        silence: seconds for which a connection stays silent: longer than any write may take, so that whoever waits
            for it without a limit of its own is found out.
    """

    seed: int
    rates: Mapping[Moment, float] = field(default_factory=lambda: _RATES)
    faults: tuple[Fault, ...] = tuple(Fault)
    shortest: float = 0.02
    longest: float = 0.7
    silence: float = 20.0

    def judge(self, number: int, before: int, message: Message) -> Hit | None:
        """What a message meets; a `Judge` for the proxy.

        Args:
            number: its connection's.
            before: how many of its moment that connection has sent before.
            message: what was sent.
        """
        rate = self.rates.get(message.moment, 0.0)
        if not rate:
            return None
        draw = Random(f"{self.seed}/{number}/{message.moment}/{before}")
        if draw.random() >= rate:
            return None
        faults = self.faults
        if message.moment is Moment.CONNECT:
            faults = tuple(fault for fault in faults if fault in _AT_CONNECT)
        if not faults:
            return None
        fault = draw.choice(faults)
        held = draw.uniform(self.shortest, self.longest)
        return Hit(fault, self.silence if fault in _SILENT else held)


class Trouble(StrEnum):
    """What is done to a server."""

    KILL = "kill"
    """SIGKILL, and a start on what is left."""
    STOP = "stop"
    """A shutdown in good order, and a start."""
    PAUSE = "pause"
    """SIGSTOP, and SIGCONT a while later."""


class Disturbance(NamedTuple):
    """One trouble.

    Args:
        after: which share of the calls has been begun by then, from 0 to 1.
        trouble: what is done.
        seconds: how long a pause lasts.
    """

    after: float
    trouble: Trouble
    seconds: float


def disturbances(seed: int, count: int) -> list[Disturbance]:
    """Troubles spread over a run, each kind in turn.

    Args:
        seed: of the run.
        count: how many.
    """
    draw = Random(f"{seed}/troubles")
    kinds = list(Trouble)
    draw.shuffle(kinds)
    return [
        Disturbance((number + draw.uniform(0.3, 0.9)) / (count + 1), kinds[number % len(kinds)], draw.uniform(0.1, 0.8))
        for number in range(count)
    ]
