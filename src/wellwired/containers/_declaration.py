"""What a container's class body may not say: names that would hide the container's own, and bases that disagree.

dependency-injector accepts both. A provider called ``wire`` then replaces the method; of two bases with a provider of
the same name the class shows one and its instances use the other. Here the class is refused, with the way out.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeGuard

from dependency_injector import containers as di_containers
from dependency_injector import providers as di

from wellwired.errors import DeclarationError, OverrideError

__all__ = [
    "declared_in",
    "is_child",
    "refuse_colliding",
    "refuse_hidden",
    "refuse_overridden",
    "refuse_reserved",
    "reserved",
]

Provider = di.Provider[Any]


@cache
def reserved(instance_type: type) -> frozenset[str]:
    """The names that a provider cannot have: what containers of this type have themselves.

    Args:
        instance_type: what calling the container class makes; one is made, to see what it carries.
    """
    constructor = {"overrides"}
    return frozenset({*dir(instance_type()), *dir(di_containers.DeclarativeContainer), *constructor})


def refuse_reserved(class_name: str, names: Iterable[str], instance_type: type) -> None:
    """Raises `DeclarationError` if a provider would hide something of the container."""
    taken = reserved(instance_type)
    for name in names:
        if name in taken:
            raise DeclarationError(
                f"{class_name}.{name}: {name!r} belongs to the container itself; call the provider {_other(name)}"
            )


def refuse_hidden(class_name: str, namespace: Mapping[str, Any], instance_type: type, above: Iterable[type]) -> None:
    """Raises `DeclarationError` if the body redefines a method of the container, which instances would not use."""
    if not any(declared_in(base) or base.__dict__.get("instance_type") is instance_type for base in above):
        return
    own = set(dir(instance_type)) - set(dir(di_containers.DeclarativeContainer))
    for name, value in namespace.items():
        if name in own and not name.startswith("__") and not isinstance(value, di.Provider):
            raise DeclarationError(
                f"{class_name}.{name}: instances have their own {name!r} and would not use this one; call it something "
                f"else, or put it on a subclass of {instance_type.__name__} and name that as instance_type"
            )


def _other(name: str) -> str:
    plain = name.strip("_") or "provider"
    return f"{plain}_provider, app_{plain} or {plain}_" if not keyword.iskeyword(plain) else f"{plain}_provider"


def declared_in(cls: type) -> Mapping[str, Provider]:
    """The providers that the body of `cls` itself declares, whatever it inherits."""
    return {name: one for name, one in cls.__dict__.get("cls_providers", {}).items() if name != "__self__"}


def refuse_colliding(class_name: str, linearised: Iterable[type], redefined: Iterable[str]) -> None:
    """Raises `DeclarationError` if two bases declare a provider of one name and neither inherits from the other.

    Args:
        class_name: the class that is being made.
        linearised: its bases in the order of method resolution.
        redefined: names that the class declares itself, which settles them.
    """
    settled = set(redefined)
    first: dict[str, type] = {}
    for base in linearised:
        for name in declared_in(base):
            winner = first.setdefault(name, base)
            if name not in settled and not issubclass(winner, base):
                raise DeclarationError(
                    f"{class_name}.{name}: both {winner.__name__} and {base.__name__} define it; redefine it in "
                    f"{class_name}, such as {name} = {winner.__name__}.{name}"
                )


def is_child(provider: Provider) -> TypeGuard[di.Container[Any] | di.Dependency[Any] | di.DependenciesContainer]:
    """Whether it is a kind that is meant to be supplied from outside: a dependency or a nested container."""
    return isinstance(provider, (di.Container, di.Dependency, di.DependenciesContainer))


def refuse_overridden(cls: type[di_containers.DeclarativeContainer]) -> None:
    """Raises `OverrideError` if a provider of the class is overridden: each instance would keep the fake for good."""
    for name, provider in cls.providers.items():
        if provider.last_overriding is not None and not is_child(provider):
            raise OverrideError(
                f"{cls.__name__}.{name} is overridden on the class, and every container made of it would keep that "
                f"for good; override an instance, with container.overriding({{{name!r}: …}}), or make a subclass"
            )
