"""Inheritance that does what a reader expects: a replaced provider is replaced for whatever was inherited too.

dependency-injector shares inherited providers with the base class, so they keep using the base's. Here a class that
replaces ``settings`` gets its own copies of all inherited providers that lead to it, with the replacement in its
place, however deep it lies: in arguments, lists, families and ``.provided``. What does not lead to a replaced
provider stays shared, and the base class is never touched. Inside the replacement itself the name means the base's
provider, as ``super()`` would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dependency_injector import providers as di

from wellwired.containers._declaration import declared_in
from wellwired.containers._named import Member
from wellwired.containers._order import dependents, opening_order, reachable
from wellwired.containers._relations import declared

__all__ = ["inherit"]

Provider = di.Provider[Any]


def inherit(
    own: Mapping[str, Provider], linearised: Sequence[type], this: Provider, selves: Iterable[Provider] = ()
) -> dict[str, Provider]:
    """The providers of a class: its own and inherited ones, rewired to each other.

    Args:
        own: what the class body declares.
        linearised: the base classes in the order of method resolution.
        this: the provider of the container itself.
        selves: those of the base classes.

    Returns:
        By name, in the order of declaration, the inherited ones first; a copy of each provider that leads to one
        which the class replaces, and the very same object for all others.
    """
    chosen = _chosen(own, linearised)
    replaced = _replaced(chosen, linearised)
    gone = [*replaced, *selves]
    nodes = reachable([*chosen.values(), *gone], _leads_to)
    changing = {**dict.fromkeys(gone), **dependents(gone, nodes, _leads_to)}
    if not any(provider in changing for provider in chosen.values()):
        return chosen
    memo: dict[int, Any] = {id(node): node for node in nodes if node not in changing}
    memo.update((id(one), this) for one in selves)
    for name in _replacements_first(chosen, replaced):
        _rewire(chosen[name], [old for old, of in replaced.items() if of == name], memo)
    return {name: di.deepcopy(provider, memo) for name, provider in chosen.items()}


def _leads_to(provider: Provider) -> tuple[Provider, ...]:
    """All that a copy of the provider would copy too."""
    if isinstance(provider, Member) and isinstance(provider.family, di.Provider):
        return (*declared(provider), provider.family)
    return declared(provider)


def _chosen(own: Mapping[str, Provider], linearised: Sequence[type]) -> dict[str, Provider]:
    """For each name the provider that Python's attribute lookup would find, in its most rewired copy."""
    declarer: dict[str, type] = {}
    for base in linearised:
        for name in declared_in(base):
            declarer.setdefault(name, base)
    found: dict[str, Provider] = {}
    for base in reversed(linearised):
        found.update({name: provider for name, provider in _providers(base).items() if name in declarer})
    for name, first in declarer.items():
        found[name] = next(_providers(base)[name] for base in linearised if _declarer(base, name) is first)
    found.update(own)
    return found


def _declarer(cls: type, name: str) -> type | None:
    return next((base for base in cls.__mro__ if name in declared_in(base)), None)


def _providers(cls: type) -> Mapping[str, Provider]:
    own: Mapping[str, Provider] = cls.__dict__.get("providers", {})
    return {name: provider for name, provider in own.items() if name != "__self__"}


def _replaced(chosen: Mapping[str, Provider], linearised: Iterable[type]) -> dict[Provider, str]:
    """Every provider of a base that is no longer what its name means."""
    return {
        provider: name
        for base in linearised
        for name, provider in _providers(base).items()
        if chosen[name] is not provider
    }


def _replacements_first(chosen: Mapping[str, Provider], replaced: Mapping[Provider, str]) -> list[str]:
    """The names that are replaced, each after those that its replacement uses."""
    names = list(dict.fromkeys(replaced.values()))

    def uses(name: str) -> list[str]:
        inside = reachable([chosen[name]], _leads_to)
        return [of for old, of in replaced.items() if of != name and old in inside]

    return opening_order(names, uses)


def _rewire(replacement: Provider, olds: list[Provider], memo: dict[int, Any]) -> None:
    """Copies one replacement and has every later copy use it instead of `olds`."""
    inside = reachable([replacement], _leads_to)
    upwards = {*olds, *dependents(olds, inside, _leads_to)}
    for node in inside:
        if node not in upwards:
            di.deepcopy(node, memo)
    # Its own copy sees the old providers under their name; what it shares with others was copied above.
    private = {key: value for key, value in memo.items() if key not in set(map(id, olds))}
    copied = di.deepcopy(replacement, private)
    memo[id(replacement)] = copied
    for old in olds:
        memo[id(old)] = copied
