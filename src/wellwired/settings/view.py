"""Every setting with its value and its origin, for people: secrets masked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretBytes, SecretStr

from wellwired.settings._layout import Layout
from wellwired.settings._settings import Settings
from wellwired.settings._variables import Place
from wellwired.settings.layers import ShortLayer, format_layers
from wellwired.settings.models import LayerSettings
from wellwired.settings.urls import driver_of

__all__ = ["ShownSetting", "masked"]

_STARS = "**********"
_SECRET_NAME = re.compile(r"passw|secret|token|credential|private|api_?key", re.IGNORECASE)


class ShownSetting(NamedTuple):
    """One setting as it may be printed.

    Args:
        variable: the variable that sets it.
        value: its value; of a secret, at most the scheme of its URL.
        origin: what set it, such as ``.env line 3, WELLWIRED__LOG__LEVEL``; "default" if nothing did.
    """

    variable: str
    value: str
    origin: str


def masked(settings: Settings) -> list[ShownSetting]:
    """Lists every setting, secrets masked.

    Args:
        settings: the settings.

    Returns:
        The settings in the order of their declaration.
    """
    layout = Layout(type(settings))
    return [
        ShownSetting(
            layout.variable([str(part) for part in path]),
            _text(str(path[-1]), value),
            settings._origins.exact(path) or "default",
        )
        for path, value in _walk((), settings)
    ]


def _walk(path: Place, value: Any) -> Iterator[tuple[Place, Any]]:
    if isinstance(value, BaseModel):
        value = dict(value)
    if path and not (isinstance(value, Mapping) and value):
        yield path, value
        return
    for name, part in value.items():
        yield from _walk((*path, name), part)


def _text(name: str, value: Any) -> str:
    if isinstance(value, (SecretStr, SecretBytes)):
        secret = value.get_secret_value()
        url = secret if isinstance(secret, str) else ""
        return f"{url.partition('://')[0]}://{_STARS}" if driver_of(url) else _STARS
    if value is not None and _SECRET_NAME.search(name):
        return _STARS
    if isinstance(value, tuple) and value and all(isinstance(layer, LayerSettings) for layer in value):
        return _layers(value)
    if isinstance(value, tuple):
        return ",".join(_text(name, part) for part in value)
    return "" if isinstance(value, Mapping) else str(value)


def _layers(layers: tuple[LayerSettings, ...]) -> str:
    short = {"name", "ttl", "primary"}
    text = format_layers(ShortLayer(layer.name, layer.ttl, layer.primary) for layer in layers)
    return f"{text} (and options)" if any(layer.model_fields_set - short for layer in layers) else text
