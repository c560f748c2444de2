"""Writes the pages of the reference that say what the code knows: the environment's variables, the command's options.

``python -m tests._reference`` writes the part of each page below its marker anew; a test compares it.
"""

from __future__ import annotations

import importlib
import inspect
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import wellwired
from wellwired.cli.app import app
from wellwired.settings import Settings
from wellwired.settings._section import Section, none_word

__all__ = ["MARKER", "PAGES", "command", "main", "told", "variables"]

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
MARKER = "<!-- From here on written by: python -m tests._reference -->\n"
_WORDS: dict[Any, str] = {
    bool: "`true` or `false`",
    int: "a whole number",
    float: "a number",
    str: "text",
    SecretStr: "text, kept secret",
    Path: "a file",
}


def told(page: str) -> str:
    """The part of a page that is written here."""
    return (FOLDER / page).read_text().partition(MARKER)[2]


def arguments(cls: type) -> dict[str, str]:
    """What a class's docstring says of each of its arguments."""
    part = re.search(r"^Args:\n(?P<text>(?: {4}.*\n?|\n)*)", inspect.cleandoc(cls.__doc__ or ""), re.MULTILINE)
    found: dict[str, str] = {}
    for entry in re.split(r"^ {4}(?=\w)", part["text"] if part else "", flags=re.MULTILINE)[1:]:
        name, _, text = entry.partition(": ")
        plain = re.sub(r"\s+", " ", text.replace("``", "`")).strip()
        found[name] = re.sub(r"\bNone\b", "none", plain).replace("|", "\\|")
    return found


def members(annotation: Any) -> list[Any]:
    """The parts of a union, without None; the annotation itself if it is none."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return [part for each in get_args(annotation) if each is not type(None) for part in members(each)]
    return [annotation]


def metadata(annotation: Any) -> Iterator[Any]:
    """What `Annotated` says of a type, or of the parts of a union."""
    if get_origin(annotation) is Annotated:
        annotation, *notes = get_args(annotation)
        for note in notes:
            yield from note.metadata if isinstance(note, FieldInfo) else (note,)
        yield from metadata(annotation)
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from metadata(part)


def kind(info: FieldInfo) -> str:
    """What a variable may hold, in words."""
    words = "; or ".join(_kind(part) for part in members(info.annotation))
    notes = [*info.metadata, *metadata(info.annotation)]
    for bound in notes:
        match bound:
            case Ge(limit):
                words += f", {limit} or more"
            case Gt(limit):
                words += f", more than {limit}"
            case Le(limit):
                words += f", {limit} or less"
            case Lt(limit):
                words += f", less than {limit}"
    says_none = any(isinstance(note, BeforeValidator) and note.func is none_word for note in notes)
    return words + (", or `none`" if says_none else "")


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        inner = members(get_args(annotation)[0])[0]
        return "secrets, with commas between them" if inner is SecretStr else "words, with commas between them"
    return _WORDS[annotation]


def default(info: FieldInfo) -> str:
    """What holds without the variable."""
    value = info.default
    if value is PydanticUndefined:
        return "must be set"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`" if value else "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`" if value != "" else "empty"


def section_of(info: FieldInfo) -> tuple[str, type[BaseModel]] | None:
    """If a field is a group: what follows its name in variables, and the group's class."""
    (annotation,) = members(info.annotation)[:1]
    if get_origin(annotation) is dict:
        return "__<NAME>", members(get_args(annotation)[1])[0]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "", annotation
    return None


