"""The test project without a container, for processes of their own."""

from __future__ import annotations

from tests.integrations.django.settings import *  # noqa: F403 - as settings are extended

del WELLWIRED  # noqa: F821 - it came with the others
