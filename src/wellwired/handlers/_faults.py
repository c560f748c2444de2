"""Names what does not fit a payload model, without what was given.

A fault reads ``field.path: kind``. Kinds are the libraries' own codes for rules, which come from the model. Of a path
only field names and positions are shown: a key of a mapping inside the payload is data like any value, so it becomes
``*``, and so does a name too odd to be a field's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from msgspec import ValidationError as MsgspecError
    from pydantic import ValidationError as PydanticError

__all__ = ["Misfit", "listed", "of_msgspec", "of_pydantic"]

_SHOWN = 8
_LONGEST = 64

_AT = re.compile(r"(?s)(?P<rule>.*?)(?: - at (?:`key` in )?`\$\.?(?P<path>[^`]*)`)?")
_FIELD = re.compile(r"Object (?:missing required|contains unknown) field `(?P<name>[^`]*)`")


class Misfit(Exception):  # noqa: N818 - it never leaves this room
    """A payload does not fit its model.

    Args:
        faults: one line for each, safe to show.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(*faults)
        self.faults = faults


def listed(faults: Sequence[str]) -> str:
    """The first eight faults in one line, and how many more there are."""
    more = len(faults) - _SHOWN
    return "; ".join(faults[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def of_own_code(error: BaseException) -> str:
    """The fault of a model whose own validation raised something: the class of it, for its text may say anything."""
    return f"its own validation raised {type(error).__name__}"


def of_pydantic(error: PydanticError, model: type[Any], payload: Any) -> list[str]:
    """The faults in pydantic's error, by its codes (``int_parsing``, ``missing``, …).

    Args:
        error: what the validation raised.
        model: the model, whose schema says which names are fields.
        payload: what was validated; it tells a position in a list from a key of a mapping.
    """
    fields = _field_names(model)
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [f"{_path(detail['loc'], fields, payload)}: {detail['type']}" for detail in details]


def of_msgspec(error: MsgspecError) -> str:
    """The fault in msgspec's error: it stops at the first.

    Args:
        error: what the conversion raised; its text is taken apart, because some of its texts quote the value.
    """
    match = _AT.fullmatch(str(error))
    if error.__cause__ is not None or match is None:
        return of_own_code(error.__cause__ or error)
    rule, path = match["rule"], match["path"] or ""
    field = _FIELD.fullmatch(rule)
    if field:
        kind = "missing" if "missing" in rule else "unknown field"
        return f"{_joined(path, _shown(field['name']))}: {kind}"
    return f"{path or 'payload'}: {rule if rule.startswith('Expected ') else 'invalid value'}"


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(part: str) -> str:
    return part if part.isidentifier() and len(part) <= _LONGEST else "*"


def _path(location: Iterable[int | str], fields: frozenset[str], payload: Any) -> str:
    path, here = "", payload
    for part in location:
        if isinstance(part, int):
            if isinstance(here, list | tuple) and part < len(here):
                path, here = f"{path}[{part}]", here[part]
            else:
                path, here = f"{path}[*]", None
        else:
            # The top level has no keys but field names: known ones, and those that the model forbids.
            path = _joined(path, _shown(part) if not path or part in fields else "*")
            # What is no key is the tag of a union, which does not lead further in.
            here = here.get(part, here) if isinstance(here, Mapping) else here
    return path or "payload"


def _field_names(model: type[Any]) -> frozenset[str]:
    names: set[str] = set()
    waiting: list[Any] = [getattr(model, "__pydantic_core_schema__", None)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            fields = part.get("fields")
            names.update(fields if isinstance(fields, dict) else ())
            names.update(part[key] for key in ("name", "validation_alias") if isinstance(part.get(key), str))
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
    return frozenset(names)
