"""check(): every fault of a container, found at once and before anything is opened.

Only the settings are really built, and the families expanded, because the names to be checked come from there; if
that fails, it is a finding beside those of the rules, and the rules judge what there is without guessing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from dependency_injector import errors as di_errors

from wellwired.containers._direct import label
from wellwired.containers._order import reachable
from wellwired.containers._relations import declared, families
from wellwired.containers._rules import findings
from wellwired.containers._survey import Survey, title_of
from wellwired.errors import CycleError, SettingsError, WellwiredError

__all__ = ["check"]

_STUMBLES = (TypeError, RecursionError, CycleError, di_errors.Error)

C = TypeVar("C")


def check(container: C) -> C:
    """Finds every fault of a container; builds its settings and nothing else, and asks nobody.

    Args:
        container: an instance of a container class.

    Returns:
        The container.

    Raises:
        ExceptionGroup: of a `ContainerError` or `SettingsError` for each fault.
    """
    unread = list(_expanded(container))
    survey = Survey(container)
    found = list(findings(survey))
    # A rule tells the reason better than what building the settings stumbled over because of it.
    problems = [error for error in unread if not (found and isinstance(error, _StumbledError))] + found
    if problems:
        count = f"{len(problems)} fault{'' if len(problems) == 1 else 's'}"
        raise ExceptionGroup(f"{title_of(container)} cannot be started: {count}", problems)
    return container


class _StumbledError(SettingsError):
    """The settings or a family could not be built for a reason that a rule may know better."""


def _expanded(container: Any) -> Iterator[WellwiredError]:
    """Builds the settings and expands the families, as far as that goes; yields each fault once."""
    found: dict[str, WellwiredError] = {}
    settings = container.providers.get("settings")
    if settings is not None:
        found |= _tried("settings", settings)
    if not found:
        roots = [provider for name, provider in container.providers.items() if name != "__self__"]
        for family in families(reachable(roots, declared)):
            if family.last_overriding is None:
                found |= _tried(label(family), family.expand)
    yield from found.values()


def _tried(name: str, build: Callable[[], Any]) -> dict[str, WellwiredError]:
    try:
        build()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault to be reported with the others
        return {str(fault): fault for fault in _faults(name, error)}
    return {}


def _faults(name: str, error: Exception) -> Iterator[WellwiredError]:
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from _faults(name, each)
    elif isinstance(error, SettingsError):
        yield from (SettingsError([fault]) for fault in error.faults)
    elif isinstance(error, WellwiredError) and not isinstance(error, CycleError):
        yield error.with_traceback(None)
    else:
        # Its text is left out: whatever reads settings may quote a secret.
        kind = SettingsError if not isinstance(error, _STUMBLES) else _StumbledError
        yield kind([f"{name} could not be built: {type(error).__name__}; call it to see more"])
