"""One container in one web application: made when the application is, wired early, started at the first request.

A framework loads an application in many processes that serve nothing: for a command, in the parent of forked workers,
twice under a reloader. So nothing connects until a request comes, and each process that serves starts for itself. It
is stopped at the end of the process.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module
from typing import TypeAlias

from wellwired.containers import Container
from wellwired.containers._fork import ForkLock
from wellwired.containers.container import ContainerInstance
from wellwired.errors import WellwiredError

__all__ = ["Hosted", "Source", "instance_of"]

Source: TypeAlias = "type[Container] | ContainerInstance | str"
"""A container class, an instance of one, or where the class is: ``shop.containers:Shop``."""


def instance_of(source: Source) -> ContainerInstance:
    """The container that a source means; a class is called, and reads and opens nothing yet.

    Args:
        source: a class, an instance, or ``module:Class`` (``module.Class`` does too).

    Raises:
        WellwiredError: it is nothing of the kind.
    """
    found: object = _imported(source) if isinstance(source, str) else source
    if isinstance(found, type) and issubclass(found, Container):
        return found()
    if isinstance(found, ContainerInstance):
        return found
    shown = repr(source) if isinstance(source, str) else f"a {type(found).__name__}"
    raise WellwiredError(f"{shown} is no container; give a class that inherits wellwired.Container, or one of its own")


def _imported(place: str) -> object:
    module, _, name = place.rpartition(":" if ":" in place else ".")
    if not (module and name.isidentifier()):
        raise WellwiredError(f"{place!r} is no place of a container; write it as module:Class")
    there = import_module(module)
    found = getattr(there, name, None)
    if found is None:
        known = [n for n, v in vars(there).items() if isinstance(v, type) and issubclass(v, Container)]
        near = difflib.get_close_matches(name, known, n=1) or sorted(known)
        hint = f"it has {', '.join(near)}" if near else "write the place as module:Class"
        raise WellwiredError(f"module {module!r} has no {name!r}; {hint}")
    return found


class Hosted:
    """A container in a web application; safe from many threads and in forked workers.

    Args:
        source: whose container.
        modules: names of modules to wire, besides those that the framework tells of.
        packages: names of packages of which every module is imported and wired.
    """

    def __init__(self, source: Source, *, modules: Iterable[str] = (), packages: Iterable[str] = ()) -> None:
        self.container = instance_of(source).stop_at_exit()
        self._modules = tuple(modules)
        self._packages = tuple(packages)
        self._complete = False
        self._completing = ForkLock()

    def wire(self, modules: Iterable[str] = ()) -> None:
        """Binds the injected functions of modules to the container, which shares them with other applications'.

        Args:
            modules: names of modules besides the ones that were given at first.

        Raises:
            WiringError: a marker leads nowhere; every such marker is listed.
        """
        names = dict.fromkeys((*self._modules, *modules))
        self.container.wire(list(names), packages=self._packages, shared=True)

    def late_modules(self) -> Iterable[str]:
        """Names of modules that are known only when the framework has loaded the application; wired by `complete`."""
        return ()

    def complete(self) -> None:
        """Wires what the first request may need, once; a failure is found again at the next call.

        Raises:
            WiringError: a marker leads nowhere; every such marker is listed.
        """
        if self._complete:
            return
        # Outside the lock, because it may import: who imports a module elsewhere may be waiting for us.
        late = list(self.late_modules())
        with self._completing.current():
            if not self._complete:
                self.wire(late)
                self._complete = True

    @property
    def ready(self) -> bool:
        """Whether `serve` has nothing left to do in this process, so that it costs next to nothing."""
        return self._complete and self.container.started

    def serve(self) -> ContainerInstance:
        """The container, completely wired and started in this process; for each request."""
        self.complete()
        return self.start()

    def start(self) -> ContainerInstance:
        """The container, started in this process; costs next to nothing when it is.

        Raises:
            ExceptionGroup: of all faults that `check()` found; the next call tries again.
        """
        container = self.container
        return container if container.started else container.start()
