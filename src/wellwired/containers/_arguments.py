"""Whether a class or function can take the arguments that a provider would give it.

`inspect.Signature.bind` stops at the first fault; here all of them are found, with the nearest name for a misspelt
one. Only names are looked at and reported, never values or defaults, which may be secrets. What has no signature
(some C functions) is taken on trust.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from difflib import get_close_matches
from inspect import Parameter
from typing import Any

__all__ = ["argument_faults", "near", "signature_of"]

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def signature_of(target: Callable[..., Any]) -> inspect.Signature | None:
    """Reads a signature without calling anything.

    Args:
        target: a class, function, method, partial or any other callable.

    Returns:
        Its signature, or None if it has none to be read.
    """
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):
        return None


def argument_faults(
    signature: inspect.Signature, positional: int, keywords: Collection[str], *, partial: bool = False
) -> list[str]:
    """Finds everything that is wrong with a call.

    Args:
        signature: of what would be called.
        positional: how many arguments it would get by position.
        keywords: the names that it would get by keyword.
        partial: whether more arguments may be added by the caller, so that missing ones are no fault.

    Returns:
        A phrase for each fault; empty if the call can be made.
    """
    parameters = list(signature.parameters.values())
    faults = _too_many(parameters, positional) + _twice(parameters, positional, keywords)
    faults += _unexpected(parameters, keywords)
    return faults if partial else faults + _missing(parameters, positional, keywords)


def near(name: str, known: Collection[str]) -> str:
    """Suggests what may have been meant.

    Args:
        name: what was written.
        known: what could have been written.

    Returns:
        `` (did you mean 'x'?)``, or an empty text if nothing is close.
    """
    matches = get_close_matches(name, list(known), n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""


def _too_many(parameters: list[Parameter], positional: int) -> list[str]:
    taken = sum(p.kind in _POSITIONAL for p in parameters)
    if positional <= taken or any(p.kind is Parameter.VAR_POSITIONAL for p in parameters):
        return []
    return [f"takes {taken} by position and gets {positional}"]


def _twice(parameters: list[Parameter], positional: int, keywords: Collection[str]) -> list[str]:
    filled = [p for p in parameters if p.kind in _POSITIONAL][:positional]
    return [
        f"gets {p.name!r} twice, by position and by keyword"
        for p in filled
        if p.kind is Parameter.POSITIONAL_OR_KEYWORD and p.name in keywords
    ]


def _unexpected(parameters: list[Parameter], keywords: Collection[str]) -> list[str]:
    if any(p.kind is Parameter.VAR_KEYWORD for p in parameters):
        return []
    known = [p.name for p in parameters if p.kind in _NAMED]
    return [f"has no argument {k!r}{near(k, set(known) - set(keywords))}" for k in keywords if k not in known]


def _missing(parameters: list[Parameter], positional: int, keywords: Collection[str]) -> list[str]:
    filled = {p.name for p in [p for p in parameters if p.kind in _POSITIONAL][:positional]}
    needed = [
        p.name
        for p in parameters
        if p.kind in (*_POSITIONAL, Parameter.KEYWORD_ONLY)
        and p.default is Parameter.empty
        and p.name not in filled
        and (p.kind is Parameter.POSITIONAL_ONLY or p.name not in keywords)
    ]
    return [f"needs {name!r} and does not get it" for name in needed]
