"""What Django looks for commands in."""

from __future__ import annotations

__all__: list[str] = []
