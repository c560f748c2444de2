"""Tests of what importing wellwired brings along, and of who reads the environment.

An allow-list, because a deny-list never knows the framework that somebody will import next year.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import wellwired

SOURCE = Path(wellwired.__file__).parent

CORE = {
    "annotated_types",
    "dependency_injector",
    "dotenv",
    "msgspec",
    "pydantic",
    "pydantic_core",
    "pydantic_settings",
    "structlog",
    "typing_extensions",
    "typing_inspection",
    "wellwired",
}
"""What `import wellwired` may load beside the standard library: itself and its small dependencies."""

PROBED = {
    "_yaml",
    "fastapi",  # dependency-injector looks for the markers of these
    "fast_depends",
    "starlette",
    "werkzeug",
    "yaml",
    "better_exceptions",
    "colorama",  # structlog looks for what can colour a console, and for what it can serve
    "greenlet",
    "twisted",
    "rich",
    "email_validator",  # pydantic and pydantic-settings
    "tomli",
    "_wmi",  # the standard library's platform module looks for Windows
    "org",  # the standard library's copy module looks for Jython
}
"""What those dependencies look for and can do without. wellwired itself must not: see the test of its own imports."""

ROOMS = [
    "wellwired",
    "wellwired.settings",
    "wellwired.handlers",
    "wellwired.middleware",
    "wellwired.stores",
    "wellwired.writers",
    "wellwired.containers",
    "wellwired.testing",
]

SCRIPT = """
import importlib, json, sys
core, name = set(json.loads(sys.argv[1])), sys.argv[2]
own = set(sys.stdlib_module_names) | core
tried = set()

class Blocker:
    def find_spec(self, fullname, path=None, target=None):
        top = fullname.partition(".")[0]
        if top in own or top.startswith(("_cython", "_sysconfigdata", "cython_runtime")):
            return None
        tried.add(top)
        raise ModuleNotFoundError(f"No module named {top!r}: not allowed here", name=top)

before = set(sys.modules)
sys.meta_path.insert(0, Blocker())
importlib.import_module(name)
print(json.dumps({"tried": sorted(tried), "loaded": sorted({m.partition(".")[0] for m in set(sys.modules) - before})}))
"""


def load(name: str, allowed: set[str]) -> Any:
    """Imports a module in a fresh process where only the standard library and `allowed` can be imported."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(sorted(allowed)), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ROOMS)
def test_importing_us_needs_only_the_core(name: str) -> None:
    """No framework, driver, client or CLI library is loaded, nor even looked for by us."""
    seen = load(name, CORE)
    assert set(seen["tried"]) <= PROBED
    foreign = set(seen["loaded"]) - CORE - set(sys.stdlib_module_names)
    assert {name for name in foreign if not name.startswith(("_cython", "_sysconfigdata", "cython_runtime"))} == set()


def imports(tree: ast.AST, *, only_outside_functions: bool) -> set[str]:
    """The modules that a module names in import statements, except where only a type checker looks."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not (only_outside_functions and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            found |= imports(node, only_outside_functions=only_outside_functions)
    return found


def modules() -> dict[str, Path]:
    """Every module of ours, by its dotted name."""
    names = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def closure(name: str) -> set[str]:
    """Our modules that importing one of them loads."""
    known, found, ahead = modules(), set[str](), [name]
    while ahead:
        module = ahead.pop()
        if module in found or module not in known:
            continue
        found.add(module)
        ahead.append(module.rpartition(".")[0])
        ahead.extend(imports(ast.parse(known[module].read_text()), only_outside_functions=True))
    return found


def test_what_the_rooms_load_names_no_other_package_at_its_top() -> None:
    """Not even inside a `try`: a probe would tie what works to what happens to be installed."""
    known = modules()
    named = {
        (module, foreign.partition(".")[0])
        for module in set().union(*map(closure, ROOMS))
        for foreign in imports(ast.parse(known[module].read_text()), only_outside_functions=True)
    }
    assert {(m, f) for m, f in named if f and f not in CORE and f not in sys.stdlib_module_names} == set()


@pytest.mark.parametrize(("name", "path"), sorted(modules().items()), ids=sorted(modules()))
def test_only_settings_read_the_environment(name: str, path: Path) -> None:
    """Everything else is handed values, so that any part can be built by hand in a test."""
    if name.startswith("wellwired.settings"):
        return
    tree = ast.parse(path.read_text())
    attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    named = attributes | imports(tree, only_outside_functions=False)
    assert named & {"os.environ", "os.environb", "os.getenv", "os.putenv"} == set()
