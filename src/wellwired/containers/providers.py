"""Everything to declare a container with: our providers, and those of dependency-injector that need no care.

Left out on purpose: the thread-local and context-local kinds (a server reuses threads and contexts; use `Scoped`),
`Configuration` (loses types and invents None; use one typed settings object) and dependency-injector's own
`Singleton` and `Resource`, in whose place ours stand.
"""

from __future__ import annotations

from dependency_injector.providers import (
    Aggregate,
    Callable,
    Container,
    Coroutine,
    Delegate,
    DependenciesContainer,
    Dependency,
    Dict,
    Factory,
    List,
    Object,
    Provider,
    Selector,
    Self,
)

from wellwired.containers._named import Member, Named
from wellwired.containers._resource import Resource
from wellwired.containers._scope import Scoped
from wellwired.containers._singleton import Singleton

__all__ = [
    "Aggregate",
    "Callable",
    "Container",
    "Coroutine",
    "Delegate",
    "DependenciesContainer",
    "Dependency",
    "Dict",
    "Factory",
    "List",
    "Member",
    "Named",
    "Object",
    "Provider",
    "Resource",
    "Scoped",
    "Selector",
    "Self",
    "Singleton",
]
