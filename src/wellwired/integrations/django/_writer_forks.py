"""Keeps a forked child from using, or ending, the connection of its parent's thread.

Django keeps a connection for each thread, and the thread that forks goes on in the child with the parent's: one socket
for two processes. To close it there would end the parent's session. So the child forgets it, and the object is kept
for ever, because some drivers end the session when theirs is collected.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

__all__ = ["leave_to_parent"]

_parents: list[Any] = []


def leave_to_parent(alias: str) -> None:
    """Has a child forget the connection that the forking thread had open; to be called in the child, once there.

    Args:
        alias: which of Django's connections.
    """
    if alias not in connections:
        return
    for connection in connections.all(initialized_only=True):
        if connection.alias != alias or connection.connection is None:
            continue
        in_memory = getattr(connection, "is_in_memory_db", None)
        if in_memory is not None and in_memory():
            continue  # the copy of it is the child's own, and the database is gone without it
        _parents.append(connection.connection)
        connection.connection = None
        connection.in_atomic_block = connection.needs_rollback = connection.closed_in_transaction = False
        connection.savepoint_ids, connection.atomic_blocks, connection.run_on_commit = [], [], []
