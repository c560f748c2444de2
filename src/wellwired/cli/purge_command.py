"""``wellwired purge``: removes from the shared layers of the stores what has ended, and says how much that was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console

from wellwired.stores import DelegatedStore, MemoryStore

__all__ = ["purge_stores"]


def purge_stores(container: Any, only: Sequence[str], *, out: Console, err: Console) -> int:
    """Purges the layers of stores.

    Args:
        container: a started container with `stores`.
        only: the names of the stores, such as ``users``; all of them if there is none.
        out: for what was removed.
        err: for what failed.

    Returns:
        The exit code: 0 all was removed, 1 a layer failed.

    Raises:
        typer.BadParameter: there is no store of a name.
    """
    stores: Mapping[str, DelegatedStore[Any]] = container.stores()
    if unknown := [name for name in only if name not in stores]:
        known = ", ".join(sorted(stores)) or "none"
        raise typer.BadParameter(f"there is no store {unknown[0]!r}; known: {known}", param_hint="--store")
    code = 0
    for name in only or sorted(stores):
        for layer in stores[name].layers:
            if isinstance(layer.store, MemoryStore) or not hasattr(layer.store, "purge"):
                continue
            try:
                removed = _purged(layer.store)
            except Exception as error:  # noqa: BLE001 - whatever a driver raises: the next layer is purged all the same
                # Its text may quote a statement or an address.
                err.print(f"stores.{name} {layer.name}: failed with {type(error).__qualname__}", style="red")
                code = 1
            else:
                out.print(f"stores.{name} {layer.name}: {removed} removed", highlight=False)
    return code


def _purged(store: Any) -> int:
    removed = 0
    # SQL removes so much at a time, and an embedded Redis loses its place when keys go while it lists them.
    while some := store.purge():
        removed += some
    return removed
