"""Measures how long callers wait, and shows every metric as Prometheus text. Knows no route and no plane."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.registry import Collector

from sage.base.clock import Clock
from sage.base.inference import Failed, Last, Request, kind_of
from sage.base.metrics import DURATION, TTFT, Metric

OnEnded = Callable[[Request, Last], object]


class Meter:
    """An Observer of the bridge, with a registry of its own: two gateways in one process do not mix.

    Only models that answered become labels: callers cannot make time series by naming what does not exist.
    """

    def __init__(self, clock: Clock, collectors: Iterable[Collector], on_ended: OnEnded = lambda *_: None) -> None:
        """`on_ended` is told of every request that has ended."""
        self._clock = clock
        self._on_ended = on_ended
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)
        self._ttft = _histogram(TTFT, self._registry)
        self._duration = _histogram(DURATION, self._registry)

    def now_s(self) -> float:
        return self._clock.monotonic_s()

    def first_token(self, request: Request, submitted_s: float) -> None:
        self._ttft.labels(request.model, request.service_class.value).observe(self.now_s() - submitted_s)

    def ended(self, request: Request, last: Last, submitted_s: float) -> None:
        self._on_ended(request, last)
        if not isinstance(last, Failed):
            labels = (request.model, kind_of(request).value, request.service_class.value)
            self._duration.labels(*labels).observe(self.now_s() - submitted_s)

    def text(self) -> bytes:
        """Return everything measured, in Prometheus's text format."""
        return generate_latest(self._registry)


def _histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets, registry=registry)
