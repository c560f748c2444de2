"""Checks that a wheel has every file of the package, its licence and its entry point, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile

__all__ = ["main"]


def main(wheel: str) -> int:
    """Compares the wheel with what git keeps of the package; prints what differs and returns the exit code."""
    kept = subprocess.run(["git", "ls-files", "src/wellwired"], capture_output=True, text=True, check=True)
    wanted = {name.removeprefix("src/") for name in kept.stdout.split()}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        points = next(archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    package = {name for name in names if ".dist-info/" not in name}
    for word, files in {"missing": wanted - package, "foreign": package - wanted}.items():
        for name in sorted(files):
            print(f"{word} in the wheel: {name}")
    for needed in ("wellwired/py.typed", "licenses/LICENSE", "METADATA"):
        if not any(name.endswith(needed) for name in names):
            print(f"missing in the wheel: {needed}")
            return 1
    print(f"the wheel has {len(package)} files and the commands: {' '.join(points.split()[1:])}")
    return int(wanted != package)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
