"""Runs the code of a documentation page, from top to bottom, as its reader would.

A page is a lesson: its ``python`` blocks share one namespace and one temporary directory. A block of any language
whose first line is a comment with a file name, such as ``# app.py`` or ``# .env``, is that file; one in a folder, such
as ``# shop/models.py``, is only written, for a package imports its modules by itself, and so is one that a command of
the page runs, ``$ python run.py``. A ``console`` block runs each
``$ wellwired …``, ``$ python …`` and the like (`PROGRAMS`) in it; the lines below, if any, are what it must print
(``...`` stands for anything). Before a block, ``<!-- skip: reason -->`` leaves it out and ``<!-- exits: 1 -->`` names
the exit code of its last command.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__all__ = ["PROGRAMS", "Block", "PageError", "blocks", "commands", "environment", "links", "main", "run"]

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[\w+.-]*)")
_ORDER = re.compile(r"^\s*<!-- *(?P<word>skip|exits)\b:?(?P<text>.*?)-->\s*$")
_FILE = re.compile(r"^(?:#|//|--|;) *(?P<name>[\w./-]*\.[\w-]+)\s*$")
PROGRAMS = {
    "python": "",
    "wellwired": "-m wellwired.cli ",
    "pytest": "-m pytest ",
    "flask": "-m flask ",
    "django-admin": "-m django ",
}
_PROGRAM = re.compile(r"^(?:[A-Z_][A-Z0-9_]*=\S* +)*python (?P<name>[\w.-]+\.py)\b")
_COMMAND = re.compile(rf"^(?:[A-Z_][A-Z0-9_]*=\S* +)*(?:{'|'.join(PROGRAMS)})(?= |$)")


class PageError(Exception):
    """A page's code cannot be read, or does not do what the page says."""


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, the line of the page that it begins on, and its order."""

    language: str
    text: str
    line: int
    skip: str = ""
    exits: int = 0

    @property
    def file(self) -> str:
        """The file that it is, if its first line says so."""
        found = _FILE.match(self.text.partition("\n")[0])
        return found["name"] if found else ""


def blocks(text: str) -> Iterator[Block]:
    """Finds the fenced blocks of a page; raises `PageError` for a fence that does not end or a skip without reason."""
    order: tuple[str, str] = ("", "")
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if found := _ORDER.match(line):
            order = (found["word"], found["text"].strip())
            if order == ("skip", ""):
                raise PageError(f"line {number}: a skip needs a reason: <!-- skip: reason -->")
        elif fence := _FENCE.match(line):
            inside = []
            for _, inner in lines:
                if inner.strip() == fence["fence"]:
                    break
                inside.append(inner.removeprefix(fence["indent"]))
            else:
                raise PageError(f"line {number}: the block that begins here does not end")
            skip = order[1] if order[0] == "skip" else ""
            exits = int(order[1]) if order[0] == "exits" else 0
            yield Block(fence["language"], "\n".join(inside) + "\n", number + 1, skip, exits)
            order = ("", "")
        elif line.strip():
            order = ("", "")


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output that is shown below it."""
    command, shown = "", list[str]()
    for line in [*block.text.splitlines(), "$ "]:
        if line.startswith("$ "):
            if command:
                yield command, "\n".join(shown).rstrip()
            command, shown = line[2:], []
        elif command.endswith("\\"):
            command = command[:-1] + line.removeprefix(">").strip()
        else:
            shown.append(line.rstrip())


def links(text: str) -> Iterator[str]:
    """The relative links of a page, those in code left out."""
    prose = re.sub(r"^( *)(`{3,}|~{3,}).*?^ *\2\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    for found in re.finditer(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose)):
        if not re.match(r"[a-z]+:", found[1]):
            yield found[1]


def run(path: Path) -> None:
    """Runs the blocks of a page in the current directory; raises what they raise, with the page's own line numbers."""
    module = ModuleType("page")
    # As an importable module, for what looks a function's module up by its name.
    sys.modules[module.__name__] = module
    programs = set(_programs(path))
    for block in blocks(path.read_text()):
        if block.skip:
            continue
        if block.file:
            target = Path(block.file)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        if block.language == "python" and "/" not in block.file and block.file not in programs:
            # Empty lines in front make a traceback point into the page.
            code = compile("\n" * (block.line - 1) + block.text, str(path), "exec", dont_inherit=True)
            exec(code, vars(module))
        elif block.language == "console":
            _console(path, block)


def _programs(path: Path) -> Iterator[str]:
    """The files that commands of a page run."""
    for block in blocks(path.read_text()):
        for command, _ in commands(block) if block.language == "console" and not block.skip else ():
            if found := _PROGRAM.match(command):
                yield found["name"]


def _console(path: Path, block: Block) -> None:
    *firsts, last = [(command, shown) for command, shown in commands(block) if _COMMAND.match(command)] or [("", "")]
    for command, shown, exits in [*((c, s, 0) for c, s in firsts), (*last, block.exits)]:
        if not command:
            continue
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        where = f"{path.name}, line {block.line}: $ {command}"
        if done.returncode != exits:
            raise PageError(f"{where}\nended with {done.returncode}, not {exits}:\n{done.stdout}{done.stderr}")
        printed = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).splitlines())
        if shown and not _same(shown, printed):
            raise PageError(f"{where}\nprinted\n{printed}\nand the page shows\n{shown}")


def _same(shown: str, printed: str) -> bool:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(shown + "\n", printed + "\n", flags)


def environment(home: Path) -> dict[str, str]:
    """What a reader has who has set nothing: embedded defaults, and the programs on the path."""
    programs = home / ".bin"
    programs.mkdir(exist_ok=True)
    for name, words in PROGRAMS.items():
        beside = Path(sys.executable).with_name(name)
        if name == "wellwired" and beside.exists():
            continue
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (programs / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WELLWIRED")}
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    wide = {"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", "PYTHONWARNINGS": "error"}
    return {**kept, **wide, "PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)}


def main(path: str, home: str) -> None:
    """Runs a page in a process of its own: `python -m tests._docs PAGE DIRECTORY`."""
    os.chdir(home)
    sys.path.insert(0, home)
    run(Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
