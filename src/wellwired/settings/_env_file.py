"""Reading ``.env`` files, line by line, so that a fault can say which.

The format is python-dotenv's, ``${NAME}`` included. Of a name that is given twice the last one counts.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from dotenv.parser import Binding, parse_stream
from dotenv.variables import parse_variables

from wellwired.settings._variables import Fault, Variable

__all__ = ["read_env_file"]


def read_env_file(
    path: Path, *, environ: Mapping[str, str], prefix: str, encoding: str | None = None
) -> Iterator[Variable | Fault]:
    """Reads one file.

    Args:
        path: the file.
        environ: where ``${NAME}`` is looked up if the file has not given it before.
        prefix: the prefix of our variables; a line that cannot be read is a fault only if it names one.
        encoding: of the file; None for UTF-8.

    Yields:
        Its variables, each with its line, and what is wrong with it.
    """
    try:
        text = path.read_text(encoding=encoding or "utf-8")
    except (OSError, UnicodeError, LookupError) as error:
        yield Fault(str(path), f"cannot be read: {_why(error)}")
        return
    known: dict[str, str | None] = dict(environ)
    found: dict[str, Variable] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.key is None and not binding.error:  # a comment, which may name a variable
            continue
        place = f"{path} line {_line(binding)}"
        if binding.key is None or binding.value is None:
            if prefix and prefix.lower() in binding.original.string.partition("=")[0].lower():
                yield Fault(place, "cannot be read; write NAME=value, and a value with spaces or # in quotation marks")
            continue
        value = "".join(atom.resolve(known) for atom in parse_variables(binding.value))
        known[binding.key] = value
        found[binding.key] = Variable(binding.key, value, place)
    yield from found.values()


def _line(binding: Binding) -> int:
    # The binding begins at the blank lines before it.
    text = binding.original.string
    blank = text[: len(text) - len(text.lstrip())]
    return binding.original.line + blank.count("\n") + blank.count("\r") - blank.count("\r\n")


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or "unknown reason").lower()
    return "it is not text in the expected encoding"
