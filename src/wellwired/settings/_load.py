"""From an environment to a tree, and from a tree to its faults: the work behind `Settings`.

Nothing here raises for what is wrong in the settings: it is collected, so that one report can hold it all, and so
that no exception that quotes a value is ever in flight when that report is raised.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource

from wellwired.settings import checks
from wellwired.settings._layout import Layout
from wellwired.settings._schema import Kind
from wellwired.settings._sources import VariableSource, find_places, read_environment, read_files, read_secrets
from wellwired.settings._variables import Fault, Origins, Place, Variable
from wellwired.settings.models import WriteSettings
from wellwired.settings.report import translate

__all__ = ["Reading", "cross_faults", "read", "validation_faults"]

OPTIONS = ("_environ", "_env_file", "_env_file_encoding", "_secrets_dir")
"""The arguments of `Settings` that say where to look."""

_OPENING = {Kind.MODEL: "{", Kind.MAPPING: "{", Kind.LIST: "[", Kind.OPEN: "{["}


@dataclass(slots=True)
class Reading:
    """What the sources gave.

    Args:
        layout: the names of the settings class.
        state: the merged tree, ready to be validated.
        origins: who gave what in it.
        faults: what is wrong so far.
        blank: places whose variable was left out because of a fault, so that nothing should be concluded from that.
    """

    layout: Layout
    state: dict[str, Any] = field(default_factory=dict, repr=False)
    origins: Origins = field(default_factory=Origins)
    faults: list[Fault] = field(default_factory=list)
    blank: set[Place] = field(default_factory=set)

    def take(self, found: Iterable[Variable | Fault], *, unique: bool) -> list[Variable]:
        """Places what was found; notes what cannot be placed.

        Args:
            found: variables and faults.
            unique: whether two variables for one place are a fault; else the later counts.

        Returns:
            The variables that are ours.
        """
        taken: dict[Place, Variable] = {}
        for each in found:
            placed = self.layout.place(each) if isinstance(each, Variable) else each
            if isinstance(placed, Fault):
                self.faults.append(placed)
                self.blank.add(placed.path)
            elif placed and unique and placed.path in taken:
                self.faults.append(Fault(placed.label, f"is given twice: {taken[placed.path].label} is the same"))
            elif placed:
                taken[placed.path] = placed
        return list(taken.values())


def read(cls: type[BaseSettings], given: Mapping[str, Any]) -> Reading:
    """Reads all sources of a settings class.

    Args:
        cls: the class.
        given: the arguments of its constructor.

    Returns:
        What they gave, and what is wrong with them.
    """
    values = {name: value for name, value in given.items() if name not in OPTIONS}
    options = {name: value for name, value in given.items() if name in OPTIONS}
    environ: Mapping[str, str] = options.get("_environ", os.environ)
    layout = Layout(cls)
    reading = Reading(layout)
    places, used = find_places(cls, environ, options)
    reading.faults.extend(places.missing)
    encoding = options.get("_env_file_encoding", cls.model_config.get("env_file_encoding"))
    sources = cls.settings_customise_sources(
        cls,
        init_settings=InitSettingsSource(cls, init_kwargs=values),
        env_settings=VariableSource(cls, reading.take(read_environment(environ, used), unique=True)),
        dotenv_settings=VariableSource(cls, reading.take(read_files(places, environ, layout, encoding), unique=False)),
        file_secret_settings=VariableSource(cls, reading.take(read_secrets(places, layout), unique=True)),
    )
    for source in reversed(sources):
        _add(source, reading)
    return reading


def _add(source: Any, reading: Reading) -> None:
    """Puts what a source gives over what weaker sources gave."""
    try:
        tree = source()
    except Exception as error:  # noqa: BLE001 - it becomes a fault; its text, which may quote what was read, does not
        reading.faults.append(Fault(type(source).__name__, f"failed with {type(error).__name__}"))
        return
    reading.state = merge(reading.state, tree)
    if isinstance(source, VariableSource):
        for variable in source.variables:
            kind = reading.layout.root.at(variable.path).kind
            reading.origins.note_variable(variable, _OPENING.get(kind, ""))
        return
    who = "argument" if type(source) is InitSettingsSource else type(source).__name__
    for name, value in tree.items():
        reading.origins.note((name,), value, f"{who} ", (name,))


def merge(weak: Mapping[str, Any], strong: Mapping[str, Any]) -> dict[str, Any]:
    """One tree over another; groups are merged, everything else is replaced; pure."""
    merged = dict(weak)
    for key, value in strong.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def validation_faults(error: Exception, reading: Reading) -> list[Fault]:
    """What an exception from the validation of the tree says.

    Args:
        error: a `ValidationError`, or whatever a validator of the application raised.
        reading: what was validated.

    Returns:
        The faults, without those that only follow from ones that are known.
    """
    if not isinstance(error, ValidationError):
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name} line {frame.lineno}"
        return [Fault("settings", f"a validator failed with {type(error).__name__} in {where}")]
    faults = translate(error.errors(include_url=False), reading.state, reading.origins, reading.layout)
    return [fault for fault in faults if not _follows(fault, reading)]


def _follows(fault: Fault, reading: Reading) -> bool:
    """Whether a required setting may only be missing because the variable around it was left out."""
    return "is required" in fault.text and any(place and place == fault.path[: len(place)] for place in reading.blank)


def cross_faults(cls: type[BaseSettings], reading: Reading, model: BaseSettings | None) -> Iterator[Fault]:
    """What is wrong between groups of settings.

    Args:
        cls: the settings class.
        reading: what was read.
        model: the settings, if they could be made at all; else what could be read of them is looked at.

    Yields:
        The faults.
    """
    view = checks.View(
        sql=_groups("sql", reading, model),
        redis=_groups("redis", reading, model),
        stores={name: store for name, store in _groups("stores", reading, model).items() if store is not None},
        extra_layers=getattr(cls, "extra_layers", ()),
        unknown=frozenset(str(place[0]) for place in reading.blank if len(place) == 1),
        letters=_letters(model),
    )
    for path, text in checks.find(view, reading.layout.variable):
        yield Fault(reading.origins.label(path) or reading.layout.variable(path), text, path)


def _letters(model: BaseSettings | None) -> str | None:
    writes = getattr(model, "writes", None)
    return writes.dead_letters.sql if isinstance(writes, WriteSettings) else None


def _groups(kind: str, reading: Reading, model: BaseSettings | None) -> dict[str, Any]:
    """The groups of one kind by name, None for each that cannot be read."""
    if model is not None:
        return dict(getattr(model, kind, {}))
    entries = reading.state.get(kind)
    group = reading.layout.root.at((kind, "name")).annotation
    known: dict[str, Any] = {str(place[1]): None for place in reading.blank if len(place) > 1 and place[0] == kind}
    for name, value in entries.items() if isinstance(entries, Mapping) else ():
        try:
            known[str(name)] = group.model_validate(value)
        except ValidationError:
            known[str(name)] = None
    return known
