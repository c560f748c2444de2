"""What ``@pytest.mark.wellwired_override({...})`` means: which marks are about a test, and what they override together.

A mark stands on a module, a class or a function, and the nearest one wins. Two marks may name one provider in two
ways, by its id and as ``Shop.users``; so they are compared by what their keys mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from wellwired.containers._targets import targets_of
from wellwired.errors import WellwiredError

if TYPE_CHECKING:
    import pytest

    from wellwired.containers.container import ContainerInstance

__all__ = ["NAME", "MarkError", "marked", "merged"]

NAME = "wellwired_override"

_SHAPE = f'write it as @pytest.mark.{NAME}({{"redis.cache": fake}})'


class MarkError(WellwiredError):
    """A mark that cannot mean anything."""


def marked(item: pytest.Item) -> list[Mapping[Any, Any]]:
    """What the marks of a test say, the farthest first.

    Args:
        item: the test.

    Raises:
        MarkError: a mark has other arguments than one mapping from ids to what stands in.
    """
    return [_mapping(mark.args, mark.kwargs) for mark in reversed(list(item.iter_markers(NAME)))]


def _mapping(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[Any, Any]:
    if kwargs:
        raise MarkError(f"it takes no keywords, since ids have dots ({', '.join(kwargs)}); {_SHAPE}")
    if len(args) != 1 or not isinstance(args[0], Mapping):
        given = ", ".join(type(one).__name__ for one in args) or "nothing"
        raise MarkError(f"it takes one mapping from ids to what stands in, and not {given}; {_SHAPE}")
    return args[0]


def merged(container: ContainerInstance, marks: Iterable[Mapping[Any, Any]]) -> dict[Any, Any]:
    """From providers to what is to stand in for them; what comes later wins.

    Args:
        container: whose providers the marks are about.
        marks: the farthest first.

    Raises:
        UnknownProviderError: a key means no provider.
        OverrideError: one mark names a provider twice.
    """
    return dict(_pairs(container, marks))


def _pairs(container: ContainerInstance, marks: Iterable[Mapping[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    relations = container._life.relations()
    for mark in marks:
        for target in targets_of(container, mark, relations):
            yield target.provider, target.value
