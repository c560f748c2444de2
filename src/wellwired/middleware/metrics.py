"""Where the numbers of writes and stores go: small protocols, and the implementation that drops them.

A backend for metrics is told of each write by one frozen value and keeps what it wants of it. Stores tell nothing:
they count for themselves, and a backend that is `Watching` reads what they counted when somebody asks it. The one for
Prometheus is in `wellwired.middleware.prometheus`, which is imported by those who have it installed.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from wellwired.middleware.chain import WriteMiddleware
from wellwired.middleware.events import WriteEvent
from wellwired.middleware.observe import observed

__all__ = ["Metrics", "NoMetrics", "Watched", "Watching", "measured"]


@runtime_checkable
class Metrics(Protocol):
    """Counts writes; called by many threads at once, and must not block."""

    def record(self, event: WriteEvent, /) -> None:
        """Takes one write that is over, refused ones included.

        Names in an event are the caller's where nothing was found under them: `writer` is "" if the target is
        unknown, and the code is TYPE_NOT_SUPPORTED if the type is. An implementation that keeps something for each
        name must not do so for those.
        """
        ...


class Watched(Protocol):
    """What counts for itself: a `DelegatedStore`."""

    @property
    def name(self) -> str:
        """What it is called in labels."""
        ...

    def stats(self) -> Any:
        """What it has counted until now, a `StoreStats`; called by any thread."""
        ...


@runtime_checkable
class Watching(Protocol):
    """The ability of a metrics backend to show what stores have counted."""

    def watch(self, store: Watched, /) -> None:
        """Shows the store from now on, without keeping it alive; another of the same name takes its place.

        Reads `stats()` only when its own numbers are asked for.
        """
        ...


class NoMetrics:
    """Metrics that are dropped."""

    __slots__ = ()

    def record(self, event: WriteEvent, /) -> None:
        """Drops the event."""


def measured(metrics: Metrics) -> WriteMiddleware:
    """The middleware that tells a metrics backend about each write.

    Args:
        metrics: told of every write that reaches the middleware.
    """
    return observed(metrics.record)
