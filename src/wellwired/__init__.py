"""wellwired: pools, writers, handlers, middleware and layered stores, declared once and wired by a container.

A name is imported from its room when it is first asked for, so that `import wellwired` costs next to nothing in a
process that needs one part of it, or none; see ``docs/decisions/lazy-root.md``.

pytest may find it imported already, and need not look into it: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wellwired.clock import Clock, Deadline
    from wellwired.containers import Application, Container, Provide, inject, providers, scope
    from wellwired.errors import ErrorCode, NotFound, Outcome, WellwiredError, WriteError
    from wellwired.handlers import Handler, Registry, handler
    from wellwired.operations import WriteRequest, WriteResult
    from wellwired.settings import Settings
    from wellwired.stores import BackFill, DelegatedStore, Entry, Layer, MemoryStore, Store
    from wellwired.writers import WriteManager, Writer

__all__ = [
    "Application",
    "BackFill",
    "Clock",
    "Container",
    "Deadline",
    "DelegatedStore",
    "Entry",
    "ErrorCode",
    "Handler",
    "Layer",
    "MemoryStore",
    "NotFound",
    "Outcome",
    "Provide",
    "Registry",
    "Settings",
    "Store",
    "WellwiredError",
    "WriteError",
    "WriteManager",
    "WriteRequest",
    "WriteResult",
    "Writer",
    "handler",
    "inject",
    "providers",
    "scope",
]

_NAMES = {
    "clock": "Clock Deadline",
    "containers": "Application Container Provide inject providers scope",
    "errors": "ErrorCode NotFound Outcome WellwiredError WriteError",
    "handlers": "Handler Registry handler",
    "middleware": "",
    "operations": "WriteRequest WriteResult",
    "settings": "Settings",
    "stores": "BackFill DelegatedStore Entry Layer MemoryStore Store",
    "writers": "WriteManager Writer",
}
"""The rooms, each with the names that come from it; a room itself is loaded by its own name."""

_HOMES = {name: room for room, names in _NAMES.items() for name in names.split()}

# Hidden from type checkers: to them a module with this function has every name there is, and no typo is one.
if not TYPE_CHECKING:

    def __getattr__(name):
        if name in _NAMES:
            return import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # Kept, so that this is asked once for each name. Two threads that ask at once find the same object.
        found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
