"""The metrics that the processes of the API count, and their exposition.

Several processes may share a port. prometheus_client then keeps their numbers in files of one
folder, and each of them answers for all; see store/operations/metrics.py. A worker on the same
machine writes its numbers to that folder too.
"""

import platform
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Histogram, Metric
from prometheus_client.core import InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from store.operations import metrics

# Health takes a millisecond, a file of predictions minutes.
REQUEST_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
BATCH_ROWS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 100_000)


class Instruments:
    """The instruments of one process, exposed together with the metrics of the collectors.

    `versions` are the labels of the build, such as `{"version": "1.0"}`.
    """

    def __init__(self, *, collectors: Iterable[Collector], versions: dict[str, str]) -> None:
        self._registry = CollectorRegistry()
        shared = metrics.shared_folder()
        if shared is not None:
            metrics.reserve_space()
            MultiProcessCollector(self._registry, path=shared)  # type: ignore[no-untyped-call]
        # The files have the numbers of this process too: registered, they would appear twice.
        own = self._registry if shared is None else None
        self.request_seconds = Histogram(
            "dropout_http_request_duration_seconds",
            "Time until an answer was sent, or until an event stream began.",
            ["method", "route", "status"],
            buckets=REQUEST_SECONDS,
            registry=own,
        )
        self.predict_rows = Histogram(
            "dropout_predict_rows",
            "Rows of a call for predictions.",
            buckets=BATCH_ROWS,
            registry=own,
        )
        self._registry.register(_Build(versions))
        for collector in collectors:
            self._registry.register(collector)

    def expose(self, accept: str | None) -> tuple[bytes, str]:
        """Return all metrics and the media type: OpenMetrics if `accept` has it, else text."""
        encode, media_type = choose_encoder(accept or "")
        return encode(self._registry), media_type


class _Build(Collector):
    def __init__(self, versions: dict[str, str]) -> None:
        self._labels = {**versions, "python": platform.python_version()}

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("dropout_build", "Versions of the running service.", self._labels)
