"""Hooks of mkdocs: pages for linked files outside of docs/, and a look at what was built.

A page links to a test or to the changelog as any file of the repository does, relatively. On the site each such file
is a page of its own below ``repository/``: Markdown as it is, and code with an anchor for each test, so that a link to
a test that was renamed fails the strict build as every broken link does.
"""

from __future__ import annotations

import ast
import logging
import posixpath
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

__all__ = [
    "fetched",
    "linked_files",
    "on_files",
    "on_page_markdown",
    "on_post_build",
    "public_names",
    "rewritten",
    "shown",
]

ROOT = Path(__file__).parent.parent
PLACE = "repository/"
# Pages of the navigation that nobody need link to.
ALWAYS = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")
SOURCE = ROOT / "src" / "wellwired"

_FENCE = re.compile(r"^ *(`{3,}|~{3,})")
_LINK = re.compile(r"(?P<code>`[^`\n]+`)|\]\((?P<target>[^)\s]+)\)")
_TEXT = re.compile(r"^:~:text=(?P<name>\w+)$")
_TEST = re.compile(r"^ *(?:async )?(?:def|class) (?P<name>[Tt]est\w*)", re.MULTILINE)
_ASKED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*?\bsrc=\"(https?:[^\"]+)|<link\b[^>]*?\bhref=\"(https?:[^\"]+)"
)

log = logging.getLogger("mkdocs.hooks.site")


def each_link(text: str, change: Callable[[str], str]) -> str:
    """A page with each of its links changed; code is left alone.

    Args:
        text: Markdown.
        change: gives for a link's target what is to stand there.

    Returns:
        The page.
    """
    lines, fence = [], ""
    for line in text.splitlines(keepends=True):
        if found := _FENCE.match(line):
            fence = "" if fence and line.strip() == fence else fence or found[1]
        elif not fence:
            line = _LINK.sub(lambda link: link["code"] or f"]({change(link['target'])})", line)
        lines.append(line)
    return "".join(lines)


def home(uri: str) -> str:
    """The path in the repository of a page of the site."""
    return uri.removeprefix(PLACE) if uri.startswith(PLACE) else f"docs/{uri}"


def target(link: str, path: str) -> tuple[str, str] | None:
    """The file of the repository that a link of a page leads to, and the anchor; None if it leads elsewhere.

    Args:
        link: as it stands in the page.
        path: of the page, in the repository.
    """
    place, _, anchor = link.partition("#")
    if not place or re.match(r"[a-z]+:", place):
        return None
    found = posixpath.normpath(posixpath.join(posixpath.dirname(path), place))
    if (ROOT / found).is_dir():
        found = posixpath.join(found, "README.md")
    return found, anchor


