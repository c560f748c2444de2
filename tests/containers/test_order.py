"""Tests of the plain graph theory behind opening and closing, on random graphs."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from wellwired.containers._order import closing_order, dependents, opening_order, reachable

Graph = dict[int, list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A graph without rings, its nodes in a random order of declaration."""
    size = draw(st.integers(1, 14))
    names = draw(st.permutations(range(size)))
    return {
        names[i]: [names[j] for j in draw(st.lists(st.integers(0, i - 1), max_size=4, unique=True))] if i else []
        for i in range(size)
    }


def above(graph: Graph, node: int) -> set[int]:
    """All that a node needs, by the book."""
    found: set[int] = set()
    left = list(graph[node])
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += graph[one]
    return found


@given(graphs())
def test_nothing_is_opened_before_what_it_needs(graph: Graph) -> None:
    """Every node comes once, after all that it needs."""
    order = opening_order(graph, graph.__getitem__)
    assert sorted(order) == sorted(graph)
    for index, node in enumerate(order):
        assert above(graph, node) <= set(order[:index])


@given(graphs())
def test_the_order_of_opening_follows_the_declaration(graph: Graph) -> None:
    """Among independent nodes the one declared first is opened first."""
    roots = [node for node in graph if not graph[node]]
    assert opening_order(roots, graph.__getitem__) == roots


@given(graphs(), st.randoms(use_true_random=False))
def test_nothing_is_closed_before_what_needs_it(graph: Graph, chance: random.Random) -> None:
    """Whatever was opened in whatever order, users are closed before what they use, through unopened ones too."""
    opened = [node for node in opening_order(graph, graph.__getitem__) if chance.random() < 0.6]
    chance.shuffle(opened)
    order = closing_order(opened, list(graph), graph.__getitem__)
    assert sorted(order) == sorted(opened)
    for index, node in enumerate(order):
        assert not above(graph, node) & set(order[:index])


@given(graphs())
def test_closing_is_the_reverse_of_opening_in_order(graph: Graph) -> None:
    """What was opened in dependency order is closed last in, first out."""
    opened = opening_order(graph, graph.__getitem__)
    assert closing_order(opened, list(graph), graph.__getitem__) == opened[::-1]


@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=24))
@settings(max_examples=200)
def test_rings_are_broken_and_not_followed(size: int, edges: list[tuple[int, int]]) -> None:
    """With rings, every node is still opened once and closed once."""
    graph: Graph = {node: [] for node in range(size)}
    for source, target in edges:
        graph[source % size].append(target % size)
    assert sorted(opening_order(graph, graph.__getitem__)) == sorted(graph)
    opened = list(graph)
    assert sorted(closing_order(opened, opened, graph.__getitem__)) == opened


@given(graphs(), st.data())
def test_dependents_are_those_that_lead_to_a_target(graph: Graph, data: st.DataObject) -> None:
    """Exactly the nodes from which a target can be reached, without the target itself."""
    target = data.draw(st.sampled_from(sorted(graph)))
    expected = {node for node in graph if target in above(graph, node)}
    assert set(dependents([target], graph, graph.__getitem__)) == expected


@given(graphs(), st.data())
def test_reachable_is_the_start_and_all_it_needs(graph: Graph, data: st.DataObject) -> None:
    """The start first, then everything below, once."""
    start = data.draw(st.sampled_from(sorted(graph)))
    found = list(reachable([start], graph.__getitem__))
    assert found[0] == start and sorted(found) == sorted({start} | above(graph, start))


def test_a_chain_deeper_than_the_stack_is_no_trouble() -> None:
    """Ten thousand nodes, each needing the next, are ordered without recursion."""
    size = 10_000
    graph = {node: [node + 1] if node < size - 1 else [] for node in range(size)}
    order = opening_order([0], graph.__getitem__)
    assert order[0] == size - 1 and order[-1] == 0
    assert closing_order(order, list(graph), graph.__getitem__)[0] == 0
    assert len(dependents([size - 1], graph, graph.__getitem__)) == size - 1


def test_one_opened_late_by_hand_is_closed_after_its_users() -> None:
    """The pool that a worker opened at first use, after the worker itself, outlives the worker."""
    needs = {"worker": ["handle"], "handle": ["pool"], "pool": []}
    assert closing_order(["worker", "pool"], list(needs), needs.__getitem__) == ["worker", "pool"]


def test_a_ring_of_open_ones_is_closed_in_reverse() -> None:
    """Where users cannot go first, the last opened does."""
    needs = {"a": ["b"], "b": ["a"], "c": []}
    assert closing_order(["a", "c", "b"], list(needs), needs.__getitem__) == ["c", "b", "a"]
