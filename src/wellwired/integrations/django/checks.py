"""System checks: every fault of the setting, the environment, the container and the markers, before anything connects.

``manage.py check`` runs them, and with it most commands of Django. They connect to nothing: ``manage.py wellwired
health`` does. What each id means is in `wellwired.integrations.django._faults`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core import checks

from wellwired.containers import Lifetime
from wellwired.integrations.django._faults import MODULE, OTHER, PLACE, Fault, faults_of
from wellwired.integrations.django._project import Project, project
from wellwired.integrations.django._settings import SettingError, configured

__all__ = ["check_container", "check_middleware", "diagnose"]

MIDDLEWARE = "wellwired.integrations.django.middleware.request_scope"


def check_container(**_: Any) -> list[checks.CheckMessage]:
    """The project's container: an error for each fault, with an id and a hint.

    Which apps ``manage.py check shop`` names does not matter: the container is everybody's.
    """
    return [checks.Error(fault.text, hint=fault.kind.hint, id=fault.kind.id) for fault in diagnose()]


def check_middleware(**_: Any) -> list[checks.CheckMessage]:
    """A warning if the container has providers that live for a request, and no request has a scope."""
    if MIDDLEWARE in settings.MIDDLEWARE:
        return []
    try:
        graph = project().container.graph()
    except Exception:  # noqa: BLE001 - it has been told by the other check
        return []
    scoped = [node.id for node in graph.nodes if node.lifetime is Lifetime.SCOPE]
    if not scoped:
        return []
    return [
        checks.Warning(
            f"{', '.join(scoped)} live for a request, and no request has a scope",
            hint=f'add "{MIDDLEWARE}" to MIDDLEWARE, high up',
            id="wellwired.W001",
        )
    ]


def diagnose() -> Iterator[Fault]:
    """Finds every fault of the project, of the setting first; reads the environment and connects to nothing.

    Yields:
        The faults, each once.
    """
    try:
        configured()
        found = project()
    except SettingError as error:
        yield from faults_of(error)
    except Exception as error:  # noqa: BLE001 - what a module of the project raises is a fault, and not the end
        yield from _unmade(error)
    else:
        yield from dict.fromkeys([*_wiring(found), *_container(found)])


def _unmade(error: Exception) -> Iterator[Fault]:
    for fault in faults_of(error):
        text = f'the container of WELLWIRED["CONTAINER"] cannot be made: {fault.text}'
        yield Fault(PLACE, text) if not _is_of_container(fault) else fault


def _is_of_container(fault: Fault) -> bool:
    return fault.kind.id > "wellwired.E009" and fault.kind is not OTHER


def _wiring(found: Project) -> Iterator[Fault]:
    try:
        found.complete()
    except Exception as error:  # noqa: BLE001 - see above
        yield from faults_of(error, kind=MODULE)


def _container(found: Project) -> Iterator[Fault]:
    try:
        found.container.check()
    except Exception as error:  # noqa: BLE001 - see above
        yield from faults_of(error)
