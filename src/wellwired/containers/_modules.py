"""What is wrong with a module that is to be wired, and where: marks that nothing would ever fill in.

Reading only, without a container. Four mistakes leave a marker object where an object should be, and
dependency-injector lets all four pass: a marker in a module or class attribute (resolved once, blind to overrides), a
marked function without ``@inject``, ``@inject`` of another library, and ``@inject`` above a decorator that has already
registered the bare function, as Flask's ``@app.get`` does.
"""

from __future__ import annotations

import gc
import inspect
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType, FunctionType, GeneratorType, ModuleType
from typing import Any

from wellwired.containers._injection import Site
from wellwired.containers._markers import is_marker, marker_in, markers_of, place_of
from wellwired.errors import DeclarationError

__all__ = ["attribute_faults", "bare_functions", "registered_bare"]


def attribute_faults(module: ModuleType) -> Iterator[str]:
    """Finds markers in attributes and attribute annotations of a module and its classes.

    Args:
        module: what is to be wired.

    Yields:
        A line for each, with the place and what to write instead.
    """
    owner: Any
    for owner in (module, *_classes(module)):
        place = owner.__name__ if owner is module else f"{module.__name__}.{owner.__qualname__}"
        values = [name for name, value in list(vars(owner).items()) if is_marker(value)]
        annotated = [name for name, hint in inspect.get_annotations(owner).items() if _is_marked(hint)]
        for name in dict.fromkeys([*values, *annotated]):
            yield f"{place}.{name}: an attribute would be filled in once, blind to overrides; mark a parameter instead"


def bare_functions(module: ModuleType, known: Callable[[Any], bool]) -> Iterator[str]:
    """Finds functions and methods of a module that have markers and are not injected.

    Args:
        module: what is to be wired.
        known: tells an injected function, and one that an injected function was made from.

    Yields:
        A line for each, with the function and its markers.
    """
    for owner in (module, *_classes(module)):
        for member in list(vars(owner).values()):
            chain = list(_wrapped(member))
            bare = chain[-1] if chain else None
            if type(bare) is FunctionType and bare.__module__ == module.__name__ and not any(map(known, chain)):
                yield from _not_injected(bare)


def registered_bare(sites: Mapping[Any, Site]) -> Iterator[str]:
    """Finds injected functions whose bare original somebody else holds, and would call.

    It asks the garbage collector who refers to the originals, in one walk over the heap; wiring happens once.

    Args:
        sites: from each injected function to its site.

    Yields:
        A line for each, with who holds it.
    """
    originals = [site.function for site in sites.values() if type(site.function) is FunctionType]
    ours = {id(cell) for wrapper in sites for cell in wrapper.__closure__ or ()} | {id(originals)}
    holders: dict[int, str] = {id(f): "a weak reference" for f in originals if weakref.getweakrefcount(f)}
    for referrer in gc.get_referrers(*originals) if originals else ():
        if type(referrer) is tuple and [id(one) for one in referrer] == [id(one) for one in originals]:
            continue  # the call's own arguments, which Python 3.13 counts as well
        if id(referrer) not in ours and type(referrer) not in (Site, FrameType, GeneratorType):
            holders |= {id(f): f"a {type(referrer).__name__}" for f in _held(referrer, originals)}
    for function in originals:
        if id(function) in holders:
            yield (
                f"{place_of(function)}: {holders[id(function)]} holds it from before @inject; "
                "put @inject below the decorator that registers it, next to the function"
            )


def _not_injected(function: FunctionType) -> Iterator[str]:
    try:
        markers = markers_of(function)
    except DeclarationError as unreadable:
        yield str(unreadable)
        return
    if markers:
        listed = ", ".join(f"{name}={marker!r}" for name, marker in markers.items())
        yield f"{place_of(function)}({listed}): it is not decorated with @wellwired.containers.inject"


def _held(referrer: Any, originals: Iterable[Any]) -> Iterator[Any]:
    inside = {id(each) for each in gc.get_referents(referrer)}
    for function in originals:
        if id(function) not in inside:
            continue
        if type(referrer) is not dict:
            yield function
            continue
        names = [key for key, value in referrer.items() if value is function]
        # Wrappers copy each other's __wrapped__, and a module may keep the bare function under a name of its own.
        if names == ["__wrapped__"] or referrer is vars(sys.modules.get(function.__module__, sys)):
            continue
        if not _is_snapshot(referrer):
            yield function


def _is_snapshot(names: Any) -> bool:
    """Whether a dict is what Python 3.11 and 3.12 keep at a function's frame once somebody has read its locals.

    pytest reads those of every failure that it shows, our wrappers' among them, and keeps the traceback for later.
    """
    frames = [one for one in gc.get_referrers(names) if type(one) is FrameType]
    return any(frame.f_code.co_flags & inspect.CO_OPTIMIZED and frame.f_locals is names for frame in frames)


def _classes(module: ModuleType) -> Iterator[type]:
    queue = [value for value in list(vars(module).values()) if _is_class_of(module, value)]
    seen = dict.fromkeys(queue)
    for cls in queue:
        yield cls
        inner = [v for v in vars(cls).values() if _is_class_of(module, v) and v not in seen]
        seen |= dict.fromkeys(inner)
        queue += inner


# By `type()` here too, as `is_marker()` explains.
def _is_class_of(module: ModuleType, value: Any) -> bool:
    return issubclass(type(value), type) and getattr(value, "__module__", "") == module.__name__


def _wrapped(member: Any) -> Iterator[Any]:
    """The functions inside one another, the bare one last; nothing for what is no function."""
    if type(member) in (classmethod, staticmethod):
        member = member.__func__
    elif type(member) is property:
        member = member.fget
    seen: set[int] = set()
    while member is not None and id(member) not in seen:
        seen.add(id(member))
        inner = inspect.getattr_static(member, "__wrapped__", None)
        if type(member) is FunctionType or inner is not None:
            yield member
        member = inner


def _is_marked(hint: Any) -> bool:
    return "Provide[" in hint if isinstance(hint, str) else marker_in(hint) is not None
