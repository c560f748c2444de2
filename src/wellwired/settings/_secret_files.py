"""Reading a directory of secrets, as Docker and Kubernetes mount them: a file for each value.

A file's name is its variable's: ``WELLWIRED__SQL__MAIN__URL``. Directories may stand for the double underscores, and
the prefix may then be left out: ``sql/main/url``. A file with neither belongs to somebody else. Links are followed
inside the directory, where Kubernetes needs them, and not out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wellwired.settings._layout import Layout
from wellwired.settings._variables import Fault, Variable
from wellwired.settings.names import near

__all__ = ["read_secret_files"]

_MOST_BYTES = 1 << 20
_MOST_FILES = 10_000


def read_secret_files(root: Path, layout: Layout) -> Iterator[Variable | Fault]:
    """Reads one directory.

    Args:
        root: the directory.
        layout: the names that are ours.

    Yields:
        Its variables, each with its file, and what is wrong with the files that are ours.
    """
    try:
        for count, file in enumerate(_files(root, frozenset({root.resolve()})), 1):
            if count > _MOST_FILES:
                yield Fault(f"secrets directory {root}", f"has more than {_MOST_FILES} files; give secrets their own")
                return
            yield from _read(file, root, layout)
    except OSError as error:
        yield Fault(f"secrets directory {root}", f"cannot be read: {(error.strerror or 'unknown reason').lower()}")


def _files(directory: Path, parents: frozenset[Path]) -> Iterator[Path]:
    for entry in sorted(directory.iterdir()):
        if entry.name.startswith("."):  # Kubernetes keeps its versions in "..data"
            continue
        if not entry.is_dir():
            yield entry
        elif (real := entry.resolve()) not in parents:
            yield from _files(entry, parents | {real})


def _read(file: Path, root: Path, layout: Layout) -> Iterator[Variable | Fault]:
    name, place = _name(file, root, layout), f"secret file {file}"
    if isinstance(name, Fault):
        yield name
    elif layout.place(Variable(name, "{}", place)) is None:
        return  # somebody else's, and not to be read
    elif root.resolve() not in file.resolve().parents:
        yield Fault(place, "is a link that leads out of the secrets directory")
    elif not file.is_file():  # reading a pipe would wait
        yield Fault(place, "is no file")
    else:
        yield _text(file, name, place)


def _name(file: Path, root: Path, layout: Layout) -> str | Fault:
    """The variable that a file stands for."""
    first, *rest = file.relative_to(root).parts
    if not rest or first.lower().startswith(layout.prefix.lower().rstrip("_")):
        return layout.delimiter.join((first, *rest))
    name = layout.delimiter.join((f"{layout.prefix}{first}", *rest))
    if first.lower() in layout.heads:
        return name
    meant = near(first, layout.heads, cutoff=0.75)
    if meant is None:
        return layout.delimiter.join((first, *rest))
    return Fault(f"secret file {file}", f"is in a folder that means nothing here; did you mean {meant}?")


def _text(file: Path, name: str, place: str) -> Variable | Fault:
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            return Fault(place, "is larger than a mebibyte")
        return Variable(name, content.decode().strip(), place)
    except OSError as error:
        return Fault(place, f"cannot be read: {(error.strerror or 'unknown reason').lower()}")
    except UnicodeError:
        return Fault(place, "is not text in UTF-8")
