"""``wellwired replay``: finds the letters, shows or sends them, and says how it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from wellwired.cli.loading import security_of
from wellwired.cli.replaying import Choice, Replay, ReplayReport, units
from wellwired.errors import ErrorCode, Outcome
from wellwired.writers.dead_letters import Pile, Replayable

__all__ = ["chosen", "replay_letters"]


def chosen(only: Sequence[str], targets: Sequence[str], types: Sequence[str]) -> Choice:
    """Which letters a person means.

    Args:
        only: codes, outcomes, or both with a slash between them, in any case.
        targets: targets.
        types: types.

    Raises:
        typer.BadParameter: one of `only` is none of these.
    """
    codes, outcomes = {*ErrorCode}, {*Outcome}
    for given in only:
        code, slash, outcome = given.upper().partition("/")
        fits = code in codes and outcome in outcomes if slash else code in codes or code in outcomes
        if not fits:
            known = ", ".join((*ErrorCode, *Outcome))
            raise typer.BadParameter(f"{given!r} is neither a code nor an outcome; known: {known}", param_hint="--only")
    return Choice(tuple(given.upper() for given in only), tuple(targets), tuple(types))


def replay_letters(
    container: Any,
    *,
    file: Path | None,
    choice: Choice,
    force: bool,
    dry_run: bool,
    out: Console,
    err: Console,
) -> int:
    """Sends dead letters again and says how it went.

    Args:
        container: a started container with a `write_manager` and `dead_letters`.
        file: a file of letters that was rotated away; None takes those that the settings name.
        choice: which letters.
        force: whether letters go out that may be applied twice.
        dry_run: whether they are only shown.
        out: for the closing lines.
        err: for the progress bar.

    Returns:
        The exit code: 0 all of them took effect, or would be sent; 1 some did not, or cannot be read; 3 a target is
        down and its letters were left.

    Raises:
        typer.BadParameter: the application keeps no letters.
        DeadLettersError: they cannot be read, or another replay is under way.
    """
    sink = _found(container, file)
    manager = container.write_manager()
    alone: AbstractContextManager[None] = nullcontext() if dry_run else sink.alone()
    with alone:
        pile = sink.pile()
        job = Replay(manager, sink, secure=security_of(manager), force=force)
        if dry_run:
            return _show(pile, choice, job, out)
        with _progress(err) as bar:
            task = bar.add_task("replaying", total=sum(len(unit) for unit in units(pile, choice)))
            report = job.run(pile, choice, advance=lambda count: bar.advance(task, count))
    _say(report, pile, out)
    wrong = report.failed.total() + report.refused.total() + len(pile.damaged)
    return 3 if report.left else 1 if wrong else 0


def _found(container: Any, file: Path | None) -> Replayable:
    from wellwired.writers.letters_file import JSONLines

    letters = container.dead_letters()
    if file is not None:
        return letters.beside(file) if isinstance(letters, JSONLines) else JSONLines(file)
    if not isinstance(letters, Replayable):
        raise typer.BadParameter(
            "the application keeps no dead letters; set WELLWIRED__WRITES__DEAD_LETTERS__PATH or __SQL, or give --file"
        )
    return letters


def _progress(err: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, transient=True)


def _show(pile: Pile, choice: Choice, job: Replay, out: Console) -> int:
    """Says what would be done, without a payload."""
    counts: Counter[tuple[str, str, str, str, str]] = Counter()
    for unit in units(pile, choice):
        what = f"refuse: {why}" if (why := job.refusal(unit)) else "send"
        for one in unit:
            letter = one.letter
            counts[letter.target, letter.type, letter.code, letter.outcome, what] += 1
    table = Table("target", "type", "code", "outcome", "letters", "would")
    for (target, kind, code, outcome, what), count in sorted(counts.items()):
        table.add_row(target, kind, code, outcome, str(count), what)
    if counts:
        out.print(table)
    _line(out, f"{counts.total()} letters would be replayed; {pile.done} have been before")
    _damage(pile, out)
    return 1 if pile.damaged or any(what != "send" for *_, what in counts) else 0


def _say(report: ReplayReport, pile: Pile, out: Console) -> None:
    refused, failed = report.refused.total(), report.failed.total()
    total = report.done + refused + failed + report.left + report.taken
    _line(out, f"{total} letters in {report.seconds:.2f} s")
    _line(out, f"  applied   {report.applied}")
    if report.replayed:
        _line(out, f"  replayed  {report.replayed} (had taken effect before)")
    for code, count in sorted(report.failed.items()):
        _line(out, f"  failed    {count} {code}")
    for why, count in sorted(report.refused.items()):
        _line(out, f"  refused   {count}: {why}; look at the data, then use --force")
    if report.taken:
        _line(out, f"  taken     {report.taken} by another replay")
    _damage(pile, out)
    if report.left:
        _line(out, f"gave up {report.left}: their target is down; run the same command again when it is up")


def _damage(pile: Pile, out: Console) -> None:
    for damage in pile.damaged:
        _line(out, f"  damaged   {damage}")


def _line(out: Console, text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
