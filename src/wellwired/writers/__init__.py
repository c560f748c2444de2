"""Writers: one backend each, and the manager that leads every write to the right one."""

from wellwired.writers._evictions import Evicts
from wellwired.writers.manager import WriteManager
from wellwired.writers.memory import MemoryView, MemoryWriter
from wellwired.writers.protocol import KeepsKeys, Listed, Writer, WritesMany, handler_failed

__all__ = [
    "Evicts",
    "KeepsKeys",
    "Listed",
    "MemoryView",
    "MemoryWriter",
    "WriteManager",
    "Writer",
    "WritesMany",
    "handler_failed",
]
