"""wellwired: pools, writers, handlers, middleware and layered stores, declared once and wired by a container."""

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
