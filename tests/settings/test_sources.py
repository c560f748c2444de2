"""Tests of where settings come from, which source is stronger, and how each is named in a report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.settings.conftest import everything_told
from wellwired.errors import SettingsError
from wellwired.settings import Settings, SQLSettings

Faults = Callable[..., tuple[str, ...]]
URL = {"WELLWIRED__SQL__MAIN__URL": "sqlite://"}


def _size(**given: object) -> int:
    settings = Settings(**given)
    return settings.sql["main"].pool_size


def test_stronger_sources_win_setting_by_setting(tmp_path: Path) -> None:
    """Arguments, environment, .env and secrets, in this order, merged down to the single setting."""
    env, secrets = tmp_path / "some.env", tmp_path / "secrets"
    secrets.mkdir()
    for name, value in {"URL": "sqlite://", "POOL_SIZE": "1", "MAX_OVERFLOW": "1", "POOL_TIMEOUT": "1"}.items():
        (secrets / f"WELLWIRED__SQL__MAIN__{name}").write_text(f"{value}\n")
    env.write_text('WELLWIRED__SQL__MAIN={"pool_size": 2, "max_overflow": 2, "pool_timeout": 2}\n')
    environ = {"WELLWIRED__SQL__MAIN__POOL_SIZE": "3", "WELLWIRED__SQL": '{"main": {"max_overflow": 3}}'}
    main = Settings(_environ=environ, _env_file=env, _secrets_dir=secrets, sql={"main": {"pool_size": 4}}).sql["main"]
    assert (main.pool_size, main.max_overflow, main.pool_timeout) == (4, 3, 2.0)
    assert main.url.get_secret_value() == "sqlite://"


def test_the_process_environment_and_dot_env_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments: os.environ, and `.env` in the current folder."""
    (tmp_path / ".env").write_text("WELLWIRED__SQL__MAIN__URL=sqlite://\nWELLWIRED__SQL__MAIN__POOL_SIZE=7\n")
    assert _size() == 7
    monkeypatch.setenv("WELLWIRED__SQL__MAIN__POOL_SIZE", "8")
    assert _size() == 8


def test_an_instance_may_be_an_argument() -> None:
    """Groups that were made by hand replace what the environment says about them."""
    settings = Settings(_environ=URL, sql={"main": SQLSettings(url="sqlite://", pool_size=9)})  # type: ignore[arg-type]
    assert settings.sql["main"].pool_size == 9


NESTED = {
    "WELLWIRED__SQL": '{"main": {"url": "sqlite://", "pool_size": 1}, "audit": {"url": "sqlite://"}}',
    "WELLWIRED__SQL__MAIN": '{"pool_size": 2, "max_overflow": 2, "tls": null}',
    "WELLWIRED__SQL__MAIN__POOL_SIZE": "3",
    "WELLWIRED__SQL__AUDIT__POOL_SIZE": "4",
    "WELLWIRED__STORES__U__LAYERS": "sql.main!",
    "WELLWIRED__STORES": '{"u": {"layers": "memory", "namespace": "x"}}',
}


@given(st.permutations(sorted(NESTED)))
def test_nested_variables_add_to_json_in_any_order(names: list[str]) -> None:
    """The deeper variable wins over its parent's JSON, wherever the environment lists it."""
    settings = Settings(_environ={name: NESTED[name] for name in names}, _env_file=None)
    assert settings == Settings(_environ=NESTED, _env_file=None)
    main = settings.sql["main"]
    assert (main.pool_size, main.max_overflow, settings.sql["audit"].pool_size) == (3, 2, 4)
    assert settings.stores["u"].namespace == "x" and settings.stores["u"].layers[0].name == "sql.main"


