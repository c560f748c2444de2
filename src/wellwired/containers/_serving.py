"""Which container serves the code that runs now, where several share a module of injected functions.

A request belongs to one application, and that one has a container. An integration says so around the request with
`Serving`, and gives `look_with` a way to find it where no request is, such as in a command of the framework.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from wellwired.containers._during import During

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance

__all__ = ["look_with", "served_by", "serving"]

Finder = Callable[[], "ContainerInstance | None"]

_serving: ContextVar[ContainerInstance | None] = ContextVar("wellwired_serving", default=None)
_finders: list[Finder] = []


def served_by(container: ContainerInstance) -> During[ContainerInstance]:
    """Makes a container the one that serves what runs inside a block, in this thread or task.

    Args:
        container: which.
    """
    return During(_serving, container)


def look_with(finder: Finder) -> None:
    """Adds a way to find the serving container where no block says it; the first one that finds any is believed.

    Args:
        finder: returns it, or None if it does not know.
    """
    if finder not in _finders:
        _finders.append(finder)


def serving() -> ContainerInstance | None:
    """The container that serves the code that asks, or None if nobody said."""
    said = _serving.get()
    if said is not None:
        return said
    return next((found for finder in _finders if (found := finder()) is not None), None)
