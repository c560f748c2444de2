"""Tests of the trial itself: a shop or a client that is wrong on purpose is caught."""

from __future__ import annotations

import pytest

from tests.examples.load import at_work
from tests.examples.sockets import sharing
from tests.examples.trial import PRODUCTS, Trial

pytestmark = [pytest.mark.postgresql, pytest.mark.redis, pytest.mark.timeout(180)]


def test_an_order_that_is_sent_again_with_a_new_key_is_found_twice(trial: Trial) -> None:
    """A client that makes a key for each try, and not for each order, orders twice when an answer is lost."""
    with (
        trial.serve(preload=False) as server,
        at_work(server.port, clients=2, products=PRODUCTS, fresh_keys=True) as ledger,
    ):
        ledger.wait_for(40)
    lost = ledger.counts["order sent again: 502"]
    twice = [line for line in trial.books(ledger) if "there 2 times" in line]
    assert lost > 0
    assert twice, f"{lost} answers were lost, and no order is there twice"


def test_a_connection_from_before_the_fork_is_found(trial: Trial) -> None:
    """A shop that connects when it is imported, loaded before the fork, shares its connection with every worker."""
    with trial.serve(preload=True, app="tests.examples.served_shared:app") as server:
        faults = sharing(server.master, server.holders(trial.ports))
    port = trial.database.port
    assert f"the master holds a connection to port {port}" in faults
    assert f"one connection to port {port} is held by 3 processes" in faults
