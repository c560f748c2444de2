"""Provide: the mark on a parameter that names what is to be injected, and how it is read from a signature.

The markers are dependency-injector's, so that whatever understands those (FastAPI's ``Depends``, for one) understands
these. Read they are by ourselves: from defaults and from ``Annotated``, both, also where annotations are text because
of ``from __future__ import annotations``; what cannot be read is an error and not a parameter that stays empty.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeGuard, get_args, get_origin

from dependency_injector import wiring as di

from wellwired.errors import DeclarationError, WiringError

__all__ = ["Marker", "MarkerError", "Provide", "is_marker", "markers_of", "place_of"]

MARKERS: Any = (di.Provide, di.Provider, di.Closing)
"""The classes of all markers."""


class Marker(Protocol):
    """What is read of a marker: an id or a provider, and dependency-injector's modifier of it."""

    provider: Any
    modifier: Any


class MarkerError(WiringError, AttributeError):
    """A marker was used as if it were the object that it stands for."""


if TYPE_CHECKING:

    class _Provide:
        def __getitem__(self, wanted: Any) -> Any: ...

    Provide: _Provide
else:

    class Provide(di.Provide):
        """Marks a parameter: ``users: Users = Provide["users"]``, or ``Annotated[Users, Provide["users"]]``.

        The id is a dotted name of the wired container, such as ``sql.main``, or a provider of its class. With
        ``.provider`` at its end the provider itself is injected, uncalled.
        """

        def __getattr__(self, name):
            # Copying probes for private names before the marker is complete; frameworks probe for others by hasattr().
            if name.startswith("_"):
                raise AttributeError(name)
            raise MarkerError(
                [f"{self!r} used as the object that it stands for; put @inject below all other decorators"]
            )


def is_marker(thing: Any) -> TypeGuard[Marker]:
    """Whether a thing is a marker, ours or dependency-injector's own."""
    # By `type()`: a proxy such as Flask's `request` lies about its class, or raises outside a request.
    return issubclass(type(thing), MARKERS)


def markers_of(function: Callable[..., Any]) -> dict[str, Marker]:
    """Reads the markers of a function's parameters.

    Args:
        function: whose signature to read; annotations that are text are evaluated one by one.

    Returns:
        The markers by parameter; empty for what has no signature.

    Raises:
        DeclarationError: a marker is in an annotation that cannot be evaluated, or on a positional-only parameter.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return {}
    found = {p.name: marker for p in parameters if (marker := _marker_of(function, p)) is not None}
    for parameter in parameters:
        if parameter.name in found and parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise DeclarationError(
                f"{place_of(function)}: {parameter.name!r} is positional-only and cannot be injected"
            )
    return found


def marker_in(annotation: Any) -> Marker | None:
    """The marker in the extra arguments of ``Annotated``, if there is one."""
    extra = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((marker for each in extra if (marker := _as_marker(each)) is not None), None)


def place_of(function: Callable[..., Any]) -> str:
    """Where a function is, for messages."""
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _marker_of(function: Callable[..., Any], parameter: inspect.Parameter) -> Marker | None:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        annotation = _evaluated(function, parameter.name, annotation)
    return _as_marker(parameter.default) or marker_in(annotation)


def _as_marker(candidate: Any) -> Marker | None:
    for extract in di.MARKER_EXTRACTORS:
        inner = extract(candidate)
        candidate = candidate if inner is None else inner
    return candidate if is_marker(candidate) else None


def _evaluated(function: Callable[..., Any], name: str, text: str) -> Any:
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return eval(text, names)  # noqa: S307 - the annotation's own module wrote it; typing does the same
    except Exception as error:
        if "Provide[" not in text:
            return None
        raise DeclarationError(
            f"{place_of(function)}: the annotation of {name!r} is text, and reading it gives {type(error).__name__}; "
            f"import its names outside TYPE_CHECKING, or give the marker as a default: {name}=Provide[…]"
        ) from error
