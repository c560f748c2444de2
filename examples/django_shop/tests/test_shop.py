"""Tests of the shop over HTTP; where a part must fail, it is overridden by its name."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client

from shop.containers import Shop
from shop.models import Order, Product
from wellwired.errors import BackendError, Phase
from wellwired.testing import Faults, RecordedWrites
from wellwired.writers import MemoryWriter

TEA, LAST_CUP = 1, 3
JSON = "application/json"


def place(client: Client, key: str = "k-1", **changes: Any) -> Any:
    """Sends an order for two teas, or what the changes make of it."""
    body = {"customer": "ada", "product": TEA, "quantity": 2, **changes}
    return client.post("/orders", body, content_type=JSON, headers={"Idempotency-Key": key})


def stock(product: int = TEA) -> int:
    """What the table says."""
    found: int = Product.objects.get(pk=product).stock
    return found


@pytest.mark.usefixtures("shop")
def test_an_order_takes_from_the_stock(client: Client) -> None:
    """The order is answered with its number and price, and the goods are gone."""
    answer = place(client)
    order = Order.objects.get()
    assert (answer.status_code, answer.json()) == (201, {"order": order.pk, "cents": 700})
    assert stock() == 498


@pytest.mark.usefixtures("shop")
def test_an_order_that_is_sent_again_is_the_same_order(client: Client) -> None:
    """The second answer is the first one, and says so; nothing is taken twice."""
    first, second = place(client), place(client)
    assert first.json() == second.json()
    assert [answer.headers["Idempotent-Replayed"] for answer in (first, second)] == ["false", "true"]
    assert (stock(), Order.objects.count()) == (498, 1)


@pytest.mark.usefixtures("shop")
def test_a_key_stands_for_one_order(client: Client) -> None:
    """The same key with another order is a mistake of the client's."""
    place(client)
    answer = place(client, quantity=3)
    assert (answer.status_code, answer.json()["reason"]) == (422, "key_reused")
    assert stock() == 498


@pytest.mark.usefixtures("shop")
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
def test_what_cannot_be_had_changes_nothing(client: Client, changes: dict[str, Any], status: int) -> None:
    """It is refused, and the answer says that nothing was applied."""
    answer = place(client, **changes)
    assert (answer.status_code, answer.json()["outcome"]) == (status, "NOT_APPLIED")
    assert (stock(), stock(LAST_CUP), Order.objects.count()) == (500, 1, 0)


@pytest.mark.usefixtures("shop")
def test_an_order_needs_a_key_and_a_body(client: Client) -> None:
    """Without either there is nothing to send again, or nothing to do."""
    headers = {"Idempotency-Key": "k"}
    assert client.post("/orders", {}, content_type=JSON).status_code == 400
    assert client.post("/orders", "tea", content_type=JSON, headers=headers).status_code == 422
    assert client.post("/orders", ["tea"], content_type=JSON, headers=headers).status_code == 422
    assert client.get("/orders").status_code == 405


@pytest.mark.usefixtures("shop")
def test_a_page_shows_what_an_order_has_changed(client: Client) -> None:
    """The copy in the store goes with the order's commit."""
    assert client.get(f"/products/{TEA}").json()["stock"] == 500
    place(client)
    assert client.get(f"/products/{TEA}").json()["stock"] == 498


@pytest.mark.usefixtures("shop")
def test_a_price_is_set_and_shown(client: Client) -> None:
    """Set twice it is the same, and for a product that is not there it is refused."""
    assert client.get(f"/products/{TEA}").json()["cents"] == 350
    for _ in range(2):
        assert client.put(f"/products/{TEA}/price", {"cents": 360}, content_type=JSON).json() == {"cents": 360}
    assert client.get(f"/products/{TEA}").json()["cents"] == 360
    assert client.put("/products/9/price", {"cents": 1}, content_type=JSON).status_code == 404
    assert client.put(f"/products/{TEA}/price", [], content_type=JSON).status_code == 422


@pytest.mark.usefixtures("shop")
def test_views_are_counted(client: Client) -> None:
    """Each look at a page is one more, and a page that is not there has none."""
    assert [client.get(f"/products/{TEA}").json()["views"] for _ in range(2)] == [1, 2]
    assert client.get("/products/9").status_code == 404


