"""Tests of the module that containers are declared with."""

from __future__ import annotations

import pytest
from dependency_injector import providers as di

from wellwired.containers import providers

OURS = {"Member", "Named", "Resource", "Scoped", "Singleton"}


@pytest.mark.parametrize("name", sorted(set(providers.__all__) - OURS))
def test_what_needs_no_care_is_dependency_injectors_own(name: str) -> None:
    """Re-exported, not wrapped."""
    assert getattr(providers, name) is getattr(di, name)


@pytest.mark.parametrize("name", sorted(OURS))
def test_what_needs_care_is_ours(name: str) -> None:
    """And still a provider to dependency-injector."""
    ours = getattr(providers, name)
    assert issubclass(ours, di.Provider) and ours is not getattr(di, name, None)
    assert di.is_provider(ours())


@pytest.mark.parametrize("name", ["ThreadLocalSingleton", "ContextLocalSingleton", "Configuration"])
def test_what_does_harm_is_left_out(name: str) -> None:
    """The module's docstring says why."""
    assert not hasattr(providers, name)
