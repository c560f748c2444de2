"""A dict that does not change: what makes settings frozen all the way down, and hashable.

`types.MappingProxyType` would do, if it could be pickled and copied.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

__all__ = ["FrozenDict"]

K = TypeVar("K")
V = TypeVar("V")


def _refuse(*_args: Any, **_options: Any) -> NoReturn:
    raise TypeError("settings are frozen; make a new Settings instead")


class FrozenDict(dict[K, V]):
    """A `dict` whose mutating methods raise `TypeError`; copying and pickling give an equal one."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


# Not in the class body, where type checkers would have each match the method that it takes away.
for _method in ["__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"]:
    setattr(FrozenDict, _method, _refuse)