ENV_FILE = """\
# a comment

export WELLWIRED__SQL__MAIN__URL="sqlite://"   # another
OTHER='over

three lines'
WELLWIRED__SQL__MAIN__POOL_SIZE=many
wellwired__log__levl=INFO


WELLWIRED__WRITES__TIMEOUT=${LIMIT:-0}
WELLWIRED__STORES={"u":
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_fault_names_the_line_of_its_file(newline: str, tmp_path: Path, faults_of: Faults) -> None:
    """Lines are counted as an editor does, past comments, blank lines and values over several lines."""
    path = tmp_path / "x.env"
    path.write_bytes(ENV_FILE.replace("\n", newline).encode())
    assert faults_of(_env_file=path) == (
        f"{path} line 8, wellwired__log__levl: is an unknown setting; did you mean WELLWIRED__LOG__LEVEL?",
        f"{path} line 12, WELLWIRED__STORES: is not valid JSON: expecting value at line 1 column 6",
        f"{path} line 7, WELLWIRED__SQL__MAIN__POOL_SIZE: is not a whole number",
        f"{path} line 11, WELLWIRED__WRITES__TIMEOUT: must be more than 0",
    )


def test_the_last_of_two_lines_counts_and_is_named(tmp_path: Path, faults_of: Faults) -> None:
    """A name that is given twice in one file has its last value."""
    path = tmp_path / ".env"
    path.write_text("WELLWIRED__LOG__LEVEL=loud\nWELLWIRED__LOG__LEVEL=INFO\n")
    assert Settings(_environ={}).log.level == "INFO"
    path.write_text("WELLWIRED__LOG__LEVEL=INFO\nWELLWIRED__LOG__LEVEL=loud\n")
    assert faults_of()[0].startswith(".env line 2, WELLWIRED__LOG__LEVEL: must be 'DEBUG'")


def test_names_in_a_file_are_filled_in_from_the_file_and_the_environment(tmp_path: Path) -> None:
    """`${NAME}` is the file's own value, or else the environment's."""
    (tmp_path / ".env").write_text(
        "SIZE=6\nWELLWIRED__SQL__MAIN__POOL_SIZE=${SIZE}\nWELLWIRED__SQL__MAIN__URL=${BASE}\n"
    )
    assert _size(_environ={"BASE": "sqlite://", "SIZE": "5"}) == 6


@pytest.mark.parametrize(
    "line",
    ['WELLWIRED__LOG__LEVEL "hunter2"', "WELLWIRED__LOG__LEVEL='hunter2", "export WELLWIRED__LOG__LEVEL"],
)
def test_a_line_of_ours_that_cannot_be_read_is_a_fault(line: str, tmp_path: Path) -> None:
    """It is named by its number and not repeated."""
    (tmp_path / ".env").write_text(f"A=1\n\n{line}\n")
    with pytest.raises(SettingsError) as caught:
        Settings(_environ={})
    (fault,) = caught.value.faults
    assert fault.startswith(".env line 3: cannot be read; write NAME=value")
    assert not [text for text in everything_told(caught.value) if "hunter2" in text]


def test_a_comment_may_name_a_variable_of_ours(tmp_path: Path) -> None:
    """As an example does that shows what could be set; it sets nothing."""
    (tmp_path / ".env").write_text("# WELLWIRED__LOG__LEVEL=INFO or so\n\n  # WELLWIRED__LOG__LEVEL\n#WELLWIRED__A=1")
    assert Settings(_environ={}) == Settings(_environ={}, _env_file=None)


def test_lines_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    """Neither their names nor their syntax is our business."""
    (tmp_path / ".env").write_text("SQL__MAIN__URL=x\nsyntax of another kind\n'=\nURL=${WELLWIRED\n")
    assert Settings(_environ={}) == Settings(_environ={}, _env_file=None)


def test_of_two_files_the_later_is_stronger(tmp_path: Path) -> None:
    """As pydantic-settings has it."""
    one, two = tmp_path / "1.env", tmp_path / "2.env"
    one.write_text("WELLWIRED__SQL__MAIN__URL=sqlite://\nWELLWIRED__SQL__MAIN__POOL_SIZE=1\n")
    two.write_text("WELLWIRED__SQL__MAIN__POOL_SIZE=2\n")
    assert _size(_environ={}, _env_file=[one, two]) == 2


@pytest.mark.parametrize(
    ("content", "why"), [(b"\xff\xfe", "it is not text in the expected encoding"), (None, "is a directory")]
)
def test_a_file_that_cannot_be_read_is_a_fault(
    content: bytes | None, why: str, tmp_path: Path, faults_of: Faults
) -> None:
    """The reason is given in words without content."""
    path = tmp_path / ".env"
    path.mkdir() if content is None else path.write_bytes(content)
    assert faults_of() == (f".env: cannot be read: {why}",)


def test_a_file_may_have_another_encoding(tmp_path: Path) -> None:
    """The argument goes before the class's configuration."""
    (tmp_path / ".env").write_bytes("WELLWIRED__SQL__MAIN__URL=sqlite:///é.db\n".encode("latin-1"))
    settings = Settings(_environ={}, _env_file_encoding="latin-1")
    assert settings.sql["main"].url.get_secret_value() == "sqlite:///é.db"


