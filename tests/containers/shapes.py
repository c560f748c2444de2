"""Random containers for tests: resources, singletons, factories and families that need each other in random ways.

A `Shape` makes a container class from a seed and knows, without looking at it, which provider needs which, so that a
test can compare what happened with what must happen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from wellwired.containers import Container, providers

__all__ = ["Refused", "Shape"]

KINDS = ("resource", "resource", "resource", "singleton", "factory", "scoped-free", "member")


def names_in(value: Any) -> Iterator[str]:
    """The names of all providers whose objects are in `value`, however deep."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from names_in(one)


class Refused(Exception):  # noqa: N818 - what a test injects
    """The failure that a test injected."""


class Shape:
    """A container class with a random graph.

    Args:
        seed: the same for the same shape.
        size: how many providers it declares.
    """

    def __init__(self, seed: int, size: int = 12) -> None:
        chance = random.Random(seed)
        self.log: list[tuple[str, str, frozenset[str]]] = []
        self.refusing: set[tuple[str, str]] = set()
        self.kinds = {f"p{index}": chance.choice(KINDS) for index in range(size)}
        self.needs: dict[str, list[str]] = {}
        body: dict[str, Any] = {}
        for index, (name, kind) in enumerate(self.kinds.items()):
            below = [f"p{other}" for other in range(index)]
            self.needs[name] = chance.sample(below, min(len(below), chance.choice([0, 1, 1, 2, 3])))
            body[name] = self._made(name, kind, [self._reference(body, one, chance) for one in self.needs[name]])
        declared = list(body.items())
        chance.shuffle(declared)
        metaclass: Any = type(Container)
        self.container: type[Container] = metaclass(f"Shape{seed}", (Container,), dict(declared))
        self.order = [name for name, _ in declared]

    def _reference(self, body: dict[str, Any], name: str, chance: random.Random) -> Any:
        """A provider as an argument: plain, in a list or a dict, or by an attribute of what it provides."""
        provider = body[name]["it"] if self.kinds[name] == "member" else body[name]
        wrapped = {
            0: provider,
            1: providers.List(provider),
            2: providers.Dict(inner=provider),
            3: provider.provided,
        }
        return wrapped[chance.choice([0, 0, 1, 2, 3])]

    def _made(self, name: str, kind: str, arguments: list[Any]) -> Any:
        if kind == "resource":
            return providers.Resource(self.opening, name, *arguments)
        if kind == "member":
            return providers.Named(
                {"it": name},
                lambda key, it, **deps: providers.Resource(self.opening, it, *deps.values()),
                deps={f"d{index}": argument for index, argument in enumerate(arguments)},
            )
        maker = providers.Singleton if kind == "singleton" else providers.Factory
        return maker(lambda *found: (name, found), *arguments)

    def opening(self, name: str, *found: Any) -> Iterator[str]:
        """The initialiser of every resource: notes its life, and fails where the test wants it to."""
        if ("open", name) in self.refusing:
            raise Refused(f"open {name}")
        held = frozenset(names_in(found)) & self.resources
        self.log.append(("open", name, held))
        yield name
        self.log.append(("close", name, held))
        if ("close", name) in self.refusing:
            raise Refused(f"close {name}")

    @property
    def resources(self) -> set[str]:
        """The names of what is opened and closed."""
        return {name for name, kind in self.kinds.items() if kind in {"resource", "member"}}

    def below(self, name: str) -> set[str]:
        """Every resource that `name` needs, through whatever lies between."""
        found: set[str] = set()
        left = list(self.needs[name])
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left += self.needs[one]
        return found & self.resources

    def happened(self, what: str) -> list[str]:
        """The names of what was opened, or closed, in order."""
        return [name for event, name, _ in self.log if event == what]

    def assert_balanced(self, *, overridden: bool = False) -> None:
        """Everything that was opened was closed once, users first, and nothing before what it needs.

        Args:
            overridden: whether something was overridden meanwhile, so that needs are not those of the declaration.
        """
        live: dict[str, frozenset[str]] = {}
        for event, name, held in self.log:
            if event == "open":
                assert name not in live, f"{name} was opened twice"
                assert held <= live.keys(), f"{name} was opened with something that was closed"
                assert overridden or self.below(name) <= live.keys(), f"{name} was opened before what it needs"
                live[name] = held
            else:
                assert live.pop(name, None) is not None, f"{name} was closed without being open"
                users = [other for other, kept in live.items() if name in kept]
                assert users == [], f"{name} was closed before {users}"
        assert live == {}, f"left open: {list(live)}"
