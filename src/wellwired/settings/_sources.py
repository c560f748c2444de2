"""The sources of settings, and the one that turns variables into a tree.

pydantic-settings decides, by the annotations, which text is JSON and which is taken as it is, so a subclass may use
whatever it documents. It is given the variables that were found and placed, the shallow ones first, so that a nested
variable adds to the JSON of its parent in whatever order the environment lists them; and it is kept from stopping at
the first text that is not JSON, which the validation of the tree reports with all others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource

from wellwired.settings._env_file import read_env_file
from wellwired.settings._layout import Layout
from wellwired.settings._secret_files import read_secret_files
from wellwired.settings._variables import Fault, Variable

__all__ = ["Places", "VariableSource", "find_places", "read_environment", "read_files", "read_secrets"]

Found = Iterable[Variable | Fault]


class VariableSource(EnvSettingsSource):
    """A settings source of variables that were read before.

    Args:
        cls: the settings class.
        variables: what was read and placed; of two for one place the later counts.
    """

    def __init__(self, cls: type[BaseSettings], variables: Iterable[Variable]) -> None:
        super().__init__(cls)
        self.variables = sorted(variables, key=lambda variable: len(variable.path))
        self.env_vars = {variable.name.lower(): variable.text for variable in self.variables}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """The value of a text that should be JSON, or the text itself if it is not."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except (ValueError, RecursionError):
            return value


@dataclass(frozen=True, slots=True)
class Places:
    """Where to look beside the environment.

    Args:
        env_files: ``.env`` files, the weakest first.
        secrets: directories of secrets, the weakest first.
        missing: those that somebody named for this very load and that are not there, as faults.
    """

    env_files: tuple[Path, ...]
    secrets: tuple[Path, ...]
    missing: tuple[Fault, ...] = ()


def find_places(
    cls: type[BaseSettings], environ: Mapping[str, str], options: Mapping[str, Any]
) -> tuple[Places, set[str]]:
    """Decides where to look: an argument of this load, else a variable, else the class's configuration.

    Args:
        cls: the settings class.
        environ: the environment, where ``<PREFIX>ENV_FILE`` and ``<PREFIX>SECRETS_DIR`` may name places.
        options: ``_env_file`` and ``_secrets_dir`` where they were given.

    Returns:
        The places, and the lower-case names of the variables that were used up by this.
    """
    chosen: dict[str, tuple[Path, ...]] = {}
    missing: list[Fault] = []
    used: set[str] = set()
    lowered = {name.lower(): name for name in environ}
    for key in ("env_file", "secrets_dir"):
        variable = f"{cls.model_config.get('env_prefix') or ''}{key}".lower()
        if variable in lowered and key not in cls.model_fields:
            used.add(variable)
        else:
            variable = ""
        if f"_{key}" in options:
            chosen[key] = _paths(options[f"_{key}"])
            missing += _missing(key, chosen[key], f"argument _{key}")
        elif variable:
            chosen[key] = _paths(environ[lowered[variable]] or None)
            missing += _missing(key, chosen[key], lowered[variable])
        else:
            chosen[key] = _paths(cls.model_config.get(key))
    return Places(chosen["env_file"], chosen["secrets_dir"], tuple(missing)), used


def _paths(value: Any) -> tuple[Path, ...]:
    if value is None:
        return ()
    each = [value] if isinstance(value, (str, os.PathLike)) else value
    return tuple(Path(path).expanduser() for path in each)


def _missing(key: str, paths: Iterable[Path], label: str) -> Iterator[Fault]:
    for path in paths:
        if key == "env_file" and not path.exists():
            yield Fault(label, "names a file that does not exist")
        if key == "secrets_dir" and not path.is_dir():
            yield Fault(label, "names a directory that does not exist")


def read_environment(environ: Mapping[str, str], used: set[str]) -> Found:
    """The variables of the environment.

    Args:
        environ: the environment.
        used: lower-case names that mean something else.

    Returns:
        All other variables, ours or not.
    """
    return [Variable(name, text) for name, text in environ.items() if name.lower() not in used]


def read_files(places: Places, environ: Mapping[str, str], layout: Layout, encoding: str | None) -> Found:
    """The variables of the ``.env`` files that exist, and what is wrong with these."""
    for path in places.env_files:
        if path.exists():
            yield from read_env_file(path, environ=environ, prefix=layout.prefix, encoding=encoding)


def read_secrets(places: Places, layout: Layout) -> Found:
    """The variables of the secrets directories that exist, and what is wrong with these."""
    for path in places.secrets:
        if path.is_dir():
            yield from read_secret_files(path, layout)
