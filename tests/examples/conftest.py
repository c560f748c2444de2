"""A trial for a test: a shop with a fresh database and a Redis of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.examples.trial import FLASK, Shop, Trial
from tests.servers import PrivateServer


@pytest.fixture
def trial(
    request: pytest.FixtureRequest,
    fresh_database: Callable[[str], str],
    private_redis: Callable[..., PrivateServer],
    tmp_path: Path,
) -> Trial:
    """A trial of a shop on a kind of database; of the Flask shop on PostgreSQL if the test does not say."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("who holds which connection is read from /proc, and there is none")
    shop, kind = getattr(request, "param", (FLASK, "postgresql"))
    assert isinstance(shop, Shop)
    return Trial(shop, fresh_database(kind), private_redis(), tmp_path)
