"""Overrides that a test has left behind: found, named and taken back, so that the next test begins clean.

What `Container.overriding` has put on and nobody has taken off is on record (`standing`), whatever container it is
about. What was put on by a provider's own `override` is not, and is seen by comparing the stacks of a container's
providers before and after.
"""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dependency_injector import providers as di

from wellwired.containers._overriding import Overriding, standing

if TYPE_CHECKING:
    import pytest

    from wellwired.containers.container import ContainerInstance

__all__ = ["Found", "end", "left_by", "put_by_hand", "stacks"]

Provider = di.Provider[Any]
Stacks = dict[Provider, tuple[Provider, ...]]

Found = Overriding[Any]
"""What was left behind."""


def stacks(container: ContainerInstance) -> Stacks:
    """What overrides each provider of a container now."""
    return {one: tuple(one.overridden) for one in container._life.relations().nodes if len(one.overridden)}


def put_by_hand(container: ContainerInstance, before: Stacks) -> list[Found]:
    """What overrides providers now and did not before, and is not on record.

    Args:
        container: whose providers.
        before: what overrode them before.
    """
    known = standing()
    extra = [
        (provider, other)
        for provider, stack in stacks(container).items()
        for other in stack
        if not any(other is one for one in before.get(provider, ())) and not any(one.puts(other) for one in known)
    ]
    return [Overriding.found(container, extra)] if extra else []


def left_by(before: Collection[Any], owners: Mapping[Any, pytest.FixtureDef[Any]]) -> list[str]:
    """Takes back what is on record and should not be, now that a test is over; the ids.

    Args:
        before: what was on record before the test.
        owners: which of it belongs to fixtures that may outlive the test.
    """
    if not _left(before, owners):
        return []
    gc.collect()  # a container that nobody can reach any more is nobody's trouble
    return end(_left(before, owners))


def _left(before: Collection[Any], owners: Mapping[Any, pytest.FixtureDef[Any]]) -> list[Found]:
    return [one for one in standing() if (_ended(owners[one]) if one in owners else one not in before)]


def _ended(fixture: pytest.FixtureDef[Any]) -> bool:
    return fixture.cached_result is None


def end(found: Iterable[Found]) -> list[str]:
    """Takes back what was left behind.

    Args:
        found: the oldest first.

    Returns:
        The ids that were overridden, sorted.

    Raises:
        ExceptionGroup: what depends on it could not be rebuilt; all of it was taken back.
    """
    ids: set[str] = set()
    failures: list[Exception] = []
    for one in reversed(list(found)):
        ids |= set(one.ids)
        try:
            one.__exit__(None, None, None)
        except Exception as failure:  # noqa: BLE001 - every one is tried, and all are reported
            failures.append(failure)
    if failures:
        raise ExceptionGroup(f"taking back what a test left behind ({', '.join(sorted(ids))}) failed", failures)
    return sorted(ids)
