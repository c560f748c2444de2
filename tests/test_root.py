"""The root of the package: every public name, none of them imported before it is asked for."""

from __future__ import annotations

import ast
import importlib
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import wellwired

SOURCE = Path(wellwired.__file__)
ROOMS = {"clock", "containers", "errors", "handlers", "middleware", "operations", "settings", "stores", "writers"}


def fresh(code: str) -> Any:
    """Runs code in a process of its own; what it prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{code}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def checked_imports(path: Path) -> dict[str, str]:
    """What a module imports for type checkers only: each name and where it is from."""
    found = {}
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            for one in statement.body:
                assert isinstance(one, ast.ImportFrom)
                found |= {alias.name: str(one.module) for alias in one.names}
    return found


def test_importing_the_root_loads_nothing_but_itself() -> None:
    """Neither a room nor a dependency, until a name is asked for."""
    code = "before = set(sys.modules)\nimport wellwired\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    loaded = {name.partition(".")[0] for name in fresh(code)} - set(sys.stdlib_module_names)
    assert loaded == {"wellwired"}
    assert [name for name in fresh(code) if name.startswith("wellwired")] == ["wellwired"]


@pytest.mark.parametrize("package", [wellwired, importlib.import_module("wellwired.testing")])
def test_type_checkers_see_what_is_there(package: Any) -> None:
    """The names that they are shown are those of `__all__`, and each is the one that is looked up."""
    shown = checked_imports(Path(package.__file__))
    assert sorted(shown) == sorted(package.__all__)
    for name, home in shown.items():
        assert getattr(package, name) is getattr(importlib.import_module(home), name), name


def test_a_name_is_looked_up_once() -> None:
    """Afterwards it is an ordinary attribute."""
    code = (
        "import wellwired\nbefore = 'Clock' in vars(wellwired)\nfrom wellwired import Clock\n"
        "print(json.dumps([before, 'Clock' in vars(wellwired), Clock.__module__]))"
    )
    assert fresh(code) == [False, True, "wellwired.clock"]


def test_rooms_are_attributes_of_the_root() -> None:
    """Also those that nobody has imported yet; those that need something else are not."""
    code = (
        f"import wellwired\nrooms = {sorted(ROOMS)}\n"
        "print(json.dumps([getattr(wellwired, room).__name__ for room in rooms] + [hasattr(wellwired, 'cli')]))"
    )
    assert fresh(code) == [*(f"wellwired.{room}" for room in sorted(ROOMS)), False]


@pytest.mark.parametrize("name", ["wellwired", "wellwired.testing"])
def test_an_unknown_name_is_an_attribute_error(name: str) -> None:
    """As for any module, so that `hasattr` and imports of missing names work as they do elsewhere."""
    package = importlib.import_module(name)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'Nothing'"):
        package.Nothing  # noqa: B018 - it raises
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        exec(f"from {name} import Nothing")
    assert not hasattr(package, "__wrapped__")


def test_the_names_are_listed_without_importing_them() -> None:
    """What an editor or `dir()` shows."""
    code = (
        "import wellwired\nlisted = dir(wellwired)\n"
        "print(json.dumps([sorted(set(wellwired.__all__) - set(listed)), listed == sorted(listed), "
        "'wellwired.containers' in sys.modules]))"
    )
    assert fresh(code) == [[], True, False]


def test_a_star_import_brings_every_name() -> None:
    """All of `__all__`."""
    code = (
        "from wellwired import *\nhere = set(globals())\nimport wellwired\n"
        "print(json.dumps(sorted(set(wellwired.__all__) - here)))"
    )
    assert fresh(code) == []


def test_threads_that_ask_at_once_find_one_object() -> None:
    """Whoever comes first imports, and the others wait for it."""
    code = (
        "import threading, wellwired\nstart = threading.Barrier(8)\nfound = []\n"
        "def ask():\n    start.wait()\n    found.append(id(wellwired.Application))\n"
        "threads = [threading.Thread(target=ask) for _ in range(8)]\n"
        "[one.start() for one in threads]; [one.join(50) for one in threads]\n"
        "print(json.dumps([len(found), len(set(found))]))"
    )
    assert fresh(code) == [8, 1]


def test_pickles_name_no_root() -> None:
    """A class is found where it is defined, whatever the root does."""
    with ThreadPoolExecutor(2) as pool:
        dumped = list(pool.map(pickle.dumps, [wellwired.Entry, wellwired.WriteRequest("a", "b", None)]))
    assert all(b"cwellwired\n" not in one and b"\x09wellwired\x94" not in one for one in dumped)
    assert pickle.loads(dumped[0]) is wellwired.Entry


def test_no_room_imports_from_the_root() -> None:
    """It might be asked for a name in the middle of that name's own import."""
    guilty = [
        str(path.relative_to(SOURCE.parent))
        for path in SOURCE.parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and node.module == "wellwired")
        or (isinstance(node, ast.Import) and any(alias.name == "wellwired" for alias in node.names))
    ]
    assert guilty == []
