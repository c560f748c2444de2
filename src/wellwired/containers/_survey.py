"""A reading of a container: the id of every provider, and what each one really uses now.

dependency-injector knows names only from a container to its own providers, and lists an overridden provider's
declared dependencies beside its overriding ones. A `Survey` is what graph and checks look at instead: dotted ids
through nested containers and families, unnamed providers with a describing label, an overridden provider using only
what stands in for it, and a provider that is handed over uncalled told from one that is called.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dependency_injector import providers as di

from wellwired.containers._graph import Edge, Graph, Lifetime, Link, Node
from wellwired.containers._ids import dotted
from wellwired.containers._named import Member, Named
from wellwired.containers._order import reachable
from wellwired.containers._relations import declared
from wellwired.containers._scope import Scoped

__all__ = [
    "Provider",
    "Survey",
    "Use",
    "arguments_of",
    "lifetime_of",
    "made_by",
    "provides_of",
    "standing_for",
    "target_of",
    "title_of",
]

Provider = di.Provider[Any]

_REACHING = (di.ProvidedInstance, di.AttributeGetter, di.ItemGetter, di.MethodCaller)
_CALLING = (di.Factory, di.BaseSingleton, di.Callable, di.BaseResource)
_GROUPS = (di.Container, di.DependenciesContainer, di.Aggregate)


@dataclass(frozen=True, slots=True)
class Use:
    """One provider used by another."""

    target: Provider
    link: Link = Link.NEEDS


class Survey:
    """What is read of a container, at one moment; it constructs and expands nothing.

    Args:
        container: a container, or the class of one.
    """

    def __init__(self, container: Any) -> None:
        self.container = container
        self.named = _placed(dict(dotted(container.providers)))
        self.ids: dict[Provider, str] = {}
        for id, provider in self.named.items():
            self.ids.setdefault(provider, id)
        self._targets = {target_of(p): id for p, id in self.ids.items() if isinstance(p, Member)}
        self._uses: dict[Provider, tuple[Use, ...]] = {}

    def __iter__(self) -> Iterator[Provider]:
        """Every provider that is named, or used by one that is, once; the named ones first."""
        return iter(reachable(self.ids, lambda provider: [use.target for use in self.uses(provider)]))

    def label(self, provider: Provider) -> str:
        """The id of a provider, or a description of one that has none."""
        id = self.ids.get(provider) or self._targets.get(provider)
        if id is not None:
            return id
        made = made_by(provider).rpartition(".")[2]
        return f"{type(provider).__name__}({made})" if made else type(provider).__name__

    def path(self, providers: Iterable[Provider]) -> list[str]:
        """The labels along a path, without those that only reach into the object of the one before."""
        labels = [self.label(provider) for provider in providers if not isinstance(provider, _REACHING)]
        path = [label for i, label in enumerate(labels) if i == 0 or label != labels[i - 1]]
        return path if len(path) > 1 else [*path, *path]

    def uses(self, provider: Provider) -> tuple[Use, ...]:
        """What a provider uses when it is called now, in the order of declaration."""
        if provider not in self._uses:
            self._uses[provider] = tuple(_uses(provider))
        return self._uses[provider]

    def graph(self) -> Graph:
        """Folds the unnamed providers into the named ones, and lets go of every provider."""
        nodes = tuple(self._node(id, provider) for id, provider in self.named.items())
        edges = dict.fromkeys(edge for id, provider in self.named.items() for edge in self._edges(id, provider))
        # What is needed anyway says no more by being handed over too.
        kept = (e for e in edges if e.link is not Link.HANDLE or replace(e, link=Link.NEEDS) not in edges)
        return Graph(nodes, tuple(kept), title_of(self.container))

    def _node(self, id: str, provider: Provider) -> Node:
        if self.ids[provider] != id:
            return Node(id, "alias", Lifetime.CALL)
        acting = standing_for(provider)
        return Node(id, kind_of(provider), lifetime_of(acting), is_overridden(provider), made_by(acting))

    def _edges(self, id: str, provider: Provider) -> Iterator[Edge]:
        if self.ids[provider] != id:
            yield Edge(id, self.ids[provider])
            return
        seen: set[Use] = set()
        queue = list(self.uses(provider))
        for use in queue:
            if use in seen:
                continue
            seen.add(use)
            if use.target in self.ids:
                yield Edge(id, self.ids[use.target], use.link)
            else:
                queue += [_through(use, inner) for inner in self.uses(use.target)]


def title_of(container: Any) -> str:
    """The name of a container's class, as its author wrote it."""
    declared = container if isinstance(container, type) else getattr(container, "declarative_parent", None)
    return (declared or type(container)).__name__


def _placed(named: Mapping[str, Provider]) -> dict[str, Provider]:
    """Each family followed by all its members by name: those it has, and those that are needed and it lacks (yet)."""
    families: dict[Provider, str] = {p: id for id, p in reversed([*named.items()]) if isinstance(p, Named)}
    members = [p for p in reachable(named.values(), declared) if isinstance(p, Member) and p.family in families]
    beside = {f"{families[m.family]}.{m.key}": m for m in sorted(members, key=lambda m: m.key)}
    placed: dict[str, Provider] = {}
    for id, provider in named.items():
        if beside.get(id) is not provider:
            placed[id] = provider
        if families.get(provider) == id:
            placed |= {place: member for place, member in beside.items() if member.family is provider}
    return placed


