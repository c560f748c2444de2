"""What a settings class can hold at a path, read from its annotations.

A `Node` is one place in the tree of settings. It knows which names may follow, so that a variable can be judged by
its name alone, before any value is looked at. Where annotations are too clever to follow (unions of models,
`TypedDict`, `Any`), a node is open: everything may follow, and pydantic decides.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, is_dataclass
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin, is_typeddict

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel
from pydantic.fields import FieldInfo

__all__ = ["Kind", "Node", "keys_of"]


class Kind(Enum):
    """What sort of place a node is."""

    MODEL = "a group of settings"
    MAPPING = "a group of named settings"
    LIST = "a list"
    VALUE = "a single value"
    OPEN = "anything"


def keys_of(name: str, info: FieldInfo, config: Mapping[str, Any]) -> list[str]:
    """The names under which pydantic accepts a field: its alias or aliases, or else its own; pure.

    Args:
        name: the field's own name.
        info: the field.
        config: of its model, which may allow both.

    Returns:
        The names, the preferred one first.
    """
    alias = info.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    keys = [
        str(choice.path[0]) if isinstance(choice, AliasPath) else choice for choice in choices if choice is not None
    ]
    by_name = config.get("validate_by_name") or config.get("populate_by_name")
    return [*keys, name] if by_name or not keys else keys


@dataclass(frozen=True, slots=True)
class Node:
    """One place in the tree of settings; immutable.

    Args:
        annotation: the type of what stands there, without `Annotated` and `Optional`.
    """

    annotation: Any

    @classmethod
    def of(cls, annotation: Any) -> Node:
        """The node of an annotation as it was written."""
        while True:
            if get_origin(annotation) is Annotated:
                annotation = get_args(annotation)[0]
            elif get_origin(annotation) in (Union, types.UnionType):
                members = [member for member in get_args(annotation) if member is not type(None)]
                if len(members) != 1:
                    return cls(Any)
                annotation = members[0]
            elif hasattr(annotation, "__value__"):  # a `type` alias
                annotation = annotation.__value__
            else:
                return cls(annotation)

    @property
    def kind(self) -> Kind:
        """What sort of place it is."""
        cls = get_origin(self.annotation) or self.annotation
        if (
            cls in (Any, object)
            or not isinstance(cls, type)
            or is_typeddict(cls)
            or is_dataclass(cls)
            or issubclass(cls, RootModel)
        ):
            return Kind.OPEN
        if issubclass(cls, BaseModel):
            return Kind.MODEL
        if issubclass(cls, Mapping):
            return Kind.MAPPING if len(get_args(self.annotation)) == 2 else Kind.OPEN
        if issubclass(cls, (Sequence, AbstractSet)) and not issubclass(cls, (str, bytes)):
            return Kind.LIST
        return Kind.VALUE

    @property
    def names(self) -> tuple[str, ...]:
        """The fixed names that may follow."""
        if self.kind is not Kind.MODEL:
            return ()
        return tuple(key for key, _ in self._fields())

    @property
    def closed(self) -> bool:
        """Whether pydantic would refuse other names than `names`."""
        return self.kind is Kind.MODEL and self.annotation.model_config.get("extra") == "forbid"

    @property
    def required(self) -> str | None:
        """The first name that must be given, if there is one."""
        if self.kind is not Kind.MODEL:
            return None
        return next((key for key, info in self._fields() if info.is_required()), None)

    def _fields(self) -> Iterator[tuple[str, FieldInfo]]:
        model: type[BaseModel] = self.annotation
        for name, info in model.model_fields.items():
            for key in keys_of(name, info, model.model_config):
                yield key, info

    def child(self, part: str) -> tuple[str, Node] | None:
        """The place that follows by a name, whatever its case.

        Args:
            part: the name.

        Returns:
            The name as the settings spell it and its node, or None if there cannot be such a place.
        """
        if self.kind is Kind.OPEN:
            return part, self
        if self.kind is Kind.MAPPING:
            return part, Node.of(get_args(self.annotation)[1])
        if self.kind is not Kind.MODEL:
            return None
        for key, info in self._fields():
            if key.lower() == part.lower():
                return key, Node.of(info.annotation)
        return None if self.closed else (part, Node(Any))

    def at(self, path: Sequence[str | int]) -> Node:
        """The place at the end of a path; open where the path cannot be followed."""
        node = self
        for part in path:
            if isinstance(part, int) and node.kind is Kind.LIST:
                arguments = get_args(node.annotation)
                node = Node.of(arguments[0]) if arguments else Node(Any)
            else:
                found = node.child(str(part))
                node = found[1] if found else Node(Any)
        return node
