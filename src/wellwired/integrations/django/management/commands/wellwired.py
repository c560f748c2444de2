"""``manage.py wellwired``: the `wellwired` command about the project's container.

It runs when Django's own checks fail, for it is what tells why. What follows the subcommand is for that command, but
for the options that every command of Django has; the exit codes are those of `wellwired`.
"""

from __future__ import annotations

from argparse import SUPPRESS, Namespace
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from wellwired.containers.container import ContainerInstance
from wellwired.integrations._commands import COMMANDS, run
from wellwired.integrations.django._faults import faults_of
from wellwired.integrations.django._project import project
from wellwired.integrations.django.checks import diagnose

__all__ = ["Command"]


class Command(BaseCommand):
    """Checks, shows and uses the project's container."""

    help = "Check, show and use the project's container."
    requires_system_checks: Any = []  # noqa: RUF012 - Django's own way to say it

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds a subcommand for each that `wellwired` has about a container."""
        subparsers = parser.add_subparsers(dest="name", metavar="command", required=True, parser_class=_Words)
        for name, text in COMMANDS.items():
            subparsers.add_parser(name, help=text, add_help=False, allow_abbrev=False)

    def handle(self, *_: Any, name: str, words: Sequence[str], **_options: Any) -> None:
        """Runs one of them.

        Raises:
            CommandError: there is no container, it has faults, or the command ended with a code that is not 0.
        """
        code = self._check() if name == "check" and "--help" not in words else 0
        code = code or self._run([name, *words])
        if code and self._called_from_command_line:  # type: ignore[attr-defined]
            raise SystemExit(code)
        if code:
            raise CommandError(f"wellwired {name} ended with {code}", returncode=code)

    def _check(self) -> int:
        """Says every fault of the project: also those that the container itself cannot know of."""
        faults = list(diagnose())
        for fault in faults:
            self.stdout.write(f"\u2717 {fault.text} ({fault.kind.id})")
        if faults:
            self.stdout.write(f"{len(faults)} fault{'' if len(faults) == 1 else 's'}")
        return 1 if faults else 0

    def _run(self, words: Sequence[str]) -> int:
        container = self._container()
        self.stdout.ending = self.stderr.ending = ""
        with redirect_stdout(self.stdout), redirect_stderr(self.stderr):  # type: ignore[type-var]
            try:
                run(container, words, name="manage.py wellwired")
            except SystemExit as end:
                return int(end.code or 0)
        return 0

    def _container(self) -> ContainerInstance:
        try:
            return project().container
        except Exception as error:
            # Without a container no command can be understood.
            raise CommandError("; ".join(fault.text for fault in faults_of(error)), returncode=2) from error


class _Words(CommandParser):
    """Takes the options that every command of Django has, and leaves all other words as they are."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, argument_default=SUPPRESS)
        for flag in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
            self.add_argument(flag, action="store_true")
        self.add_argument("--settings")
        self.add_argument("--pythonpath")
        self.add_argument("--verbosity", "-v", type=int, choices=range(4))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Namespace, list[str]]:  # type: ignore[override]
        """Gives what it knows; the rest are the words of the subcommand."""
        known, words = super().parse_known_args(args, namespace)
        known.words = words
        return known, []