def target_of(provider: Provider) -> Provider | None:
    """What the settings made of a member of a family, None if nothing (yet); any other provider itself."""
    return provider.target if isinstance(provider, Member) else provider


def standing_for(provider: Provider) -> Provider:
    """The provider that answers in the end when this one is called: the last that overrides it, or itself."""
    while (following := _following(provider)) is not None:
        provider = following
    return provider


def _following(provider: Provider) -> Provider | None:
    if provider.last_overriding is not None:
        return provider.last_overriding
    if isinstance(provider, Member):
        return provider.family if _is_replaced(provider.family) else provider.target
    return None


def _is_replaced(family: Provider) -> bool:
    """Whether something else gives the dict of a family: an override, or a provider that a subclass put there."""
    return not isinstance(family, Named) or family.last_overriding is not None


def is_overridden(provider: Provider) -> bool:
    """Whether something stands in for the provider; what supplies a declared dependency does not count."""
    if isinstance(provider, di.Dependency):
        # A nested container is supplied twice with the same provider, once by itself and once by its parent.
        return len(set(provider.overridden)) > 1
    if isinstance(provider, Member) and provider.family.last_overriding is not None:
        return True
    return provider.last_overriding is not None


def kind_of(provider: Provider) -> str:
    """The kind in words: a ``ThreadLocalSingleton`` is a "thread local singleton"."""
    if isinstance(provider, Named):
        return "family"
    target = target_of(provider)
    if isinstance(provider, Member) and target is None:
        return "missing" if isinstance(provider.family, Named) and provider.family.expanded else "late-bound"
    name = type(target).__name__
    return "".join(f" {c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def lifetime_of(provider: Provider) -> Lifetime:
    """How long the objects live that a provider makes by itself, whatever overrides it."""
    if isinstance(provider, Scoped):
        return Lifetime.SCOPE
    if isinstance(provider, di.ThreadLocalSingleton):
        return Lifetime.THREAD
    if isinstance(provider, (di.ContextLocalSingleton, di.ContextLocalResource)):
        return Lifetime.CONTEXT
    lasting = (di.BaseSingleton, di.BaseResource, di.Object, di.Container, di.Self)
    return Lifetime.CONTAINER if isinstance(provider, lasting) else Lifetime.CALL


def made_by(provider: Provider) -> str:
    """What a provider makes, by qualified name; of a constant the type, so that no value is ever shown."""
    if isinstance(provider, di.Dependency):
        return _qualified(provider.instance_of)
    if isinstance(provider, (di.Configuration, *_GROUPS)):
        return ""
    if isinstance(provider, di.Object):
        return _qualified(type(provider.provides))
    return _qualified(provides_of(provider))


def provides_of(provider: Provider) -> Any:
    """The class or function that a provider calls, or None if it calls none of its own."""
    return provider.provides if isinstance(provider, _CALLING) else None


def arguments_of(provider: Provider) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The declared arguments of a provider that calls a class or function, by position and by keyword."""
    if isinstance(provider, _CALLING):
        return provider.args, provider.kwargs
    return (), {}


def _qualified(made: Any) -> str:
    while isinstance(made, functools.partial):
        made = made.func
    owner = getattr(made, "__self__", None)
    if isinstance(owner, type):  # a class method is told by the class that it makes, and not by who wrote it
        return f"{owner.__module__}.{owner.__qualname__}.{made.__name__}"
    name = getattr(made, "__qualname__", "")
    module = getattr(made, "__module__", None)
    if not name or di.is_provider(made):
        return ""
    return name if module in (None, "builtins") else f"{module}.{name}"


def _through(outer: Use, inner: Use) -> Use:
    return Use(inner.target, Link.HANDLE) if outer.link is Link.HANDLE and inner.link is Link.NEEDS else inner


def _uses(provider: Provider) -> Iterator[Use]:
    acting = provider.last_overriding
    if acting is not None:
        yield Use(acting)
    elif isinstance(provider, Member):
        yield from _member_uses(provider)
    elif isinstance(provider, Named):
        yield from (Use(each, Link.NEEDS if each is provider.source else Link.HANDLE) for each in provider.origin())
        yield from (Use(member, Link.MEMBER) for member in provider.providers.values())
    elif isinstance(provider, di.Delegate):
        yield from (Use(each, Link.HANDLE) for each in [provider.provides] if each is not None)
    elif isinstance(provider, _GROUPS):
        link = Link.MEMBER if isinstance(provider, di.Aggregate) else Link.HANDLE
        inside: dict[str, Provider] = dict(provider.providers)  # type: ignore[arg-type]
        yield from (Use(member, link) for member in inside.values() if not isinstance(member, di.Self))
    elif not isinstance(provider, di.Object):
        for target in provider.related:
            yield Use(target, Link.HANDLE if di.is_delegated(target) else Link.NEEDS)


def _member_uses(member: Member[Any]) -> Iterator[Use]:
    family = member.family
    if _is_replaced(family):
        yield Use(family)
        return
    if di.is_provider(family.source):
        yield Use(family.source)
    if member.target is not None:
        yield Use(member.target)
