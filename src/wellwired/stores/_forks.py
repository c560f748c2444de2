"""What a forked child renews: locks that a vanished thread may hold, queues and workers that only the parent has.

An object that registers here has its method `after_fork` called in the child, before anything else of the child's runs.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Renewable", "renew_in_child"]


class Renewable(Protocol):
    """Something with state that must not be inherited as it is."""

    def after_fork(self) -> None:
        """Makes the object fit for use in the child; may take no lock that existed before the fork."""
        ...


_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_in_child(thing: Renewable) -> None:
    """Has `thing.after_fork()` called in every forked child, for as long as the thing lives."""
    _renewables.add(thing)


def _renew_all() -> None:
    for thing in list(_renewables):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
