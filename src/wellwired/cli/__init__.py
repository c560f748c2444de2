"""The ``wellwired`` command: check, health, graph, load and demo."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None, *, name: str | None = None) -> None:
    """Runs the command; says which extra to install when its libraries are missing, and exits with 2.

    Args:
        arguments: the words after the command's name; those of the process if None.
        name: what the command is called in its help; ``wellwired`` if None.

    Raises:
        SystemExit: at its end, with the exit code.
    """
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError as error:
        from wellwired.errors import MissingExtraError

        print(MissingExtraError(str(error.name), extra="cli", purpose="the wellwired command"), file=sys.stderr)
        raise SystemExit(2) from None
    from wellwired.cli.app import run

    run(arguments, name=name)
