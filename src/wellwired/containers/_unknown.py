"""The sentence about a name that is not there: what is near, what is known, and what would add it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["unknown"]


def unknown(name: str, known: Iterable[str], where: str, *, add: str = "") -> str:
    """Says that `name` is unknown.

    Args:
        name: what was asked for.
        known: the names that there are.
        where: what should have had it.
        add: the environment variable that would add it, if there is one.

    Returns:
        One sentence, with near names if any are near and all names otherwise.
    """
    names = sorted(map(str, known))
    near = get_close_matches(name, names, 3, 0.6)
    if near:
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    else:
        hint = f"known: {', '.join(names)}" if names else "it has none"
    return f"no {name!r} in {where}; {hint}" + (f"; set {add} to add it" if add else "")