def test_a_page_does_without_redis(client: Client, shop: Shop, wellwired_faults: Faults) -> None:
    """A Redis that is away costs the number of views, not the page."""
    wellwired_faults.writer("redis.cache").dead()
    wellwired_faults.dead("stores.products", "redis.cache")
    page = client.get(f"/products/{TEA}").json()
    assert (page["name"], page["views"]) == ("tea", None)


@pytest.mark.usefixtures("shop")
def test_the_shelf_is_kept_in_django_s_cache(client: Client) -> None:
    """Which is a store of the container: a page that is kept is not made again."""
    names = [product["name"] for product in client.get("/products").json()["products"]]
    assert names == ["tea", "coffee", "the last cup"]
    Product.objects.filter(pk=TEA).update(name="green tea")
    assert [product["name"] for product in client.get("/products").json()["products"]] == names


@pytest.mark.parametrize(
    ("code", "outcome"), [("BACKEND", "UNKNOWN"), ("TIMEOUT", "NOT_APPLIED"), ("BACKEND", "NOT_APPLIED")]
)
def test_an_order_that_failed_is_sent_again(
    client: Client, shop: Shop, wellwired_faults: Faults, code: str, outcome: str
) -> None:
    """503 is to be sent again with the same key, also if nobody knows what became of it; then it is there once."""
    wellwired_faults.writer("django.default").fails(code, outcome, times=3)  # as often as the manager tries
    answer = place(client)
    assert (answer.status_code, answer.json()["outcome"]) == (503, outcome)
    assert answer.headers["Retry-After"] == "1"
    assert place(client).status_code == 201
    assert (stock(), Order.objects.count()) == (498, 1)


def test_a_mistake_in_the_shop_is_not_to_be_sent_again(client: Client, shop: Shop) -> None:
    """A handler that fails will fail again: 500, and nothing was applied."""
    fake = MemoryWriter("django.default", records_all=True, keeps_keys=True)
    fake.fail_next(BackendError("a mistake", phase=Phase.EXECUTE))
    with shop.overriding({"own_writers": [fake]}):
        answer = place(client)
    assert (answer.status_code, answer.json()["outcome"]) == (500, "NOT_APPLIED")
    assert "Retry-After" not in answer.headers


def test_no_database_and_no_copy_is_no_page(client: Client, shop: Shop, wellwired_faults: Faults) -> None:
    """What nobody can answer is unavailable, and not absent."""
    wellwired_faults.dead("stores.products", "orm.products")
    assert client.get(f"/products/{TEA}").status_code == 503


def test_a_page_writes_nothing_but_its_counter(client: Client, shop: Shop, wellwired_writes: RecordedWrites) -> None:
    """What went through the write manager is recorded."""
    client.get(f"/products/{TEA}")
    wellwired_writes.assert_wrote("redis.cache", "view_count", payload={"key": f"shop:views:{TEA}"}, times=1)
    wellwired_writes.assert_nothing_written("django.default")


@pytest.mark.django_db(transaction=True)
def test_the_export_is_streamed_in_the_request_s_scope(client: Client, shop: Shop) -> None:
    """One transaction lasts while lines are sent, and ends with the response, also if the client goes."""
    for number in range(3):
        place(client, key=f"k-{number}", customer=f"c-{number}")
    whole = _text(client.get("/orders.csv")).splitlines()
    assert whole[0] == "id,customer,product,quantity,cents"
    assert [line.split(",")[1] for line in whole[1:]] == ["c-0", "c-1", "c-2"]

    answer: Any = client.get("/orders.csv")
    assert next(iter(answer.streaming_content))
    assert connection.in_atomic_block
    answer.close()
    assert not connection.in_atomic_block


def _text(answer: Any) -> str:
    return b"".join(answer).decode()


@pytest.mark.django_db(transaction=True)
def test_health_needs_the_database_and_not_redis(client: Client, shop: Shop) -> None:
    """Both are up here, and the process is alive."""
    told = client.get("/health")
    assert (told.status_code, told.json()["checks"].keys()) == (200, {"database", "redis.cache"})
    assert client.get("/alive").json()["status"] == "up"


def test_the_wiring_is_whole(shop: Shop) -> None:
    """What `manage.py wellwired check` asks."""
    shop.check()
