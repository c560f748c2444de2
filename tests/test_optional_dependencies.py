"""Tests that what an extra brings is asked for by the extra's name, and that the extras are true."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SCRIPT = """
import sys

sys.modules[sys.argv[1]] = None  # an import of it, or a look for it, finds nothing
from pydantic import SecretStr
from wellwired.containers import pools
from wellwired.errors import MissingExtraError, SettingsError
from wellwired.settings import RedisSettings, Settings, SQLSettings

try:
    exec(sys.argv[2])
except MissingExtraError as error:
    print(error.package, error.extra, error.purpose, sep="|")
    print(error)
except SettingsError as error:
    print(error)
"""

URLS = {
    "pymysql": ("sql", "mysql+pymysql://127.0.0.1/x"),
    "psycopg": ("sql", "postgresql+psycopg://127.0.0.1/x"),
    "fakeredis": ("redis", "memory://"),
    "lupa": ("redis", "memory://"),
}

EXTRAS = {
    "pymysql": ("PyMySQL", "mysql"),
    "psycopg": ("psycopg", "postgresql"),
    "fakeredis": ("fakeredis", "embedded"),
    "lupa": ("fakeredis", "embedded"),
    "prometheus_client": ("prometheus-client", "prometheus"),
    "cryptography.fernet": ("cryptography", "encryption"),
    "django": ("Django", "django"),
    "flask": ("Flask", "flask"),
    "cachelib": ("cachelib", "cachelib"),
}


def opening(module: str) -> str:
    """Code that opens what needs a module, with settings that nobody has validated."""
    if module == "prometheus_client":
        return "from wellwired.middleware.prometheus import PrometheusMetrics; PrometheusMetrics()"
    if module in ("django", "flask"):
        return f"import wellwired.integrations.{module}"
    if module == "cryptography.fernet":
        return "from wellwired.writers.dead_letters import fernet; fernet(b'')"
    if module in ("cachelib", "django"):
        return f"import wellwired.integrations.{module}"
    kind, url = URLS[module]
    function, model = {"sql": ("open_engine", "SQLSettings"), "redis": ("open_redis", "RedisSettings")}[kind]
    return f"pools.{function}('{kind}.main', {model}.model_construct(url=SecretStr('{url}')))"


def run(module: str, act: str) -> str:
    """Runs code where a module is not installed, and gives what it prints."""
    command = [sys.executable, "-c", SCRIPT, module, act]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", EXTRAS)
def test_a_missing_extra_is_named(module: str) -> None:
    """Without the package, using what needs it says which extra to install, and for what."""
    package, extra = EXTRAS[module]
    facts, text = run(module, opening(module)).split("\n")
    assert facts.split("|")[0].startswith(package) and facts.split("|")[1] == extra
    assert f"pip install 'wellwired[{extra}]'" in text


@pytest.mark.parametrize("module", URLS)
def test_settings_that_need_a_missing_extra_are_a_fault(module: str) -> None:
    """It is found with all other faults, before anything connects, by the name of its variable."""
    kind, url = URLS[module]
    text = run(module, f"Settings.load({kind}={{'main': {{'url': '{url}'}}}})")
    assert f"pip install 'wellwired[{EXTRAS[module][1]}]'" in text
    assert f"{kind}.main" in text.lower().replace("__", ".")


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_the_command_says_what_it_is_missing(module: str) -> None:
    """Without the libraries of its extra the command ends with 2 and one line, not with a traceback."""
    act = "from wellwired.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", SCRIPT, module, act], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'wellwired[cli]'" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(("package", "extra"), sorted(set(EXTRAS.values())))
def test_an_extra_brings_its_package(package: str, extra: str) -> None:
    """The extra that an error names is one of ours and has the package that was missing."""
    declared = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    brought = declared["project"]["optional-dependencies"][extra]
    assert any(re.match(rf"{package}\b", need, re.IGNORECASE) for need in brought)
