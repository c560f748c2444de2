"""The rules of a stack: caps, targets, the order of writes, and when a miss is a miss."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.stores.fakes import FakeStore
from wellwired.stores import Layer, MemoryStore
from wellwired.stores._plans import StackPlan, shorter

LIVES = st.one_of(st.none(), st.floats(0.001, 1e6))


def layers(*specs: tuple[bool, float | None]) -> list[Layer]:
    """Layers by role and ttl."""
    return [Layer(FakeStore(), primary=primary, ttl=ttl) for primary, ttl in specs]


@st.composite
def stacks(draw: st.DrawFn) -> list[Layer]:
    """Stacks of up to six layers, at least one of them primary."""
    specs = draw(st.lists(st.tuples(st.booleans(), LIVES, st.booleans(), st.booleans()), min_size=1, max_size=6))
    chosen = draw(st.integers(0, len(specs) - 1))
    return [
        Layer(FakeStore(), primary=primary or index == chosen, ttl=ttl, inline=inline, read_only=read_only)
        for index, (primary, ttl, inline, read_only) in enumerate(specs)
    ]


@given(LIVES, LIVES)
def test_the_shorter_of_two_lives(one: float | None, other: float | None) -> None:
    """None is for ever, and the order does not matter."""
    expected = min((life for life in (one, other) if life is not None), default=None)
    assert shorter(one, other) == shorter(other, one) == expected


@given(stacks())
def test_no_layer_may_keep_longer_than_one_below(stack: list[Layer]) -> None:
    """The cap of a layer is not more than its own ttl, nor than the cap of any layer below it."""
    caps = StackPlan.of(stack).caps
    for index, cap in enumerate(caps):
        assert shorter(cap, stack[index].ttl) == cap
        assert all(shorter(cap, below) == cap for below in caps[index:])
        assert cap is None or cap in [layer.ttl for layer in stack[index:]]


@given(stacks())
def test_every_writable_layer_above_a_source_is_filled_from_the_bottom_up(stack: list[Layer]) -> None:
    """For every place where a value may be found, a loader included."""
    plan = StackPlan.of(stack)
    assert len(plan.targets) == len(stack) + 1
    for source, targets in enumerate(plan.targets):
        assert list(targets) == [index for index in reversed(range(source)) if stack[index].writable]
        assert plan.inline[source] is all(stack[index].fills_inline for index in targets)


@given(stacks())
def test_every_layer_is_written_once_primaries_first(stack: list[Layer]) -> None:
    """Primaries from the bottom up, then the others from the bottom up."""
    plan = StackPlan.of(stack)
    order = [*plan.primaries, *plan.others]
    assert sorted(order) == list(range(len(stack)))
    assert all(stack[index].primary for index in plan.primaries) and not any(stack[i].primary for i in plan.others)
    assert list(plan.primaries) == sorted(plan.primaries, reverse=True)
    assert list(plan.others) == sorted(plan.others, reverse=True)
    assert plan.serial is (len(plan.primaries) > 1)


@given(stacks(), st.sets(st.integers(0, 5)))
def test_only_copies_above_the_first_primary_may_fail_without_consequence(stack: list[Layer], failed: set[int]) -> None:
    """From the first primary down, each layer might have had what nobody else had."""
    failed &= set(range(len(stack)))
    first_primary = next(index for index, layer in enumerate(stack) if layer.primary)
    decisive = StackPlan.of(stack).decisive(failed)
    assert decisive == min((index for index in failed if index >= first_primary), default=None)


def test_memory_is_filled_at_once_and_everything_else_in_the_background() -> None:
    """Unless the layer says otherwise."""
    plan = StackPlan.of([Layer(MemoryStore()), Layer(MemoryStore()), Layer(FakeStore(), primary=True)])
    assert plan.inline == (True, True, True, False)
    plan = StackPlan.of([Layer(MemoryStore(), inline=False), Layer(FakeStore(), primary=True, inline=True)])
    assert plan.inline == (True, False, False)
    assert StackPlan.of(layers((True, 5.0))).caps == (5.0,)
