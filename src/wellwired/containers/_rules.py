"""The rules that the providers of a container must keep.

Each is a generator from a survey to findings, independent of the others, and calls nothing: signatures are compared
with arguments, and lifetimes along the paths of the graph.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

from dependency_injector import providers as di
from dependency_injector.resources import Resource as ResourceClass

from wellwired.containers._arguments import argument_faults, signature_of
from wellwired.containers._declaration import reserved
from wellwired.containers._graph import Lifetime, Link
from wellwired.containers._named import Member
from wellwired.containers._rings import path_to, rings, spread
from wellwired.containers._survey import Provider, Survey, arguments_of, lifetime_of, provides_of, standing_for
from wellwired.errors import (
    ArgumentsError,
    CaptiveError,
    CycleError,
    DeclarationError,
    UndefinedError,
    UnknownProviderError,
    WellwiredError,
)

__all__ = ["findings"]

_ABSTRACT = (di.AbstractFactory, di.AbstractSingleton, di.AbstractCallable, di.AbstractCoroutine)
_BARE = (di.Factory, di.BaseSingleton, di.Callable, di.BaseResource)
_PLAIN = (dict, list, tuple, set, frozenset)
# The longer something lives, the less it may hold what lives shorter.
_RANK = {Lifetime.CONTAINER: 3, Lifetime.THREAD: 2, Lifetime.CONTEXT: 2, Lifetime.SCOPE: 1}


def findings(survey: Survey) -> Iterator[WellwiredError]:
    """Applies every rule that needs nothing but the providers.

    Args:
        survey: of the container, after its families were expanded if they can be.

    Yields:
        An error for each fault, not raised; rule by rule, in the order of declaration.
    """
    for rule in (_shadowing, _unknown, _undefined, _arguments, _unresolved, _cycles, _captives):
        yield from rule(survey)


def _shadowing(survey: Survey) -> Iterator[WellwiredError]:
    # A class is refused when it is made; what was set on an instance is seen only here.
    instance_type: Any = type(survey.container)
    taken = reserved(instance_type)
    for name in survey.container.providers:
        if name in taken and name != "__self__":
            yield DeclarationError(f"{name!r} belongs to the container itself and is hidden by the provider; rename it")


def _unknown(survey: Survey) -> Iterator[WellwiredError]:
    for id, provider in survey.named.items():
        if not isinstance(provider, Member) or provider.target is not None or standing_for(provider) is not provider:
            continue
        if provider.family.expanded:
            users = " and ".join(survey.graph().needed_by(id))
            try:
                provider.family.member(provider.key)
            except UnknownProviderError as error:
                yield UnknownProviderError(f"{id}, needed by {users or 'a marker'}: {error}")


def _undefined(survey: Survey) -> Iterator[WellwiredError]:
    for provider in survey:
        id = survey.label(provider)
        if provider.last_overriding is not None:
            continue
        if isinstance(provider, di.Dependency) and not provider.is_defined:
            kind = provider.instance_of.__qualname__
            yield UndefinedError(f"{id} is declared as a dependency ({kind}) and nobody supplies it; pass {_given(id)}")
        elif isinstance(provider, _ABSTRACT):
            yield UndefinedError(f"{id} is abstract and nobody overrides it; pass {_given(id)}")
        elif isinstance(provider, _BARE) and provides_of(provider) is None:
            yield UndefinedError(f"{id} is a {type(provider).__name__} of nothing; give it a class or a function")


def _given(id: str) -> str:
    where, _, name = id.rpartition(".")
    return f"{name}=… to the container{f' of {where}' if where else ''}"


def _arguments(survey: Survey) -> Iterator[WellwiredError]:
    called = {use.target for provider in survey for use in survey.uses(provider) if use.link is Link.NEEDS}
    for provider in survey:
        target = provides_of(provider)
        if target is None or di.is_provider(target) or provider.last_overriding is not None:
            continue
        signature = signature_of(_called(target))
        if signature is None:
            continue
        # Whoever calls a factory by hand may add arguments; a provider that needs its object adds none.
        partial = lifetime_of(provider) is Lifetime.CALL and provider not in called
        args, kwargs = arguments_of(provider)
        faults = argument_faults(signature, len(args), list(kwargs), partial=partial)
        if faults:
            names = ", ".join(signature.parameters)
            yield ArgumentsError(f"{survey.label(provider)}: {_name(target)}({names}) {'; '.join(faults)}")


def _called(target: Any) -> Any:
    if isinstance(target, type) and issubclass(target, ResourceClass):
        return types.MethodType(target.init, target)  # bound to anything: only its signature is read
    return target


def _name(target: Any) -> str:
    return getattr(target, "__qualname__", None) or type(target).__qualname__


def _unresolved(survey: Survey) -> Iterator[WellwiredError]:
    for provider in survey:
        args, kwargs = arguments_of(provider)
        told = {f"argument {i + 1}": value for i, value in enumerate(args)}
        told |= {f"argument {name!r}": value for name, value in kwargs.items()}
        for where, value in told.items():
            if isinstance(value, _PLAIN) and (held := _provider_in(value)) is not None:
                plain = f"a plain {type(value).__name__} with the provider {survey.label(held)} in it"
                yield ArgumentsError(
                    f"{survey.label(provider)}: {where} is {plain}, which would be passed on uncalled; "
                    "use providers.Dict or providers.List"
                )


def _provider_in(value: Any) -> Provider | None:
    if isinstance(value, di.Provider):
        return None if isinstance(value, di.Delegate) or di.is_delegated(value) else value
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    inner = value if isinstance(value, _PLAIN) else ()
    return next((held for each in inner if (held := _provider_in(each)) is not None), None)


def _needs(survey: Survey) -> dict[Provider, list[Provider]]:
    """Who is called when a provider is called; a family calls its members, an aggregate does not."""
    return {
        provider: [
            use.target
            for use in survey.uses(provider)
            if use.link is Link.NEEDS or (use.link is Link.MEMBER and not isinstance(provider, di.Aggregate))
        ]
        for provider in survey
    }


def _cycles(survey: Survey) -> Iterator[WellwiredError]:
    for ring in rings(_needs(survey)):
        yield CycleError(survey.path(ring))


def _captives(survey: Survey) -> Iterator[WellwiredError]:
    needs = _needs(survey)
    # What is overridden keeps nothing itself: it passes on what its replacement gives.
    rank = {p: _RANK.get(lifetime_of(p), 0) if p.last_overriding is None else 0 for p in needs}
    for holder in needs:
        if rank[holder] < 2:
            continue
        before = spread(holder, lambda p: needs[p] if p is holder or not rank[p] else ())  # noqa: B023 - used at once
        for held in before:
            if held is not holder and 0 < rank[held] < rank[holder]:
                yield CaptiveError(survey.path(path_to(held, holder, before)))
