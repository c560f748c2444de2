"""The subcommands of `wellwired` that a framework's own command line offers, about the application's container."""

from __future__ import annotations

from collections.abc import Sequence

from wellwired.cli import main
from wellwired.cli.locating import given
from wellwired.containers.container import ContainerInstance

__all__ = ["COMMANDS", "run"]

COMMANDS = {
    "check": "Finds every fault of settings and wiring, without connecting to anything.",
    "health": "Starts the container, pings every pool, stops it again.",
    "graph": "Draws who needs whom.",
    "load": "Writes every line of a file through the write manager.",
    "replay": "Sends dead letters again.",
    "purge": "Removes what stores keep beyond its time.",
}
"""From the name of each to its line of help."""


def run(container: ContainerInstance, words: Sequence[str], *, name: str) -> None:
    """Runs one.

    Args:
        container: what it is about.
        words: the subcommand and what follows it.
        name: what the command is called in its help, such as ``flask wellwired``.

    Raises:
        SystemExit: at its end, with the exit code.
    """
    with given(container):
        main(words, name=name)
