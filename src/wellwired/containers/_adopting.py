"""Modules that are wired when one of their functions is called first, because nobody knew of them before.

A framework imports views, tasks and commands whenever it likes, so that no moment is late enough to wire them all. An
integration that knows whose modules they are gives an adopter; a function that is called unwired has it asked, and is
refused only if nobody wants its module.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["adopt_with", "adopted"]

Adopter = Callable[[str], bool]

_adopters: list[Adopter] = []


def adopt_with(adopter: Adopter) -> None:
    """Adds somebody who wires modules on demand.

    Args:
        adopter: is told a module's name; wires the module and returns True, or returns False if it is not its own.
            What it raises reaches the caller of the function.
    """
    if adopter not in _adopters:
        _adopters.append(adopter)


def adopted(module: str) -> bool:
    """Whether somebody has wired a module just now."""
    return any(adopter(module) for adopter in tuple(_adopters))
