"""The examples' own tests, run as their readers would run them, and the files that they ship."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import wellwired
from tests.examples.gunicorn_server import ROOT, Gunicorn
from tests.examples.load import Line

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/pytest.ini"))

each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)


@pytest.mark.timeout(200)
@each
def test_its_own_tests_pass(example: Path) -> None:
    """In a process of its own, on any machine: they need no server and no environment."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(example)]
    done = subprocess.run(command, env=_environ(), cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout, done.stdout[-500:]


@pytest.mark.timeout(200)
@each
def test_its_page_can_be_typed_in(example: Path, tmp_path: Path) -> None:
    """What stands under "Run it" prepares the shop, and gunicorn serves it by the settings that lie there."""
    home = tmp_path / example.name
    shutil.copytree(example, home, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    block = (home / "README.md").read_text().partition("## Run it")[2].partition("```console\n")[2].partition("```")[0]
    commands = [line for line in block.splitlines() if not re.search(r"pip install|\brun(server)?$", line)]
    assert len(commands) >= 3, commands
    environ = _environ() | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    for command in commands:
        done = subprocess.run(
            ["sh", "-c", command], env=environ, cwd=home, capture_output=True, text=True, check=False, timeout=90
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    with Gunicorn("", environ=environ, home=home, paths=[home]) as server:
        line = Line(server.port)
        assert (line.once("GET", "/products/1") or (0, {}))[1].get("name") == "tea"
        assert (line.once("GET", "/health") or (0, {}))[1].get("status") == "up"


def _environ() -> dict[str, str]:
    """An environment that has nothing but where to import wellwired from."""
    source = os.pathsep.join(map(str, [Path(wellwired.__file__).parents[1], *filter(None, sys.path)]))
    return {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": source}


@each
def test_it_patches_nothing(example: Path) -> None:
    """Its tests replace parts by their names in the container."""
    texts = {path: path.read_text() for path in example.rglob("*.py")}
    assert [path for path, text in texts.items() if "monkeypatch" in text or "mock" in text] == []


@each
def test_it_says_how_it_is_run(example: Path) -> None:
    """One page about running, testing and serving it, and an example of its environment without a secret."""
    readme = (example / "README.md").read_text()
    assert len(readme.split()) < 600
    for word in (".env.example", "pytest", "gunicorn"):
        assert word in readme
    settings = (example / ".env.example").read_text()
    assert "://" in settings
    assert re.findall(r"://[^/\s@]*:[^/\s@]*@", settings) == [], "a URL with a password"
