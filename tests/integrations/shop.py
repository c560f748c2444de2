"""The container of the test applications."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from wellwired.containers import Container, providers

__all__ = ["Shop", "Visit"]


class Visit:
    """What lives for a request."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ended: Any = "at work"


class Log(list[str]):
    """What happened."""


def pool(log: Log) -> Iterator[str]:
    """A pool that says when it is opened and closed."""
    log.append("opened")
    yield "pool"
    log.append("closed")


def visiting(log: Log, numbers: Iterator[int]) -> Iterator[Visit]:
    """A visit that says how it ended."""
    visit = Visit(next(numbers))
    try:
        yield visit
    except BaseException as error:
        visit.ended = type(error).__name__
        log.append(f"visit {visit.number} ended by {visit.ended}")
        raise
    visit.ended = "well"
    log.append(f"visit {visit.number} ended well")


class Shop(Container):
    """What the applications serve."""

    log = providers.Singleton(Log)
    numbers = providers.Singleton(count, 1)
    pool = providers.Resource(pool, log)
    greeting = providers.Singleton("hello from {}".format, pool)
    visit = providers.Scoped(visiting, log, numbers)
