"""Renews what a fork would leave broken in the child.

A lock that another thread held when the process forked stays held in the child for ever, and a thread is simply not
there. Objects that have either are enrolled here and told, in the child, to begin anew. They are held weakly.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Renewable", "renew_in_child"]


class Renewable(Protocol):
    """Something with a lock or a thread."""

    def renew(self) -> None:
        """Begins anew, in a child that has one thread; must take no lock that the parent may have held."""
        ...


_enrolled: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_in_child(thing: Renewable) -> None:
    """Has `renew` called on it in every child that this process forks, as long as someone else keeps it alive."""
    _enrolled.add(thing)


def _renew_all() -> None:
    for thing in list(_enrolled):
        thing.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
