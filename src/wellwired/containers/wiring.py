"""Wiring: functions whose marked parameters a container fills in, named module by module.

``@inject`` marks a function, ``Provide["users"]`` a parameter, and ``container.wire([...])`` binds both to a container
and checks every marker first: either all of them lead somewhere, or nothing is wired and one error lists those that do
not. What is bound is the provider and not its object, so that overrides are seen at each call.

A module is wired to one container at a time; tests override providers instead of wiring another container. Only where
a framework says at each call whose request it is (`_serving`) may several share a module, as the applications do that
one factory made; each call is then filled in by the container that serves it.

Left out of what dependency-injector has: ``Closing``, which closes a shared resource under whoever else uses it (use
`Scoped`), markers in attributes, and wiring at import.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
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
from wellwired.containers._serving import serving
from wellwired.errors import DeclarationError, StateError, UnknownProviderError, WiringError

if TYPE_CHECKING:
    from wellwired.containers.container import ContainerInstance

__all__ = ["Provide", "Wiring", "inject", "injected_modules", "unwire", "wire", "wired_to"]

F = TypeVar("F", bound=Callable[..., Any])

_lock = ForkLock()
_sites: WeakKeyDictionary[Any, Site] = WeakKeyDictionary()
_wired: dict[str, tuple[Wiring, ...]] = {}

Plan = dict[str, Callable[[], Any]]


class Wiring:
    """Which modules a container was wired to by one call; as a context manager it unwires them at the end.

    Args:
        container: what fills in their parameters; not kept alive by this.
        modules: their names.
        shared: whether other containers may be wired to the same modules.
    """

    def __init__(self, container: ContainerInstance, modules: Iterable[str], *, shared: bool = False) -> None:
        self._container = ref(container)
        self.modules = tuple(modules)
        self.shared = shared
        self.plans: WeakKeyDictionary[Site, Plan] = WeakKeyDictionary()

    @property
    def container(self) -> ContainerInstance | None:
        """The container, None once it is gone."""
        return self._container()

    def unwire(self) -> None:
        """Has the functions of its modules refuse to be called, except by callers who fill in everything."""
        with _lock.current():
            for name in self.modules:
                _wired[name] = tuple(each for each in _wired.get(name, ()) if each is not self)
            _bind(_sites_in(self.modules))

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
        for wiring, container in _alive(function.__module__):
            wiring.plans.update(_plans({wrapper: site}, container, ()))
        _sites[wrapper] = site
        _bind({wrapper: site})
    return wrapper


def wire(
    container: ContainerInstance,
    modules: Iterable[str | ModuleType] = (),
    *,
    packages: Iterable[str | ModuleType] = (),
    from_package: str | None = None,
    shared: bool = False,
) -> Wiring:
    """Binds the injected functions of modules to a container. Safe from many threads.

    Args:
        container: what fills in their parameters.
        modules: the modules, or their names, which are imported.
        packages: packages of which every module is imported and wired, tests and scripts among them.
        from_package: what relative names are relative to.
        shared: whether other containers may be wired to the same modules, where each call is made for one of them.

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
        _refuse_taken(named, container, shared=shared)
        sites = _sites_in(named)
        wiring = Wiring(container, named, shared=shared)
        wiring.plans.update(_plans(sites, container, [*_faults(named), *registered_bare(sites)]))
        for name in named:
            others = tuple(each for each, of in _alive(name) if of is not container)
            _wired[name] = (*others, wiring)
        _bind(sites)
    return wiring


def unwire(container: ContainerInstance) -> dict[str, bool]:
    """Unwires every module that is wired to a container.

    Args:
        container: whose modules.

    Returns:
        Their names, and whether each was shared.
    """
    with _lock.current():
        mine = {name: wiring for name in _wired for wiring, of in _alive(name) if of is container}
        for wiring in mine.values():
            wiring.unwire()
    return {name: wiring.shared for name, wiring in mine.items()}


def wired_to(module: str) -> list[ContainerInstance]:
    """The containers that a module is wired to, by its name."""
    with _lock.current():
        return [container for _, container in _alive(module)]


def injected_modules() -> set[str]:
    """The names of all modules that have injected functions, wired or not."""
    return {wrapper.__module__ for wrapper in list(_sites)}


def _alive(module: str) -> list[tuple[Wiring, ContainerInstance]]:
    """The wirings of a module whose containers are still there."""
    found = ((wiring, wiring.container) for wiring in _wired.get(module, ()))
    return [(wiring, container) for wiring, container in found if container is not None]


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


def _refuse_taken(names: Iterable[str], container: ContainerInstance, *, shared: bool) -> None:
    for name in names:
        others = [wiring for wiring, of in _alive(name) if of is not container]
        if others and not (shared and all(other.shared for other in others)):
            raise StateError(
                f"{name} is wired to another {_title(others[0])}, and a module has one container at a time; stop() or "
                "unwire() that one first. A test overrides providers instead: with container.overriding({…})"
            )


def _title(wiring: Wiring) -> str:
    return "container" if wiring.container is None else wiring.container.title


def _sites_in(modules: Iterable[str]) -> dict[Any, Site]:
    wanted = set(modules)
    return {wrapper: site for wrapper, site in list(_sites.items()) if wrapper.__module__ in wanted}


def _faults(modules: Mapping[str, ModuleType]) -> Iterable[str]:
    originals = {id(site.function) for site in _sites.values()}
    for module in modules.values():
        yield from attribute_faults(module)
        yield from bare_functions(module, lambda f: f in _sites or id(f) in originals)


def _plans(sites: Mapping[Any, Site], container: ContainerInstance, faults: Iterable[str]) -> dict[Site, Plan]:
    """Resolves every marker of some functions in a container; raises if one leads nowhere, or there are faults."""
    resolver = Resolver(container)
    unresolved = list(faults)
    plans: dict[Site, Plan] = {}
    for site in sites.values():
        plan = plans[site] = {}
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
    if unresolved:
        raise WiringError(unresolved)
    return plans


def _bind(sites: Mapping[Any, Site]) -> None:
    """Has each function filled in by the containers that its module is wired to now."""
    for wrapper, site in sites.items():
        found = [wiring for wiring, _ in _alive(wrapper.__module__) if site in wiring.plans]
        if not found:
            site.unbind()
        elif len(found) == 1:
            site.bind(found[0].plans[site])
        else:
            site.bind({name: partial(_chosen, site, name, tuple(found)) for name in site.markers})


def _chosen(site: Site, name: str, wirings: tuple[Wiring, ...]) -> Any:
    """What the container that serves this call gives for a marked parameter."""
    alive = {id(container): wiring for wiring in wirings if (container := wiring.container) is not None}
    serves = serving()
    wiring = next(iter(alive.values())) if serves is None and len(alive) == 1 else alive.get(id(serves))
    if wiring is None:
        fault = (
            f"{site.describe(name)}: {len(alive)} containers share {site.function.__module__}, and none of them "
            "serves this call; make it in a request or in `with container.serving():`"
        )
        raise WiringError([fault])
    return wiring.plans[site][name]()
