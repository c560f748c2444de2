"""Containers: providers declared once, checked, started in order, overridden exactly, and stopped in reverse."""

from __future__ import annotations

from wellwired.containers import providers
from wellwired.containers._graph import Edge, Graph, Lifetime, Link, Node
from wellwired.containers._scope import Scope, scope
from wellwired.containers.application import Application
from wellwired.containers.container import Container, ContainerInstance
from wellwired.containers.health import Health, HealthCheck, HealthStatus
from wellwired.containers.wiring import Provide, Wiring, inject

__all__ = [
    "Application",
    "Container",
    "ContainerInstance",
    "Edge",
    "Graph",
    "Health",
    "HealthCheck",
    "HealthStatus",
    "Lifetime",
    "Link",
    "Node",
    "Provide",
    "Scope",
    "Wiring",
    "inject",
    "providers",
    "scope",
]
