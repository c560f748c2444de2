"""Rings are found wherever they are, and shown by the shortest way round."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from wellwired.containers._rings import path_to, rings, spread

Graph = dict[int, list[int]]


@st.composite
def acyclic(draw: st.DrawFn) -> Graph:
    """Graphs without rings: every edge leads to a smaller number."""
    size = draw(st.integers(1, 12))
    return {n: draw(st.lists(st.integers(0, n - 1), unique=True)) if n else [] for n in range(size)}


@given(acyclic())
def test_no_ring_in_what_has_none(graph: Graph) -> None:
    """A graph whose edges all lead downwards has no ring."""
    assert rings(graph) == []


@given(acyclic(), st.data())
def test_every_planted_ring_is_found(graph: Graph, data: st.DataObject) -> None:
    """Whoever lies on a planted ring is shown on one, each shown ring is one, and none has a shortcut."""
    planted = data.draw(
        st.lists(st.lists(st.sampled_from(list(graph)), min_size=1, unique=True), min_size=1, max_size=3)
    )
    for ring in planted:
        for source, target in pairwise([*ring, ring[0]]):
            graph[source] = [*graph[source], target]
    found = rings(graph)
    assert {node for ring in planted for node in ring} <= {node for path in found for node in path}
    for path in found:
        assert path[0] == path[-1]
        assert all(target in graph[source] for source, target in pairwise(path))
        assert len(set(path)) == len(path) - 1


@given(acyclic(), st.data())
def test_nobody_is_accused_who_is_on_no_ring(graph: Graph, data: st.DataObject) -> None:
    """Who can be reached from a ring, or reaches one, and does not lie on one is not shown."""
    ring = data.draw(st.lists(st.sampled_from(list(graph)), min_size=1, unique=True))
    for source, target in pairwise([*ring, ring[0]]):
        graph[source] = [*graph[source], target]
    for found in rings(graph):
        for node in found:
            assert node in spread(node, graph.__getitem__)


def test_the_shortest_way_round_is_shown() -> None:
    """A reader gets the two who need each other, not the detour."""
    assert rings({"a": ["b", "c"], "b": ["d"], "d": ["a"], "c": ["a"]})[0] == ("a", "c", "a")


def test_each_ring_is_shown_once() -> None:
    """Two rings that share nobody are two paths, however many nodes could begin them."""
    assert rings({1: [2], 2: [3], 3: [1], 4: [5], 5: [4]}) == [(1, 2, 3, 1), (4, 5, 4)]


def test_who_needs_itself_is_a_ring() -> None:
    """The smallest ring is one node and its own need."""
    assert rings({"a": ["a"]}) == [("a", "a")]


def test_a_need_of_something_unknown_is_no_ring() -> None:
    """A node that is needed and not listed needs nothing."""
    assert rings({"a": ["elsewhere"]}) == []


def test_a_chain_deeper_than_the_stack() -> None:
    """Forty thousand nodes in a row are walked once and without recursion, ring included."""
    chain = {n: [n + 1] for n in range(40_000)}
    assert rings(chain) == []
    assert len(rings(chain | {40_000: [0]})[0]) == 40_002


def test_a_path_is_read_back_from_the_walk() -> None:
    """A walk remembers the shortest way to each node."""
    needs = {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}
    before = spread("a", needs.__getitem__)
    assert list(before) == ["b", "c", "d"]
    assert path_to("d", "a", before) == ("a", "b", "d")
