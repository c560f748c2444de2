"""An extension of griffe: what the source's docstrings say, in the Markdown of the site.

Docstrings here are plain text that reads well in an editor. For the site a block after ``::`` becomes a fenced one, a
table of ``====`` lines one of Markdown, and a name in backticks a link, if it is a public name of ours. Classes whose
fields are their arguments (named tuples, msgspec structs, pydantic models) are given the constructor that they have
when the program runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

import griffe

__all__ = ["Docstrings", "fenced", "linked", "tabled"]

_FIELDS = ("NamedTuple", "Struct", "Section", "BaseModel", "BaseSettings")
# What they document is read by a metaclass, or by name out of `**values`.
_OPEN = ("Container", "Settings")
_NAME = re.compile(r"(?<![`\[])`(?P<name>[A-Za-z_][\w.]*)(?:\(\))?`(?!`)")
_RULE = re.compile(r"^(?P<indent> *)=+(?: +=+)+$")


class Docstrings(griffe.Extension):
    """Rewrites the docstrings of a package once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Rewrites all that belongs to the package."""
        names = public_names(pkg)
        for thing in everything(pkg):
            if isinstance(thing, griffe.Class):
                give_constructor(thing)
            if thing.docstring:
                thing.docstring.value = linked(fenced(tabled(thing.docstring.value)), scope(thing) | names)


def everything(thing: griffe.Object) -> Iterator[griffe.Object]:
    """An object and all that is defined in it, private modules included."""
    yield thing
    for member in list(thing.members.values()):
        if isinstance(member, griffe.Object) and not member.is_alias:
            yield from everything(member)


def public_names(pkg: griffe.Module) -> dict[str, str]:
    """The path of each name that exactly one thing has which some module lists as public."""
    found: dict[str, set[str]] = {}
    for thing in everything(pkg):
        if isinstance(thing, griffe.Module):
            found[thing.path] = {thing.path}
            for name in thing.exports or ():
                member = thing.members.get(str(name))
                if member is not None and member.is_alias:
                    found.setdefault(str(name), set()).add(member.target_path)  # type: ignore[union-attr]
                elif member is not None:
                    found.setdefault(str(name), set()).add(member.path)
    return {name: next(iter(paths)) for name, paths in found.items() if len(paths) == 1}


def scope(thing: griffe.Object) -> dict[str, str]:
    """The methods of the class that a docstring is in, by their names alone."""
    owner = thing if isinstance(thing, griffe.Class) else thing.parent
    if not isinstance(owner, griffe.Class):
        return {}
    return {name: member.path for name, member in owner.members.items() if isinstance(member, griffe.Function)}


def give_constructor(cls: griffe.Class) -> None:
    """Makes a class's fields the parameters of a constructor, where something else does so when the program runs."""
    bases = {str(base).rpartition(".")[2] for base in cls.bases}
    if cls.docstring and cls.name in _OPEN:
        cls.docstring.parser_options = {"warn_unknown_params": False, "warn_missing_types": False}
    if "__init__" in cls.members or not bases & set(_FIELDS):
        return
    keyword = griffe.ParameterKind.keyword_only
    fields = [
        griffe.Parameter(name, annotation=field.annotation, kind=keyword, default=field.value)
        for name, field in cls.members.items()
        if isinstance(field, griffe.Attribute) and field.annotation is not None and not name.startswith("_")
    ]
    this = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    cls.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(this, *fields)))


def linked(text: str, names: Mapping[str, str]) -> str:
    """A text whose names in backticks are links to what they name; a link without an end stays a name."""

    def change(found: re.Match[str]) -> str:
        head, _, tail = found["name"].partition(".")
        path = names.get(found["name"]) or (f"{names[head]}.{tail}" if tail and head in names else None)
        inner = found[0].strip("`")
        return f'<autoref identifier="{path}" optional><code>{inner}</code></autoref>' if path else found[0]

    parts = re.split(r"(^ *```.*?^ *```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.lstrip().startswith("```") else _NAME.sub(change, part) for part in parts)


def fenced(text: str) -> str:
    """A text whose blocks after ``::`` are fenced blocks."""
    lines, out = text.splitlines(), []
    while lines:
        line = lines.pop(0)
        if not line.rstrip().endswith("::"):
            out.append(line)
            continue
        indent = len(line) - len(line.lstrip())
        block = []
        while lines and (not lines[0].strip() or len(lines[0]) - len(lines[0].lstrip()) > indent):
            block.append(lines.pop(0))
        out += [*_opening(line, indent), *_fence(block, indent), ""]
    return "\n".join(out).rstrip()


def _opening(line: str, indent: int) -> list[str]:
    words = line.strip().removesuffix("::")
    # The word alone would begin a section of the docstring.
    return [f"{' ' * indent}{f'{words}:' if ' ' in words else f'*{words}*'}", ""] if words else []


def _fence(block: list[str], indent: int) -> list[str]:
    while block and not block[-1].strip():
        block.pop()
    while block and not block[0].strip():
        block.pop(0)
    cut = min((len(line) - len(line.lstrip()) for line in block if line.strip()), default=0)
    body = [line[cut:] for line in block]
    code = any(re.match(r"(?:class|def|with|from|import|match|@|\w+ = |[\w.]+\()", line) for line in body)
    pad = " " * indent
    return [f"{pad}```{'python' if code else 'text'}", *(f"{pad}{line}" if line else "" for line in body), f"{pad}```"]


def tabled(text: str) -> str:
    """A text whose tables between lines of ``====`` are tables of Markdown."""
    lines = text.splitlines()
    rules = [number for number, line in enumerate(lines) if _RULE.match(line)]
    for first, last in reversed(_pairs(lines, rules)):
        spans = [match.start() for match in re.finditer(r"=+", lines[first])]
        inner = [number for number in rules if first < number < last]
        head = inner[0] if inner else first
        rows = [_cells(line, spans) for line in lines[first + 1 : last] if not _RULE.match(line)]
        if head == first:
            rows.insert(0, [""] * len(spans))
        rows.insert(1, ["---"] * len(spans))
        pad = lines[first][: spans[0]]
        lines[first : last + 1] = ["", *(f"{pad}| {' | '.join(row)} |" for row in rows), ""]
    return "\n".join(lines)


def _pairs(lines: list[str], rules: list[int]) -> list[tuple[int, int]]:
    """The first and the last line of each table: a blank line or the end follows the last."""
    found: list[tuple[int, int]] = []
    start = None
    for number in rules:
        if start is None:
            start = number
        elif number + 1 >= len(lines) or not lines[number + 1].strip():
            found.append((start, number))
            start = None
    return found


def _cells(line: str, starts: list[int]) -> list[str]:
    # A first cell that is a little too long moves the others; two spaces still part them.
    if len(parts := re.split(r" {2,}", line.strip())) == len(starts):
        return [part.replace("|", "\\|") for part in parts]
    return [line[a:b].strip().replace("|", "\\|") for a, b in pairwise([*starts, None])]
