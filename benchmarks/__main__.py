"""``python -m benchmarks``: measures every row of the speed table and prints ours beside its floor.

pytest-benchmark measures; this file only chooses what to run, pins the process to one core, and divides. What is
divided are lower quartiles, the least of several runs with ``--runs 3``: what else a machine does makes things slower
and never faster. A ratio above its limit is marked and is no failure: benchmarks inform.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import pytest

from benchmarks.rows import ROWS, Row

HERE = Path(__file__).parent


def measure(arguments: list[str]) -> dict[str, float]:
    """Runs the benchmarks and gives the lower quartile of each in seconds, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ["-q", "-o", "python_files=bench_*.py", "-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:xdist"]
        options += ["--benchmark-only", "--benchmark-disable-gc", "--benchmark-columns=min,median,iqr,rounds"]
        options += ["--benchmark-warmup=on", "--benchmark-group-by=group", f"--benchmark-json={report}"]
        code = pytest.main([*options, "--timeout=0", str(HERE), *arguments])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or not report.exists():
            raise SystemExit(int(code))
        document = json.loads(report.read_text() or "{}")
    return {one["name"].removesuffix("[]"): one["stats"]["q1"] for one in document.get("benchmarks", [])}


def line(row: Row, measured: dict[str, float]) -> str | None:
    """One row of the table, or None if it was not measured."""
    ours, floor = measured.get(row.ours), measured.get(row.floor)
    if ours is None or floor is None:
        return None
    ours, floor = ours / row.ours_holds, floor / row.floor_holds
    ratio = ours / floor
    verdict = "" if row.limit is None else "within" if ratio <= row.limit else "ABOVE"
    limit = "" if row.limit is None else f"{row.limit:g}"
    times = f"{_shown(ours)} against {_shown(floor)}"
    return f"| {row.what} | {row.against} | {ratio:.2f} | {limit} | {verdict} | {times} |"


def _shown(seconds: float) -> str:
    for unit, size in (("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def main() -> None:
    """Measures and prints."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__, add_help=False)
    parser.add_argument("--runs", type=int, default=1)
    options, arguments = parser.parse_known_args()
    measured: dict[str, float] = {}
    for _ in range(options.runs):
        for name, seconds in measure(arguments).items():
            measured[name] = min(seconds, measured.get(name, seconds))
    lines = [drawn for row in ROWS if (drawn := line(row, measured)) is not None]
    print("\n| what | beside | ratio | limit | | lower quartiles |\n|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
