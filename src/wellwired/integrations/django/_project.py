"""The one container of the Django project in this process, and which modules are wired to it.

It is made when somebody asks first, so that reading the setting waits until Django's settings are complete, and it is
made anew when a test replaces the setting. Views are wired all at once at the first request, when the URLconf has
imported them; whatever is imported later is wired when one of its functions is called.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import ModuleType
from typing import ClassVar

from dependency_injector import wiring as di
from django.apps import apps
from django.conf import settings

from wellwired.containers import Provide, inject
from wellwired.containers._adopting import adopt_with
from wellwired.containers._fork import ForkLock
from wellwired.containers.container import ContainerInstance
from wellwired.containers.wiring import injected_modules, wired_to
from wellwired.integrations._hosting import Hosted
from wellwired.integrations.django._settings import NAME, Config, configured

__all__ = ["Project", "changed", "container", "forget", "prepare", "project"]

_MARKS = {id(mark) for mark in (Provide, inject, di.Provide, di.Provider, di.Closing, di.inject)}
_MARKING = {"wellwired", "wellwired.containers", "dependency_injector.wiring"}


class Project(Hosted):
    """The container of the project and what of it is wired.

    Args:
        config: what the setting says.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config.container, modules=config.modules, packages=config.packages)
        home = config.container if isinstance(config.container, str) else ""
        self._named = (*config.modules, *config.packages, *_beside(home.partition(":")[0]))

    def late_modules(self) -> Iterator[str]:
        """Loads the URLconf, and finds the modules of the project that have injected functions or marks."""
        if urlconf := _urlconf():
            import_module(urlconf)
        injected = injected_modules()
        for name, module in list(sys.modules.items()):
            # One that somebody else has wired, such as a test of its own container, is left to that one.
            free = all(each is self.container for each in wired_to(name))
            if free and self.claims(name) and (name in injected or _is_marked(module)):
                yield name

    def claims(self, module: str) -> bool:
        """Whether a module belongs to the project, by its name: to an app, or beside the URLconf or container."""
        roots = (*(app.name for app in apps.get_app_configs()), *_beside(_urlconf()), *self._named)
        return any(_is_in(module, root) for root in roots)

    def adopt(self, module: str) -> bool:
        """Wires a module that was imported late, if it is the project's.

        Raises:
            WiringError: a marker in it leads nowhere.
        """
        if not self.claims(module):
            return False
        life = self.container._life
        if life.stops and not life.started:
            self.start()  # wires what was wired before it was stopped; who uses a project's container starts it
        self.container.wire([module], shared=True)
        return True

    def reload(self) -> None:
        """Has the next request look for modules again, as after a change of the URLconf."""
        self._complete = False


class _Current:
    """The project of this process, and those that tests have put aside by replacing the setting."""

    project: Project | None = None
    aside: ClassVar[list[Project | None]] = []
    lock = ForkLock()


def project() -> Project:
    """The project, made from the settings at the first call.

    Raises:
        SettingError: the setting is missing or wrong.
        ImportError: the module of the container cannot be imported.
        WellwiredError: there is no container where the setting says.
    """
    found = _Current.project
    if found is not None:
        return found
    made = Project(configured())  # outside the lock, because it imports
    with _Current.lock.current():
        _Current.project = _Current.project or made
        return _Current.project


def container(*, start: bool = True) -> ContainerInstance:
    """The container of the project: one for each process, started at its first use and stopped at the end.

    Args:
        start: whether to start it in this process, if it is not. A test that overrides something does so before.

    Raises:
        SettingError: the setting ``WELLWIRED`` is missing or wrong (also Django's `ImproperlyConfigured`).
        ExceptionGroup: it cannot be started; of all faults that `check()` found.
    """
    found = project()
    return found.start() if start else found.container


def forget() -> None:
    """Stops the container and lets go of it; the next use makes another, from the settings of then.

    Raises:
        ExceptionGroup: of what its closings raised; it is gone all the same.
    """
    _replace(None)


def _replace(project: Project | None) -> None:
    with _Current.lock.current():
        gone, _Current.project = _Current.project, project
    if gone is not None:
        gone.container.stop()


def prepare() -> None:
    """Has functions of the project's modules filled in from now on; imports and connects nothing."""
    adopt_with(_adopt)


def changed(*, setting: str, enter: bool = True, **_: object) -> None:
    """Follows a test that replaces settings; a receiver of Django's ``setting_changed``.

    Args:
        setting: its name.
        enter: whether it is replaced now; else it is what it was before, and so is the container.

    Raises:
        ExceptionGroup: of what the closings of the container raised.
    """
    if setting == NAME and enter:
        _Current.aside.append(_Current.project)
        _replace(None)
    elif setting == NAME:
        _replace(_Current.aside.pop() if _Current.aside else None)
    elif setting == "ROOT_URLCONF" and _Current.project is not None:
        _Current.project.reload()


def _adopt(module: str) -> bool:
    return apps.ready and project().adopt(module)


def _urlconf() -> str:
    named = getattr(settings, "ROOT_URLCONF", None)
    return named if isinstance(named, str) else ""


def _beside(module: str) -> Iterable[str]:
    """What stands for a module and its neighbours: its package, or itself if it has none."""
    return [module.rpartition(".")[0] or module] if module else []


def _is_in(module: str, root: str) -> bool:
    return module == root or module.startswith(f"{root}.")


def _is_marked(module: ModuleType | None) -> bool:
    """Whether a module could have a marker at all: it has imported what makes one. Touches no value, only its identity.

    That costs a millisecond for a large project; looking for the markers themselves takes every function's signature.
    """
    values = list(vars(module).values()) if isinstance(module, ModuleType) else ()
    return any(id(each) in _MARKS or (type(each) is ModuleType and each.__name__ in _MARKING) for each in values)
