"""Homes for an application's container in web frameworks; each is imported by name, and only by who uses it.

`wellwired.integrations.django` for Django, `wellwired.integrations.flask` for Flask.
"""

from __future__ import annotations

__all__: list[str] = []
