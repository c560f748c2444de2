"""Tests of opening, rolling back, closing and overriding on two hundred random containers (C2 and C3)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.containers.shapes import Refused, Shape
from wellwired.errors import OverrideError

every_shape = pytest.mark.parametrize("seed", range(200))
some_shapes = pytest.mark.parametrize("seed", range(60))


@every_shape
def test_opened_in_order_and_closed_in_reverse(seed: int) -> None:
    """Every resource is opened once, after all that it needs, and closed in exactly the reverse order."""
    shape = Shape(seed)
    with shape.container():
        assert set(shape.happened("open")) == shape.resources
    shape.assert_balanced()
    assert shape.happened("close") == shape.happened("open")[::-1]


@every_shape
def test_the_order_is_the_same_every_time(seed: int) -> None:
    """Two containers of one class, and one started twice, open in the same order."""
    shape = Shape(seed)
    orders: list[list[str]] = []
    container = shape.container()
    for one in (container, container, shape.container()):
        shape.log.clear()
        one.start()
        orders.append(shape.happened("open"))
        one.stop()
    assert orders[0] == orders[1] == orders[2]


@some_shapes
def test_a_start_that_fails_anywhere_closes_what_it_opened(seed: int) -> None:
    """Whichever opening fails, everything opened before is closed in order, and the error is the opening's own."""
    shape = Shape(seed)
    for name in sorted(shape.resources):
        shape.log.clear()
        shape.refusing = {("open", name)}
        container = shape.container()
        with pytest.raises(Refused, match=f"open {name}"):
            container.start()
        assert not container.started
        shape.assert_balanced()
        shape.refusing = set()
        with container:
            assert set(shape.happened("open")) >= shape.resources
        shape.assert_balanced()


@some_shapes
def test_a_closing_that_fails_stops_no_other(seed: int) -> None:
    """Whichever closings fail, all resources are closed in order, and the failures come together."""
    shape = Shape(seed)
    failing = set(random.Random(seed).sample(sorted(shape.resources), min(3, len(shape.resources))))
    shape.refusing = {("close", name) for name in failing}
    container = shape.container().start()
    if failing:
        with pytest.raises(ExceptionGroup) as caught:
            container.stop()
        assert {str(one) for one in caught.value.exceptions} == {f"close {name}" for name in failing}
    container.stop()
    shape.assert_balanced()
    assert set(shape.happened("close")) == shape.resources


@some_shapes
def test_a_failed_start_with_failing_closings_keeps_its_error(seed: int) -> None:
    """The error of the opening comes out, with a note for each closing that failed in the rollback."""
    shape = Shape(seed)
    names = shape.container().start()
    order = shape.happened("open")
    names.stop()
    if len(order) < 2:
        return
    shape.refusing = {("open", order[-1]), ("close", order[0])}
    with pytest.raises(Refused, match=f"open {order[-1]}") as caught:
        shape.container().start()
    assert any("rolling back failed too" in note for note in caught.value.__notes__)


@some_shapes
def test_opened_at_first_use_is_closed_in_order_too(seed: int) -> None:
    """Whatever is used in whatever order without a start, stop() closes users before what they use."""
    shape = Shape(seed)
    container = shape.container()
    names = [name for name in shape.order if name in shape.resources]
    random.Random(seed).shuffle(names)
    for name in names:
        container.resolve(name)
    container.stop()
    shape.assert_balanced()


def open_names(container: Any) -> set[str]:
    """The names of what is open."""
    return {one.name for one in container._life.open_resources()}


def fakes_in(value: Any) -> bool:
    """Whether a fake is anywhere inside what a provider gave."""
    if isinstance(value, dict):
        return any(map(fakes_in, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(fakes_in, value))
    return bool(value == "FAKE")


@every_shape
def test_no_dependent_keeps_a_fake(seed: int) -> None:
    """Inside an override every dependent has the fake; outside none has, whether started or not."""
    shape = Shape(seed)
    chance = random.Random(seed)
    container = shape.container()
    if chance.random() < 0.5:
        container.start()
    for name in chance.sample(shape.order, 4):
        container.resolve(name)
    for _ in range(4):
        targets = chance.sample(shape.order, chance.choice([1, 1, 2]))
        ids = {f"{name}.it" if shape.kinds[name] == "member" else name: "FAKE" for name in targets}
        with container.overriding(ids):
            for name in shape.order:
                sees = fakes_in(container.resolve(name))
                direct = any(one in targets for one in shape.needs[name])
                if name in targets or (direct and shape.kinds[name] in {"singleton", "factory"}):
                    assert sees, f"{name} does not see the fake"
        assert not any(fakes_in(container.resolve(name)) for name in shape.order)
    container.stop()
    shape.assert_balanced(overridden=True)


@every_shape
def test_overrides_that_end_in_any_order_leave_nothing(seed: int) -> None:
    """Several overrides, nested and overlapping, restore exactly in whatever order they end."""
    shape = Shape(seed)
    chance = random.Random(seed)
    container = shape.container().start()
    opened = open_names(container)
    before = {id: provider.overridden for id, provider in container.ids().items()}
    active: list[Any] = []
    for step in range(6):
        ids = [id for id in container.ids() if shape.kinds.get(id) != "member"]
        block = container.overriding(dict.fromkeys(chance.sample(ids, 2), f"FAKE {step}"))
        block.__enter__()
        active.append(block)
    chance.shuffle(active)
    for block in active:
        block.__exit__(None, None, None)
    assert {id: provider.overridden for id, provider in container.ids().items()} == before
    assert not any("FAKE" in str(container.resolve(name)) for name in shape.order)
    assert container.started and open_names(container) == opened
    container.stop()
    shape.assert_balanced(overridden=True)


@some_shapes
def test_an_override_opens_again_what_was_open(seed: int) -> None:
    """After the override the container is as open as it was before."""
    shape = Shape(seed)
    with shape.container() as container:
        opened = open_names(container)
        target = random.Random(seed).choice([id for id in container.ids() if shape.kinds.get(id) != "member"])
        with container.overriding({target: "FAKE"}):
            pass
        assert open_names(container) == opened
    shape.assert_balanced(overridden=True)


@some_shapes
def test_an_override_that_cannot_be_completed_changes_nothing(seed: int) -> None:
    """If a dependent fails to open with the fake, the override is taken back and everything works as before."""
    shape = Shape(seed)
    container = shape.container().start()
    for name in sorted(shape.resources):
        needed = [one for one in shape.needs[name] if shape.kinds[one] != "member"]
        if not needed:
            continue
        shape.refusing = {("open", name)}
        with pytest.raises(OverrideError, match="taken back"), container.overriding({needed[0]: "FAKE"}):
            pass
        shape.refusing = set()
        assert not any(provider.overridden for provider in container.ids().values())
        assert not any(fakes_in(container.resolve(one)) for one in shape.order)
    container.stop()
    shape.assert_balanced(overridden=True)
