"""Tests of the masked list of all settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretBytes, SecretStr

from wellwired.settings import Settings, masked


class Shop(Settings):
    """Settings with secrets that are declared, and one that is not."""

    token: SecretStr = SecretStr("")
    raw: SecretBytes = SecretBytes(b"")
    api_key: str = ""
    tags: tuple[str, ...] = ()


W = "WELLWIRED__"
ENVIRON = {
    f"{W}SQL": '{"main": {"url": "postgresql://ada:hunter2@db/shop"}}',
    f"{W}SQL__MAIN__POOL_SIZE": "9",
    f"{W}STORES__USERS__LAYERS": "memory:60,sql.main!",
    f"{W}STORES__ROOMS__LAYERS": '[{"name": "memory", "share": true}, {"name": "sql.main", "primary": true}]',
    f"{W}TOKEN": "hunter2",
    f"{W}RAW": "hunter2",
    f"{W}API_KEY": "hunter2",
    f"{W}TAGS": '["a", "b"]',
}


def test_every_setting_has_a_line_with_its_value_and_origin(tmp_path: Path) -> None:
    """Variables, JSON around them, lines of files, arguments and defaults; in the order of declaration."""
    (tmp_path / ".env").write_text(f"\n{W}WRITES__ATTEMPTS=4\n")
    lines = {line.variable: line[1:] for line in masked(Shop.load(_environ=ENVIRON, log={"level": "debug"}))}
    assert lines[f"{W}SQL__MAIN__URL"] == ("postgresql://**********", f"{W}SQL (at main.url)")
    assert lines[f"{W}SQL__MAIN__POOL_SIZE"] == ("9", f"{W}SQL__MAIN__POOL_SIZE")
    assert lines[f"{W}SQL__MAIN__MAX_OVERFLOW"] == ("10", "default")
    assert lines[f"{W}REDIS"] == ("", "default")
    assert lines[f"{W}STORES__USERS__LAYERS"] == ("memory:60,sql.main!", f"{W}STORES__USERS__LAYERS")
    assert lines[f"{W}STORES__ROOMS__LAYERS"][0] == "memory,sql.main! (and options)"
    assert lines[f"{W}WRITES__ATTEMPTS"] == ("4", f".env line 2, {W}WRITES__ATTEMPTS")
    assert lines[f"{W}LOG__LEVEL"] == ("DEBUG", "argument log.level")
    assert lines[f"{W}TAGS"] == ("a,b", f"{W}TAGS")
    assert [*lines][:: len(lines) - 1] == [f"{W}SQL__MAIN__URL", f"{W}TAGS"]


def test_no_secret_is_listed() -> None:
    """Declared secrets are masked, and so is what is called like one."""
    lines = masked(Shop.load(_environ=ENVIRON))
    assert "hunter2" not in repr(lines)
    assert [line.value for line in lines][-4:-1] == ["**********"] * 3


def test_a_weaker_lists_parts_are_not_taken_for_the_stronger(tmp_path: Path) -> None:
    """A text over a JSON list leaves nothing of the list behind, not even in the origins."""
    (tmp_path / ".env").write_text(f'{W}STORES__USERS__LAYERS=[{{"name": "sql.main", "primary": true}}]\n')
    settings = Settings(_environ={name: text for name, text in ENVIRON.items() if "SQL" in name or "USERS" in name})
    origins = {line.variable: line.origin for line in masked(settings)}
    assert origins[f"{W}STORES__USERS__LAYERS"] == f"{W}STORES__USERS__LAYERS"
    assert settings._origins.exact(("stores", "users", "layers", 0, "name")) is None