def test_variables_say_where_to_look(tmp_path: Path, faults_of: Faults) -> None:
    """WELLWIRED__ENV_FILE and WELLWIRED__SECRETS_DIR are places, not settings, and must be there."""
    (tmp_path / "a.env").write_text("WELLWIRED__SQL__MAIN__URL=sqlite://\n")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "WELLWIRED__SQL__MAIN__POOL_SIZE").write_text("6")
    environ = {"WELLWIRED__ENV_FILE": str(tmp_path / "a.env"), "wellwired__secrets_dir": str(tmp_path / "s")}
    assert _size(_environ=environ) == 6
    assert faults_of({"WELLWIRED__ENV_FILE": "hunter2", "WELLWIRED__SECRETS_DIR": "hunter2/"}) == (
        "WELLWIRED__ENV_FILE: names a file that does not exist",
        "WELLWIRED__SECRETS_DIR: names a directory that does not exist",
    )


def test_places_that_an_argument_names_must_be_there(faults_of: Faults) -> None:
    """Those of the class's configuration may be missing: a laptop has no /run/secrets."""
    assert faults_of(_env_file="nope.env", _secrets_dir="nope") == (
        "argument _env_file: names a file that does not exist",
        "argument _secrets_dir: names a directory that does not exist",
    )

    class Deployed(Settings):
        model_config = {"secrets_dir": "/run/nowhere", "env_file": "no.env"}  # noqa: RUF012 - as pydantic has it

    assert Deployed.load(_environ={}).sql == {}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A directory of secrets."""
    path = tmp_path / "secrets"
    path.mkdir()
    return path


def _put(root: Path, name: str, value: str = "sqlite://\n") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "WELLWIRED__SQL__MAIN__URL",
        "wellwired__sql__main__url",
        "sql/main/url",
        "SQL/MAIN/URL",
        "sql/main__url",
        "wellwired/sql/main/url",
        "WELLWIRED__SQL/main/url",
    ],
)
def test_secret_files_flat_and_in_directories(name: str, secrets: Path) -> None:
    """Docker's flat names, Kubernetes' directories, and mixtures mean the same; whitespace at the ends is dropped."""
    _put(secrets, name)
    _put(secrets, "ssh/id", "not ours")
    _put(secrets, "POSTGRES_PASSWORD", "not ours")
    settings = Settings(_environ={}, _secrets_dir=secrets)
    assert settings.sql["main"].url.get_secret_value() == "sqlite://"


def test_a_kubernetes_volume(secrets: Path) -> None:
    """Files that are links into the hidden `..data`, which is a link to a hidden version."""
    _put(secrets, "..2026_01_01/url")
    (secrets / "..data").symlink_to("..2026_01_01")
    (secrets / "sql").mkdir()
    (secrets / "sql" / "main").symlink_to(secrets / "..2026_01_01")
    (secrets / "WELLWIRED__SQL__AUDIT__URL").symlink_to(Path("..data") / "url")
    settings = Settings(_environ={}, _secrets_dir=secrets)
    assert set(settings.sql) == {"audit", "main"}


def test_faults_of_secret_files_name_the_file(secrets: Path, tmp_path: Path, faults_of: Faults) -> None:
    """A wrong name, a wrong value, a link that leads out, a pipe, bytes, and a file that is too large."""
    _put(secrets, "WELLWIRED__SQLL__MAIN__URL", "hunter2")
    _put(secrets, "writes/timeout", "hunter2")
    _put(secrets, "sql/main/url").unlink()
    (secrets / "sql/main/url").symlink_to(_put(tmp_path, "outside"))
    os.mkfifo(secrets / "WELLWIRED__LOG__LEVEL")
    (secrets / "WELLWIRED__LOG__FORMAT").write_bytes(b"\xff")
    _put(secrets, "WELLWIRED__METRICS__NAMESPACE", "x" * (1 << 20) + "x")
    _put(secrets, "store/users/layers", "memory!")
    _put(secrets, "WELLWIRED__METRICS__ENABLED").unlink()
    (secrets / "WELLWIRED__METRICS__ENABLED").symlink_to("nothing")
    assert sorted(faults_of(_secrets_dir=secrets)) == [
        f"secret file {secrets}/WELLWIRED__LOG__FORMAT: is not text in UTF-8",
        f"secret file {secrets}/WELLWIRED__LOG__LEVEL: is no file",
        f"secret file {secrets}/WELLWIRED__METRICS__ENABLED: is no file",
        f"secret file {secrets}/WELLWIRED__METRICS__NAMESPACE: is larger than a mebibyte",
        (
            f"secret file {secrets}/WELLWIRED__SQLL__MAIN__URL: is an unknown setting; "
            "did you mean WELLWIRED__SQL__MAIN__URL?"
        ),
        f"secret file {secrets}/sql/main/url: is a link that leads out of the secrets directory",
        f"secret file {secrets}/store/users/layers: is in a folder that means nothing here; did you mean stores?",
        f"secret file {secrets}/writes/timeout: is not a number",
    ]


def test_the_same_secret_in_two_files_is_a_fault(secrets: Path, faults_of: Faults) -> None:
    """Which of them would win is nobody's guess."""
    _put(secrets, "WELLWIRED__SQL__MAIN__URL")
    _put(secrets, "sql/main/url")
    assert "is given twice" in faults_of(_secrets_dir=secrets)[0]


def test_a_directory_that_links_to_itself_ends(secrets: Path) -> None:
    """A ring of links is walked once."""
    _put(secrets, "sql/main/url")
    (secrets / "sql" / "again").symlink_to(secrets)
    (secrets / "sql" / "main" / "ring").symlink_to(secrets / "sql")
    assert set(Settings(_environ={}, _secrets_dir=secrets).sql) == {"main"}


def test_a_directory_without_end_is_refused(secrets: Path, monkeypatch: pytest.MonkeyPatch, faults_of: Faults) -> None:
    """Somebody's whole disk is no directory of secrets."""
    monkeypatch.setattr("wellwired.settings._secret_files._MOST_FILES", 3)
    for number in range(5):
        _put(secrets, f"file{number}")
    assert faults_of(_secrets_dir=secrets) == (
        f"secrets directory {secrets}: has more than 3 files; give secrets their own",
    )


def test_a_directory_that_cannot_be_read_is_a_fault(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, faults_of: Faults
) -> None:
    """The reason is the system's, without more."""

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert faults_of(_secrets_dir=secrets) == (f"secrets directory {secrets}: cannot be read: permission denied",)
