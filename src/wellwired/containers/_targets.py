"""What the keys of an override mean, and which overrides could not be exact.

A key is a dotted id, or a provider: of the container itself, or of its class or a class that it inherits from, which is
how a test that has only ``Shop.users`` at hand says it. Everything here is decided before anything changes, even
whether a family will have a member once its settings are overridden in the same breath.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dependency_injector import providers as di

from wellwired.containers._direct import label
from wellwired.containers._ids import dotted, find, inside
from wellwired.containers._named import Member, Named
from wellwired.containers._order import reachable
from wellwired.containers._relations import Relations, declared
from wellwired.containers._unknown import unknown
from wellwired.errors import OverrideError, UnknownProviderError

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance

__all__ = ["Target", "refuse_inexact", "refuse_missing", "stand_in", "targets_of"]

Provider = di.Provider[Any]

_NESTED = (di.Container, di.DependenciesContainer)
_ELSEWHERE = (di.ThreadLocalSingleton, di.ContextLocalSingleton, di.ContextLocalResource)


@dataclass(frozen=True, slots=True)
class Target:
    """One provider to be overridden.

    Args:
        id: how the caller called it.
        provider: the provider of the container.
        value: what is to stand in for it, a provider or not.
    """

    id: str
    provider: Provider
    value: Any

    def confirm(self) -> None:
        """Raises `UnknownProviderError` if it is a member that its family does not have; expands the family."""
        if isinstance(self.provider, Member) and isinstance(self.provider.family, Named):
            self.provider.family.member(self.provider.key)


def targets_of(container: ContainerInstance, replacements: Mapping[Any, Any], relations: Relations) -> list[Target]:
    """Finds the providers that the keys mean; whether families have them is not asked yet.

    Raises:
        UnknownProviderError: a key means no provider of the container; names near and known ids.
    """
    found: dict[Provider, Target] = {}
    for key, value in replacements.items():
        provider = _by_id(container, key) if isinstance(key, str) else _by_identity(container, key, relations)
        target = Target(key if isinstance(key, str) else label(provider), provider, value)
        if provider in found:
            raise OverrideError(f"{target.id} and {found[provider].id} are the same provider; override it once")
        found[provider] = target
    return list(found.values())


def _by_id(container: ContainerInstance, id: str) -> Provider:
    family, key = _family_in(container.providers, id)
    return family[key] if family is not None else find(container.providers, id, container.title)


def _family_in(providers: Mapping[str, Provider], id: str) -> tuple[Named[Any] | None, str]:
    name, _, rest = id.partition(".")
    provider = providers.get(name)
    if isinstance(provider, Named) and rest:
        return provider, rest
    return _family_in(inside(provider), rest) if isinstance(provider, _NESTED) else (None, "")


def _by_identity(container: ContainerInstance, wanted: Any, relations: Relations) -> Provider:
    if isinstance(wanted, Member) and isinstance(wanted.family, Named):
        family = _by_identity(container, wanted.family, relations)
        if isinstance(family, Named):
            return family[wanted.key]
    if wanted in relations.nodes:
        return wanted  # type: ignore[no-any-return]
    declaring = getattr(container, "declarative_parent", None)
    for cls in getattr(declaring, "__mro__", ()):
        for id, provider in dotted(getattr(cls, "providers", {})):
            if provider is wanted:
                return find(container.providers, id, container.title)
    what = label(wanted) if isinstance(wanted, di.Provider) else f"a {type(wanted).__name__}"
    raise UnknownProviderError(
        f"{what} is no provider of {container.title}; give a dotted id, a provider of the container, or one of its "
        f"class: {', '.join(container.ids())}"
    )


def refuse_missing(targets: Sequence[Target], relations: Relations) -> None:
    """Raises `UnknownProviderError` for the first target that is a member which its family has not, or will not have.

    Args:
        targets: all providers that are going to be overridden.
        relations: the dependencies before that.
    """
    fed = relations.fed_by(target.provider for target in targets)
    for target in targets:
        member = target.provider
        if not isinstance(member, Member) or member.family not in fed:
            target.confirm()
        else:
            coming = _coming(member.family.source, targets, relations)
            if member.key not in coming:
                add = member.family.variable_of(member.key)
                raise UnknownProviderError(unknown(member.key, coming, label(member.family), add=add))


def _coming(source: Provider, targets: Sequence[Target], relations: Relations) -> Mapping[str, Any]:
    """What a family will be expanded from: read from a copy of its source that has the stand-ins already."""
    users = relations.dependents(target.provider for target in targets)
    settled = (one for one in relations.nodes if one not in users or isinstance(one, di.BaseResource))
    memo: dict[int, Any] = {id(one): one for one in settled}
    memo.update((id(target.provider), stand_in(target)) for target in targets)
    return di.deepcopy(source, memo)() or {}


def refuse_inexact(targets: Iterable[Target], relations: Relations) -> None:
    """Raises `OverrideError` for the first override that could not be applied or taken back exactly."""
    for target in targets:
        reason = _inexact(target, relations)
        if reason:
            raise OverrideError(f"{target.id} cannot be overridden: {reason}")


def _inexact(target: Target, relations: Relations) -> str:
    if isinstance(target.provider, _NESTED):
        inner = next(iter(inside(target.provider)), "name")
        return f"it is a whole nested container; override what is in it, such as {target.id}.{inner}"
    if isinstance(target.provider, di.Aggregate):
        return "it is an aggregate, which only hands over its members; override those"
    if isinstance(target.value, di.Provider):
        if target.provider in reachable([target.value], declared):
            return "what is to stand in for it needs it, which would be a ring; hand the original over as an object"
        if not isinstance(target.value, di.Factory) and isinstance(target.provider, di.AbstractFactory):
            return "it is an abstract factory; only a factory can stand in for it"
    for user in relations.dependents([target.provider]):
        if isinstance(user, _ELSEWHERE):
            return (
                f"{label(user)} depends on it and keeps objects in other threads or contexts, where nobody can rebuild "
                "them; declare it as providers.Scoped"
            )
    return ""


def stand_in(target: Target) -> Provider:
    """The provider that will stand in: the value itself, or one that returns the value as it is."""
    value = target.value
    if not isinstance(value, di.Provider):
        return di.Object(value)
    # To be taken out of the stack again it must be in it only once.
    return di.Callable(value) if value in target.provider.overridden else value
