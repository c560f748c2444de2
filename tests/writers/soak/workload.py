"""The random writes of a run, made from a seed: what each is to do, and what it may leave behind.

A write has a number and one or more parts. Each part is a row (in Redis a counter) with that number, so that a write
done twice leaves two, and one done by half leaves one part without the other. Some parts move an amount from one of a
few accounts to another, in any order: those wait for each other, and meet in deadlocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from wellwired.operations import WriteRequest

__all__ = ["ACCOUNTS", "Call", "Kind", "Planned", "Way", "calls"]

ACCOUNTS = 6

Kind = Literal["append", "mark", "direct"]
Way = Literal["write", "many", "atomic", "transaction"]

_SPOILT = {
    "sql": ("check", "null", "duplicate", "table", "syntax", "length"),
    "redis": ("alone", "mixed"),
}


@dataclass(frozen=True)
class Planned:
    """One write.

    Args:
        number: its own, in the run.
        kind: "append" adds rows; "mark" does the same however often it is done, and says so; "direct" (Redis) sends
            its commands one by one.
        parts: for each row an account and the amount that it is given.
        size: bytes of data in its first row.
        keyed: whether it has an idempotency key.
        timeout: seconds.
        nap: seconds for which the database is kept busy; nothing, if 0.
        spoilt: which mistake it makes, or "".
    """

    number: int
    kind: Kind = "append"
    parts: tuple[tuple[int, int], ...] = ((0, 0),)
    size: int = 10
    keyed: bool = False
    timeout: float = 5.0
    nap: float = 0.0
    spoilt: str = ""

    def request(self, target: str) -> WriteRequest:
        """The request that asks for it."""
        payload: dict[str, Any] = {
            "number": self.number,
            "parts": self.parts,
            "size": self.size,
            "nap": self.nap,
            "spoilt": self.spoilt,
        }
        key = f"key-{self.number}" if self.keyed else None
        return WriteRequest(target, self.kind, payload, timeout=self.timeout, idempotency_key=key)


@dataclass(frozen=True)
class Call:
    """One call of the application's.

    Args:
        way: by which it is made.
        items: its writes; one, for a single write.
    """

    way: Way
    items: tuple[Planned, ...]

    @property
    def together(self) -> bool:
        """Whether its writes take effect all or none."""
        return self.way in ("atomic", "transaction")


def calls(seed: int, writes: int, backend: str, ways: tuple[Way, ...] = ("write",)) -> list[Call]:
    """A run's calls.

    Args:
        seed: the same seed gives the same calls.
        writes: how many writes they have together.
        backend: "sql" or "redis".
        ways: by which ways; the first is the usual one.
    """
    draw = Random(f"{seed}/work")
    made: list[Call] = []
    number = 0
    while number < writes:
        way = ways[0] if draw.random() < 0.7 else draw.choice(ways)
        count = 1 if way == "write" else min(draw.randint(2, 6), writes - number)
        timeout = draw.choice((0.15, 0.4, 1.0, 2.5))
        items = [_planned(draw, number + at, backend, timeout, way) for at in range(count)]
        made.append(Call(way, tuple(items)))
        number += count
    return made


def _planned(draw: Random, number: int, backend: str, timeout: float, way: Way) -> Planned:
    kinds: tuple[Kind, ...] = ("append", "append", "append", "append", "mark")
    if backend == "redis" and way == "write":
        kinds = (*kinds, "direct")
    kind = draw.choice(kinds)
    keyed = kind == "append" and draw.random() < 0.4
    spoilt = draw.choice(_SPOILT[backend]) if kind == "append" and draw.random() < 0.07 else ""
    nap = draw.uniform(0.05, 0.5) if backend == "sql" and kind == "append" and draw.random() < 0.04 else 0.0
    size = draw.choice((10, 60, 200, 900)) if draw.random() < 0.97 else draw.randint(70_000, 300_000)
    return Planned(number, kind, _parts(draw, kind), size, keyed, timeout, nap, spoilt)


def _parts(draw: Random, kind: Kind) -> tuple[tuple[int, int], ...]:
    if kind != "append" or draw.random() < 0.5:
        return tuple((0, 0) for _ in range(1 if kind == "mark" else draw.randint(1, 3)))
    source, goal = draw.sample(range(1, ACCOUNTS), 2)
    amount = draw.randint(1, 50)
    return ((source, -amount), (goal, amount))
