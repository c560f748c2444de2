"""The commands, run as a person or a script would: exit codes, what they say, and what they leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

Run = Callable[..., subprocess.CompletedProcess[str]]

SHOP = """
import sqlalchemy as sa
from wellwired import Application, Registry, providers
from wellwired.handlers.sql import insert, upsert

items = sa.Table("items", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
                 sa.Column("name", sa.String(20), nullable=False))

class Shop(Application):
    handlers = providers.Singleton(Registry, upsert(items, type="item_put"), insert(items, type="item_add"))

class Broken(Application):
    service = providers.Singleton(list, Application.sql["reports"])

NotOne = object
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the command in a folder with a module `shop`, with no settings but those given."""
    (tmp_path / "shop.py").write_text(SHOP)

    def run(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("WELLWIRED")}
        environment = (
            inherited | variables | {"PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1", "COLUMNS": "200"}
        )
        command = [sys.executable, "-m", "wellwired.cli", *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.fixture
def database(tmp_path: Path) -> dict[str, str]:
    """The variable of a SQLite database that has the shop's table and the table of keys."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE items (id INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL)")
    engine.dispose()
    return {"WELLWIRED__SQL__MAIN__URL": url}


def _names(tmp_path: Path) -> list[str]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.db'}")
    with engine.connect() as connection:
        names = [str(row[0]) for row in connection.exec_driver_sql("SELECT name FROM items ORDER BY id")]
    engine.dispose()
    return names


def _line(kind: str, number: int, name: str) -> str:
    return json.dumps({"target": "sql.main", "type": kind, "payload": {"id": number, "name": name}}) + "\n"


def test_check_says_that_all_is_well(run: Run, database: dict[str, str]) -> None:
    """A container without faults is exit code 0, and nothing was connected to."""
    done = run("check", "--container", "shop:Shop", **database)
    assert done.returncode == 0, done.stderr
    assert "shop:Shop is well wired" in done.stdout


def test_check_lists_every_fault_and_shows_no_secret(run: Run) -> None:
    """Faults of settings and wiring are listed, each with its variable, and the exit code is 1."""
    done = run(
        "check",
        "--container",
        "shop:Shop",
        WELLWIRED__SQL__MAIN__URL="postgresql://ada:hunter2@localhost:port/shop",
        WELLWIRED__WRITES__TIMEOUT="-1",
        WELLWIRED__REDISS__CACHE__URL="redis://:hunter2@localhost",
    )
    assert done.returncode == 1
    for variable in ("WELLWIRED__SQL__MAIN__URL", "WELLWIRED__WRITES__TIMEOUT", "WELLWIRED__REDISS__CACHE__URL"):
        assert variable in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_check_finds_a_name_that_the_settings_do_not_have(run: Run) -> None:
    """A wiring fault names the variable to set."""
    done = run("check", "-c", "shop:Broken")
    assert done.returncode == 1
    assert "WELLWIRED__SQL__REPORTS__URL" in done.stdout


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("shop.Shop", "module:Class"),
        ("shopp:Shop", "no module 'shopp'"),
        ("shop:Shup", "Shop"),
        ("shop:NotOne", "no container class"),
    ],
)
def test_a_wrong_container_is_one_line_and_exit_code_2(run: Run, place: str, words: str) -> None:
    """A mistyped place says what is wrong with it, without a traceback."""
    done = run("check", "--container", place)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_health_pings_and_gives_json(run: Run, database: dict[str, str]) -> None:
    """Pools that answer are exit code 0, for people and for scripts."""
    done = run("health", "--container", "shop:Shop", "--json", **database)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checks"]["sql.main"]["status"] == "up"


def test_health_of_a_dead_server_is_exit_code_1_and_says_no_address(run: Run) -> None:
    """A server that does not answer is down; neither its address nor a password is printed."""
    done = run("health", WELLWIRED__SQL__MAIN__URL="postgresql://ada:hunter2@127.0.0.1:1/shop")
    assert done.returncode == 1
    assert "sql.main: down" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert "127.0.0.1" not in done.stdout + done.stderr


@pytest.mark.parametrize(("form", "words"), [("text", "sql.main"), ("mermaid", "flowchart"), ("dot", "digraph")])
def test_graph_draws_in_three_forms(run: Run, database: dict[str, str], form: str, words: str) -> None:
    """Each form has the providers that follow from the settings."""
    done = run("graph", "-c", "shop:Shop", "--format", form, **database)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    assert "writers.sql.main" in done.stdout