def uri_of(path: str) -> str:
    """The page of the site that stands for a file of the repository."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{PLACE}{path}" if path.endswith(".md") else f"{PLACE}{path}.md"


def rewritten(text: str, path: str) -> str:
    """A page whose links lead to pages of the site.

    Args:
        text: Markdown.
        path: of the page, in the repository.

    Returns:
        The page; links that are broken stay so, for mkdocs to tell.
    """

    def change(link: str) -> str:
        found = target(link, path)
        if found is None or (path.startswith("docs/") and found[0].startswith("docs/")):
            return link
        place = posixpath.relpath(uri_of(found[0]), posixpath.dirname(uri_of(path)) or ".")
        fragment = _TEXT.match(found[1])
        anchor = fragment["name"] if fragment else found[1]
        return f"{place}#{anchor}" if anchor else place

    return each_link(text, change)


def linked_files(pages: list[str]) -> list[str]:
    """The files outside of docs/ that pages link to, those of Markdown with what they link to.

    Args:
        pages: paths in the repository.

    Returns:
        Paths in the repository, sorted; only of files that are there.
    """
    found: set[str] = set()
    waiting = [*pages, *ALWAYS]
    while waiting:
        path = waiting.pop()
        if path in found or not (ROOT / path).is_file():
            continue
        if not path.startswith("docs/"):
            found.add(path)
        if path.endswith(".md"):
            each_link((ROOT / path).read_text(), lambda link, path=path: waiting.append(_elsewhere(link, path)) or "")
    return sorted(found)


def _elsewhere(link: str, path: str) -> str:
    found = target(link, path)
    return found[0] if found and not found[0].startswith(("docs/", "..")) else ""


def shown(path: str) -> str:
    """The page of a file: Markdown as it is, code in blocks, each test of it with an anchor.

    Args:
        path: in the repository.

    Returns:
        Markdown.
    """
    text = (ROOT / path).read_text()
    if path.endswith(".md"):
        return text
    language = {".py": "python", ".toml": "toml", ".yml": "yaml"}.get(Path(path).suffix, "text")
    head = f"---\nsearch:\n  exclude: true\ntitle: {path}\n---\n\n# `{path}`\n"
    fence = "~" * max(6, *(len(run) + 1 for run in re.findall("~+", text)), 0)
    return head + "".join(_block(part, language, fence) for part in _parts(text) if part.strip())


def _parts(text: str) -> Iterator[str]:
    """A module's text, cut before each of its tests, decorators and all."""
    lines = text.splitlines(keepends=True)
    cuts = [0]
    for number, line in enumerate(lines):
        if _TEST.match(line):
            while number and lines[number - 1].strip():
                number -= 1
            cuts.append(max(number, cuts[-1]))
    for start, end in zip(cuts, [*cuts[1:], len(lines)], strict=True):
        yield "".join(lines[start:end])


def _block(part: str, language: str, fence: str) -> str:
    name = _TEST.search(part)
    heading = f"\n## {name['name']} {{ #{name['name']} }}\n" if name else ""
    return f"{heading}\n{fence}{language}\n{part.rstrip()}\n{fence}\n"


def fetched(html: str) -> list[str]:
    """What a page has the reader's browser fetch from elsewhere.

    Args:
        html: the page.

    Returns:
        Addresses.
    """
    return [first or second for first, second in _ASKED.findall(html)]


def public_names() -> Iterator[str]:
    """What must be in the reference: the names that `wellwired` and its packages list as public, each with its path."""
    for init in sorted(SOURCE.rglob("__init__.py")):
        package = ".".join(init.parent.relative_to(SOURCE.parent).parts)
        for statement in ast.parse(init.read_text()).body:
            match statement:
                case (
                    ast.Assign(targets=[ast.Name("__all__")], value=value)
                    | ast.AnnAssign(target=ast.Name("__all__"), value=ast.List() as value)
                ):
                    yield from (f"{package}.{name}" for name in ast.literal_eval(value))


def inventory(site: Path) -> set[str]:
    """Every path that a page of the reference tells of."""
    *_, packed = (site / "objects.inv").read_bytes().split(b"\n", 4)
    return {line.split(" ", 1)[0] for line in zlib.decompress(packed).decode().splitlines()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of linked files."""
    from mkdocs.structure.files import File, InclusionLevel

    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    for path in linked_files(pages):
        level = InclusionLevel.INCLUDED if path in ALWAYS else InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, uri_of(path), content=shown(path), inclusion=level))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Turns links to files of the repository into links to their pages."""
    return rewritten(markdown, home(page.file.src_uri))


def on_post_build(config: MkDocsConfig) -> None:
    """Tells what browsers would fetch from elsewhere, and public names without a page; strictly, that is a failure."""
    site = Path(config.site_dir)
    for path in sorted(site.rglob("*.html")):
        if addresses := fetched(path.read_text()):
            log.warning("%s fetches %s", path.relative_to(site), ", ".join(addresses))
    known = inventory(site)
    for name in public_names():
        # A function hides the module of its own name.
        if not {name, f"{name}.{name.rpartition('.')[2]}"} & known:
            log.warning("%s is public and on no page of the reference", name)


# Plugins write what is looked at here.
on_post_build.mkdocs_priority = -100  # type: ignore[attr-defined]
