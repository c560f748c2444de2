"""How a container class is made: its body checked, and its providers rewired to what it replaces.

dependency-injector's metaclass has done its part when ours begins; ours replaces the three mappings of providers that
it left on the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dependency_injector import containers as di_containers
from dependency_injector import providers as di

from wellwired.containers._declaration import (
    declared_in,
    is_child,
    refuse_colliding,
    refuse_hidden,
    refuse_reserved,
)
from wellwired.containers._ids import assign_names
from wellwired.containers._inherit import inherit
from wellwired.containers._instance import ContainerInstance

__all__ = ["ContainerMeta"]

if TYPE_CHECKING:

    class _Meta(type):
        """The metaclass of dependency-injector's declarative containers, which its stubs leave out."""

else:
    _Meta = type(di_containers.DeclarativeContainer)


class ContainerMeta(_Meta):
    """Makes container classes: checks what the body says and rewires what it inherits."""

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        declared = [one for one, value in namespace.items() if isinstance(value, di.Provider) and one != "__self__"]
        refuse_reserved(name, declared, _instance_type(bases, namespace))
        return super().__new__(mcs, name, bases, namespace)

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:  # noqa: N805
        super().__init__(name, bases, namespace)
        _settle(cls, namespace)

    def __setattr__(cls, name: str, value: Any) -> None:  # noqa: N805
        if isinstance(value, di.Provider) and name != "__self__":
            refuse_reserved(cls.__name__, [name], getattr(cls, "instance_type", ContainerInstance))
        super().__setattr__(name, value)

    def __instancecheck__(cls, instance: Any) -> bool:  # noqa: N805
        made_of = getattr(type(instance), "__mro__", ())
        if ContainerInstance in made_of:
            return issubclass(instance.__dict__.get("declarative_parent") or object, cls)
        return cls in made_of


def _instance_type(bases: tuple[type, ...], namespace: Mapping[str, Any]) -> type:
    stated = [namespace.get("instance_type"), *(getattr(base, "instance_type", None) for base in bases)]
    return next((one for one in stated if isinstance(one, type)), ContainerInstance)


def _settle(cls: Any, namespace: Mapping[str, Any]) -> None:
    """Checks what a class body says, and gives the class its providers, rewired to each other."""
    above = cls.__mro__[1:]
    own = declared_in(cls)
    refuse_hidden(cls.__name__, namespace, cls.instance_type, above)
    refuse_colliding(cls.__name__, above, own)
    selves = [base.__self__ for base in above if isinstance(getattr(base, "__self__", None), di.Self)]
    cls.__self__.set_alt_names({*cls.__self__.alt_names, *(alt for one in selves for alt in one.alt_names)})
    providers = inherit(own, above, cls.__self__, selves)
    for name, provider in providers.items():
        if getattr(cls, name, None) is not provider:
            type.__setattr__(cls, name, provider)
            if is_child(provider):
                provider.assign_parent(cls)
    assign_names(providers)
    type.__setattr__(cls, "providers", providers)
    type.__setattr__(cls, "cls_providers", {name: providers[name] for name in own})
    type.__setattr__(cls, "inherited_providers", {name: one for name, one in providers.items() if name not in own})
