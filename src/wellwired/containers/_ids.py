"""Dotted ids: the one name that a provider has in code, tests, messages and pictures.

``users`` is a provider of the container, ``sql.main`` the member of a family, ``core.clock`` a provider of a nested
container. A key may itself have dots, so the longest beginning that names a provider decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from dependency_injector import providers as di

from wellwired.containers._direct import DirectCall
from wellwired.containers._named import Named
from wellwired.containers._unknown import unknown
from wellwired.errors import UnknownProviderError

__all__ = ["assign_names", "dotted", "find", "inside", "refuse_unknown"]

Provider = di.Provider[Any]
_NESTED = (di.Container, di.DependenciesContainer, di.Aggregate, di.Selector)


def dotted(providers: Mapping[str, Provider], prefix: str = "") -> Iterator[tuple[str, Provider]]:
    """The ids of these providers and of all inside them, in the order of declaration; expands nothing.

    A nested container has no id of its own, only what is in it.
    """
    for name, provider in providers.items():
        if name == "__self__" or isinstance(provider, di.Self):
            continue
        if isinstance(provider, Named):
            yield prefix + name, provider
            yield from ((f"{prefix}{name}.{key}", member) for key, member in provider.providers.items())
        else:
            if not isinstance(provider, (di.Container, di.DependenciesContainer)):
                yield prefix + name, provider
            yield from dotted(inside(provider), f"{prefix}{name}.")


def inside(provider: Provider) -> Mapping[str, Provider]:
    """The providers that a nested container, an aggregate or a selector holds; nothing for any other."""
    return cast("Mapping[str, Provider]", provider.providers) if isinstance(provider, _NESTED) else {}


def assign_names(providers: Mapping[str, Provider], prefix: str = "") -> None:
    """Tells every provider of ours its id, for messages; the first id counts."""
    for id, provider in dotted(providers, prefix):
        if isinstance(provider, DirectCall) and not provider.name:
            provider.name = id


def find(providers: Mapping[str, Provider], id: str, where: str) -> Provider:
    """The provider of a dotted id; expands the family that it is in, if any.

    Args:
        providers: of the container, by name.
        id: the dotted id.
        where: the container's name, for the message.

    Raises:
        UnknownProviderError: there is none; names near and known ids, and the variable that would add it.
        SettingsError: a family had to be expanded, and the settings are wrong.
    """
    name, dot, rest = id.partition(".")
    provider = providers.get(name) if name != "__self__" else None
    if provider is not None and not dot:
        return provider
    if isinstance(provider, Named):
        provider.member(rest)
        return provider[rest]
    if provider is not None and inside(provider):
        return find(inside(provider), rest, f"{where}.{name}")
    raise UnknownProviderError(unknown(id, (known for known, _ in dotted(providers)), where))


def refuse_unknown(names: Mapping[str, Any], providers: Mapping[str, Provider], where: str) -> None:
    """Raises `UnknownProviderError` for the first of `names` that is no provider."""
    for name in names:
        if name not in providers or name == "__self__":
            raise UnknownProviderError(unknown(name, (one for one in providers if one != "__self__"), where))
