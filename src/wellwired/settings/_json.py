"""JSON as settings take it: strict where Python's reader is lenient, and silent about what stood there.

A name given twice, `NaN` and a nesting beyond the reader's depth are errors here; Python would take the last value,
accept what is not JSON, and raise an error of another kind.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

__all__ = ["JSONTextError", "decode_json"]


class JSONTextError(ValueError):
    """A text is not JSON; the message has the reason and the position, and none of the text."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise JSONTextError("an object has the same name twice")
    return value


def _constant(_name: str) -> NoReturn:
    raise JSONTextError("NaN and Infinity are no numbers in JSON")


def decode_json(text: str) -> Any:
    """Reads a JSON text; pure.

    Args:
        text: the text.

    Returns:
        The value.

    Raises:
        JSONTextError: it is not JSON; with the position, and without quoting.
    """
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except JSONTextError:
        raise
    except json.JSONDecodeError as error:
        problem = f"{error.msg[:1].lower()}{error.msg[1:]} at line {error.lineno} column {error.colno}"
    except (ValueError, RecursionError):
        problem = "a number is too long, or the nesting too deep"
    raise JSONTextError(problem)
