"""Who needs whom in a container as it stands: the dependency relation that opening, closing and overriding follow.

Two readings of dependency-injector's ``related``. `declared` is everything a provider refers to, what overrides it
included: an object made before an override began is still there behind it, so closing and rebuilding go by this one.
`effective` is what a call would use now, where an overridden provider needs only what stands in for it: opening goes by
that. Reading calls nothing and expands nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dependency_injector import providers as di

from wellwired.containers._named import Member, Named
from wellwired.containers._order import dependents, reachable

__all__ = ["Relations", "declared", "effective", "families"]

Provider = di.Provider[Any]


def declared(provider: Provider) -> tuple[Provider, ...]:
    """All that a provider refers to, in the order of declaration, what overrides it last."""
    return tuple(provider.related)


def effective(provider: Provider) -> tuple[Provider, ...]:
    """What a call of the provider would use now, without the branches of a selector, as only a call shows which."""
    if isinstance(provider, (di.Container, di.DependenciesContainer)):
        # Overriding one of these overrides each provider in it, which the others refer to directly.
        return declared(provider)
    if provider.last_overriding is not None:
        return (provider.last_overriding,)
    if isinstance(provider, Member) and provider.family.last_overriding is not None:
        return (provider.family,)
    if isinstance(provider, di.Selector):
        return tuple(one for one in [provider.selector] if isinstance(one, di.Provider))
    return declared(provider)


class Relations:
    """The relation among the providers of a container at one moment.

    Args:
        roots: the container's providers, in the order of declaration.
    """

    def __init__(self, roots: Iterable[Provider]) -> None:
        self.roots = tuple(roots)
        self.nodes = reachable(self.roots, declared)
        self._needs = {node: declared(node) for node in self.nodes}
        for family in families(self.nodes):
            for target in family.known().values():
                # The settings that a member was built from are no argument of its own.
                if target in self._needs:
                    self._needs[target] = (*self._needs[target], *family.settings())

    def needs(self, provider: Provider) -> tuple[Provider, ...]:
        """What the provider's object may have been made of; for a family's member also the settings."""
        return self._needs.get(provider, ())

    def fed_by(self, targets: Iterable[Provider]) -> list[Named[Any]]:
        """The families whose settings come from one of `targets`: those that have to be expanded again."""
        chosen = dict.fromkeys(targets)
        users = {**chosen, **self.dependents(chosen)}
        return [one for one in families(self.nodes) if any(source in users for source in one.settings())]

    def lasting(self, provider: Provider) -> Provider:
        """What stays when a family is expanded again: the member that leads to `provider`, or `provider` itself."""
        for family in families(self.nodes):
            for key, target in family.known().items():
                if target is provider:
                    return family[key]
        return provider

    def dependents(self, targets: Iterable[Provider]) -> dict[Provider, None]:
        """The providers that need one of `targets`, directly or through others; of a family also its members' users."""
        chosen = list(targets)
        chosen += [member for one in chosen if isinstance(one, Named) for member in one.members()]
        return dependents(chosen, self.nodes, self.needs)


def families(nodes: Iterable[Provider]) -> list[Named[Any]]:
    """The families among `nodes`, and those that only a member leads to."""
    found: dict[Named[Any], None] = {}
    for node in nodes:
        family = node.family if isinstance(node, Member) else node
        if isinstance(family, Named):
            found[family] = None
    return list(found)
