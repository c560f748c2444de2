"""Real servers for tests: found where they already run, else started privately from installed binaries.

`Servers` is what the fixtures in `tests/conftest.py` hold for a session. It finds each kind at most once, hands out
fresh databases on it, and starts `PrivateServer`s that a test may kill, pause and restart.
"""

from tests.servers.databases import FreshDatabases, FreshRedis
from tests.servers.finding import Found, Servers, required
from tests.servers.private import PrivateServer, ServerFailed
from tests.servers.recipes import KINDS, Missing, Recipe

__all__ = [
    "KINDS",
    "Found",
    "FreshDatabases",
    "FreshRedis",
    "Missing",
    "PrivateServer",
    "Recipe",
    "ServerFailed",
    "Servers",
    "required",
]