def groups(prefix: str, cls: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """A group and those in it, each with what its variables begin with."""
    yield prefix, cls
    for name, info in cls.model_fields.items():
        if found := section_of(info):
            yield from groups(f"{prefix}{name.upper()}{found[0]}__", found[1])


def variables() -> str:
    """All variables, a table for each group, and the options of a layer."""
    parts = []
    for prefix, cls in groups("WELLWIRED__", Settings):
        if rows := list(_rows(prefix, cls)):
            text = (cls.__doc__ or "").partition("\n")[0]
            parts.append(f"\n## {_title(prefix, cls)}\n\n{text}\n\n{_table(rows, ('variable', *_HEAD))}")
            if cls.__name__ == "StoreSettings":
                parts.append(_layers(cls))
    return "".join(parts)


_HEAD = ("what it holds", "without it", "what it means")


def _title(prefix: str, cls: type[BaseModel]) -> str:
    return f"`{prefix}…`" if issubclass(cls, Section) else "Settings"


def _rows(prefix: str, cls: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    texts = arguments(cls)
    for name, info in cls.model_fields.items():
        if name == "layers":
            yield f"`{prefix}LAYERS`", "layers, highest priority first", "must be set", texts[name]
        elif section_of(info) is None:
            yield f"`{prefix}{name.upper()}`", kind(info), default(info), texts[name]


def _layers(cls: type[BaseModel]) -> str:
    layer: type[BaseModel] = get_args(members(cls.model_fields["layers"].annotation)[0])[0]
    texts = arguments(layer)
    rows = [
        (f"`{name}`", kind(info) if section_of(info) is None else "a group", _inner(info), texts[name])
        for name, info in layer.model_fields.items()
    ]
    return (
        "\n### The options of a layer\n\nIn JSON each layer has these keys; the short form knows `name`, `ttl` and "
        f"`primary`.\n\n{_table(rows, ('key', *_HEAD))}"
    )


def _inner(info: FieldInfo) -> str:
    return default(info) if section_of(info) is None else "its own defaults"


def _table(rows: Sequence[tuple[str, ...]], head: tuple[str, ...]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def command() -> str:
    """What the command's help says, a part for each of its commands."""
    commands: Mapping[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return "".join(_command(name, each) for name, each in commands.items())


def _command(name: str, each: Any) -> str:
    rows = [_option(option) for option in each.params if option.name != "help"]
    table = _table(rows, ("option", "without it", "what it means"))
    places = [option.metavar for option in each.params if option.param_type_name == "argument"]
    usage = " ".join(["wellwired", name, *places, "[options]"])
    return f"\n## {name}\n\n{each.help}\n\n```text\n{usage}\n```\n\n{table}"


def _option(option: Any) -> tuple[str, ...]:
    words = ", ".join(f"`{word}`" for word in sorted(option.opts, key=len, reverse=True))
    if option.param_type_name == "argument":
        words = " or ".join(f"`{word}`" for word in option.metavar.split("|"))
    elif not option.is_flag:
        words += f" `{option.metavar or option.name.upper()}`"
    missing = "must be given" if option.required else _missing(option)
    return words, missing, (option.help or "").replace("|", "\\|")


def _missing(option: Any) -> str:
    return "" if option.default in (None, False, ()) else f"`{option.default}`"


def directives() -> Iterator[tuple[str, str]]:
    """What the reference is generated from: each page with the modules and names that it tells of."""
    for page in sorted(FOLDER.glob("*.md")):
        for path in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE):
            yield page.name, path


def places() -> dict[str, tuple[object, str]]:
    """Where the reference tells of each public name: from its path to what it is and a link."""
    found: dict[str, tuple[object, str]] = {}
    for page, path in directives():
        module = _module(path)
        found[path] = (module or _named(path), f"{page}#{path}")
        for name in getattr(module, "__all__", ()):
            found[f"{path}.{name}"] = (getattr(module, name), f"{page}#{path}.{name}")
    return found


def _module(path: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        return None  # a name in a module


def _named(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def names() -> str:
    """What `wellwired` itself offers, each name with its link."""
    known = {id(thing): link for thing, link in places().values()}
    rows = []
    for name in wellwired.__all__:
        thing = getattr(wellwired, name)
        rows.append((f"[`{name}`]({known[id(thing)]})", _first(thing)))
    return f"\n{_table(rows, ('name', 'what it is'))}"


def _first(thing: object) -> str:
    text = inspect.getdoc(thing) or ""
    return re.sub(r"\s+", " ", text.partition("\n\n")[0]).replace("``", "`").replace("|", "\\|")


PAGES = {"index.md": names, "variables.md": variables, "command.md": command}


def main() -> None:
    """Writes the parts anew."""
    for page, write in PAGES.items():
        text = (FOLDER / page).read_text().partition(MARKER)[0]
        (FOLDER / page).write_text(text + MARKER + write())


if __name__ == "__main__":
    main()
