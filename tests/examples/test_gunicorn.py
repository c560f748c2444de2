"""The examples under gunicorn, with real servers: nothing is lost, doubled or shared, whoever is killed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.examples.trial import DJANGO, FLASK, Shop, Trial
from tests.servers import PrivateServer

# The limit is for a machine that is busy with other things: alone a trial takes ten seconds.
pytestmark = [pytest.mark.redis, pytest.mark.timeout(240)]

Record = Callable[[str, Any], None]

preloaded = pytest.mark.parametrize("preload", [False, True], ids=["forked-first", "preloaded"])


@preloaded
@pytest.mark.parametrize(
    "trial",
    [
        pytest.param((FLASK, "mariadb"), marks=pytest.mark.mariadb, id="flask-mariadb"),
        pytest.param((DJANGO, "postgresql"), marks=pytest.mark.postgresql, id="django-postgresql"),
    ],
    indirect=True,
)
def test_a_shop_keeps_its_books_while_workers_are_killed(trial: Trial, preload: bool, record_property: Record) -> None:
    """Acknowledged orders are there once, refused ones are not, and no connection is shared or left."""
    record_property("counts", trial.run(preload=preload, orders=30))


@pytest.mark.soak
@pytest.mark.parametrize("shop", [FLASK, DJANGO], ids=["flask", "django"])
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_shop_keeps_its_books_while_its_database_is_killed(
    shop: Shop, kind: str, request: pytest.FixtureRequest, tmp_path: Path, record_property: Record
) -> None:
    """The same, with a COMMIT here and there whose answer is lost for good: its order is sent again, and there once."""
    sql: PrivateServer = request.getfixturevalue(f"private_{kind}")()
    redis: PrivateServer = request.getfixturevalue("private_redis")()
    trial = Trial(shop, sql.url, redis, tmp_path, sql=sql)
    record_property("counts", trial.run(preload=False, orders=60, clients=6, rounds=3))


@pytest.mark.soak
@pytest.mark.timeout(900)
@preloaded
@pytest.mark.parametrize(
    "trial",
    [
        pytest.param((FLASK, "postgresql"), marks=pytest.mark.postgresql, id="flask-postgresql"),
        pytest.param((FLASK, "mariadb"), marks=pytest.mark.mariadb, id="flask-mariadb"),
        pytest.param((DJANGO, "postgresql"), marks=pytest.mark.postgresql, id="django-postgresql"),
        pytest.param((DJANGO, "mariadb"), marks=pytest.mark.mariadb, id="django-mariadb"),
    ],
    indirect=True,
)
def test_a_shop_keeps_its_books_for_minutes(trial: Trial, preload: bool, record_property: Record) -> None:
    """The same for longer: more clients, and every ordeal again and again."""
    record_property("counts", trial.run(preload=preload, orders=300, clients=8, rounds=8))
