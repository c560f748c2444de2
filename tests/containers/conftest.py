"""Fixtures of the containers' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.wired import MakeModule, Modules, Shop


@pytest.fixture
def make_module() -> Iterator[MakeModule]:
    """Makes modules from their source, which can be imported by name until the test ends."""
    modules = Modules()
    yield modules
    modules.drop()


@pytest.fixture
def shop() -> Shop:
    """A container that is not wired to anything yet."""
    return Shop()
