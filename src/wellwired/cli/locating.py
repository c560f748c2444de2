"""Finds the container class that a command is about, from ``module:Class``.

The folder the command runs in is put on the import path, as flask and uvicorn do, so that an application need not be
installed to be checked. Inside a framework's own command the application is loaded already: its container is `given`.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from wellwired.containers import Container
from wellwired.containers.container import ContainerInstance
from wellwired.errors import WellwiredError

__all__ = ["DEFAULT", "LocationError", "container_at", "given", "locate", "name_at", "started_at"]

DEFAULT = "wellwired:Application"
"""The place of the container that a command is about if none is named: one made of nothing but settings."""

_given: ContextVar[ContainerInstance | None] = ContextVar("wellwired_given", default=None)


class LocationError(WellwiredError):
    """There is no container class where ``--container`` says."""


def _import(module: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that exists and fails on an import of its own is the application's error, shown as it is.
        missing = error.name or ""
        if module != missing and not module.startswith(f"{missing}."):
            raise
        raise LocationError(f"there is no module {module!r} here; run the command in the project's folder") from None


def locate(place: str) -> type[Container]:
    """The container class at a place.

    Args:
        place: ``module:Class``, such as ``shop.containers:Shop``.

    Returns:
        The class; nothing is instantiated.

    Raises:
        LocationError: the place is malformed, or there is no such module, or no such class in it.
    """
    module, colon, name = place.partition(":")
    if not (module and colon and name.isidentifier()):
        raise LocationError(f"{place!r} is no place of a container; write it as module:Class")
    found = getattr(_import(module), name, None)
    if found is None:
        known = [n for n, v in vars(sys.modules[module]).items() if isinstance(v, type) and issubclass(v, Container)]
        near = difflib.get_close_matches(name, known, 1) or sorted(known)
        hint = f"; it has {', '.join(near)}" if near else ""
        raise LocationError(f"module {module!r} has no {name!r}{hint}")
    if not (isinstance(found, type) and issubclass(found, Container)):
        raise LocationError(f"{place} is no container class: it must inherit wellwired.Container")
    return found


@contextmanager
def given(container: ContainerInstance) -> Generator[None]:
    """Makes a container the one that every command inside the block is about.

    Args:
        container: whose; wired, and perhaps started.
    """
    token = _given.set(container)
    try:
        yield
    finally:
        _given.reset(token)


def container_at(place: str) -> ContainerInstance:
    """The container that a command is about: the one that is `given`, or a new one of the class at a place.

    Args:
        place: ``module:Class``; left at `DEFAULT` if a container is given.

    Raises:
        LocationError: see `locate`; or a place is named although a container is given.
    """
    container = _given.get()
    if container is None:
        return locate(place)()
    if place != DEFAULT:
        raise LocationError(
            f"--container {place}: here it is {container.title}, the application's own; call `wellwired` for another"
        )
    return container


@contextmanager
def started_at(place: str) -> Generator[ContainerInstance]:
    """The container that a command is about, started; one that was at work already is left at work afterwards.

    Args:
        place: see `container_at`.
    """
    container = container_at(place)
    if container.started:
        yield container
    else:
        with container:
            yield container


def name_at(place: str) -> str:
    """What a command calls its container: the place, or the class of the one that is `given`."""
    container = _given.get()
    return place if container is None else container.title
