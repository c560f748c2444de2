"""Tests of the documentation's site: links into the repository, docstrings in Markdown, and what fails its build."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    """A script of `.ci`, which is no package."""
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site = load("site")


@pytest.mark.parametrize(
    ("page", "link", "there"),
    [
        ("docs/promises.md", "../tests/test_site.py", "repository/tests/test_site.py.md"),
        ("docs/promises.md", "../tests/test_site.py#:~:text=test_x", "repository/tests/test_site.py.md#test_x"),
        ("docs/recipes/flask.md", "../../benchmarks/README.md#runs", "../repository/benchmarks/README.md#runs"),
        ("docs/recipes/flask.md", "../../benchmarks", "../repository/benchmarks/README.md"),
        ("docs/recipes/flask.md", "hot-keys.md#x", "hot-keys.md#x"),
        ("docs/recipes/flask.md", "#here", "#here"),
        ("docs/recipes/flask.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("benchmarks/README.md", "../docs/promises.md", "../../promises.md"),
        ("CONTRIBUTING.md", "CHANGELOG.md", "CHANGELOG.md"),
    ],
)
def test_a_link_of_the_repository_is_one_of_the_site(page: str, link: str, there: str) -> None:
    """What leads to a file outside of docs/ on a code host leads to that file's page on the site."""
    assert site.rewritten(f"see [this]({link}).", page) == f"see [this]({there})."


def test_links_in_code_stay_as_they_are() -> None:
    """What is printed as code is no link."""
    text = "`[a](../tests/x.py)`\n```python\n[b](../tests/x.py)\n```\n[c](../tests/x.py)\n"
    assert site.rewritten(text, "docs/index.md") == text.replace("[c](../tests/x.py)", "[c](repository/tests/x.py.md)")


def test_a_file_s_tests_have_anchors() -> None:
    """A test's decorators are shown with it, and every test is an anchor."""
    page = site.shown("tests/test_promises.py")
    before, _, after = page.partition("\n## test_a_linked_test_is_there { #test_a_linked_test_is_there }\n")
    assert before.count("\n## ") == 2
    assert after.startswith("\n~~~~~~python\n@pytest.mark.parametrize(")
    assert after.endswith(".read_text())\n~~~~~~\n")


def test_every_page_can_be_found() -> None:
    """The navigation has every page, and the list of recipes every recipe."""
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2].partition("\nvalidation:")[0]
    listed = set(re.findall(r"([\w./-]+\.md)$", nav, re.MULTILINE))
    assert pages ^ {name for name in listed if not name.startswith("repository/")} == set()
    recipes = {path.name for path in (ROOT / "docs" / "recipes").glob("*.md")} - {"index.md"}
    links = re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / "recipes" / "index.md").read_text())
    assert sorted(links) == sorted(recipes)


def test_what_is_linked_is_found_with_what_it_links_to() -> None:
    """Files of Markdown bring the files that they link to, and nothing else is brought."""
    found = site.linked_files(["docs/promises.md"])
    assert {"CHANGELOG.md", "benchmarks/README.md", "tests/testing/test_conformance.py"} <= set(found)
    assert [path for path in found if path.startswith("docs/") or not (ROOT / path).is_file()] == []


def test_what_a_page_would_fetch_is_found() -> None:
    """Scripts, styles and pictures from elsewhere; a link that a reader may follow is none."""
    page = '<a href="https://example.org"></a><script src="a.js"></script><link rel="x" href="a.css"><img src="a.svg">'
    assert site.fetched(page) == []
    assert site.fetched(page.replace("a.", "https://example.org/a.")) == [
        f"https://example.org/a.{kind}" for kind in ("js", "css", "svg")
    ]


def test_public_names_are_those_of_the_package_s_parts() -> None:
    """The root's and each part's own list."""
    names = set(site.public_names())
    assert {"wellwired.Application", "wellwired.stores.Layer", "wellwired.integrations.django.container"} <= names


