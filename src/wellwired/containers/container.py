"""Container: a class body of providers whose instances can be checked, started, overridden and stopped.

A `DeclarativeContainer` of dependency-injector, with three things put right. Calling the class gives an instance that
has methods (`ContainerInstance`). A subclass that replaces a provider rewires what it inherited (`_inherit`). And
whatever a class body cannot mean is refused when the class is made (`_declaration`), not when a test fails far away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dependency_injector import containers as di_containers

from wellwired.containers._declaration import refuse_overridden
from wellwired.containers._ids import refuse_unknown
from wellwired.containers._instance import ContainerInstance
from wellwired.containers._metaclass import ContainerMeta

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Container", "ContainerInstance"]

if TYPE_CHECKING:

    class _Declared(ContainerInstance, di_containers.DeclarativeContainer):  # noqa: PGH003 # pyright: ignore
        """What a type checker sees: the class body and the instance are one."""

        def __init__(self, *, overrides: Mapping[str, Any] | None = None, **replacements: Any) -> None: ...

else:

    class _Declared(di_containers.DeclarativeContainer, metaclass=ContainerMeta):
        instance_type = ContainerInstance

        def __new__(cls, *, overrides=None, **replacements):
            refuse_overridden(cls)
            refuse_unknown(replacements, cls.providers, cls.__name__)
            container = super().__new__(cls, **replacements)
            for id, value in (overrides or {}).items():
                container.provider(id).override(value)
            if overrides or replacements:
                container._life.claim(container.roots())
            container._sealed = True
            return container


class Container(_Declared):
    """A declarative container: providers as attributes of a subclass, each instance with copies of its own.

    Calling the class makes an instance; nothing is read or opened yet. A subclass inherits the providers of its
    bases, rewired to whatever it replaces.

    Args:
        overrides: from a dotted id, such as ``sql.main``, to what takes its place for the life of the instance.
        replacements: the same for the container's own providers, by name.

    Raises:
        DeclarationError: when the class is made: a provider hides something of the container's own, or two bases
            define a provider of the same name.
        UnknownProviderError: when it is called: a replacement for a provider that it does not have.
        OverrideError: when it is called: a provider of the class itself is overridden, which would leak into
            every instance.
    """
