"""The commands: thin shells that find a container, call it, and say the result to a person or a script.

Exit codes: 0 all is well; 1 the answer is no (faults found, not healthy, lines rejected, letters failed or refused, a
number of the demo is wrong); 2 the command itself could not be understood; 3 a load or a replay gave up before its end.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from wellwired.cli.locating import DEFAULT, container_at, name_at, started_at
from wellwired.errors import SettingsError, WellwiredError

__all__ = ["app", "check", "demo", "graph", "health", "load", "purge", "replay", "run"]

app = typer.Typer(
    name="wellwired",
    help="Check, show and use the container of an application.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out, err = Console(), Console(stderr=True)

Place = Annotated[
    str,
    typer.Option(
        "--container",
        "-c",
        metavar="MODULE:CLASS",
        help="The container class of the application; a framework's own command has it already.",
    ),
]
Log = Annotated[bool, typer.Option("--log", help="Also print the log, a line for each write.")]


def run(arguments: Sequence[str] | None = None, *, name: str | None = None) -> None:
    """Runs the command line; an error of the library is one line on standard error and exit code 2.

    Args:
        arguments: the words after the command's name; those of the process if None.
        name: what the command is called in its help; ``wellwired`` if None.

    Raises:
        SystemExit: at its end, with the exit code.
    """
    try:
        app(args=arguments, prog_name=name)
    except (WellwiredError, ExceptionGroup) as error:
        if isinstance(error, ExceptionGroup) and error.split(WellwiredError)[1] is not None:
            raise
        for line in _lines(error):
            err.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(2) from None


def _lines(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [line for inner in error.exceptions for line in _lines(inner)]
    if isinstance(error, SettingsError):
        return list(error.faults)
    return [f"{type(error).__name__}: {error}"]


@app.command()
def check(container: Place = DEFAULT) -> None:
    """Finds every fault of settings and wiring, without connecting to anything."""
    try:
        made = container_at(container).check()
    except (ExceptionGroup, SettingsError) as faults:
        lines = _lines(faults)
        for line in lines:
            out.print(f"[red]✗[/red] {_escaped(line)}", highlight=False, soft_wrap=True)
        out.print(f"{len(lines)} fault{'' if len(lines) == 1 else 's'} in {name_at(container)}", markup=False)
        raise typer.Exit(1) from None
    out.print(
        f"[green]✓[/green] {_escaped(name_at(container))} is well wired: {len(made.ids())} providers", highlight=False
    )


@app.command()
def health(
    container: Place = DEFAULT,
    timeout: Annotated[float, typer.Option(help="Seconds for all pings together.", min=0.001)] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Starts the container, pings every pool, stops it again."""
    with started_at(container) as started:
        answer = started.health(timeout=timeout)
    out.print(json.dumps(answer.to_dict(), indent=2) if as_json else str(answer), markup=False, highlight=False)
    raise typer.Exit(0 if answer.ok else 1)


@app.command()
def graph(
    container: Place = DEFAULT,
    form: Annotated[str, typer.Option("--format", "-f", help="text, mermaid or dot.")] = "text",
) -> None:
    """Draws who needs whom."""
    made = container_at(container)
    made.expand()
    drawn = made.graph()
    drawings = {"text": drawn.text, "mermaid": drawn.mermaid, "dot": drawn.dot}
    if form not in drawings:
        raise typer.BadParameter(f"{form!r} is none of {', '.join(drawings)}", param_hint="--format")
    print(drawings[form]())


@app.command()
def load(
    file: Annotated[str, typer.Argument(metavar="FILE.jsonl|-", help="A line for each write; - is standard input.")],
    *,
    container: Place = DEFAULT,
    rejects: Annotated[
        Path | None, typer.Option(help="Where rejected lines go, with reasons; made at the first one.")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(help="Tells this load from others with equal lines; the file's name by default.")
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Also send lines that a second load could apply twice.")
    ] = False,
    chunk: Annotated[int, typer.Option(help="Lines handed over at a time.", min=1)] = 100,
    log: Log = False,
) -> None:
    """Writes every line of a file through the write manager; safe to repeat, and nothing is lost."""
    from wellwired.cli.load_command import load_file

    _quieten(log)
    with started_at(container) as started:
        code = load_file(started, file, rejects=rejects, batch=batch, unsafe=unsafe, chunk=chunk, out=out, err=err)
    raise typer.Exit(code)


@app.command()
def replay(
    *,
    container: Place = DEFAULT,
    file: Annotated[
        Path | None, typer.Option(help="A file of letters that was rotated away; else what the settings name.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="A code, an outcome, or CODE/OUTCOME; may be given several times.")
    ] = None,
    target: Annotated[list[str] | None, typer.Option(help="Only letters to this target; may be repeated.")] = None,
    type: Annotated[list[str] | None, typer.Option(help="Only letters of this type; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also send letters that may be applied twice.")] = False,
    log: Log = False,
) -> None:
    """Sends dead letters again, with their idempotency keys; what took effect is not sent twice."""
    from wellwired.cli.replay_command import chosen, replay_letters

    _quieten(log)
    choice = chosen(only or (), target or (), type or ())
    with started_at(container) as started:
        code = replay_letters(started, file=file, choice=choice, force=force, dry_run=dry_run, out=out, err=err)
    raise typer.Exit(code)


@app.command()
def purge(
    *,
    container: Place = DEFAULT,
    store: Annotated[list[str] | None, typer.Option(help="Only this store, such as users; may be repeated.")] = None,
    log: Log = False,
) -> None:
    """Removes from the SQL and Redis layers of the stores what has ended or was cleared; to be run now and then."""
    from wellwired.cli.purge_command import purge_stores

    _quieten(log)
    with started_at(container) as started:
        code = purge_stores(started, store or (), out=out, err=err)
    raise typer.Exit(code)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the demo's tables and keys behind.")] = False,
    log: Log = False,
) -> None:
    """Runs the main job on embedded defaults, or on what the environment names, and checks every number."""
    from wellwired.cli.demo import run_demo

    _quieten(log)
    raise typer.Exit(0 if run_demo(out, keep=keep) else 1)


def _quieten(log: bool) -> None:
    # A bar and a table say it better than a thousand lines; structlog that is configured stays as it is.
    if not log:
        import structlog

        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    sys.exit(app())
