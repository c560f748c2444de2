"""The random writes of a run, made from a seed: what each is to do, and what it may leave behind.

A write has a number and one or more parts. Each part is a row (in Redis a counter) with that number, so that a write
done twice leaves two, and one done by half leaves one part without the other. Some parts move an amount from one of a
few accounts to another, in any order: those wait for each other, and meet in deadlocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from wellwired.operations import WriteRequest

__all__ = ["ACCOUNTS", "WAYS", "Call", "Kind", "Planned", "Way", "calls"]

ACCOUNTS = 13

Kind = Literal["append", "mark", "rows", "direct", "fenced"]
Way = Literal["write", "many", "atomic", "transaction", "nested"]

WAYS: dict[str, tuple[Way, ...]] = {
    "sql": ("write", "many", "atomic", "transaction", "nested"),
    "redis": ("write", "many", "transaction"),
}
"""By which ways a backend can be written to; the usual one first."""

_SPOILT = {
    "sql": ("check", "null", "duplicate", "table", "syntax", "length"),
    "redis": ("alone", "mixed"),
}


@dataclass(frozen=True)
class Planned:
    """One write.

    Args:
        number: its own, in the run.
        kind: "append" adds rows; "rows" adds those of many requests by one statement; "mark" does the same however
            often it is done, and says so; "direct" (Redis) sends its commands one by one; "fenced" (Redis) has them
            done by a script that looks at the deadline.
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

    def request(self, target: str, *, timed: bool = True) -> WriteRequest:
        """The request that asks for it, with a timeout of its own or without."""
        payload: dict[str, Any] = {
            "number": self.number,
            "parts": self.parts,
            "size": self.size,
            "nap": self.nap,
            "spoilt": self.spoilt,
        }
        key = f"key-{self.number}" if self.keyed else None
        return WriteRequest(target, self.kind, payload, timeout=self.timeout if timed else None, idempotency_key=key)


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
    def together(self) -> tuple[Planned, ...]:
        """Those of its writes that take effect all or none."""
        if self.way == "nested":
            return tuple(item for item in self.items if not item.spoilt)
        # Redis undoes nothing: a command that fails in a block leaves the others done.
        sound = tuple(item for item in self.items if item.spoilt not in _SPOILT["redis"])
        return sound if self.way in ("atomic", "transaction") else ()


def calls(seed: int, writes: int, backend: str, *, share: float = 0.3, longest: float = 1.0) -> list[Call]:
    """A run's calls.

    Args:
        seed: the same seed gives the same calls.
        writes: how many writes they have together.
        backend: "sql" or "redis".
        share: how many of the calls, from 0 to 1, are made by another way than the usual one.
        longest: seconds that the most patient of them have.
    """
    draw = Random(f"{seed}/work")
    usual, *others = WAYS[backend]
    made: list[Call] = []
    number = 0
    while number < writes:
        way = draw.choice(others) if draw.random() < share else usual
        count = 1 if way == "write" else min(draw.randint(2, 6), writes - number)
        timeout = draw.choice((0.15, 0.4, 0.7, longest))
        kind = draw.choice(_KINDS[backend])
        # A batch is of one type more often than not; that is what goes by one statement.
        mixed = draw.random() < 0.4
        kinds: list[Kind] = [draw.choice(_KINDS[backend]) if mixed else kind for _ in range(count)]
        if way != "write":  # what needs a client of its own has no place beside others
            kinds = ["append" if each == "direct" else each for each in kinds]
        items = [_planned(draw, number + at, backend, timeout, each) for at, each in enumerate(kinds)]
        if backend == "redis" and way == "transaction":  # which keeps no keys
            items = [replace(item, keyed=False) for item in items]
        made.append(Call(way, tuple(items)))
        number += count
    return made


_KINDS: dict[str, tuple[Kind, ...]] = {
    "sql": ("append", "append", "append", "rows", "mark"),
    "redis": ("append", "append", "fenced", "mark", "direct"),
}


def _planned(draw: Random, number: int, backend: str, timeout: float, kind: Kind) -> Planned:
    adds = kind in ("append", "rows", "fenced")
    keyed = adds and draw.random() < 0.4
    spoilt = draw.choice(_SPOILT[backend]) if adds and draw.random() < 0.07 else ""
    if kind == "rows" and spoilt in ("table", "syntax", "duplicate"):
        spoilt = "check"
    nap = draw.uniform(0.05, 0.4) if backend == "sql" and kind == "append" and draw.random() < 0.03 else 0.0
    size = draw.choice((10, 60, 200, 900)) if draw.random() < 0.97 else draw.randint(70_000, 300_000)
    return Planned(number, kind, _parts(draw, kind), size, keyed, timeout, nap, spoilt)


def _parts(draw: Random, kind: Kind) -> tuple[tuple[int, int], ...]:
    if kind not in ("append", "fenced") or draw.random() < 0.65:
        return tuple((0, 0) for _ in range(1 if kind == "mark" else draw.randint(1, 3)))
    source, goal = draw.sample(range(1, ACCOUNTS), 2)
    amount = draw.randint(1, 50)
    return ((source, -amount), (goal, amount))
