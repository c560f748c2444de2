"""Which place in the tree of settings a variable's name means, and what was probably meant when it means none.

Pure: a settings class and a variable go in, and a variable with its path, a fault, or None (it is somebody else's)
comes out. Every name with the prefix must mean something. A name without it is a fault only where a slip is by far
the likeliest reading: ``WELLWIRED_SQL__MAIN__URL`` (one underscore) or ``WELWIRED__SQL__MAIN__URL`` (a slip in the
word), and less of that for short prefixes, which are near other programs' words.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from pydantic_settings import BaseSettings

from wellwired.settings._json import JSONTextError, decode_json
from wellwired.settings._schema import Kind, Node, keys_of
from wellwired.settings._variables import Fault, Variable
from wellwired.settings.names import near

__all__ = ["Layout"]

_LONG_ENOUGH = 6
"""Shorter prefixes are too near to other programs' words."""


class Layout:
    """The names that a settings class understands; immutable.

    Args:
        cls: the settings class; its ``env_prefix`` and ``env_nested_delimiter`` are used.
    """

    def __init__(self, cls: type[BaseSettings]) -> None:
        self.prefix: str = cls.model_config.get("env_prefix") or ""
        self.delimiter: str = cls.model_config.get("env_nested_delimiter") or "__"
        self.root = Node.of(cls)
        keys = [key for name, info in cls.model_fields.items() for key in keys_of(name, info, cls.model_config)]
        self.heads = tuple(key for key in keys if key in cls.model_fields)
        # An alias is the whole name of its variable, without the prefix.
        self.aliases = {key.lower(): key for key in keys if key not in self.heads}

    def variable(self, path: Sequence[str]) -> str:
        """The name of the variable that means a place."""
        head = "" if path[0] in self.aliases.values() else self.prefix
        return head.upper() + self.delimiter.join(path).upper()

    def place(self, variable: Variable) -> Variable | Fault | None:
        """Finds the place that a variable means.

        Args:
            variable: as it was found.

        Returns:
            The variable with its path; or what is wrong with its name or its form; or None if it is not ours.
        """
        name = variable.name.lower()
        parts = name.split(self.delimiter)
        if parts[0] in self.aliases:
            return self._follow(variable, parts)
        if name.startswith(self.prefix.lower()) and (self.prefix or parts[0] in self.heads):
            return self._follow(variable, name.removeprefix(self.prefix.lower()).split(self.delimiter))
        meant = self._meant_prefix(parts) if self.prefix else None
        if meant is None:
            return None
        return Fault(variable.label, f"does not begin with {self.prefix}; did you mean {meant}?")

    def _meant_prefix(self, parts: list[str]) -> str | None:
        stem = self.prefix.lower().rstrip("_")
        rest = self.delimiter.join(parts)
        likely = len(stem) >= _LONG_ENOUGH or len(parts) > 1
        if likely and rest.startswith(f"{stem}_"):  # one underscore, not two
            known = self._split(self.root, rest.removeprefix(f"{stem}_").split(self.delimiter))
            return self.variable(known) if known and known[0] in self.heads else None
        alike = difflib.SequenceMatcher(None, parts[0], stem).ratio() >= 0.85
        if alike and len(stem) >= _LONG_ENOUGH and len(parts) > 1 and parts[1] in self.heads:
            return self.variable(parts[1:])
        return None

    def _follow(self, variable: Variable, parts: Sequence[str]) -> Variable | Fault:
        node, path = self.root, list[str]()
        for number, part in enumerate(parts):
            found = node.child(part)
            if found is None:
                return self._unknown(variable, node, path, parts[number:])
            path.append(found[0])
            node = found[1]
        placed = replace(variable, path=tuple(path))
        return self._complaint_of_form(placed, node, path) or placed

    def _unknown(self, variable: Variable, node: Node, path: list[str], rest: Sequence[str]) -> Fault:
        if node.kind in (Kind.VALUE, Kind.LIST):
            text = f"goes too deep; {self.variable(path)} is {node.kind.value}"
        elif meant := self._split(node, rest):
            text = f"is an unknown setting; did you mean {self.variable([*path, *meant])}?"
        else:
            text = f"is an unknown setting; known here are {self._known(node, path)}"
        return Fault(variable.label, text, (*path, *rest))

    def _known(self, node: Node, path: list[str]) -> str:
        names = node.names if path else (*self.heads, *self.aliases.values())
        return ", ".join(sorted(name.upper() for name in names))

    def _split(self, node: Node, rest: Sequence[str]) -> list[str] | None:
        """The names that were probably meant by the rest of a variable's name, from an unknown one on."""
        first, *others = rest
        for name in sorted(node.names, key=len, reverse=True):
            found = node.child(name)
            if found and found[1].kind in (Kind.MODEL, Kind.MAPPING) and first.startswith(f"{name}_"):
                return [name, *self._tail(found[1], first.removeprefix(f"{name}_")), *others]
        names = node.names if node is not self.root else self.heads
        close = first if first in names else near(first, names)
        return [close, *others] if close else None

    def _tail(self, node: Node, text: str) -> list[str]:
        """Splits ``main_url`` into ``main`` and ``url`` where single underscores stood for two."""
        if node.kind is Kind.MODEL:
            return [near(text, node.names) or text]
        found = node.child("name")
        names = found[1].names if found else ()
        for name in sorted(names, key=len, reverse=True):
            if text.endswith(f"_{name}"):
                return [text.removesuffix(f"_{name}"), name]
        return [text]

    def _complaint_of_form(self, variable: Variable, node: Node, path: list[str]) -> Fault | None:
        """Says so where a whole group of settings was given something that is not JSON."""
        if node.kind not in (Kind.MODEL, Kind.MAPPING):
            return None
        if not variable.text.lstrip().startswith("{"):
            return Fault(variable.label, f"is {node.kind.value}; {self._deeper(node, path)}", variable.path)
        try:
            decode_json(variable.text)
        except JSONTextError as error:
            return Fault(variable.label, f"is not valid JSON: {error}", variable.path)
        return None

    def _deeper(self, node: Node, path: list[str]) -> str:
        if node.kind is Kind.MODEL:
            split = self._tail(self.root.at(path[:-1]), path[-1])
            last = [*path[:-1], *split] if len(split) > 1 else [*path, node.required or node.names[0]]
            return f"did you mean {self.variable(last)}?"
        found = node.child("name")
        last_name = (found[1].required or "") if found else ""
        example = self.variable(path) + self.delimiter + self.delimiter.join(["<NAME>", last_name.upper()])
        return f"did you mean {example.removesuffix(self.delimiter)}?"