def test_graph_refuses_another_form(run: Run) -> None:
    """A form that there is not is a usage error."""
    assert run("graph", "--format", "png").returncode == 2


def test_load_writes_good_lines_and_files_bad_ones(run: Run, database: dict[str, str], tmp_path: Path) -> None:
    """Good lines are rows, bad ones are in the rejects file with reasons, and the exit code tells."""
    (tmp_path / "items.jsonl").write_text(_line("item_put", 1, "tea") + "{\n" + _line("item_put", 2, "x" * 21))
    done = run("load", "items.jsonl", "-c", "shop:Shop", **database)
    assert done.returncode == 1, done.stderr
    assert _names(tmp_path) == ["tea"]
    rejects = [json.loads(line) for line in (tmp_path / "items.rejects-1.jsonl").read_text().splitlines()]
    assert [(one["line"], one["code"]) for one in rejects] == [(2, "MALFORMED"), (3, "INVALID_REQUEST")]


def test_load_is_safe_to_repeat(run: Run, database: dict[str, str], tmp_path: Path) -> None:
    """Inserts loaded twice are applied once: the second load finds their keys."""
    from wellwired.writers.idempotency import create_tables

    engine = sa.create_engine(database["WELLWIRED__SQL__MAIN__URL"])
    create_tables(engine)
    engine.dispose()
    (tmp_path / "items.jsonl").write_text(_line("item_add", 1, "tea") + _line("item_add", 2, "milk"))
    first, second = (run("load", "items.jsonl", "-c", "shop:Shop", **database) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0), second.stdout + second.stderr
    assert "replayed  2" in second.stdout
    assert _names(tmp_path) == ["tea", "milk"]


def test_load_reads_standard_input_under_a_name(run: Run, database: dict[str, str], tmp_path: Path) -> None:
    """A stream needs a name for its keys, and is loaded like a file."""
    assert run("load", "-", "-c", "shop:Shop", stdin="", **database).returncode == 2
    done = run("load", "-", "-c", "shop:Shop", "--batch", "today", stdin=_line("item_put", 7, "jam"), **database)
    assert done.returncode == 0, done.stderr
    assert _names(tmp_path) == ["jam"]


def test_load_into_a_dead_server_gives_up_and_says_where(run: Run, tmp_path: Path) -> None:
    """A backend that is down is exit code 3 and the line to go on from; nothing is lost."""
    (tmp_path / "items.jsonl").write_text("".join(_line("item_put", n, "tea") for n in range(1, 6)))
    done = run(
        "load",
        "items.jsonl",
        "-c",
        "shop:Shop",
        "--chunk",
        "2",
        WELLWIRED__SQL__MAIN__URL="postgresql://ada:hunter2@127.0.0.1:1/shop",
        WELLWIRED__WRITES__TIMEOUT="0.5",
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "gave up at line 3" in done.stdout
    assert len((tmp_path / "items.rejects-1.jsonl").read_text().splitlines()) == 2
    assert "hunter2" not in done.stdout + done.stderr


def test_load_never_writes_over_rejects(run: Run, database: dict[str, str], tmp_path: Path) -> None:
    """A second load finds a free name, and a name that was given and is taken is a usage error."""
    (tmp_path / "items.jsonl").write_text("{\n")
    for _ in range(2):
        assert run("load", "items.jsonl", "-c", "shop:Shop", **database).returncode == 1
    assert (tmp_path / "items.rejects-2.jsonl").exists()
    taken = run("load", "items.jsonl", "-c", "shop:Shop", "--rejects", "items.rejects-1.jsonl", **database)
    assert taken.returncode == 2


def test_a_missing_file_is_a_usage_error(run: Run, database: dict[str, str]) -> None:
    """A file that cannot be read is said in one line."""
    done = run("load", "nothing.jsonl", "-c", "shop:Shop", **database)
    assert done.returncode == 2
    assert "No such file" in done.stderr


def test_wrong_settings_are_named_by_every_command(run: Run) -> None:
    """A command that cannot start says which variables are at fault, without a traceback."""
    done = run("load", "x.jsonl", WELLWIRED__WRITES__TIMEOUT="soon")
    assert done.returncode == 2
    assert "WELLWIRED__WRITES__TIMEOUT" in done.stderr
    assert "Traceback" not in done.stderr
