"""A container to be wired, and modules made on the fly for it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import count
from types import ModuleType
from typing import Any

import pytest

from wellwired.containers import Container, providers
from wellwired.containers import wiring as our_wiring
from wellwired.errors import WiringError

MakeModule = Callable[..., Any]

_numbers = count()


class Users:
    """A service."""

    def find(self, name: str) -> str:
        """Finds a user."""
        return f"found {name}"


def connection() -> Iterator[object]:
    """Lives for a scope."""
    yield object()


class Core(Container):
    """To be nested."""

    clock = providers.Object("tick")


class Shop(Container):
    """What the tests wire."""

    settings = providers.Singleton(lambda: {"sql": {"main": 1, "read.replica": 2}, "page": 20})
    sql = providers.Named(settings.provided["sql"], lambda key, config: providers.Resource(lambda: f"pool {key}"))
    users = providers.Singleton(Users)
    fresh = providers.Factory(object)
    request = providers.Scoped(connection)
    core = providers.Container(Core)


HEADER = """
from __future__ import annotations
from typing import Annotated, Any
from dependency_injector.wiring import Closing, Provider, provided
from tests.containers.wired import Shop, Users
from wellwired.containers import Provide, inject
"""


class Modules:
    """Makes modules from their source, which can be imported by name until they are dropped."""

    def __init__(self) -> None:
        self._made: list[str] = []

    def __call__(self, source: str, **names: Any) -> Any:
        """Makes a module with `names` in it, and runs `source` there."""
        name = f"views_{next(_numbers)}"
        made = sys.modules[name] = ModuleType(name)
        self._made.append(name)
        vars(made).update(names)
        exec(HEADER + textwrap.dedent(source), vars(made))
        return made

    def drop(self) -> None:
        """Unwires them and takes them out of the import system."""
        for name in self._made:
            for wiring in our_wiring._wired.pop(name, ()):
                wiring.unwire()
            del sys.modules[name]


def listed(error: pytest.ExceptionInfo[WiringError]) -> str:
    """All that an error lists."""
    return "\n".join(error.value.markers)
