"""Names: what a database, a cache or a store may be called, and which known name somebody probably meant.

A name that was given once is the same in the environment, in code, in logs and in metrics. The environment decides
what is possible everywhere: its keys arrive in lower case, and ``__`` separates levels. So a name is lower-case
letters, digits and single underscores, and begins with a letter. One that arrives by JSON or as an argument is held
to the same rule and *refused* where it breaks it, not quietly changed: ``Main`` in JSON and ``MAIN`` in a variable
would otherwise be two databases, or one by accident.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

from wellwired.settings._section import fault

__all__ = ["NAME_PATTERN", "Dotted", "Name", "check_name", "near", "shown"]

NAME_PATTERN = r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*"
"""The rule as a regular expression, for grammars that names are part of."""

_NAME = re.compile(NAME_PATTERN)
_SHOWN = re.compile(r"[A-Za-z0-9_.\-]{1,120}")
_LONGEST = 64
_RULE = "lower-case letters, digits and single underscores, beginning with a letter"


def check_name(name: str) -> str:
    """Checks one name; pure.

    Args:
        name: what was given, such as ``main``.

    Returns:
        The same name.

    Raises:
        PydanticCustomError: it could not have come from an environment; says why, and the spelling that could.
    """
    if len(name) > _LONGEST:
        raise fault(f"is no name: names have at most {_LONGEST} characters")
    if _NAME.fullmatch(name):
        return name
    better = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    hint = f"; write {better}" if _NAME.fullmatch(better) and shown(name) == name else ""
    raise fault(f"is no name: names are {_RULE}{hint}")


def _check_dotted(name: str) -> str:
    if not all(_NAME.fullmatch(part) for part in name.split(".")):
        # A value and not a key, so not even a better spelling of it is shown.
        raise fault(f"is no name: names are {_RULE}, and may be joined by dots")
    return name


Name = Annotated[str, AfterValidator(check_name)]
"""The name of one database, cache or store."""

Dotted = Annotated[str, AfterValidator(_check_dotted)]
"""Names joined by dots, such as ``sql.main``."""


def near(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that is most like a word; pure.

    Args:
        word: what was written; upper and lower case are the same.
        known: what could have been meant.
        cutoff: how alike they must be, from 0 to 1.

    Returns:
        One of `known`, or None if nothing is near.
    """
    lowered = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), sorted(lowered), n=1, cutoff=cutoff)
    return lowered[close[0]] if close else None


def shown(name: object) -> str:
    """A name as a report may print it: somebody may have put a URL where a name belongs, so only plain ones are."""
    text = str(name)
    return text if _SHOWN.fullmatch(text) else "(a name that is not shown)"
