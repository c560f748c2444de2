"""What was found, where, and what is wrong with it: the values that pass between the parts of the loader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wellwired.settings._json import JSONTextError, decode_json
from wellwired.settings.names import shown

__all__ = ["Fault", "Origins", "Place", "Variable"]

Place = tuple[str | int, ...]
"""A place in the tree of settings, such as ``("sql", "main", "url")``."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One text that was found under one name.

    Args:
        name: as it was spelled.
        text: what it holds.
        place: where it stood, such as ``.env line 3``; "" for the environment.
        path: the place in the tree of settings that the name means.
    """

    name: str
    text: str = field(repr=False)
    place: str = ""
    path: Place = ()

    @property
    def label(self) -> str:
        """What a report calls it."""
        if self.place.startswith("secret file"):
            return self.place
        return f"{self.place}, {shown(self.name)}" if self.place else shown(self.name)


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of the report.

    Args:
        label: the variable, line, file or argument at fault.
        text: what is wrong and what to try, without any of the value.
        path: the place in the tree of settings that it is about, if it is known.
    """

    label: str
    text: str
    path: Place = ()

    def __str__(self) -> str:
        return f"{self.label}: {self.text}" if self.label else self.text


class Origins:
    """For each place in the tree, who had the last word about it.

    Sources are noted from the weakest to the strongest. Only labels are kept, never texts. Any two are equal: where
    settings came from does not make them different settings.
    """

    def __init__(self) -> None:
        self._known: dict[Place, tuple[str, Place]] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origins)

    def __hash__(self) -> int:
        return hash(Origins)

    def note(self, path: Place, value: Any, label: str, inside: Place = ()) -> None:
        """Notes that a source gives a value.

        Args:
            path: where.
            value: what; its parts are noted too.
            label: the source; one that ends with a space is joined with the place, as in "argument log.level".
            inside: where the value lies inside of what the label names.
        """
        if not isinstance(value, Mapping):
            for known in [known for known in self._known if known[: len(path)] == path]:
                del self._known[known]
        self._known[path] = (label, inside)
        parts: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, Mapping):
            parts = value.items()
        elif isinstance(value, (list, tuple)):
            parts = enumerate(value)
        for key, part in parts:
            self.note((*path, key), part, label, (*inside, key))

    def note_variable(self, variable: Variable, opening: str) -> None:
        """Notes what a variable gives.

        Args:
            variable: the variable.
            opening: what JSON begins with at its place, "{" or "[" or both; other texts are single values there.
        """
        try:
            value = decode_json(variable.text) if variable.text.lstrip()[:1] in opening else None
        except JSONTextError:
            value = None
        self.note(variable.path, value, variable.label)

    def label(self, path: Place) -> str | None:
        """Who gave what stands at a place, or a part of it, or the smallest part of the tree around it."""
        if path not in self._known and (parts := self.below(path)):
            return parts[0]
        for length in range(len(path), 0, -1):
            if known := self._known.get(path[:length]):
                return _label(known[0], known[1] + path[length:])
        return None

    def exact(self, path: Place) -> str | None:
        """Who gave exactly what stands at a place, if somebody did."""
        known = self._known.get(path)
        return _label(*known) if known else None

    def below(self, path: Place) -> list[str]:
        """Who gave something below a place, as near to it as there is something."""
        parts = {known: given for known, given in self._known.items() if known[: len(path)] == path != known}
        nearest = min(map(len, parts), default=0)
        return sorted({_label(*given) for known, given in parts.items() if len(known) == nearest})


def _label(label: str, inside: Place) -> str:
    if not inside:
        return label
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part)}" for part in inside)
    text = text.removeprefix(".")
    return f"{label}{text}" if label.endswith(" ") else f"{label} (at {text})"
