"""The shop for tests: on Django's test database and a Redis inside the process."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from shop.containers import Shop


@pytest.fixture
def shop(db: None, wellwired_container: Shop) -> Shop:
    """The project's container, started for this test, and the sample products."""
    call_command("loaddata", "samples", verbosity=0)
    return wellwired_container
