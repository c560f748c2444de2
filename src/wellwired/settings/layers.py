"""The short form of a store's layers: ``memory:60,redis.cache:3600,sql.main!``.

::

    layers = layer *("," layer)
    layer  = name [":" seconds] ["!"]

The first layer is asked first. The seconds are the longest that the layer keeps a value; without them it keeps it for
as long as the layer below says. ``!`` marks a primary layer. Spaces around a layer are ignored. What else a layer can
be told needs the JSON form.

This module is the grammar and nothing else: which names exist is checked where all settings are known. Its complaints
count layers from one and quote nothing, because somebody may have pasted a URL here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from wellwired.settings.names import NAME_PATTERN

__all__ = ["LayerFormatError", "ShortLayer", "format_layers", "parse_layers"]

_NAME = rf"{NAME_PATTERN}(?:\.{NAME_PATTERN})*"
_TTL = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_LAYER = re.compile(rf"(?P<name>{_NAME})(?::(?P<ttl>{_TTL}))?(?P<primary>!)?")
_WITH_UNIT = re.compile(r"[0-9.]+\s*[A-Za-z]+")
_NO_LIMIT = "has a TTL that is not positive; leave it out for no limit"


class ShortLayer(NamedTuple):
    """One layer as the short form can say it.

    Args:
        name: ``memory``, ``redis.<name>``, ``sql.<name>``, or a name of the application's own.
        ttl: seconds, or None.
        primary: whether it is a primary layer.
    """

    name: str
    ttl: float | None = None
    primary: bool = False


class LayerFormatError(ValueError):
    """A text that is no list of layers; `problems` has a phrase for each layer that is wrong."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "; ".join(self.problems)


def parse_layers(text: str) -> tuple[ShortLayer, ...]:
    """Reads the short form; pure.

    Args:
        text: such as ``memory:60,redis.cache:3600,sql.main!``.

    Returns:
        The layers, highest priority first.

    Raises:
        LayerFormatError: every layer that is wrong, by number, without quoting it.
    """
    if not text.strip():
        raise LayerFormatError(["is empty; write layers such as memory:60,sql.main!"])
    layers: list[ShortLayer] = []
    problems: list[str] = []
    for number, part in enumerate(text.split(","), 1):
        part = part.strip()
        match = _LAYER.fullmatch(part)
        seconds = float(match["ttl"]) if match and match["ttl"] else None
        if match is None:
            problems.append(f"layer {number} {_complaint(part)}")
        elif seconds is not None and not 0 < seconds < math.inf:
            problems.append(f"layer {number} {_NO_LIMIT}")
        else:
            layers.append(ShortLayer(match["name"], seconds, match["primary"] is not None))
    if problems:
        raise LayerFormatError(problems)
    return tuple(layers)


def _complaint(part: str) -> str:
    """Why one layer cannot be read, in words that fit after "layer 2"."""
    if not part:
        return "is empty; there is a comma too many"
    if "://" in part:
        return "is a URL; name a configured database instead, such as sql.main"
    name, _, rest = part.partition(":")
    if rest and re.fullmatch(f"{_NAME}!", name):
        return "has its ! before the TTL; write it last, as in redis.cache:60!"
    if not re.fullmatch(f"{_NAME}!?", name):
        return "has no valid name; names look like memory, redis.cache or sql.main, in lower case"
    ttl = rest.strip().removesuffix("!")
    if ttl.startswith("-"):
        return _NO_LIMIT
    if _WITH_UNIT.fullmatch(ttl):
        return "has a TTL with a unit; TTLs are plain seconds, as in redis.cache:3600"
    return "cannot be read; write name, name:seconds or name:seconds!"


def format_layers(layers: Iterable[ShortLayer]) -> str:
    """Writes the short form: the inverse of `parse_layers`; pure.

    Args:
        layers: highest priority first.

    Returns:
        The text, seconds without a needless fraction.
    """
    return ",".join(f"{layer.name}{_seconds(layer.ttl)}{'!' if layer.primary else ''}" for layer in layers)


def _seconds(ttl: float | None) -> str:
    if ttl is None:
        return ""
    return f":{int(ttl)}" if float(ttl).is_integer() and ttl < 1e15 else f":{ttl!r}"
