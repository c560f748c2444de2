"""Tests of the shop over HTTP; where a part must fail, it is overridden by its name."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shop import tables
from shop.containers import Shop
from wellwired.errors import BackendError, Phase
from wellwired.stores import DelegatedStore, MemoryStore
from wellwired.testing import Faults, RecordedWrites
from wellwired.writers import MemoryWriter

TEA, LAST_CUP = 1, 3


def place(client: FlaskClient, key: str = "k-1", **changes: Any) -> TestResponse:
    """Sends an order for two teas, or what the changes make of it."""
    body = {"customer": "ada", "product": TEA, "quantity": 2, **changes}
    return client.post("/orders", json=body, headers={"Idempotency-Key": key})


def stock(shop: Shop, product: int = TEA) -> int:
    """What the table says."""
    with shop.resolve("sql.main").connect() as connection:
        found: int = connection.execute(
            sa.select(tables.products.c.stock).where(tables.products.c.id == product)
        ).scalar_one()
    return found


def test_an_order_takes_from_the_stock(client: FlaskClient, shop: Shop) -> None:
    """The order is answered with its number and price, and the goods are gone."""
    answer = place(client)
    assert (answer.status_code, answer.get_json()) == (201, {"order": 1, "cents": 700})
    assert stock(shop) == 498


def test_an_order_that_is_sent_again_is_the_same_order(client: FlaskClient, shop: Shop) -> None:
    """The second answer is the first one, and says so; nothing is taken twice."""
    first, second = place(client), place(client)
    assert first.get_json() == second.get_json()
    assert [answer.headers["Idempotent-Replayed"] for answer in (first, second)] == ["false", "true"]
    assert stock(shop) == 498


def test_a_key_stands_for_one_order(client: FlaskClient, shop: Shop) -> None:
    """The same key with another order is a mistake of the client's."""
    place(client)
    answer = place(client, quantity=3)
    assert (answer.status_code, answer.get_json()["reason"]) == (422, "key_reused")
    assert stock(shop) == 498


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"product": LAST_CUP, "quantity": 2}, 409),
        ({"product": 9}, 404),
        ({"quantity": 0}, 422),
        ({"customer": ""}, 422),
        ({"colour": "green"}, 422),
    ],
)
def test_what_cannot_be_had_changes_nothing(
    client: FlaskClient, shop: Shop, changes: dict[str, Any], status: int
) -> None:
    """It is refused, and the answer says that nothing was applied."""
    answer = place(client, **changes)
    assert (answer.status_code, answer.get_json()["outcome"]) == (status, "NOT_APPLIED")
    assert (stock(shop), stock(shop, LAST_CUP)) == (500, 1)


def test_an_order_needs_a_key_and_a_body(client: FlaskClient) -> None:
    """Without either there is nothing to send again, or nothing to do."""
    assert client.post("/orders", json={}).status_code == 400
    assert client.post("/orders", data="tea", headers={"Idempotency-Key": "k"}).status_code == 415
    assert client.post("/orders", json=["tea"], headers={"Idempotency-Key": "k"}).status_code == 422


def test_a_page_shows_what_an_order_has_changed(client: FlaskClient) -> None:
    """The copy in the store goes with the order's commit."""
    assert client.get(f"/products/{TEA}").get_json()["stock"] == 500
    place(client)
    assert client.get(f"/products/{TEA}").get_json()["stock"] == 498


def test_a_price_is_set_and_shown(client: FlaskClient) -> None:
    """Set twice it is the same, and for a product that is not there it is refused."""
    assert client.get(f"/products/{TEA}").get_json()["cents"] == 350
    for _ in range(2):
        assert client.put(f"/products/{TEA}/price", json={"cents": 360}).get_json() == {"cents": 360}
    assert client.get(f"/products/{TEA}").get_json()["cents"] == 360
    assert client.put("/products/9/price", json={"cents": 1}).status_code == 404
    assert client.put(f"/products/{TEA}/price", json=[]).status_code == 422


def test_views_are_counted(client: FlaskClient) -> None:
    """Each look at a page is one more, and a page that is not there has none."""
    assert [client.get(f"/products/{TEA}").get_json()["views"] for _ in range(2)] == [1, 2]
    assert client.get("/products/9").status_code == 404


