"""Three drawings of a graph: a table, Mermaid, and DOT.

Pure functions from a value to a text. Nodes and edges come out in the order of the graph, so that two drawings of
the same container are equal and can be compared line by line. Names may hold anything (members of a family are named by
settings), and are escaped by the rules of each language.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wellwired.containers._graph import Edge, Graph, Node

__all__ = ["dot", "mermaid", "text"]

_ARROWS = {"needs": "-->", "handle": "-.->", "member": "--o"}
_STYLES = {"needs": "", "handle": " [style=dashed]", "member": " [arrowhead=odot]"}


def text(graph: Graph) -> str:
    """Draws the table.

    Args:
        graph: what to draw.

    Returns:
        Lines without a newline at the end; columns are aligned by spaces.
    """
    rows = [("id", "kind", "lives for", "makes", "needs"), *(_row(graph, node) for node in graph.nodes)]
    return "\n".join([_headline(graph), *_aligned(rows)])


def mermaid(graph: Graph) -> str:
    """Draws the Mermaid flowchart.

    Args:
        graph: what to draw.

    Returns:
        The source, to be fenced by the caller.
    """
    keys = {node.id: f"n{index}" for index, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for node in graph.nodes:
        label = f"{_mermaid_text(node.id)}<br/>{_mermaid_text(_kind(node))}"
        lines.append(f'  {keys[node.id]}["{label}"]{":::overridden" if node.overridden else ""}')
    lines += [f"  {keys[e.source]} {_ARROWS[e.link]} {keys[e.target]}" for e in _drawable(graph, keys)]
    if any(node.overridden for node in graph.nodes):
        lines.append("  classDef overridden stroke:#d33,stroke-dasharray:4 3")
    return "\n".join(lines)


def dot(graph: Graph) -> str:
    """Draws the Graphviz digraph.

    Args:
        graph: what to draw.

    Returns:
        The source, for `dot -Tsvg`.
    """
    lines = [f"digraph {_dot_text(graph.name)} {{", "  rankdir=LR;", "  node [shape=box];"]
    for node in graph.nodes:
        marks = ' color="#dd3333" style=dashed' if node.overridden else ""
        lines.append(f"  {_dot_text(node.id)} [label={_dot_text(node.id, _kind(node))}{marks}];")
    known = {node.id for node in graph.nodes}
    lines += [f"  {_dot_text(e.source)} -> {_dot_text(e.target)}{_STYLES[e.link]};" for e in _drawable(graph, known)]
    return "\n".join([*lines, "}"])


def _drawable(graph: Graph, known: object) -> list[Edge]:
    return [e for e in graph.edges if e.source in known and e.target in known]  # type: ignore[operator]


def _headline(graph: Graph) -> str:
    count, overridden = len(graph.nodes), sum(node.overridden for node in graph.nodes)
    return f"{_plain(graph.name)}: {count} provider{'' if count == 1 else 's'}, {overridden} overridden"


def _row(graph: Graph, node: Node) -> tuple[str, ...]:
    needs = [e for e in graph.edges if e.source == node.id and e.link != "member"]
    listed = ", ".join(f"{e.target} (handle)" if e.link == "handle" else e.target for e in needs)
    return tuple(_plain(cell) for cell in (node.id, _kind(node), node.lifetime, node.detail, listed))


def _kind(node: Node) -> str:
    return f"{node.kind}, overridden" if node.overridden else node.kind


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _plain(value: str) -> str:
    # A name with a line break or an escape sequence must not be able to draw a row of its own.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in value)


def _mermaid_text(value: str) -> str:
    # Mermaid takes entity codes between '#' and ';'; everything else of HTML is its own.
    return "".join(f"#{ord(c)};" if c in "#\"'<>&;`\\" else c for c in _plain(value))


def _dot_text(*lines: str) -> str:
    escaped = [_plain(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    return '"' + "\\n".join(escaped) + '"'
