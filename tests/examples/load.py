"""Clients of a shop: each a thread that orders over HTTP, and sends again, with the same key, what got no answer.

They also look at pages, set prices, and read exports of which they leave some in the middle.
"""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from typing import Any

from tests.examples.ledger import Ledger, Ordered
from tests.examples.waiting import pause

__all__ = ["Answer", "Client", "Line", "at_work"]

Answer = tuple[int, Any]
_TRIES = 100


class Line:
    """A connection that is kept alive, and made anew when it breaks; for one thread."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=20)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer | None:
        """Sends one request.

        Returns:
            Its status, and its JSON or text; None if there was no answer.
        """
        given = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), given)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException):
            self.close()
            return None
        with suppress(ValueError):
            return answer.status, json.loads(text)
        return answer.status, text.decode()

    def once(self, method: str, path: str) -> Answer | None:
        """Sends one request, and ends the connection."""
        try:
            return self.ask(method, path)
        finally:
            self.close()

    def leave(self, path: str) -> None:
        """Asks for something long, and goes away after the first bytes of it."""
        with suppress(OSError, HTTPException):
            self._connection.request("GET", path)
            self._connection.getresponse().read(20)
        self.close()

    def close(self) -> None:
        """Ends the connection; the next request makes another."""
        self._connection.close()


class Client(threading.Thread):
    """One client at work until it is told that all is over.

    Args:
        port: the shop's.
        number: its own; the first client sets the prices.
        ledger: where it notes what it was told.
        over: set when it may end.
        products: how many there are; of the last there are few.
        shelf: a further page to look at, or nothing.
        fresh_keys: whether it makes the mistake of giving each try a key of its own.
    """

    def __init__(
        self,
        port: int,
        number: int,
        ledger: Ledger,
        over: threading.Event,
        *,
        products: int,
        shelf: str = "",
        fresh_keys: bool = False,
    ) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.number, self.ledger, self.over = number, ledger, over
        self.products, self.shelf, self.fresh_keys = products, shelf, fresh_keys
        self.line = Line(port)
        self.chance = random.Random(number)
        self.failure: Exception | None = None

    def run(self) -> None:
        """Works; what fails is kept for the test."""
        try:
            for step in self._steps():
                self._step(step)
        except Exception as error:  # noqa: BLE001 - raised by the test
            self.failure = error
        finally:
            self.line.close()

    def _steps(self) -> Iterator[int]:
        step = 0
        while not self.over.is_set():
            yield step
            step += 1

    def _step(self, step: int) -> None:
        self._order(step)
        if self.number == 0:
            self._price(step % self.products + 1, 1_000 + step)
        if step % 3 == 0:
            self._page(self.chance.randint(1, self.products))
        if self.shelf and step % 5 == 0:
            answer = self.line.ask("GET", self.shelf)
            self.ledger.count(f"shelf {'without answer' if answer is None else answer[0]}")
        if step % 16 == self.number:
            self._export()

    def _order(self, step: int) -> None:
        wanted = Ordered(f"c{self.number}-{step}", self.chance.randint(1, self.products), self.chance.randint(1, 3))
        quantity = 0 if step % 11 == 10 else wanted.quantity  # which is refused
        body = {"customer": wanted.customer, "product": wanted.product, "quantity": quantity}
        key = uuid.uuid4().hex

        def place() -> Answer | None:
            sent = uuid.uuid4().hex if self.fresh_keys else key
            return self.line.ask("POST", "/orders", body, Idempotency_Key=sent)

        self._told(wanted, self._insisting("order", place))

    def _told(self, wanted: Ordered, answer: Answer | None) -> None:
        ledger = self.ledger
        with ledger.ended:
            if answer is None:
                ledger.open.add(wanted.customer)
            elif answer[0] == 201:
                number = answer[1]["order"]
                ledger.acknowledged[wanted.customer] = Ordered(wanted.customer, wanted.product, wanted.quantity, number)
            else:
                assert answer[0] in (409, 422), f"an order was answered with {answer}"
                assert answer[1]["outcome"] == "NOT_APPLIED", answer
                ledger.refused.add(wanted.customer)
                ledger.counts[f"refused: {answer[1]['reason']}"] += 1
            ledger.ended.notify_all()

    def _insisting(self, what: str, ask: Callable[[], Answer | None]) -> Answer | None:
        """Asks again while the answer is that of a server in trouble, or none; None if it never was another."""
        for tries in range(_TRIES):
            answer = ask()
            if answer is not None and answer[0] < 500:
                return answer
            self.ledger.count(f"{what} sent again: {_told(answer)}")
            pause(min(0.2, 0.01 * 2**tries))
        return None

    def _price(self, product: int, cents: int) -> None:
        answer = self._insisting("price", lambda: self.line.ask("PUT", f"/products/{product}/price", {"cents": cents}))
        assert answer is not None and answer[0] == 200, f"a price was answered with {answer}"
        with self.ledger.ended:
            self.ledger.prices[product] = cents

    def _page(self, product: int) -> None:
        with self.ledger.ended:
            self.ledger.pages[product] += 1
        answer = self.line.ask("GET", f"/products/{product}")
        self.ledger.count(f"page {'without answer' if answer is None else answer[0]}")
        if answer is not None and answer[0] == 200 and answer[1]["views"] is not None:
            with self.ledger.ended:
                self.ledger.views[product] += 1

    def _export(self) -> None:
        if self.chance.random() < 0.5:
            self.line.leave("/orders.csv")
            self.ledger.count("export left")
        elif (answer := self.line.ask("GET", "/orders.csv")) is not None and answer[0] == 200:
            assert answer[1].startswith("id,customer,product,quantity,cents"), answer[1][:80]
            self.ledger.count("export read")


def _told(answer: Answer | None) -> str:
    """What a try has given, in a word or two: the status, and what is known of the data."""
    if answer is None:
        return "no answer"
    outcome = answer[1].get("outcome", "") if isinstance(answer[1], dict) else ""
    return f"{answer[0]} {outcome}".rstrip()


@contextmanager
def at_work(port: int, *, clients: int, products: int, shelf: str = "", fresh_keys: bool = False) -> Iterator[Ledger]:
    """So many clients at work while the block lasts, and until each has had its last answer."""
    ledger, over = Ledger(), threading.Event()
    threads = [
        Client(port, number, ledger, over, products=products, shelf=shelf, fresh_keys=fresh_keys)
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield ledger
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    for thread in threads:
        assert not thread.is_alive(), f"{thread.name} does not end"
        if thread.failure is not None:
            raise thread.failure
