"""Puts other methods in front of one Django connection's own for a while.

A connection of Django's is an object of one thread, and `transaction` calls its public methods: `commit`, `on_commit`,
`get_new_connection`. A write has to know the moment in which COMMIT is sent, and to keep a connection from being made
anew behind its back; nothing of Django's tells. So it stands in for them on this one object, and leaves no trace.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Overlay"]


class Overlay:
    """Attributes of a connection, in front of its class's, until `off`.

    Args:
        connection: whose.
        attributes: by name.
    """

    __slots__ = ("_attributes", "_before", "_connection")

    def __init__(self, connection: BaseDatabaseWrapper, **attributes: Any) -> None:
        own = vars(connection)
        self._connection = connection
        self._before = {name: own[name] for name in attributes if name in own}
        self._attributes: dict[str, Any] | None = attributes
        own.update(attributes)

    def off(self) -> None:
        """Takes them away; doing so twice changes nothing."""
        if self._attributes is None:
            return
        own = vars(self._connection)
        for name in self._attributes:
            own.pop(name, None)
        own.update(self._before)
        self._attributes = None
