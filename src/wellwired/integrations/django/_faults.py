"""Every fault that Django's system checks can report: its id, what it is, and the hint that goes with it.

::

    id              what is wrong                                        found in
    wellwired.E001  the setting WELLWIRED is missing or wrong            Django's settings
    wellwired.E002  there is no container where it says                  Django's settings
    wellwired.E003  a module cannot be imported                          MODULES, PACKAGES, the URLconf
    wellwired.E004  an injection marker leads nowhere                    the project's modules
    wellwired.E005  a module cannot be wired to this container           the project's modules
    wellwired.E010  a setting of the environment, by its variable        the environment
    wellwired.E011  a class body that cannot mean what it says           the container
    wellwired.E012  a name that the container does not have              the container
    wellwired.E013  a dependency that nobody supplies                    the container
    wellwired.E014  arguments that a class or function cannot take       the container
    wellwired.E015  providers that need each other in a ring             the container
    wellwired.E016  a long-lived object that would hold a scoped one     the container
    wellwired.E017  an extra that is not installed                       the container
    wellwired.E019  any other fault of the container                     the container
    wellwired.W001  scoped providers, and no request scope               MIDDLEWARE
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass

from wellwired.errors import (
    ArgumentsError,
    CaptiveError,
    CycleError,
    DeclarationError,
    MissingExtraError,
    SettingsError,
    StateError,
    UndefinedError,
    UnknownProviderError,
    WellwiredError,
    WiringError,
)
from wellwired.integrations.django._settings import SettingError

__all__ = ["KINDS", "MODULE", "OTHER", "PLACE", "Fault", "Kind", "faults_of"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Args:
        id: as in ``SILENCED_SYSTEM_CHECKS``.
        hint: what to try, for any fault of the kind.
    """

    id: str
    hint: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Args:
        kind: which kind.
        text: what is wrong, and where; quotes no value.
    """

    kind: Kind
    text: str


PLACE = Kind("wellwired.E002", 'name a class that inherits wellwired.Container: {"CONTAINER": "shop.containers.Shop"}')
MODULE = Kind("wellwired.E003", "mend the module, or take it out of WELLWIRED")
OTHER = Kind("wellwired.E019", "see `manage.py wellwired check` for the container as a whole")

KINDS: dict[type[BaseException], Kind] = {
    SettingError: Kind("wellwired.E001", "see the documentation of wellwired.integrations.django"),
    WiringError: Kind("wellwired.E004", "`manage.py wellwired graph` shows the names that the container has"),
    StateError: Kind("wellwired.E005", "one container fills in a module's functions at a time"),
    SettingsError: Kind("wellwired.E010", "set the variable in the environment of this process, or in .env"),
    DeclarationError: Kind("wellwired.E011", "change the class body of the container"),
    UnknownProviderError: Kind("wellwired.E012", "declare it, or set the variable that adds it"),
    UndefinedError: Kind("wellwired.E013", "give the dependency a provider in the class body of the container"),
    ArgumentsError: Kind("wellwired.E014", "change the provider's arguments, or the signature"),
    CycleError: Kind("wellwired.E015", "have one of them ask for what it needs when it needs it"),
    CaptiveError: Kind("wellwired.E016", "make the holder scoped too, or hand it the provider"),
    MissingExtraError: Kind("wellwired.E017", "install the extra, and name it in the project's requirements"),
    ImportError: MODULE,
}
"""From the class of an error to its kind; the nearest class in the order of inheritance counts."""


def faults_of(error: BaseException, *, kind: Kind | None = None) -> Iterator[Fault]:
    """Takes an error apart, into a fault for each thing that is wrong.

    Args:
        error: a group, or one error, which may list several faults.
        kind: what it is, if its class does not say.
    """
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from faults_of(each, kind=kind)
        return
    found = next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), None)
    for text in _texts(error):
        yield Fault(found or kind or OTHER, text)


def _texts(error: BaseException) -> tuple[str, ...]:
    if isinstance(error, SettingsError | SettingError):
        return error.faults
    if isinstance(error, WiringError):
        return error.markers
    if isinstance(error, WellwiredError):
        return (str(error),)
    place = "" if isinstance(error, ImportError) else _place(error)
    return (f"{type(error).__name__}{place}: {error}",)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
