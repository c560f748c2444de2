"""The ``wellwired`` command: check, health, graph, load and demo."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command; says which extra to install when its libraries are missing, and exits with 2."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError as error:
        from wellwired.errors import MissingExtraError

        print(MissingExtraError(str(error.name), extra="cli", purpose="the wellwired command"), file=sys.stderr)
        raise SystemExit(2) from None
    from wellwired.cli.app import run

    run()
