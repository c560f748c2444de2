"""Which server of each kind a session uses: the one named in the environment, one that runs, or one started for it.

A server named in `WELLWIRED_TEST_POSTGRESQL_URL`, `…_MARIADB_URL` or `…_REDIS_URL` is used or missed, never replaced
by another; the value `none` does without. What is required is missed loudly: `WELLWIRED_TEST_REQUIRE=all` (or a
list of kinds) turns the skips of its tests into failures.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers.admin import place
from tests.servers.private import PrivateServer, ServerFailed
from tests.servers.recipes import KINDS, Missing, Recipe

__all__ = ["Found", "Servers", "required"]


@dataclass(frozen=True)
class Found:
    """A server to use: its URL, and how it came to be used in words without a secret."""

    kind: str
    url: str
    how: str


def required(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The kinds that the run may not do without."""
    words = environ.get("WELLWIRED_TEST_REQUIRE", "").replace(",", " ").split()
    return frozenset(KINDS) if "all" in words else frozenset(words)


class Servers:
    """The servers of one test session; each kind is looked for once, when first asked for.

    Args:
        environ: where the variables are read.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._answers: dict[str, Found | Missing] = {}
        self._running: list[PrivateServer] = []
        self._templates: dict[str, Path] = {}
        atexit.register(self.close)

    def plan(self, kind: str) -> str:
        """What `find` would do, in words, without starting anything."""
        try:
            found = self._reach(KINDS[kind])
            return found.how if found else f"to be started from {KINDS[kind].binary()}"
        except Missing as missing:
            return f"none: {missing}"

    def find(self, kind: str) -> Found:
        """The session's server of a kind; raises `Missing` with the reason, the same each time."""
        if kind not in self._answers:
            try:
                self._answers[kind] = self._reach(KINDS[kind]) or self._start(kind)
            except Missing as missing:
                self._answers[kind] = missing
        answer = self._answers[kind]
        if isinstance(answer, Missing):
            raise answer
        return answer

    def private(self, kind: str, settings: Mapping[str, str] | None = None) -> PrivateServer:
        """Starts a server that nobody else uses; the caller closes it. Raises `Missing` if it is not installed."""
        KINDS[kind].binary()
        return PrivateServer(kind, template=self._template(kind), settings=settings)

    def used(self) -> list[str]:
        """A line for each kind that was asked for."""
        return [
            f"{kind}: {answer.how}" if isinstance(answer, Found) else f"{kind}: none: {answer}"
            for kind, answer in self._answers.items()
        ]

    def close(self) -> None:
        """Ends what was started for the session."""
        while self._running:
            self._running.pop().close()
        while self._templates:
            shutil.rmtree(self._templates.popitem()[1].parent, ignore_errors=True)
        self._answers.clear()
        atexit.unregister(self.close)

    def _reach(self, recipe: Recipe) -> Found | None:
        variable = f"WELLWIRED_TEST_{recipe.kind.upper()}_URL"
        named = self._environ.get(variable, "")
        if named.lower() == "none":
            raise Missing(f"{variable} is none")
        if named:
            if reason := self._silence(recipe, named):
                raise Missing(f"{variable} leads to {place(named)}, which gave {reason}")
            return Found(recipe.kind, named, f"at {place(named)}, named by {variable}")
        # A Redis of our own costs 50 ms and spares sharing sixteen logical databases with strangers.
        if recipe.kind == "redis" and self._installed(recipe):
            return None
        if self._silence(recipe, recipe.usual):
            return None
        return Found(recipe.kind, recipe.usual, f"at {place(recipe.usual)}, where one runs")

    def _start(self, kind: str) -> Found:
        try:
            server = self.private(kind)
        except ServerFailed as error:
            raise Missing(str(error)) from error
        self._running.append(server)
        return Found(kind, server.url, f"started on {place(server.url)} from {KINDS[kind].binary()}")

    def _template(self, kind: str) -> Path:
        if kind not in self._templates:
            # Initialised once and copied for each server: the initialising takes a second or two.
            home = Path(tempfile.mkdtemp(prefix=f"ww-{kind[:2]}-template-"))
            home.chmod(0o755)
            data = home / "d"
            data.mkdir()
            try:
                KINDS[kind].initialise(data)
            except BaseException:
                shutil.rmtree(home, ignore_errors=True)
                raise
            self._templates[kind] = data
        return self._templates[kind]

    @staticmethod
    def _installed(recipe: Recipe) -> bool:
        try:
            recipe.binary()
        except Missing:
            return False
        return True

    @staticmethod
    def _silence(recipe: Recipe, url: str) -> str:
        """Why a URL cannot be used; empty if it can. An exception's text may hold a password, its type does not."""
        try:
            recipe.ping(url)
        except Exception as error:  # noqa: BLE001 - the drivers share no base class, and a driver that is absent is a reason too
            return type(error).__name__
        return ""
