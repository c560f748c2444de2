"""What is to follow a pending write once the transaction around it is committed, by Django's `on_commit`.

The block of a test case is never committed. So a write that is as good as committed there has done by itself what
writes inside it have deferred; what went with a savepoint Django has left out of its list by then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Deferred", "do_deferred"]

_log = logging.getLogger("wellwired.integrations.django")


class Deferred:
    """A callback in Django's list; what it says failed is logged.

    Args:
        alias: of the database, for the log.
        callback: returns a line for whatever failed.
    """

    def __init__(self, alias: str, callback: Callable[[], Sequence[str]]) -> None:
        self._alias, self._callback = alias, callback
        self.__qualname__ = type(self).__qualname__  # by which Django names what it calls

    def __call__(self) -> None:
        """Does it."""
        for line in self._callback():
            _log.warning("django.%s: %s", self._alias, line)


def do_deferred(connection: BaseDatabaseWrapper, since: int) -> None:
    """Does what was deferred, and takes it off Django's list; the application's own callbacks stay there.

    Args:
        connection: Django's, in the block of a test case.
        since: how long the list was before.
    """
    waiting = connection.run_on_commit
    found = [one for one in waiting[since:] if isinstance(one[1], Deferred)]
    connection.run_on_commit = [one for one in waiting if one not in found]
    for one in found:
        one[1]()
