"""A module of the test project's that is in none of its apps."""

from __future__ import annotations

from wellwired.containers import Provide, inject

__all__ = ["greet"]


@inject
def greet(greeting: str = Provide["greeting"]) -> str:
    """Gets an object."""
    return greeting
