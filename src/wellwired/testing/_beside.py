"""A copy of a provider beside the provider: what is to stand in for it may be built on the copy, without a ring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dependency_injector import providers as di

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance

__all__ = ["beside"]

Provider = di.Provider[Any]


def beside(container: ContainerInstance, provider: Provider) -> Provider:
    """A copy of a provider that shares all that it needs with the original.

    Args:
        container: whose it is.
        provider: which.
    """
    memo = {id(one): one for one in container._life.relations().nodes if one is not provider}
    copied: Provider = di.deepcopy(provider, memo)
    return copied
