"""What layered stores have counted, for Prometheus: read when it is scraped, and by nobody else.

A store counts for itself and is not told that anybody looks, so an operation costs the same with metrics and without.
The stores are held weakly, and of two that have one name the one that was watched last is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from wellwired.middleware.metrics import Watched

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

__all__ = ["OF_LAYERS", "OF_STORES", "STATES", "Series", "StoreCollector"]

STATES: Final = {"closed": 0, "half-open": 1, "open": 2}
"""The states of circuits as numbers."""


class Series(NamedTuple):
    """One series: the attribute that it is read from, its name without the namespace, and what it tells.

    Args:
        attribute: of the statistics of a store, or of one of its layers.
        name: the series.
        text: shown beside it.
        counts: whether it only rises; what does not is a gauge.
    """

    attribute: str
    name: str
    text: str
    counts: bool = True


OF_LAYERS: Final = (
    Series("hits", "store_hits", "Reads that the layer answered."),
    Series("misses", "store_misses", "Reads that the layer had nothing for."),
    Series("failures", "store_failures", "Calls of the layer that raised."),
    Series("timeouts", "store_timeouts", "Calls of the layer that were given up because their time had passed."),
    Series("skipped", "store_skipped", "Calls of the layer that were not made because its breaker was open."),
    Series("stale", "store_stale", "Values beyond their fresh life that were served from the layer."),
    Series("fills", "store_fills", "Values that the layer was given by back-fill."),
    Series("refused", "store_fills_refused", "Fills that were not made because a write had overtaken them."),
    Series("doubtful", "store_doubtful_keys", "Keys not read from the layer: a write could not reach it.", False),
    Series("doubted", "store_layer_doubted", "1 if no key is read from the layer: a write could not reach it.", False),
    Series("failing", "store_layer_failing", "1 if the last call of the layer raised.", False),
    Series("breaker", "store_circuit_state", "0 closed, 1 half-open, 2 open; for layers with a breaker.", False),
)
"""With the labels ``store`` and ``layer``."""

OF_STORES: Final = (
    Series("loads", "store_loads", "Loaders called."),
    Series("joins", "store_load_joins", "Reads that waited for somebody else's load."),
    Series("refreshes", "store_refreshes", "Loads in the background of values that were about to end."),
    Series("refreshes_left_out", "store_refreshes_left_out", "Such loads that too many others kept from beginning."),
    Series("failed_in_background", "store_background_loads_failed", "Loads in the background that failed."),
    Series("overtaken", "store_changes_overtaken", "Attempts of an update, add or touch that others overtook."),
    Series("dropped", "store_fills_dropped", "Fills that were given up before they were tried."),
    Series("untold", "store_events_untold", "Events that were not told because too many were waiting."),
    Series("listener_errors", "store_listener_errors", "Calls of callbacks that raised."),
    Series("pending", "store_fills_pending", "Keys that wait to be filled in the background.", False),
)
"""With the label ``store``."""

Family: TypeAlias = "CounterMetricFamily | GaugeMetricFamily"


class StoreCollector:
    """A collector of prometheus_client's kind; safe for threads.

    Args:
        namespace: what the names of its series begin with.
    """

    def __init__(self, namespace: str) -> None:
        self._prefix = f"{namespace}_" if namespace else ""
        self._stores: WeakValueDictionary[str, Watched] = WeakValueDictionary()

    def watch(self, store: Watched) -> None:
        """Shows a store from now on, until it is gone or another of its name is watched."""
        self._stores[store.name] = store

    def describe(self) -> Iterator[Family]:
        """Its series without numbers: what a registry checks for names that are taken."""
        yield from (self._family(series, ("store", "layer")) for series in OF_LAYERS)
        yield from (self._family(series, ("store",)) for series in OF_STORES)

    def collect(self) -> Iterator[Family]:
        """Its series with the numbers of this moment."""
        alive = (reference() for reference in self._stores.valuerefs())
        stats: list[Any] = [store.stats() for store in alive if store is not None]
        layers = [((one.store, layer.layer), layer) for one in stats for layer in one.layers]
        for series in OF_LAYERS:
            yield _filled(self._family(series, ("store", "layer")), series, layers)
        for series in OF_STORES:
            yield _filled(self._family(series, ("store",)), series, [((one.store,), one) for one in stats])

    def _family(self, series: Series, labels: Iterable[str]) -> Family:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        kind = CounterMetricFamily if series.counts else GaugeMetricFamily
        return kind(self._prefix + series.name, series.text, labels=list(labels))


def _filled(family: Family, series: Series, counted: Iterable[tuple[tuple[str, ...], Any]]) -> Family:
    for labels, stats in counted:
        value = getattr(stats, series.attribute)
        if value != "":  # the state of a breaker that a layer does not have
            family.add_metric(list(labels), STATES[value] if isinstance(value, str) else float(value))
    return family
