"""Tests of many more random containers than a usual run has time for; `make soak` runs them."""

from __future__ import annotations

import pytest

from tests.containers.shapes import Refused, Shape

pytestmark = pytest.mark.soak
SEEDS = range(200, 3_200)


def test_three_thousand_more_shapes_open_and_close_in_order() -> None:
    """Whatever its shape, a container opens all after what it needs, and closes in exactly the reverse order."""
    for seed in SEEDS:
        shape = Shape(seed)
        with shape.container():
            assert set(shape.happened("open")) == shape.resources, seed
        shape.assert_balanced()
        assert shape.happened("close") == shape.happened("open")[::-1], seed


def test_three_thousand_more_starts_that_fail_are_rolled_back() -> None:
    """Whatever its shape, and whichever resource refuses, a failed start leaves nothing open."""
    for seed in SEEDS:
        shape = Shape(seed)
        if not shape.resources:
            continue
        victim = sorted(shape.resources)[seed % len(shape.resources)]
        shape.refusing = {("open", victim)}
        with pytest.raises(Refused):
            shape.container().start()
        shape.assert_balanced()
