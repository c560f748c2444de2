"""The drawings of a graph, letter by letter."""

from __future__ import annotations

import subprocess
from shutil import which

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.containers._graph import Edge, Graph, Lifetime, Link, Node

SHOP = Graph(
    (
        Node("settings", "singleton", Lifetime.CONTAINER, detail="shop.ShopSettings"),
        Node("sql", "family", Lifetime.CALL),
        Node("sql.main", "resource", Lifetime.CONTAINER, overridden=True, detail="FakeEngine"),
        Node("users", "singleton", Lifetime.CONTAINER, detail="shop.Users"),
    ),
    (
        Edge("sql", "settings"),
        Edge("sql", "sql.main", Link.MEMBER),
        Edge("users", "sql.main"),
        Edge("users", "settings", Link.HANDLE),
    ),
    "Shop",
)

TEXT = """\
Shop: 4 providers, 1 overridden
  id        kind                  lives for  makes              needs
  settings  singleton             container  shop.ShopSettings
  sql       family                call                          settings
  sql.main  resource, overridden  container  FakeEngine
  users     singleton             container  shop.Users         sql.main, settings (handle)"""

MERMAID = """\
flowchart LR
  n0["settings<br/>singleton"]
  n1["sql<br/>family"]
  n2["sql.main<br/>resource, overridden"]:::overridden
  n3["users<br/>singleton"]
  n1 --> n0
  n1 --o n2
  n3 --> n2
  n3 -.-> n0
  classDef overridden stroke:#d33,stroke-dasharray:4 3"""

DOT = """\
digraph "Shop" {
  rankdir=LR;
  node [shape=box];
  "settings" [label="settings\\nsingleton"];
  "sql" [label="sql\\nfamily"];
  "sql.main" [label="sql.main\\nresource, overridden" color="#dd3333" style=dashed];
  "users" [label="users\\nsingleton"];
  "sql" -> "settings";
  "sql" -> "sql.main" [arrowhead=odot];
  "users" -> "sql.main";
  "users" -> "settings" [style=dashed];
}"""


def test_the_table() -> None:
    """The table has a headline, aligned columns and no spaces at the ends of its lines."""
    assert SHOP.text() == TEXT
    assert str(SHOP) == TEXT


def test_the_mermaid_flowchart() -> None:
    """What is needed, handed over and contained has an arrow of its own each, and what is overridden a style."""
    assert SHOP.mermaid() == MERMAID


def test_the_dot_digraph() -> None:
    """The same picture for Graphviz."""
    assert SHOP.dot() == DOT


def test_nothing_overridden_needs_no_style() -> None:
    """The class of overridden nodes is defined only where there is one."""
    assert "classDef" not in Graph((Node("a", "object", Lifetime.CONTAINER),)).mermaid()


def test_an_empty_graph_is_drawn_too() -> None:
    """A container without providers is an empty picture and no error."""
    assert Graph().text().startswith("Container: 0 providers, 0 overridden")
    assert Graph().mermaid() == "flowchart LR"
    assert Graph().dot().endswith("}")


HOSTILE = 'a"b<c>&#;\n\x1b[2J\\`'


def test_names_cannot_break_out_of_a_drawing() -> None:
    """Members are named by settings: quotes, tags, line breaks and escape sequences stay inside their label."""
    graph = Graph((Node(HOSTILE, "resource", Lifetime.CONTAINER),))
    for drawing in (graph.text(), graph.mermaid(), graph.dot()):
        assert "\x1b" not in drawing
    assert len(graph.text().splitlines()) == 3
    label = graph.mermaid().splitlines()[1].removeprefix('  n0["').removesuffix('<br/>resource"]')
    assert not set(label) & set("\"<>&'`\\")
    assert len(graph.mermaid().splitlines()) == 2
    assert '"a\\"b<c>&#;\\\\n\\\\x1b[2J\\\\`"' in graph.dot()


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True))
def test_every_drawing_has_one_line_for_each_node(names: list[str]) -> None:
    """Whatever the names are, no name adds or swallows a line."""
    graph = Graph(tuple(Node(name, "object", Lifetime.CONTAINER) for name in names))
    assert len(graph.text().splitlines()) == len(names) + 2
    assert len(graph.mermaid().splitlines()) == len(names) + 1
    assert len(graph.dot().splitlines()) == len(names) + 4


def test_an_edge_to_nowhere_is_left_out() -> None:
    """An edge whose end has no node is no part of a picture."""
    graph = Graph((Node("a", "object", Lifetime.CONTAINER),), (Edge("a", "gone"),))
    assert "gone" not in graph.mermaid()
    assert "->" not in graph.dot()


@pytest.mark.skipif(which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_it() -> None:
    """Graphviz accepts the drawing, hostile names included."""
    graph = Graph((*SHOP.nodes, Node(HOSTILE, "resource", Lifetime.CONTAINER)), SHOP.edges, "Shop")
    subprocess.run(["dot", "-Tplain"], input=graph.dot().encode(), check=True, capture_output=True)
