"""A function that a container fills in."""

from __future__ import annotations

from typing import Any

from wellwired import Provide, inject

__all__ = ["known"]


@inject
def known(handlers: Any = Provide["handlers"]) -> Any:
    """The types that the container's handlers do."""
    return handlers.types()
