"""Wiring: functions whose marked parameters a container fills in, named module by module.

``@inject`` marks a function, ``Provide["users"]`` a parameter, and ``container.wire([...])`` binds both to a container
and checks every marker first: either all of them lead somewhere, or nothing is wired and one error lists those that do
not. A module is wired to one container at a time, because its functions are; tests override providers instead of
wiring another container. What is bound is the provider and not its object, so that overrides are seen at each call.

Left out of what dependency-injector has: ``Closing``, which closes a shared resource under whoever else uses it (use
`Scoped`), markers in attributes, and wiring at import.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from weakref import WeakKeyDictionary, ref

from dependency_injector import providers as di

from wellwired.containers._fork import ForkLock
from wellwired.containers._injection import Site, injected
from wellwired.containers._markers import Provide, markers_of, place_of
from wellwired.containers._modules import attribute_faults, bare_functions, registered_bare
from wellwired.containers._resolution import Resolver
from wellwired.errors import DeclarationError, StateError, UnknownProviderError, WiringError

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance

__all__ = ["Provide", "Wiring", "inject", "unwire", "wire"]

F = TypeVar("F", bound=Callable[..., Any])

_lock = ForkLock()
_sites: WeakKeyDictionary[Any, Site] = WeakKeyDictionary()
_wired: dict[str, Wiring] = {}


class Wiring:
    """Which modules a container was wired to by one call; as a context manager it unwires them at the end.

    Args:
        container: what fills in their parameters; not kept alive by this.
        modules: their names.
    """

    def __init__(self, container: ContainerInstance, modules: Iterable[str]) -> None:
        self._container = ref(container)
        self.modules = tuple(modules)

    @property
    def container(self) -> ContainerInstance | None:
        """The container, None once it is gone."""
        return self._container()

    def unwire(self) -> None:
        """Has the functions of its modules refuse to be called, except by callers who fill in everything."""
        with _lock.current():
            mine = [name for name in self.modules if _wired.get(name) is self]
            for name in mine:
                del _wired[name]
            for site in _sites_in(mine).values():
                site.unbind()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unwire()


def inject(function: F) -> F:
    """Has the marked parameters of a function filled in by the container that its module is wired to.

    Put it next to the function, below all other decorators. An argument that the caller gives is left alone. A
    function made after its module was wired is bound at once.

    Args:
        function: a function or method of any colour, with `Provide` markers.

    Returns:
        A function of the same colour, that may be called from many threads.

    Raises:
        DeclarationError: it has no marker, or one that cannot be read.
        WiringError: its module is wired already, and a marker leads nowhere.
    """
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(inject(function.__func__))  # pyright: ignore[reportReturnType]
    markers = markers_of(function)
    if isinstance(function, type) or not markers:
        what = "decorate its __init__ instead" if isinstance(function, type) else "give one: x: X = Provide['x']"
        raise DeclarationError(f"@inject finds no marked parameter in {place_of(function)}; {what}")
    site = Site(function, markers)
    wrapper = injected(function, site)
    with _lock.current():
        _sites[wrapper] = site
        wiring = _wired.get(function.__module__)
        container = wiring.container if wiring is not None else None
        if container is not None:
            _bind({wrapper: site}, container, ())
    return wrapper


def wire(
    container: ContainerInstance,
    modules: Iterable[str | ModuleType] = (),
    *,
    packages: Iterable[str | ModuleType] = (),
    from_package: str | None = None,
) -> Wiring:
    """Binds the injected functions of modules to a container. Safe from many threads.

    Args:
        container: what fills in their parameters.
        modules: the modules, or their names, which are imported.
        packages: packages of which every module is imported and wired, tests and scripts among them.
        from_package: what relative names are relative to.

    Returns:
        A handle that unwires them again.

    Raises:
        WiringError: a marker leads nowhere or would never be filled in; lists each, and nothing is wired.
        StateError: a module is wired to another container that is not stopped.
        DeclarationError: the class has a ``wiring_config``, which would wire each instance as it is made.
        ImportError: a module cannot be imported.
    """
    config = container.wiring_config
    if config.modules or config.packages:
        raise DeclarationError(
            f"{container.title}.wiring_config would wire every instance as it is made, a test's too; leave it out, "
            "and call wire([...]) where the application begins"
        )
    named = {m.__name__: m for m in _modules(modules, packages, from_package)}
    with _lock.current():
        _refuse_taken(named, container)
        sites = _sites_in(named)
        _bind(sites, container, [*_faults(named), *registered_bare(sites)])
        wiring = Wiring(container, named)
        _wired.update(dict.fromkeys(named, wiring))
    return wiring


def unwire(container: ContainerInstance) -> tuple[str, ...]:
    """Unwires every module that is wired to a container.

    Args:
        container: whose modules.

    Returns:
        Their names.
    """
    with _lock.current():
        mine = {name: wiring for name, wiring in _wired.items() if wiring.container is container}
        for wiring in mine.values():
            wiring.unwire()
    return tuple(mine)


def _modules(
    modules: Iterable[str | ModuleType], packages: Iterable[str | ModuleType], from_package: str | None
) -> Iterable[ModuleType]:
    yield from (_imported(each, from_package) for each in _listed(modules))
    for package in (_imported(each, from_package) for each in _listed(packages)):
        yield package
        for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package.__name__}."):
            yield import_module(found.name)


def _listed(modules: Iterable[str | ModuleType]) -> Iterable[str | ModuleType]:
    # One name is itself an iterable: of letters, which would be imported as modules.
    return [modules] if isinstance(modules, (str, ModuleType)) else modules


def _imported(module: str | ModuleType, from_package: str | None) -> ModuleType:
    return import_module(module, from_package) if isinstance(module, str) else module


def _refuse_taken(names: Iterable[str], container: ContainerInstance) -> None:
    for name in names:
        other = _wired[name].container if name in _wired else None
        if other is not None and other is not container:
            raise StateError(
                f"{name} is wired to another {other.title}, and a module has one container at a time; stop() or "
                "unwire() that one first. A test overrides providers instead: with container.overriding({…})"
            )


def _sites_in(modules: Iterable[str]) -> dict[Any, Site]:
    wanted = set(modules)
    return {wrapper: site for wrapper, site in list(_sites.items()) if wrapper.__module__ in wanted}


def _faults(modules: Mapping[str, ModuleType]) -> Iterable[str]:
    originals = {id(site.function) for site in _sites.values()}
    for module in modules.values():
        yield from attribute_faults(module)
        yield from bare_functions(module, lambda f: f in _sites or id(f) in originals)


def _bind(sites: Mapping[Any, Site], container: ContainerInstance, faults: Iterable[str]) -> None:
    """Resolves every marker, and only then binds any."""
    resolver = Resolver(container)
    unresolved = list(faults)
    plans: list[tuple[Site, dict[str, Callable[[], Any]]]] = []
    for site in sites.values():
        plan: dict[str, Callable[[], Any]] = {}
        for name, marker in site.markers.items():
            try:
                plan[name] = resolver.resolve(marker)
            except UnknownProviderError as error:
                unresolved.append(f"{site.describe(name)}: {error}")
            else:
                if isinstance(plan[name], di.Coroutine) and not site.asynchronous:
                    unresolved.append(
                        f"{site.describe(name)}: it gives a coroutine, which only an async function awaits"
                    )
        plans.append((site, plan))
    if unresolved:
        raise WiringError(unresolved)
    for site, plan in plans:
        site.bind(plan)
