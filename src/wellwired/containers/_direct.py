"""Calls that never leave C: how a provider serves an object that it already holds.

dependency-injector is compiled, but a Python subclass that overrides ``_provide`` pays for an attribute lookup, a
bound method and a Python frame on each call, four times the price of the call itself. Here ``__call__`` is a slot of
each provider, so calling one calls what lies in its slot: a plain `Object` provider while there is an object to
serve, and the ordinary path through ``_provide`` at all other times (nothing built yet, reset, overridden).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dependency_injector import providers as di

__all__ = ["SLOTS", "DirectCall", "label"]

SLOTS = ("__call__", "__dict__", "__weakref__", "name")
"""What every class with `DirectCall` lists in its ``__slots__``; a mixin cannot have slots of its own."""


class DirectCall:
    """The slot's two states, for a provider class that lists `SLOTS`.

    No lock is taken between a thread that serves and one that overrides: each first does its own part and then
    looks at the other's, so that whichever comes last sees both.
    """

    __slots__ = ()

    name: str

    def _serve(self, served: Callable[..., Any]) -> None:
        """Lets calls go straight to `served`, unless the provider is overridden."""
        setattr(self, "__call__", served)  # noqa: B010 - a slot of this name, which type checkers cannot know
        if self.last_overriding is not None:  # type: ignore[attr-defined]
            self._ask()

    def _ask(self) -> None:
        """Lets the next call take the ordinary path: the override if there is one, else ``_provide``."""
        setattr(self, "__call__", di.Provider.__call__.__get__(self))  # noqa: B010

    def override(self, provider: Any) -> Any:
        """Overrides this provider for the whole process; prefer `Container.overriding()`, which restores exactly."""
        context = super().override(provider)  # type: ignore[misc]
        self._ask()
        return context


def label(provider: Any) -> str:
    """What to call a provider in a message: its dotted name, or else what it is made of."""
    name = getattr(provider, "name", "") if isinstance(provider, DirectCall) else ""
    if name:
        return name
    made_of = getattr(provider, "provides", None)
    of = getattr(made_of, "__qualname__", None) or (type(made_of).__name__ if made_of is not None else "")
    return f"an unnamed {type(provider).__name__}" + (f" of {of}" if of else "")
