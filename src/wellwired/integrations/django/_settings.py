"""The setting ``WELLWIRED``: what it may say, and every fault in what it says. Reading only; imports nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from wellwired.containers import Container
from wellwired.containers.container import ContainerInstance
from wellwired.errors import WellwiredError
from wellwired.integrations._hosting import Source

__all__ = ["NAME", "Config", "SettingError", "configured", "setting_faults"]

NAME = "WELLWIRED"
_KEYS = ("CONTAINER", "MODULES", "PACKAGES")
_EXAMPLE = f'{NAME} = {{"CONTAINER": "shop.containers.Shop"}}'


class SettingError(WellwiredError, ImproperlyConfigured):
    """The setting is missing or wrong; `faults` has a line for each fault."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("; ".join(faults))


@dataclass(frozen=True, slots=True)
class Config:
    """What the setting says.

    Args:
        container: whose container, as `instance_of` takes it.
        modules: names of modules to wire besides those that are found.
        packages: names of packages of which every module is imported and wired.
    """

    container: Source
    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()


def configured() -> Config:
    """Reads the setting.

    Raises:
        SettingError: it is missing or wrong.
    """
    raw = _raw()
    if faults := tuple(setting_faults()):
        raise SettingError(*faults)
    return Config(raw["CONTAINER"], tuple(raw.get("MODULES", ())), tuple(raw.get("PACKAGES", ())))


def setting_faults() -> Iterator[str]:
    """Finds every fault of the setting as it is written, without importing what it names.

    Yields:
        A line for each.
    """
    raw = _raw()
    if raw is None:
        yield f"the setting {NAME} is missing; add {_EXAMPLE}"
    elif not isinstance(raw, Mapping):
        yield f"the setting {NAME} is a {type(raw).__name__} and not a dict; write {_EXAMPLE}"
    else:
        yield from (_unknown(key) for key in raw if key not in _KEYS)
        yield from _container_faults(raw.get("CONTAINER"))
        for key in ("MODULES", "PACKAGES"):
            listed = raw.get(key, ())
            if isinstance(listed, str) or not _are_names(listed):
                yield f'{NAME}["{key}"] is not a list of dotted names; write ["shop.services"]'


def _raw() -> Any:
    from django.conf import settings

    return getattr(settings, NAME, None)


def _unknown(key: object) -> str:
    near = difflib.get_close_matches(str(key).upper(), _KEYS, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it may have {', '.join(_KEYS)}"
    return f"{NAME} has an unknown key {key!r}; {hint}"


def _container_faults(found: object) -> Iterator[str]:
    if found is None:
        yield f"{NAME} names no container; write {_EXAMPLE}"
    elif isinstance(found, type):
        if not issubclass(found, Container):
            yield f'{NAME}["CONTAINER"] is the class {found.__name__}, which does not inherit wellwired.Container'
    elif not isinstance(found, str | ContainerInstance):
        yield f'{NAME}["CONTAINER"] is a {type(found).__name__} and not the place of a container; write {_EXAMPLE}'


def _are_names(listed: object) -> bool:
    return isinstance(listed, list | tuple | set | frozenset) and all(isinstance(each, str) for each in listed)
