"""What users need to test their code: a clock that a test moves by hand, in-memory twins of real backends, recorded
writes and faults to order; in `conformance` the suites of tests that their writers, handlers and layers inherit; and in
`plugin` the fixtures of all that for pytest, which loads it by itself.

A name is imported when it is first asked for: pytest loads this package in every project that has wellwired installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wellwired.testing.clock import VirtualClock
    from wellwired.testing.faults import Faults
    from wellwired.testing.letters import KeptLetters
    from wellwired.testing.twins import in_memory
    from wellwired.testing.writes import RecordedWrites

__all__ = ["Faults", "KeptLetters", "RecordedWrites", "VirtualClock", "in_memory"]

_HOMES = {
    "Faults": "faults",
    "KeptLetters": "letters",
    "RecordedWrites": "writes",
    "VirtualClock": "clock",
    "in_memory": "twins",
}

# Hidden from type checkers: to them a module with this function has every name there is.
if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
