"""How a batch is cut up: nothing is lost, nothing is doubled, and order is kept where it is promised."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wellwired.writers._many_plan import chunked, grouped, repeats_in

keys = st.lists(st.integers(0, 4), max_size=60)


@given(keys, st.booleans())
def test_each_position_is_in_one_group_of_its_own_key(given_keys: list[int], ordered: bool) -> None:
    """The groups are a partition; all of a group have one key, in the caller's order."""
    groups = grouped(given_keys, ordered=ordered)

    assert sorted(position for group in groups for position in group) == list(range(len(given_keys)))
    for group in groups:
        assert group == sorted(group)
        assert len({given_keys[position] for position in group}) == 1
    assert [group[0] for group in groups] == sorted(group[0] for group in groups)


@given(keys)
def test_without_order_there_is_one_group_for_each_key(given_keys: list[int]) -> None:
    """Equal keys are together, wherever they stand."""
    assert len(grouped(given_keys)) == len(set(given_keys))


@given(keys)
def test_in_order_only_neighbours_are_together_and_nothing_overtakes(given_keys: list[int]) -> None:
    """Groups laid end to end are the caller's order, and they are as few as that allows."""
    groups = grouped(given_keys, ordered=True)

    assert [position for group in groups for position in group] == list(range(len(given_keys)))
    assert len(groups) == len(list(groupby(given_keys)))


@given(st.lists(st.integers(), max_size=50), st.integers(1, 12))
def test_chunks_laid_end_to_end_are_what_was_cut(positions: list[int], size: int) -> None:
    """Every chunk but the last is full, none is empty."""
    chunks = [list(chunk) for chunk in chunked(positions, size)]

    assert [position for chunk in chunks for position in chunk] == positions
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert all(0 < len(chunk) <= size for chunk in chunks)


pairs = st.lists(st.none() | st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=30)


@given(pairs)
def test_each_request_is_done_or_shares_an_answer_or_is_refused(given_keys: list[tuple[str, str] | None]) -> None:
    """The three kinds are a partition, and no key is done twice."""
    first, same, reused = repeats_in(given_keys)

    assert sorted([*first, *same, *reused]) == list(range(len(given_keys)))
    done = [key[0] for position in first if (key := given_keys[position]) is not None]
    assert len(done) == len(set(done))
    assert all(given_keys[position] is not None for position in [*same, *reused])


@given(pairs)
def test_only_the_same_payload_shares_an_answer(given_keys: list[tuple[str, str] | None]) -> None:
    """An answer is shared with an earlier request of the same key and payload; another payload is refused."""
    first, same, reused = repeats_in(given_keys)

    for position, earlier in same.items():
        assert earlier < position
        assert earlier in first
        assert given_keys[earlier] == given_keys[position]
    for position in reused:
        key = given_keys[position]
        (owner,) = [
            given_keys[p] for p in first if (k := given_keys[p]) is not None and key is not None and k[0] == key[0]
        ]
        assert owner != key


@pytest.mark.parametrize("ordered", [True, False])
def test_of_nothing_there_is_no_group(ordered: bool) -> None:
    """An empty batch has no groups and no chunks."""
    assert grouped([], ordered=ordered) == []
    assert list(chunked([], 5)) == []
