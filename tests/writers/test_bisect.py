"""The search for bad ones: each is found, every good one stays, in order, and it does not take long."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from wellwired.writers._bisect import Bisection, Span

counts = st.integers(0, 300)
bads = st.sets(st.integers(0, 299), max_size=12)


def search(count: int, bad: set[int], *, pointed: bool) -> tuple[Bisection, list[int], list[Span]]:
    """Runs a plan over ones of which some are bad; gives what stayed, in the order of doing, and every try."""
    plan, done, tries = Bisection(count), [], []
    while (span := plan.span) is not None:
        assert len(span)
        tries.append(span)
        faults = [position for position in range(*span) if position in bad]
        if not faults:
            done += range(*span)
            plan.passed()
        else:
            found = plan.failed(faults[0] if pointed else None)
            assert found is None or found in bad
    return plan, done, tries


@given(counts, bads, st.booleans())
def test_exactly_the_bad_ones_are_found_and_the_good_ones_done_in_order(
    count: int, bad: set[int], pointed: bool
) -> None:
    """Each good one stays exactly once and in its own order; each bad one is named exactly once, in order."""
    plan, done, _ = search(count, bad, pointed=pointed)

    assert done == [position for position in range(count) if position not in bad]
    assert plan.bad == sorted(position for position in bad if position < count)


@given(counts, bads)
def test_the_search_takes_two_tries_for_each_halving(count: int, bad: set[int]) -> None:
    """With k bad ones among n there are at most 1 + 2 k ceil(log2 n) tries."""
    present = [position for position in bad if position < count]

    _, _, tries = search(count, bad, pointed=False)

    assert len(tries) <= 1 + 2 * len(present) * math.ceil(math.log2(max(count, 2)))


@given(counts, bads)
def test_where_it_is_known_who_failed_no_good_one_is_done_more_than_twice(count: int, bad: set[int]) -> None:
    """One by one, a good one is done once before a bad one is met and once after it was undone."""
    _, _, tries = search(count, bad, pointed=True)

    done = [0] * count
    for start, stop in tries:
        for position in range(start, stop):
            done[position] += 1
            if position in bad:
                break
    assert all(times == 1 if position in bad else times <= 2 for position, times in enumerate(done))


@given(st.integers(1, 200), st.data())
def test_what_depends_on_earlier_ones_is_judged_after_them(count: int, data: st.DataObject) -> None:
    """An order that would hold one by one holds here: each is tried last with all good ones before it done."""
    needs = {child: data.draw(st.integers(0, child - 1)) for child in range(1, count) if data.draw(st.booleans())}
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=4))
    plan, present = Bisection(count), set()
    while (span := plan.span) is not None:
        here: set[int] = set()
        for position in range(*span):
            if position in bad or needs.get(position, position) not in present | here | {position}:
                plan.failed()
                break
            here.add(position)
        else:
            present |= here
            plan.passed()

    alone: set[int] = set()
    for position in range(count):
        if position not in bad and needs.get(position, position) in alone | {position}:
            alone.add(position)
    assert present == alone


def test_nothing_needs_no_search() -> None:
    """There is nothing to try among none."""
    assert Bisection(0).span is None


def test_a_single_bad_one_among_many_is_cheap() -> None:
    """One bad row among 2,500 takes no more than 25 tries."""
    _, done, tries = search(2_500, {1_800}, pointed=False)

    assert len(done) == 2_499
    assert len(tries) <= 25
