"""Handlers: one type of write on one kind of backend. The ready-made ones are imported by their modules' names."""

from wellwired.handlers.after import after_commit
from wellwired.handlers.decorator import FunctionHandler, handler
from wellwired.handlers.payload import validate_payload
from wellwired.handlers.protocol import Handler, HandlerTraits, traits
from wellwired.handlers.registry import Registry

__all__ = [
    "FunctionHandler",
    "Handler",
    "HandlerTraits",
    "Registry",
    "after_commit",
    "handler",
    "traits",
    "validate_payload",
]
