"""What the faulty containers of the tests are made of, and how their faults are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wellwired.containers import providers
from wellwired.containers._checks import check
from wellwired.errors import (
    SettingsError,
    WellwiredError,
)


class Anything:
    """Takes whatever it is given."""

    def __init__(self, *needs: Any, **named: Any) -> None:
        self.needs, self.named = needs, named


class Users:
    """Knows what it takes."""

    def __init__(self, writes: Any, store: Any = None) -> None:
        self.writes, self.store = writes, store


def request() -> Iterator[int]:
    """Lives for a scope."""
    yield 1


def faults(container: Any) -> list[WellwiredError]:
    """All findings about a container."""
    try:
        check(container)
    except ExceptionGroup as group:
        return list(group.exceptions)  # type: ignore[arg-type]
    return []


def only_fault(container: Any) -> WellwiredError:
    """The one finding about a container."""
    (found,) = faults(container)
    return found


def broken_settings() -> Any:
    """Settings with two faults."""
    raise SettingsError(["SHOP__SQL__MAIN__URL is required but not set", "SHOP__SQLL: unknown setting"])


def pool(key: str, config: Any) -> providers.Resource[Anything]:
    """A member of a family."""
    return providers.Resource(Anything, config)
