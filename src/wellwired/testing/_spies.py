"""Spies on the real objects of a container, with pytest-mock's recorders: what was called, and with what."""

from __future__ import annotations

from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from wellwired.errors import StateError, UnknownProviderError
from wellwired.testing._intercept import intercepted, methods_of
from wellwired.testing._layers import around_layer, layer_of

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance
    from wellwired.handlers import Registry

__all__ = ["Spy", "spied"]


class Spy:
    """What was called on a real object; made by the fixture `wellwired_spy`.

    Each public method of the object is here as a recorder of pytest-mock: ``spy.write.call_count``,
    ``spy.get.assert_called_once_with("user:1")``, ``spy.get.spy_return``. Calls of the object on itself do not count.

    Args:
        real: the object.
        mocker: the fixture of pytest-mock.
    """

    def __init__(self, real: Any, mocker: Any) -> None:
        self.real = real
        """The object, which goes on to work."""
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        """Every call, in order: the name of the method and its arguments."""
        self._methods = SimpleNamespace(**{name: getattr(real, name) for name in methods_of(real)})
        self._recorders = {name: mocker.spy(self._methods, name) for name in vars(self._methods)}

    def __getattr__(self, name: str) -> Any:
        recorders = self.__dict__.get("_recorders", {})
        if name in recorders:
            return recorders[name]
        raise AttributeError(f"{type(self.real).__name__} has no public method {name!r}; it has {', '.join(recorders)}")

    def __repr__(self) -> str:
        return f"<spy on a {type(self.real).__name__}, {len(self.calls)} calls>"

    def around(self, name: str, _call: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Makes a call through its recorder."""
        self.calls.append((name, args, kwargs))
        return getattr(self._methods, name)(*args, **kwargs)


def spied(container: ContainerInstance, stack: ExitStack, mocker: Any, *, id: str, part: str, backend: str) -> Spy:
    """Puts a spy on an object, until the stack is closed.

    Args:
        container: whose object.
        stack: what takes the spy away.
        mocker: the fixture of pytest-mock.
        id: of the object; or ``handlers``; or of a layered store.
        part: the type of a handler, or the name of a layer; empty for the object itself.
        backend: of which handler, if several do the type.

    Raises:
        UnknownProviderError: there is no such object.
        StateError: the object cannot be spied on.
    """
    if part and id == "handlers":
        spy = Spy(_handler(container, part, backend), mocker)
        stack.enter_context(intercepted(spy.real, spy.around))
    elif part:
        spy = Spy(layer_of(container, id, part)[1].store, mocker)
        stack.enter_context(around_layer(container, id, part, spy.around))
    else:
        spy = Spy(container.resolve(id), mocker)
        stack.enter_context(intercepted(spy.real, spy.around))
    return spy


def _handler(container: ContainerInstance, kind: str, backend: str) -> Any:
    registry: Registry = container.resolve("handlers")
    found = [one for one in registry if one.type == kind and backend in ("", getattr(one, "backend", ""))]
    if not found:
        known = ", ".join(registry.types()) or "none"
        raise UnknownProviderError(
            f"no handler of {kind!r}{f' for {backend!r}' if backend else ''}; there are: {known}"
        )
    if len(found) > 1:
        backends = ", ".join(repr(getattr(one, "backend", "")) for one in found)
        raise StateError(f"several handlers do {kind!r}; say whose with backend=, one of {backends}")
    return found[0]
