"""What a marker stands for in one container: the provider to be called, found without calling any.

A marker names a dotted id, or a provider of the container's class. Behind an id ``.provider`` hands the provider over
uncalled, and ``.provided`` reaches into the object, as they do behind a provider. A member of a family is bound as
such and not as what the settings made of it, so that it follows the settings when these are overridden; if they
cannot be read now its name is taken on trust, for `check()` reports both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dependency_injector import providers as di
from dependency_injector import wiring as di_wiring

from wellwired.containers._markers import Marker
from wellwired.containers._relations import Relations
from wellwired.containers._targets import targets_of
from wellwired.errors import SettingsError, UnknownProviderError

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance

__all__ = ["Resolver"]

Provider = di.Provider[Any]

_REACHING = (di.ProvidedInstance, di.AttributeGetter, di.ItemGetter, di.MethodCaller, di.Delegate)
_CONTAINER = "<container>"


class Resolver:
    """Resolves markers against a container.

    Args:
        container: where the ids and providers are looked up.
    """

    def __init__(self, container: ContainerInstance) -> None:
        self._container = container
        self._relations = Relations(container.roots())

    def resolve(self, marker: Marker) -> Provider:
        """The provider that is to be called for a marker.

        Raises:
            UnknownProviderError: it leads nowhere; names near and known ids.
        """
        if _is_a(marker, di_wiring.Closing):
            raise UnknownProviderError(
                "Closing would close a shared resource under whoever else uses it; make it Scoped, and use Provide"
            )
        found = self.resolve_provider(marker.provider, marker.modifier)
        return found.provider if _is_a(marker, di_wiring.Provider) else found

    def resolve_provider(self, wanted: Any, modifier: Any = None) -> Provider:
        """The provider of an id or of the container's class; dependency-injector's modifiers call this too."""
        found = self._by_id(wanted) if isinstance(wanted, str) else self._by_provider(wanted)
        return found if modifier is None else modifier.modify(found, providers_map=self)

    def _by_id(self, id: str) -> Provider:
        if id == _CONTAINER:
            return self._container.__self__
        try:
            return self._find(id)
        except UnknownProviderError:
            for suffix in ("provider", "provided"):
                known, dot, path = id.partition(f".{suffix}")
                if dot and (not path or path.startswith(".")):
                    return _reach(self._find(known), [suffix, *path.split(".")[1:]])
            raise

    def _by_provider(self, wanted: Any) -> Provider:
        root = wanted
        while isinstance(root, _REACHING):
            root = root.provides
        if isinstance(root, di.Self):
            return self._own(root)
        found = self._find(root)
        return found if root is wanted else di.deepcopy(wanted, {id(root): found})

    def _own(self, wanted: Provider) -> Provider:
        declaring = getattr(self._container, "declarative_parent", None)
        if any(getattr(cls, "__self__", None) is wanted for cls in getattr(declaring, "__mro__", ())):
            return self._container.__self__
        raise UnknownProviderError(f"that is another container than {self._container.title}")

    def _find(self, wanted: Any) -> Provider:
        (target,) = targets_of(self._container, {wanted: None}, self._relations)
        try:
            target.confirm()
        except SettingsError:
            pass
        return target.provider


def _is_a(marker: Marker, kind: Any) -> bool:
    # To type checkers dependency-injector's marker classes are values.
    return isinstance(marker, kind)


def _reach(provider: Provider, path: list[str]) -> Provider:
    reached: Any = provider
    for name in path:
        reached = getattr(reached, name)
    return reached  # type: ignore[no-any-return]
