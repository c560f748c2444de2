"""Uses an installed wheel as a stranger would: first with no extra at all, then with the command's.

`python -I - bare` checks that what needs an extra says which; `python -I - cli` runs the command.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import SecretStr

import wellwired
from wellwired.errors import MissingExtraError

__all__ = ["main"]

EXTRAS = {
    "pymysql": "mysql",
    "psycopg": "postgresql",
    "fakeredis": "embedded",
    "prometheus_client": "prometheus",
    "django": "django",
    "flask": "flask",
    "typer": "cli",
    "rich": "cli",
    "pytest": "test",
}


def refuses(extra: str, act: Callable[[], object]) -> None:
    """Checks that something says which extra it is missing."""
    try:
        act()
    except MissingExtraError as error:
        assert error.extra == extra and f"wellwired[{extra}]" in str(error), error
        print(f"without {extra}: {error}")
    else:
        raise AssertionError(f"{act} did without the extra {extra}")


def command(*words: str, code: int = 0) -> str:
    """Runs the installed command and checks how it ends."""
    program = Path(sys.executable).with_name("wellwired")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, (
        f"wellwired {' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    )
    return done.stdout + done.stderr


def bare() -> None:
    """With no extra: the core imports, and what needs more says so."""
    installed = [name for name in EXTRAS if importlib.util.find_spec(name)]
    assert installed == [], f"an empty environment has {installed}"
    print(f"import wellwired: {len(wellwired.__all__)} names")
    from wellwired.containers import pools
    from wellwired.middleware.prometheus import PrometheusMetrics
    from wellwired.settings import RedisSettings, SQLSettings

    refuses("prometheus", PrometheusMetrics)
    for extra, url in {
        "mysql": "mysql+pymysql://127.0.0.1/x",
        "postgresql": "postgresql+psycopg://127.0.0.1/x",
    }.items():
        refuses(extra, partial(pools.open_engine, "sql.main", SQLSettings.model_construct(url=SecretStr(url))))
    memory = RedisSettings.model_construct(url=SecretStr("memory://"))
    refuses("embedded", lambda: pools.open_redis("redis.cache", memory))
    assert "wellwired[cli]" in command("check", code=2)


def cli() -> None:
    """With the command's extra: it checks an application and shows its demo on embedded defaults."""
    print(command("check").strip())
    print(command("demo").strip().splitlines()[-1])


def main() -> None:
    """Runs the part that the first argument names."""
    {"bare": bare, "cli": cli}[sys.argv[1]]()


if __name__ == "__main__":
    main()
