"""The layered store that a framework's cache stands on, looked up in the application's container at every use.

At every use and not once, because a test may put another store in its place at any moment, and because each process
starts the container for itself after a fork. The look asks whether the container is started and calls a provider.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wellwired.containers.container import ContainerInstance
from wellwired.errors import StateError
from wellwired.stores import DelegatedStore

__all__ = ["StoreInContainer"]


class StoreInContainer:
    """Gives the store of a dotted id when it is called; safe for threads, and connects to nothing before.

    Args:
        id: the store's id in the container, such as ``stores.sessions``.
        container: gives the container, started.
    """

    __slots__ = ("_bound", "_container", "id")

    def __init__(self, id: str, container: Callable[[], ContainerInstance]) -> None:
        self.id = id
        self._container = container
        # Together, so that no thread sees one without the other.
        self._bound: tuple[ContainerInstance, Callable[[], DelegatedStore[Any]]] | None = None

    def __call__(self) -> DelegatedStore[Any]:
        """The store.

        Raises:
            UnknownProviderError: the container has nothing of this id; the text names what it has.
            StateError: what it has is no layered store.
            ExceptionGroup: the container cannot be started.
        """
        # A container that was put in another's place has that one stopped.
        bound = self._bound
        if bound is not None and bound[0].started:
            return bound[1]()
        return self.of(self._container())

    def of(self, container: ContainerInstance) -> DelegatedStore[Any]:
        """The store of a certain container, which has been started.

        Raises:
            UnknownProviderError: as above.
            StateError: as above.
        """
        bound = self._bound
        if bound is None or bound[0] is not container:
            bound = self._bind(container)
        return bound[1]()

    def ready(self) -> DelegatedStore[Any] | None:
        """The store if it can be had without waiting for anything: once the container has been started here."""
        bound = self._bound
        return bound[1]() if bound is not None and bound[0].started else None

    def _bind(self, container: ContainerInstance) -> tuple[ContainerInstance, Callable[[], DelegatedStore[Any]]]:
        provide = container.provider(self.id)
        found = provide()
        if not hasattr(found, "get_or_load"):
            kind = type(found).__name__
            raise StateError(
                f"{self.id} of {container.title} is a {kind}; a cache needs a layered store, as in stores.x"
            )
        bound = self._bound = (container, provide)
        return bound
