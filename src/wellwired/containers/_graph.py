"""The picture of a container as a value: which providers it has, how long their objects live, and who needs whom.

A `Graph` is read once from a container and holds nothing of it, no provider and no object: it can be kept, compared,
pickled and drawn after the container is gone. Nodes are named by dotted ids such as ``sql.main``. Providers without
a name of their own are folded into the named ones that hold them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from wellwired.containers import _render

__all__ = ["Edge", "Graph", "Lifetime", "Link", "Node"]


class Lifetime(StrEnum):
    """How long the objects of a provider live."""

    CONTAINER = "container"
    THREAD = "thread"
    CONTEXT = "context"
    SCOPE = "scope"
    CALL = "call"


class Link(StrEnum):
    """What an edge stands for: an object needed, a provider handed over uncalled, or a member of a family."""

    NEEDS = "needs"
    HANDLE = "handle"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Node:
    """One named provider.

    Args:
        id: its dotted name.
        kind: what kind of provider it is: "singleton", "resource", "scoped", "factory", "family", …
        lifetime: how long its objects live.
        overridden: whether something else stands in for it now.
        detail: what it makes, by qualified name; of a constant only the type, never the value.
    """

    id: str
    kind: str
    lifetime: Lifetime
    overridden: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """One provider's use of another, from the one that needs to the one that is needed.

    Args:
        source: id of the provider that needs.
        target: id of the provider that is needed.
        link: what the edge stands for.
    """

    source: str
    target: str
    link: Link = Link.NEEDS


@dataclass(frozen=True, slots=True)
class Graph:
    """The providers of a container and their edges, in the order of declaration; `str()` of it is `text()`.

    Args:
        nodes: every named provider, members after their family.
        edges: every use, without repetition.
        name: of the container's class.
    """

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    name: str = "Container"

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __contains__(self, id: object) -> bool:
        return any(node.id == id for node in self.nodes)

    def __getitem__(self, id: str) -> Node:
        """The node of an id; `KeyError` if there is none."""
        for node in self.nodes:
            if node.id == id:
                return node
        raise KeyError(id)

    def needs(self, id: str) -> tuple[str, ...]:
        """Ids of what a provider uses directly, called or handed over; members of a family are not counted."""
        return tuple(e.target for e in self.edges if e.source == id and e.link is not Link.MEMBER)

    def needed_by(self, id: str) -> tuple[str, ...]:
        """Ids of the providers that use this one directly."""
        return tuple(e.source for e in self.edges if e.target == id and e.link is not Link.MEMBER)

    def text(self) -> str:
        """A table for people: a line per provider with what it makes, how long that lives, and what it needs."""
        return _render.text(self)

    def mermaid(self) -> str:
        """A Mermaid flowchart; a dashed arrow hands a provider over, a round end leads to a member."""
        return _render.mermaid(self)

    def dot(self) -> str:
        """A Graphviz digraph, drawn like `mermaid()`."""
        return _render.dot(self)

    def __str__(self) -> str:
        return self.text()
