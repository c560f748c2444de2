"""From what pydantic says to what a person can act on: the variable, what is wrong, what to try. Never a value.

Our own validators quote nothing, and neither do the texts of this module. Any other text, a subclass's validator's
for instance, is shown only if no word of the value occurs in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic_core import ErrorDetails

from wellwired.settings._json import JSONTextError, decode_json
from wellwired.settings._layout import Layout
from wellwired.settings._section import FAULT
from wellwired.settings._variables import Fault, Origins, Place
from wellwired.settings.names import near, shown

__all__ = ["translate"]

_WHOLE = "is not a whole number"
_NUMBER = "is not a number"
_TEXTS = {
    "int_parsing": _WHOLE,
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": "is too large a number",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "finite_number": "is not a finite number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "string_type": "is not text",
    "string_unicode": "is not text in UTF-8",
    "string_pattern_mismatch": "has characters that are not allowed here; it must match {pattern}",
    "string_too_short": "is too short; at least {min_length}",
    "string_too_long": "is too long; at most {max_length}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "dict_type": "must be a group of settings",
    "model_type": "must be a group of settings",
    "model_attributes_type": "must be a group of settings",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "too_short": "is too short; at least {min_length}",
    "too_long": "is too long; at most {max_length}",
}
_CONTAINERS = {"dict_type", "model_type", "model_attributes_type", "tuple_type", "list_type", "set_type"}


def translate(
    errors: Iterable[ErrorDetails], state: Mapping[str, Any], origins: Origins, layout: Layout
) -> Iterator[Fault]:
    """Turns validation errors into faults; pure.

    Args:
        errors: as `pydantic.ValidationError.errors` gives them, inputs included.
        state: the tree that was validated.
        origins: who gave what in it.
        layout: the names of the settings class.

    Yields:
        A fault for each error.
    """
    for error in errors:
        path = _real_path(error, state, layout)
        if error["type"] == "missing":
            yield _missing(path, origins, layout)
        elif error["type"] == "extra_forbidden":
            yield _extra(path, origins, layout)
        else:
            label = (origins.label(path) or _variable(path, layout)) if path else "settings"
            yield Fault(label, _text(error), path)


def _real_path(error: ErrorDetails, state: Any, layout: Layout) -> Place:
    """The error's place without the words that pydantic adds, such as the member of a union that it tried."""
    path: list[str | int] = []
    for number, part in enumerate(error["loc"], 1):
        state = _opened(state)
        there = isinstance(state, Mapping) and part in state
        lacking = error["type"] == "missing" and number == len(error["loc"])
        if isinstance(part, int) or there or lacking or part in layout.root.at(path).names:
            path.append(part)
            state = _part(state, part)
    return tuple(path)


def _opened(state: Any) -> Any:
    """What can be looked into: a model is its fields, and a JSON text that a validator reads is what it says."""
    if isinstance(state, BaseModel):
        return dict(state)
    if isinstance(state, str):
        try:
            return decode_json(state)
        except JSONTextError:
            return None
    return state


def _part(state: Any, part: str | int) -> Any:
    if isinstance(state, Mapping):
        return state.get(part)
    if isinstance(state, (list, tuple)) and isinstance(part, int) and part < len(state):
        return state[part]
    return None


def _variable(path: Place, layout: Layout) -> str:
    """The variable that could have given a place: lists are given whole."""
    names: list[str] = []
    for part in path:
        if isinstance(part, int):
            break
        names.append(shown(part))
    return layout.variable(names)


def _missing(path: Place, origins: Origins, layout: Layout) -> Fault:
    if any(isinstance(part, int) for part in path):
        label = origins.label(path[:-1]) or _variable(path, layout)
        return Fault(label, f"lacks {shown(path[-1])}, which is required", path)
    known = [label for label in (origins.exact(path[:-1]), *origins.below(path[:-1])) if label]
    so_far = f"; set so far: {', '.join(dict.fromkeys(known))}" if known else ""
    return Fault(_variable(path, layout), f"is required but not set{so_far}", path)


def _extra(path: Place, origins: Origins, layout: Layout) -> Fault:
    node = layout.root.at(path[:-1])
    known = node.names
    meant = near(str(path[-1]), known)
    hint = f"did you mean {meant}?" if meant else f"known here are {', '.join(sorted(known))}"
    return Fault(origins.label(path) or _variable(path, layout), f"is an unknown setting; {hint}", path)


def _text(error: ErrorDetails) -> str:
    kind, value = error["type"], error["input"]
    if kind == FAULT:
        return error["msg"]
    if isinstance(value, str) and not value.strip():
        return "is empty; give it a value or unset it"
    if kind in _CONTAINERS and isinstance(value, str):
        return f"{_TEXTS.get(kind, 'must be a group of values')}; {_why_not_json(value)}"
    if kind in _TEXTS:
        return _TEXTS[kind].format_map(error.get("ctx", {})).removesuffix(".0")
    text = re.sub(r"^(Value error|Assertion failed), ", "", error["msg"]).replace("Input should", "should")
    return "is refused, for a reason that quotes it and is not shown" if _quotes(text, value) else text


def _why_not_json(text: str) -> str:
    try:
        decode_json(text)
    except JSONTextError as error:
        return f"the text is not valid JSON: {error}"
    return "the JSON is of another kind"


def _quotes(text: str, value: Any) -> bool:
    """Whether a text gives away something of a value: any word of four letters, or a short value as a word."""
    text = text.lower()
    for leaf in _leaves(value):
        words = [word for word in re.split(r"\W+|_", leaf) if len(word) >= 4]
        if any(word in text for word in words) or (leaf and re.search(rf"(?<!\w){re.escape(leaf)}(?!\w)", text)):
            return True
    return False


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, (SecretStr, SecretBytes)):
        value = value.get_secret_value()
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, bytes):
        yield value.decode(errors="replace").lower().strip()
    elif value is not None:
        yield str(value).lower().strip()
