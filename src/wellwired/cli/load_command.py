"""``wellwired load``: files, progress and the closing lines, around the job in `loading`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from wellwired.cli.lines import parse_all
from wellwired.cli.loading import LoadReport, RejectsFile, load, security_of

__all__ = ["load_file"]


@contextmanager
def _opened(file: str) -> Iterator[IO[bytes]]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - the `with` is below, so that only opening is caught here
    except OSError as error:
        raise typer.BadParameter(f"cannot read {file}: {error.strerror}", param_hint="FILE") from None
    with stream:
        yield stream


def _free_path(file: str) -> Path:
    """A name beside the file that no earlier load has taken."""
    stem = Path("stdin" if file == "-" else file).name.removesuffix(".jsonl")
    folder = Path() if file == "-" else Path(file).parent
    number = 1
    while (path := folder / f"{stem}.rejects-{number}.jsonl").exists():
        number += 1
    return path


def load_file(
    container: Any,
    file: str,
    *,
    rejects: Path | None,
    batch: str | None,
    unsafe: bool,
    chunk: int,
    out: Console,
    err: Console,
) -> int:
    """Loads a file and says how it went.

    Args:
        container: a started container with a `write_manager`.
        file: a path, or ``-`` for standard input.
        rejects: where rejects go; None takes a free name beside the file.
        batch: names the load in idempotency keys; None takes the file's name.
        unsafe: whether lines go out that a second load could apply twice.
        chunk: lines handed to the manager at a time.
        out: for the closing lines.
        err: for the progress bar.

    Returns:
        The exit code: 0 all lines took effect, 1 some were rejected, 3 the load gave up.
    """
    if rejects is not None and rejects.exists():
        raise typer.BadParameter(f"{rejects} is there already and may hold rejects", param_hint="--rejects")
    if file == "-" and batch is None:
        # Two streams have no names to tell them apart: an equal line of tomorrow would count as done today.
        raise typer.BadParameter("standard input has no name; give the load one, such as a date", param_hint="--batch")
    manager = container.write_manager()
    with _opened(file) as stream, RejectsFile(rejects or _free_path(file)) as refused, _progress(err) as bar:
        task = bar.add_task("loading", total=None if file == "-" else _count(stream))
        report = load(
            parse_all(stream),
            manager,
            refused,
            secure=security_of(manager),
            batch=batch or Path(file).name,
            unsafe=unsafe,
            chunk=chunk,
            advance=lambda count: bar.advance(task, count),
        )
        written = refused.path if report.rejected else None
    _say(report, written, out)
    return 3 if report.stopped_at is not None else 1 if report.rejected else 0


def _count(stream: IO[bytes]) -> int:
    lines = sum(1 for line in stream if line.strip())
    stream.seek(0)
    return lines


def _progress(err: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, transient=True)


def _say(report: LoadReport, rejects: Path | None, out: Console) -> None:
    def say(text: str) -> None:
        out.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"{report.lines} lines in {report.seconds:.2f} s ({report.rate:.0f} lines/s)")
    say(f"  applied   {report.applied}")
    if report.replayed:
        say(f"  replayed  {report.replayed} (had taken effect in an earlier load)")
    for code, count in sorted(report.rejected.items()):
        say(f"  rejected  {count} {code}")
    if report.unknown:
        say(f"  {report.unknown} of the rejected may have been applied; load the rejects again to settle them")
    if rejects is not None:
        say(f"rejects, with reasons: {rejects}")
    if report.stopped_at is not None:
        say(f"gave up at line {report.stopped_at}: the backend is down; run the same command again when it is up")
