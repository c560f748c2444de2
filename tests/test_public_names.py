"""Tests of what is public: every public module lists it, sorted, and the list is what is defined there."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import FunctionType, ModuleType

import pytest

import wellwired

# By how a name begins.
NEEDS = {
    "wellwired.integrations.cachelib": "cachelib",
    "wellwired.integrations.django": "django",
    "wellwired.integrations.flask": "flask",
    "wellwired.integrations.flask_caching": "cachelib",
}


def public_modules() -> Iterator[str]:
    """The root and every module below it whose dotted name has no underscore in front of a part."""
    yield "wellwired"
    for found in pkgutil.walk_packages(wellwired.__path__, "wellwired."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield found.name


MODULES = sorted(public_modules())
every_module = pytest.mark.parametrize("name", MODULES)


def order(name: str) -> tuple[int, str]:
    """As people sort names: CONSTANTS, then Classes, then the rest."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


def tops(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those under `if` and `try` included."""
    for statement in statements:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        yield statement
        for block in ("body", "orelse", "finalbody") if isinstance(statement, ast.If | ast.Try) else ():
            yield from tops(getattr(statement, block, []))


def must_be_listed(module: ModuleType) -> set[str]:
    """The public classes and functions of a module's own text.

    In a room's `__init__` also what it imports from its own modules. Constants and type aliases may be listed; the
    others of them are for the module's neighbours.
    """
    room = module.__name__ if hasattr(module, "__path__") else None
    names: set[str] = set()
    for statement in tops(ast.parse(inspect.getsource(module)).body):
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(statement.name)
            case ast.ImportFrom(module=str(source), names=aliases) if room and source.startswith(room):
                names |= {alias.asname or alias.name for alias in aliases}
    return {name for name in names if not name.startswith("_")}


def load(name: str) -> ModuleType:
    """Imports a module; one for a framework that is not installed is skipped."""
    for begins, needed in NEEDS.items():
        if name.startswith(begins):
            pytest.importorskip(needed)
    return importlib.import_module(name)


@every_module
def test_a_module_lists_what_it_makes_public(name: str) -> None:
    """Each public module has `__all__`, and no public class or function is missing from it."""
    module = load(name)
    assert hasattr(module, "__all__"), f"{name} has no __all__"
    assert must_be_listed(module) - set(module.__all__) == set()


@every_module
def test_a_module_lists_nothing_of_its_neighbours(name: str) -> None:
    """What is listed is defined there, or in a private module, or is handed on from a dependency on purpose."""
    module = load(name)
    foreign = {}
    for public in module.__all__:
        value = getattr(module, public)
        # A value that a module made is its own, wherever its class is from.
        home = (value.__module__ if isinstance(value, type | FunctionType) else None) or name
        own = home.startswith(f"{name}.") or home.rpartition(".")[2].startswith("_") or home == name
        if home.startswith("wellwired.") and not own and name != "wellwired":
            foreign[public] = home
    assert foreign == {}


@every_module
def test_a_list_is_sorted_and_true(name: str) -> None:
    """Each listed name is there, once, in order."""
    module = load(name)
    listed = list(getattr(module, "__all__", ()))
    assert listed == sorted(set(listed), key=order)
    assert [public for public in listed if not hasattr(module, public)] == []


@every_module
def test_what_is_public_has_a_docstring(name: str) -> None:
    """Modules, classes, functions and their public methods say what they are for."""
    module = load(name)
    bare = [] if module.__doc__ else [name]
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if not (inspect.isclass(value) or inspect.isroutine(value)) or value.__module__ != name:
            continue
        bare += [] if value.__doc__ else [public]
        for member, method in vars(value).items() if inspect.isclass(value) else ():
            if not member.startswith("_") and inspect.isroutine(method) and not inspect.getdoc(getattr(value, member)):
                bare.append(f"{public}.{member}")
    assert bare == []


def test_private_modules_stay_private() -> None:
    """No public module hands on a private one by importing it whole."""
    handed = [
        f"{name}.{public}"
        for name in MODULES
        for public, value in vars(load(name)).items()
        # By `type()`: settings of Django that nobody has configured refuse to tell their class.
        if issubclass(type(value), ModuleType)
        and public in getattr(load(name), "__all__", ())
        and public.startswith("_")
    ]
    assert handed == []
