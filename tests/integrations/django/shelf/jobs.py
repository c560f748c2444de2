"""A module of the app that no URLconf imports, as tasks are."""

from __future__ import annotations

from wellwired.containers import Provide, inject

__all__ = ["greet"]


@inject
def greet(name: str, greeting: str = Provide["greeting"], pool: str = Provide["pool"]) -> str:
    """Gets two objects."""
    return f"{greeting} {name} {pool}"