def test_a_page_does_without_redis(client: FlaskClient, shop: Shop, wellwired_faults: Faults) -> None:
    """A Redis that is away costs the number of views, not the page."""
    wellwired_faults.writer("redis.cache").dead()
    wellwired_faults.dead("stores.products", "redis.cache")
    page = client.get(f"/products/{TEA}").get_json()
    assert (page["name"], page["views"]) == ("tea", None)


@pytest.mark.parametrize(
    ("code", "outcome"), [("BACKEND", "UNKNOWN"), ("TIMEOUT", "NOT_APPLIED"), ("BACKEND", "NOT_APPLIED")]
)
def test_an_order_that_failed_is_sent_again(
    client: FlaskClient, shop: Shop, wellwired_faults: Faults, code: str, outcome: str
) -> None:
    """503 is to be sent again with the same key, also if nobody knows what became of it; then it is there once."""
    wellwired_faults.writer("sql.main").fails(code, outcome, times=3)  # as often as the manager tries
    answer = place(client)
    assert (answer.status_code, answer.get_json()["outcome"]) == (503, outcome)
    assert answer.headers["Retry-After"] == "1"
    assert place(client).status_code == 201
    assert stock(shop) == 498


def test_a_mistake_in_the_shop_is_not_to_be_sent_again(client: FlaskClient, shop: Shop) -> None:
    """A handler that fails will fail again: 500, and nothing was applied."""
    fake = MemoryWriter("sql.main", records_all=True, keeps_keys=True)
    fake.fail_next(BackendError("a mistake", phase=Phase.EXECUTE))
    with shop.overriding({"writers.sql.main": fake}):
        answer = place(client)
    assert (answer.status_code, answer.get_json()["outcome"]) == (500, "NOT_APPLIED")
    assert "Retry-After" not in answer.headers


def test_a_page_writes_nothing_but_its_counter(
    client: FlaskClient, shop: Shop, wellwired_writes: RecordedWrites
) -> None:
    """What went through the write manager is recorded."""
    client.get(f"/products/{TEA}")
    wellwired_writes.assert_wrote("redis.cache", "view_count", payload={"key": f"shop:views:{TEA}"}, times=1)
    wellwired_writes.assert_nothing_written("sql.main")


def test_the_database_is_asked_once_for_many_pages(client: FlaskClient, shop: Shop) -> None:
    """A store of the test's own stands in for the three layers."""
    products = DelegatedStore[dict[str, Any]]([MemoryStore()])
    products.set("product:7", {"name": "water", "cents": 0, "stock": 1})
    with shop.overriding({"stores.products": products}):
        assert client.get("/products/7").get_json()["name"] == "water"
    assert client.get("/products/7").status_code == 404


def test_no_database_and_no_copy_is_no_page(client: FlaskClient, shop: Shop, wellwired_faults: Faults) -> None:
    """What nobody can answer is unavailable, and not absent."""
    wellwired_faults.dead("stores.products", "table.products")
    assert client.get(f"/products/{TEA}").status_code == 503


def test_the_export_is_streamed_in_the_request_s_scope(client: FlaskClient, shop: Shop) -> None:
    """The connection is held while lines are sent, and given back at the end, also if the client goes."""
    pool: Any = shop.resolve("sql.main").pool
    for number in range(3):
        place(client, key=f"k-{number}", customer=f"c-{number}")
    whole = client.get("/orders.csv").get_data(as_text=True).splitlines()
    assert whole[0] == "id,customer,product,quantity,cents"
    assert [line.split(",")[1] for line in whole[1:]] == ["c-0", "c-1", "c-2"]

    answer = client.get("/orders.csv", buffered=False)
    pieces = iter(answer.response)
    assert next(pieces)
    assert pool.checkedout() == 1
    answer.close()
    assert pool.checkedout() == 0


def test_health_needs_the_database_and_not_redis(client: FlaskClient) -> None:
    """Both are up here, and the process is alive."""
    assert client.get("/health").get_json()["checks"].keys() == {"sql.main", "redis.cache"}
    assert client.get("/health").status_code == 200
    assert json.loads(client.get("/alive").data)["status"] == "up"


def test_the_wiring_is_whole(shop: Shop) -> None:
    """What `flask wellwired check` asks."""
    shop.check()
