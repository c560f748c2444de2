"""The one Django project of this process, and a fresh container for each test."""

from __future__ import annotations

from collections.abc import Iterator

import django
import pytest
from django.conf import settings
from django.test import Client

from tests.integrations.django import settings as chosen

# No variable of the environment names the settings: processes that other tests start would inherit it.
if not settings.configured:
    settings.configure(**{name: value for name, value in vars(chosen).items() if name.isupper()})
    django.setup()


@pytest.fixture(autouse=True)
def fresh_container() -> Iterator[None]:
    """No test has the container of another."""
    from wellwired.integrations.django import _project

    _project.forget()
    yield
    _project.forget()


@pytest.fixture
def client() -> Client:
    """A client of the project, that gets error pages as a browser does."""
    return Client(raise_request_exception=False)
