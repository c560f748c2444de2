"""Tests that the code in the documentation runs and prints what the page shows, and of the runner that does it."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import wellwired
from tests import _docs

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def run(page: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Runs a page as `make docs` does: in a process of its own, in an empty directory, with nothing configured."""
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests._docs", str(page), str(home)]
    environ = _docs.environment(home)
    environ["PYTHONPATH"] = f"{ROOT}:{environ['PYTHONPATH']}"
    return subprocess.run(command, cwd=home, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)  # a lesson makes projects and runs their tests, on a machine that may have others to run
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    """Its blocks run in order, on embedded defaults, and its commands print what is shown."""
    done = run(page, tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_links_to_what_is_there(page: Path) -> None:
    """A relative link leads to a file of the repository."""
    links = {link.partition("#")[0] for link in _docs.links(page.read_text())}
    assert {link for link in links if link and not (page.parent / link).exists()} == set()


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "lessons").glob("*.md")), ids=lambda page: page.stem)
def test_a_lesson_installs_what_it_uses(page: Path) -> None:
    """Somebody who has typed in its first line has all that the rest needs."""
    text = page.read_text()
    uses = {
        "cli": r"^\$ .*\bwellwired ",
        "test": r"^\$ pytest",
        "embedded": r"memory://",
        "django": r"^from django",
        "flask": r"^from flask",
    }
    found = re.search(r"pip install 'wellwired\[([\w,]+)\]'", text)
    assert found
    assert {extra for extra, sign in uses.items() if re.search(sign, text, re.MULTILINE)} == set(found[1].split(","))


