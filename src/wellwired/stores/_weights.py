"""How many bytes an entry of a memory layer takes: an estimate that follows containers and plain objects.

It counts what `sys.getsizeof` reports for each object reached, each once, and adds what the entry itself needs. What
other parts of the program hold as well is counted in full: the bound is on what this entry keeps alive.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["ENTRY_BYTES", "weigh"]

ENTRY_BYTES = 210
"""Node, cell, queue slot and dictionary slot of one entry: 165 to 210 on CPython, as full as the tables are."""

_ENDS = (str, bytes, bytearray, int, float, complex, bool, type(None), type)


def weigh(key: str, value: Any) -> int:
    """Estimates the bytes that an entry keeps alive.

    Args:
        key: its key.
        value: its value.

    Returns:
        Bytes, `ENTRY_BYTES` included.
    """
    total = ENTRY_BYTES + sys.getsizeof(key)
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        total += sys.getsizeof(item, 64)
        if not isinstance(item, _ENDS):
            waiting.extend(_held(item))
    return total


def _held(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, (list, tuple, set, frozenset)):
        return list(item)
    held = list(getattr(item, "__dict__", {}).values())
    for kind in type(item).__mro__:
        names = kind.__dict__.get("__slots__", ())
        names = (names,) if isinstance(names, str) else names
        held.extend(getattr(item, name) for name in names if hasattr(item, name))
    return held
