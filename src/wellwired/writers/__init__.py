"""Writers: one backend each, and the manager that leads every write to the right one."""

from wellwired.writers._answers import Answer, Answers
from wellwired.writers._evictions import Evicts
from wellwired.writers._group import GroupCommit
from wellwired.writers.manager import WriteManager
from wellwired.writers.memory import MemoryView, MemoryWriter
from wellwired.writers.protocol import (
    KeepsKeys,
    Listed,
    Transacts,
    Unit,
    Writer,
    WriterCapabilities,
    WritesMany,
    capabilities_of,
    handler_failed,
)
from wellwired.writers.transactions import WriteTransaction

__all__ = [
    "Answer",
    "Answers",
    "Evicts",
    "GroupCommit",
    "KeepsKeys",
    "Listed",
    "MemoryView",
    "MemoryWriter",
    "Transacts",
    "Unit",
    "WriteManager",
    "WriteTransaction",
    "Writer",
    "WriterCapabilities",
    "WritesMany",
    "capabilities_of",
    "handler_failed",
]