class TestDocstrings:
    """What griffe is needed for, which comes with the site's tools."""

    @pytest.fixture
    def docstrings(self) -> ModuleType:
        """The extension."""
        pytest.importorskip("griffe")
        return load("docstrings")

    def test_a_block_is_fenced(self, docstrings: ModuleType) -> None:
        """What stands below `::` is code if it looks so, and text otherwise."""
        assert docstrings.fenced("Made so::\n\n    x = f(1)\n\nAnd on.") == (
            "Made so:\n\n```python\nx = f(1)\n```\n\nAnd on."
        )
        assert docstrings.fenced("The way::\n\n    a -> b") == "The way:\n\n```text\na -> b\n```"

    def test_a_table_is_one_of_markdown(self, docstrings: ModuleType) -> None:
        """With a head or without one, and with a `|` in a cell."""
        assert docstrings.tabled("===  ===\na    b\n===  ===\n1    2|3\n===  ===") == (
            "\n| a | b |\n| --- | --- |\n| 1 | 2\\|3 |\n"
        )
        assert docstrings.tabled("==  ==\n1   2\n==  ==") == "\n|  |  |\n| --- | --- |\n| 1 | 2 |\n"

    def test_a_public_name_is_a_link(self, docstrings: ModuleType) -> None:
        """Code, and what is no name of ours, is left alone."""
        text = "A `Layer`, its `Layer.ttl`, a `thing`, ``Layer``.\n```python\n`Layer`\n```\n"
        linked = docstrings.linked(text, {"Layer": "wellwired.stores.Layer"})
        assert re.findall(r'identifier="([\w.]+)"', linked) == ["wellwired.stores.Layer", "wellwired.stores.Layer.ttl"]
        assert linked.endswith("a `thing`, ``Layer``.\n```python\n`Layer`\n```\n")


class TestBuild:
    """The build itself, on a copy of what it reads."""

    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        """The repository, as far as the site needs it, with a navigation of one page."""
        pytest.importorskip("mkdocs")
        for name in (".ci", "docs", "src"):
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.md"))
        for name in ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(f"# {name}\n")
        config = (ROOT / "mkdocs.yml").read_text()
        config = re.sub(r"^nav:\n(?:  .*\n)+", self.nav, config, flags=re.MULTILINE)
        (tmp_path / "mkdocs.yml").write_text(config)
        (tmp_path / ".ci" / "site.py").write_text(
            (ROOT / ".ci" / "site.py")
            .read_text()
            .replace('SOURCE = ROOT / "src" / "wellwired"', "SOURCE = ROOT / 'no'")
        )
        return tmp_path

    nav = (
        "nav:\n  - index.md\n  - Changelog: repository/CHANGELOG.md\n"
        "  - Contributing: repository/CONTRIBUTING.md\n  - Costs: repository/benchmarks/README.md\n"
    )

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("[a](repository/CHANGELOG.md) [b](#title) ::: wellwired.clock.Deadline", ""),
            ("[a](gone.md)", "'gone.md'"),
            ("[a](../tests/gone.py)", "gone.py"),
            ("[a](#gone)", "no such anchor"),
            ("[a](../CHANGELOG.md#gone)", "does not contain an anchor '#gone'"),
            ("\n::: wellwired.gone\n", "wellwired.gone"),
            ("![a](https://example.org/a.svg)", "fetches https://example.org/a.svg"),
        ],
    )
    def test_what_is_broken_fails_it(self, text: str, complaint: str, copy: Path) -> None:
        """Broken links, anchors and references, and whatever a browser would have to fetch from elsewhere."""
        (copy / "docs" / "index.md").write_text(f"# Title\n\n{text}\n\n::: wellwired.clock\n")
        done = build(copy)
        assert (done.returncode, complaint in done.stdout + done.stderr) == (bool(complaint), True), done.stderr

    def test_a_page_outside_of_the_navigation_fails_it(self, copy: Path) -> None:
        """A page that nobody could find."""
        (copy / "docs" / "index.md").write_text("# Title\n\n::: wellwired.clock\n")
        (copy / "docs" / "lost.md").write_text("# Lost\n")
        assert "lost.md" in build(copy).stderr


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Builds the site as `make site` does."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
