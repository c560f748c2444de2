"""What calling a container class gives: copies of its providers, with names, one life, and the methods to lead it.

The methods are thin: each hands over to the module that knows. An attribute that is neither a provider nor a method
is looked for in the class body, so that constants and functions written there are there on the instance too, which
dependency-injector forgets.
"""

from __future__ import annotations

import atexit
import inspect
import weakref
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from dependency_injector import containers as di_containers
from dependency_injector import providers as di

from wellwired.clock import SYSTEM, Clock
from wellwired.containers._ids import assign_names, dotted, find, refuse_unknown
from wellwired.containers._lifecycle import Lifecycle
from wellwired.containers._order import reachable
from wellwired.containers._overriding import Overriding
from wellwired.containers._relations import declared, families
from wellwired.containers._singleton import MISSING
from wellwired.containers._unknown import unknown
from wellwired.errors import StateError

if TYPE_CHECKING:
    from wellwired.containers._graph import Graph
    from wellwired.containers.health import Health
    from wellwired.containers.wiring import Wiring

__all__ = ["ContainerInstance"]

Provider = di.Provider[Any]


class ContainerInstance(di_containers.DynamicContainer):
    """A container at work. Its methods are safe to call from many threads."""

    def __init__(self) -> None:
        super().__init__()
        self._sealed = False
        self._life = Lifecycle(self)
        self._unwired: dict[str, bool] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, di.Provider) and self.__dict__.get("_sealed") and name != "parent":
            raise StateError(
                f"{self.title}.{name}: providers are declared in the class body; replace one for a while with "
                "overriding({...}), or for this container's life with an argument of its class"
            )
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        cls = self.__dict__.get("declarative_parent")
        found = MISSING if cls is None or name.startswith("__") else inspect.getattr_static(cls, name, MISSING)
        if found is MISSING or isinstance(found, di.Provider) or hasattr(di_containers.DeclarativeContainer, name):
            raise AttributeError(unknown(name, self.__dict__.get("providers", ()), self.title))
        bind = getattr(type(found), "__get__", None)
        return found if bind is None else bind(found, self, cls)

    def __deepcopy__(self, memo: Any) -> Any:
        copied = super().__deepcopy__(memo)
        if self.__dict__.get("parent") is None:
            copied._belong()
        return copied

    @property
    def title(self) -> str:
        """The name of the container's class."""
        return (self.__dict__.get("declarative_parent") or type(self)).__name__

    def load_config(self) -> None:
        """Called by dependency-injector once the providers are copied: names them and takes them into keeping."""
        super().load_config()
        self._belong()

    def _belong(self) -> None:
        assign_names(self.providers)
        self._life.claim(self.roots())

    def override_providers(self, **overriding_providers: Any) -> Any:
        """Overrides providers by name until it is taken back, as dependency-injector does, but checks names first.

        Raises:
            UnknownProviderError: a name is no provider; nothing has changed then.
        """
        refuse_unknown(overriding_providers, self.providers, self.title)
        return super().override_providers(**overriding_providers)

    def roots(self) -> tuple[Provider, ...]:
        """The container's own providers, in the order of declaration."""
        return tuple(provider for name, provider in self.providers.items() if name != "__self__")

    def ids(self) -> dict[str, Provider]:
        """Every provider by its dotted id, in the order of declaration; expands nothing.

        The members of a family are among them once it is expanded, by `check()`, `start()` or first use.
        """
        return dict(dotted(self.providers))

    def provider(self, id: str) -> Provider:
        """The provider of a dotted id, such as ``sql.main``; expands the family that it is in.

        Raises:
            UnknownProviderError: there is none; the text names near and known ids, and the variable that would add it.
            SettingsError: the id is in a family, and the settings are wrong.
        """
        return find(self.providers, id, self.title)

    def resolve(self, id: str) -> Any:
        """The object of a dotted id: finds its provider and calls it.

        Raises:
            UnknownProviderError: as `provider()` does.
        """
        return self.provider(id)()

    def expand(self) -> None:
        """Reads the settings and builds the providers of every family; connects to nothing.

        Raises:
            SettingsError: the settings are wrong.
        """
        for family in families(reachable(self.roots(), declared)):
            family.expand()

    def check(self) -> Self:
        """Finds every fault of settings and declarations at once, and connects to nothing.

        Raises:
            ExceptionGroup: of all faults.
        """
        from wellwired.containers._checks import check

        return check(self)

    def graph(self) -> Graph:
        """The picture of the container as it stands: its providers, what they need, what is overridden."""
        from wellwired.containers._survey import Survey

        return Survey(self).graph()

    def health(
        self, *, timeout: float = 2.0, liveness: bool = False, optional: Collection[str] = (), clock: Clock = SYSTEM
    ) -> Health:
        """Pings everything that was declared with `pinged_by()`, all at once; opens nothing.

        Args:
            timeout: seconds for all pings together; a resource's own limit counts if it is shorter.
            liveness: answer only that the process is alive, without asking anybody.
            optional: ids whose failure degrades instead of bringing down; ``redis`` stands for the whole family.
            clock: for latencies.

        Returns:
            The answer, which holds no address and no text of a driver.
        """
        from wellwired.containers.health import health_of

        return health_of(self, timeout=timeout, liveness=liveness, optional=optional, clock=clock)

    def wire(  # type: ignore[override]
        self,
        modules: Iterable[str | ModuleType] = (),
        *,
        packages: Iterable[str | ModuleType] = (),
        from_package: str | None = None,
        shared: bool = False,
    ) -> Wiring:
        """Has this container fill in the marked parameters of the ``@inject``-ed functions of modules.

        Args:
            modules: the modules, or their names, which are imported.
            packages: packages of which every module is imported and wired.
            from_package: what relative names are relative to.
            shared: whether other containers may be wired to the same modules; see `serving`.

        Returns:
            A handle; as a context manager it unwires the modules at the end.

        Raises:
            WiringError: a marker leads nowhere, or would never be filled in; lists each, and nothing is wired.
            StateError: a module is wired to another container, and not both of them share.
            DeclarationError: the class has a ``wiring_config``.
        """
        from wellwired.containers.wiring import wire

        return wire(self, modules, packages=packages, from_package=from_package, shared=shared)

    def serving(self) -> AbstractContextManager[Any]:
        """Makes this the container that fills in functions of shared modules inside a block, in this thread or task.

        Integrations do that around each request; it is only needed where several containers share a module.
        """
        from wellwired.containers._serving import served_by

        return served_by(self)

    def unwire(self) -> None:
        """Takes back every `wire()`: the functions refuse to be called, until their modules are wired again."""
        from wellwired.containers.wiring import unwire

        unwire(self)
        self._unwired = {}

    @property
    def started(self) -> bool:
        """Whether it has been started and not stopped, in this process."""
        return self._life.started

    def start(self) -> Self:
        """Checks the container, then opens every resource in the order of dependencies; a no-op if it is started.

        An overridden resource is not opened. Resources reachable only through a selector wait for their first use.

        Raises:
            ExceptionGroup: of all faults that `check()` found; nothing was opened.
            Exception: what an opening raised, after everything that this start had opened was closed again.
            StateError: this container is nested in another, which has to be started.
        """
        self._outermost("start")
        self._wire_again()
        self._life.start()
        return self

    def _wire_again(self) -> None:
        """Takes back what `stop()` has unwired."""
        for shared in (False, True):
            if again := [name for name, was in self._unwired.items() if was is shared]:
                self.wire(again, shared=shared)
        self._unwired = {}

    def stop(self) -> None:
        """Closes every open resource, the last opened first, whoever opened it; a no-op if nothing is open.

        Objects built on a closed resource are forgotten, so that `start()` works again. Wired functions refuse to be
        called in between. In a forked child only what the child has opened or renewed is closed.

        Raises:
            ExceptionGroup: of what the closings raised; every one was tried.
            StateError: this container is nested in another, which has to be stopped.
        """
        from wellwired.containers.wiring import unwire

        self._outermost("stop")
        self._unwired = unwire(self) or self._unwired
        self._life.stop()

    def stop_at_exit(self) -> Self:
        """Has `stop()` called when the interpreter ends, in this process and in its forked children, each its own."""
        this = weakref.ref(self)

        def stop() -> None:
            if (container := this()) is not None:
                container.stop()

        atexit.register(stop)
        return self

    def overriding(self, replacements: Mapping[Any, Any]) -> Overriding[Self]:
        """Puts other objects in the place of some, inside a ``with`` block.

        Holds for the whole process. What depends on the overridden providers is built anew on entry and on exit;
        open resources among it are closed and opened again.

        Args:
            replacements: from a dotted id, or a provider of the container or its class, to what stands in for it:
                a provider, or any object, which is then provided as it is, even if it is a class or a function.

        Returns:
            A context manager that yields the container.

        Raises:
            UnknownProviderError: on entry, if a key is no provider; nothing has changed then.
            OverrideError: on entry, if it could not be exact or what depends on it failed to open; all is restored.
            ExceptionGroup: on exit, if what depends on it failed to close or open; all overrides are restored.
        """
        self._outermost("override")
        return Overriding(self, replacements)

    def _outermost(self, what: str) -> None:
        if self.__dict__.get("parent") is not None:
            raise StateError(f"this {self.title} is nested in another container; {what} that one")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except ExceptionGroup as failed:
            if error is None:
                raise
            for failure in failed.exceptions:
                error.add_note(f"stopping {self.title} failed too: {type(failure).__name__}")

    def __repr__(self) -> str:
        return f"<{self.title}, {'started' if self.started else 'not started'}>"
