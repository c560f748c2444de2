"""``manage.py wellwired``: the subcommands, their options, their output and their exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from tests.integrations.django.asking import log
from wellwired.containers import Container
from wellwired.integrations.django import container

ROOT = Path(__file__).parents[3]


def called(*words: str) -> str:
    """What a subcommand prints."""
    out = io.StringIO()
    call_command("wellwired", *words, stdout=out, stderr=out)
    return out.getvalue()


def refused(*words: str) -> tuple[str, int]:
    """What a subcommand prints and says that ends with another code than 0, and the code."""
    out = io.StringIO()
    with pytest.raises(CommandError) as raised:
        call_command("wellwired", *words, stdout=out, stderr=out)
    return f"{out.getvalue()}{raised.value}", raised.value.returncode


def test_the_command_is_about_the_projects_container() -> None:
    """It prints where Django's commands print."""
    assert "DjangoShop is well wired" in called("check")
    assert "flowchart" in called("graph", "--format", "mermaid")
    assert json.loads(called("health", "--json"))["status"] == "up"
    assert log() == ["opened", "closed"]


def test_a_container_that_is_at_work_stays_so() -> None:
    """A command that code calls does not stop what serves that code."""
    container()
    called("health")
    assert container().started and log() == ["opened"]


def test_check_says_every_fault() -> None:
    """Those of the modules too, of which the container itself cannot know; and ends with 1."""
    with override_settings(WELLWIRED={"CONTAINER": Container}):
        told, code = refused("check")
    assert code == 1 and "greeting=Provide['greeting']" in told and "(wellwired.E004)" in told


@pytest.mark.parametrize(("words", "code"), [(["check"], 1), (["graph"], 2), (["health"], 2)])
def test_without_a_container_nothing_can_be_done(words: list[str], code: int) -> None:
    """The setting's fault is said in one line."""
    with override_settings(WELLWIRED=None):
        told, ended = refused(*words)
    assert ended == code and "the setting WELLWIRED is missing" in told


def test_words_that_cannot_be_understood_end_with_2() -> None:
    """As those of `wellwired` do."""
    assert refused("graph", "--format", "png")[1] == 2
    with pytest.raises(CommandError, match="invalid choice"):
        called("nope")


@pytest.mark.parametrize("name", ["check", "graph", "health"])
def test_another_container_is_refused_and_not_passed_over(name: str) -> None:
    """Whoever names one would take the answer for that one's."""
    told, code = refused(name, "--container", "shop:Other")
    assert code == 2 and "--container shop:Other: here it is DjangoShop, the application's own" in " ".join(
        told.split()
    )


def test_options_of_django_are_its_own() -> None:
    """Wherever they stand; all others are the subcommand's."""
    assert "flowchart" in called("graph", "--no-color", "--format", "mermaid", "--verbosity", "2", "--traceback")


def manage(*words: str, settings: str = "tests.integrations.django.settings") -> subprocess.CompletedProcess[str]:
    """Runs `manage.py` in a process of its own."""
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": settings, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"}
    script = "import sys; from django.core.management import execute_from_command_line as run; run(sys.argv)"
    command = [sys.executable, "-c", script, *words]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["check"], 0, "DjangoShop is well wired"),
        (["check", "--help"], 0, "wellwired check [OPTIONS]"),
        (["load", "--help"], 0, "FILE.jsonl"),
        (["health", "--json", "--settings", "tests.integrations.django.settings"], 0, '"status": "up"'),
        (["--help"], 0, "Removes what stores keep beyond its time."),
        (["graph", "--format", "png"], 2, "is none of"),
        (["health", "--settings", "tests.integrations.django.bare_settings"], 2, "the setting WELLWIRED is missing"),
        (["check", "--settings=tests.integrations.django.bare_settings"], 1, "(wellwired.E001)"),
    ],
)
def test_the_exit_codes_are_those_of_wellwired(words: list[str], code: int, said: str) -> None:
    """From the shell, where Django's own checks may fail."""
    done = manage("wellwired", *words)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr


def test_other_commands_refuse_a_project_with_faults() -> None:
    """Django's check stops them, with id and hint."""
    done = manage("check", settings="tests.integrations.django.bare_settings")
    assert done.returncode == 1 and "(wellwired.E001)" in done.stderr and "Traceback" not in done.stderr
