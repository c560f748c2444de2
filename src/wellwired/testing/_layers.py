"""Reaches a layer of a store that a container has made of its settings, and has the store built on it anew.

A delegated store looks at its layers once, when it is built, and takes short ways past a plain memory layer. So what
comes between a store and a layer has to be there before the store is.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dependency_injector import providers as di

from wellwired.containers._named import Member
from wellwired.errors import StateError, UnknownProviderError
from wellwired.stores import Layer
from wellwired.testing._intercept import Around, intercepted, methods_of

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance

__all__ = ["around_layer", "layer_of"]


def layer_of(container: ContainerInstance, store: str, name: str) -> tuple[di.Provider[Any], Layer]:
    """The provider of a layer, and the layer.

    Args:
        container: whose.
        store: the id of the store, such as ``stores.users``.
        name: the name of the layer, such as ``redis.cache``.

    Raises:
        UnknownProviderError: there is no such store or layer.
        StateError: the store is not made of the settings.
    """
    provider = container.provider(store)
    target = provider.target if isinstance(provider, Member) and provider.last_overriding is None else None
    parts = getattr(target, "args", ())
    if not parts or not isinstance(parts[0], di.List):
        raise StateError(f"{store} is no layered store that the container has made of its settings, or is overridden")
    layers: dict[str, tuple[di.Provider[Any], Layer]] = {}
    for one in parts[0].args:
        made = one()
        layers[made.name] = (one, made)
    if name not in layers:
        raise UnknownProviderError(f"{store} has no layer {name!r}; it has {', '.join(layers)}")
    return layers[name]


@contextmanager
def around_layer(container: ContainerInstance, store: str, name: str, around: Around) -> Generator[Any]:
    """Leads calls of a layer's store through a function, inside a block; yields that store.

    Args:
        container: whose.
        store: the id of the store.
        name: the name of the layer.
        around: the function.
    """
    provider, layer = layer_of(container, store, name)
    inline = layer.fills_inline  # which follows from the class that is about to change
    # A store that is built anew closes its layers, and `within` reaches no backend by itself.
    names = set(methods_of(layer.store)) - {"close", "within"}
    with intercepted(layer.store, around, names), container.overriding({provider: replace(layer, inline=inline)}):
        yield layer.store
