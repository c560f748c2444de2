"""inject: the wrapper that fills in marked parameters, and the site that tells it how.

dependency-injector has both; these differ in what they do besides. An argument that the caller gives is left alone,
also by position, as tests do. A function that is not wired says so, instead of being handed the marker. A generator
function stays one. A function that is dropped leaves nothing behind. And a call costs half, or less.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from wellwired.containers._adopting import adopted
from wellwired.containers._markers import MARKERS, Marker, place_of
from wellwired.errors import WiringError

__all__ = ["Site", "injected"]

F = TypeVar("F", bound=Callable[..., Any])

_NEVER_BY_POSITION = sys.maxsize
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Site:
    """One injected function: its markers, and what fills them in at the moment.

    Args:
        function: the function itself.
        markers: its markers by the name of their parameter.
    """

    __slots__ = ("__weakref__", "_positions", "bound", "function", "markers", "plan")

    def __init__(self, function: Callable[..., Any], markers: Mapping[str, Marker]) -> None:
        self.function = function
        self.markers = markers
        parameters = inspect.signature(function).parameters.values()
        self._positions = {
            p.name: i if p.kind in _BY_POSITION else _NEVER_BY_POSITION for i, p in enumerate(parameters)
        }
        self.plan: tuple[tuple[str, int, Callable[[], Any]], ...] = ()
        self.bound = False
        self.unbind()

    @property
    def asynchronous(self) -> bool:
        """Whether the function can await what it is given."""
        return inspect.iscoroutinefunction(self.function) or inspect.isasyncgenfunction(self.function)

    def bind(self, providers: Mapping[str, Callable[[], Any]]) -> None:
        """Has each parameter filled in by calling its provider; takes effect for all of them at once."""
        self.plan = tuple((name, self._positions[name], provider) for name, provider in providers.items())
        self.bound = True

    def unbind(self) -> None:
        """Has each parameter refused, with an error that says what to do, unless the caller fills it in.

        Whoever adopts modules (`_adopting`) is asked first.
        """
        self.bind({name: functools.partial(self._late, name) for name in self.markers})
        self.bound = False

    def describe(self, name: str) -> str:
        """A marker with its function, for messages."""
        return f"{place_of(self.function)}({name}={self.markers[name]!r})"

    def _late(self, name: str) -> Any:
        module = self.function.__module__
        if not self.bound:
            adopted(module)
        if self.bound:
            return next(provide for each, _, provide in self.plan if each == name)()
        raise WiringError([f"{self.describe(name)}: {module} is not wired; call container.wire([{module!r}])"])


def injected(function: F, site: Site) -> F:
    """Wraps a function so that its site's plan fills in what the caller left out.

    Args:
        function: a function of any colour.
        site: its markers; bound and unbound by whoever wires.

    Returns:
        A function of the same colour.
    """
    if inspect.iscoroutinefunction(function):
        wrapper = _asynchronous(function, site)
    elif inspect.isasyncgenfunction(function):
        wrapper = _asynchronous_generator(function, site)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, site)
    else:
        wrapper = _synchronous(function, site)
    return functools.wraps(function)(wrapper)  # type: ignore[return-value]


def _synchronous(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        # Written out, for this is the hot one: a function and a dict more would double its cost.
        for name, position, provide in site.plan:
            if position >= len(args) and (name not in kwargs or isinstance(kwargs[name], MARKERS)):
                kwargs[name] = provide()
        return function(*args, **kwargs)

    return call


def _generator(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from function(*args, **kwargs | _provided(site, args, kwargs)))

    return call


def _asynchronous(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        provided = await _awaited(_provided(site, args, kwargs))
        return await function(*args, **kwargs | provided)

    return call


def _asynchronous_generator(function: Callable[..., Any], site: Site) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        filled = kwargs | await _awaited(_provided(site, args, kwargs))
        async with aclosing(function(*args, **filled)) as items:
            async for item in items:
                yield item

    return call


def _provided(site: Site, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    return {
        name: provide()
        for name, position, provide in site.plan
        if position >= len(args) and (name not in kwargs or isinstance(kwargs[name], MARKERS))
    }


async def _awaited(provided: dict[str, Any]) -> dict[str, Any]:
    return {
        name: await value if asyncio.iscoroutine(value) or asyncio.isfuture(value) else value
        for name, value in provided.items()
    }