def page(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Runs a page with this text."""
    path = tmp_path / "page.md"
    path.write_text(text)
    return run(path, tmp_path / "home")


def test_blocks_share_a_namespace(tmp_path: Path) -> None:
    """A later block uses what an earlier one made; other languages are only shown."""
    done = page(
        tmp_path, "```python\nx = 1\n```\n\n```ini\nx = 2\n```\n\n```python\nassert x == 1\nprint('ran')\n```\n"
    )
    assert (done.returncode, done.stdout) == (0, "ran\n")


def test_a_page_is_a_module(tmp_path: Path) -> None:
    """What looks a module up by `__name__` finds the page, and annotations are those of plain Python."""
    code = "import sys\ndef f(x: int): ...\nassert sys.modules[__name__].f is f\nassert f.__annotations__['x'] is int\n"
    done = page(tmp_path, f"```python\n{code}```\n")
    assert done.returncode == 0, done.stderr


def test_an_error_names_the_line_of_the_page(tmp_path: Path) -> None:
    """A reader of the report can go to the line."""
    done = page(tmp_path, "# Title\n\ntext\n\n```python\nx = 1\nraise ValueError(x)\n```\n")
    assert done.returncode == 1
    assert 'page.md", line 7' in done.stderr


def test_a_block_may_be_a_file(tmp_path: Path) -> None:
    """A block whose first line names a file is that file, for later blocks and commands."""
    text = "```python\n# app.py\nvalue = 7\n```\n```python\nimport app\nassert app.value == 7\n```\n"
    done = page(tmp_path, text + "```console\n$ python -c 'import app; print(app.value)'\n7\n```\n")
    assert done.returncode == 0, done.stderr


def test_a_file_in_a_folder_is_only_written(tmp_path: Path) -> None:
    """A package's module is run by who imports it."""
    text = "```python\n# shop/models.py\nraise ValueError\n```\n```python\nassert open('shop/models.py').read()\n```\n"
    assert page(tmp_path, text).returncode == 0


def test_a_program_is_run_by_its_command_only(tmp_path: Path) -> None:
    """What would not bear to be run twice."""
    text = "```python\n# run.py\nopen('here', 'x').close()\nprint('ran')\n```\n```console\n$ python run.py\nran\n```\n"
    assert page(tmp_path, text).returncode == 0


def test_programs_of_frameworks_run(tmp_path: Path) -> None:
    """Those that a lesson uses."""
    text = "```console\n$ pytest --version\npytest ...\n$ FLASK_DEBUG= flask --version\n...\n$ flaskless\n```\n"
    assert page(tmp_path, text).returncode == 0


@pytest.mark.parametrize(("shown", "code"), [("one\ntwo\n", 0), ("one\n...\n", 0), ("", 0), ("one\nthree\n", 1)])
def test_a_command_prints_what_is_shown(shown: str, code: int, tmp_path: Path) -> None:
    """Output that is shown is compared, with `...` for what may differ."""
    done = page(tmp_path, f'```console\n$ python -c \'print("one"); print("two")\'\n{shown}```\n')
    assert done.returncode == code, done.stderr


def test_a_command_s_exit_code_counts(tmp_path: Path) -> None:
    """A command that fails fails its page, unless the page says with which code it ends."""
    block = "```console\n$ python -c 'raise SystemExit(3)'\n```\n"
    assert "ended with 3, not 0" in page(tmp_path, block).stderr
    assert page(tmp_path, f"<!-- exits: 3 -->\n{block}").returncode == 0


def test_other_commands_are_only_shown(tmp_path: Path) -> None:
    """Nothing is installed and nothing is removed by a page."""
    assert page(tmp_path, "```console\n$ touch here\n$ make demo\n```\n").returncode == 0
    assert not (tmp_path / "home" / "here").exists()


def test_a_skip_needs_a_reason(tmp_path: Path) -> None:
    """A block is left out only when the page says why."""
    block = "```python\nraise ValueError\n```\n"
    assert page(tmp_path, f"<!-- skip: needs a cluster -->\n\n{block}").returncode == 0
    with pytest.raises(_docs.PageError, match="line 1: a skip needs a reason"):
        list(_docs.blocks(f"<!-- skip -->\n{block}"))


def test_a_skip_is_for_the_next_block_only() -> None:
    """Text or another block in between ends it."""
    text = "<!-- skip: why -->\nand now\n```python\n```\n<!-- skip: why -->\n```python\n```\n```python\n```\n"
    assert [block.skip for block in _docs.blocks(text)] == ["", "why", ""]


def test_a_block_must_end() -> None:
    """A forgotten fence would hide the rest of the page."""
    with pytest.raises(_docs.PageError, match="line 2: the block that begins here does not end"):
        list(_docs.blocks("text\n```python\nx = 1\n"))


def test_links_are_found_outside_code() -> None:
    """Only links of the page's own text, and only those into the repository, are followed."""
    text = "[a](one.md#part) [b](https://example.org) `[c](two.md)`\n```python\n[d](three.md)\n```\n[e](#here)\n"
    assert list(_docs.links(text)) == ["one.md#part", "#here"]


GO = (ROOT / "docs" / "coming-from-go.md").read_text()
HERE = re.findall(r"^\| [^|]+ \| (`[^|]+`) \|", GO, re.MULTILINE)
NAMES = sorted({name for cell in HERE for name in re.findall(r"`([^`]+)`", cell)})
GO_NAMES = (
    "Register Supports WithBackFillCallback WithBackFillCallbacks WithMiddleware WithMiddlewares OnBackFill "
    "ClearBackFillCallbacks Use INVALID_REQUEST WRITER_NOT_FOUND TYPE_NOT_SUPPORTED TIMEOUT RETRY_EXHAUSTED BACKEND"
)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_a_go_programmer_is_led_to_is_there(name: str) -> None:
    """The second column's names: of wellwired itself or of one of its parts, arguments included."""
    path, _, argument = name.removesuffix("=...)").partition("(")
    first, *rest = path.removeprefix("wellwired.errors.").split(".")
    homes = [wellwired, *(import_module(f"wellwired.{part}") for part in ("stores", "writers", "handlers", "errors"))]
    thing = next(getattr(home, first) for home in homes if hasattr(home, first))
    for part in rest:
        thing = getattr(thing, part)
    assert not argument or argument in inspect.signature(thing).parameters


def test_every_name_of_the_go_packages_leads_somewhere() -> None:
    """Those that somebody will look for first."""
    there = " ".join(re.findall(r"^\| ([^|]+) \|", GO, re.MULTILINE))
    assert [name for name in GO_NAMES.split() if f"`{name}`" not in there] == []
