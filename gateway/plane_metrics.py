"""The plane's own numbers as Prometheus metrics, read when they are asked for. Knows no HTTP."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cluster.serving.statistics import PlaneView
from gateway.ended import EndedRequests
from sage.base.metrics import (
    CACHE_EXACT,
    ENGINE_RUNNING,
    ENGINE_UP,
    FORECAST_ERROR,
    PICKED,
    QUEUE_WAITING,
    REQUESTS,
    TAKEN_BACK,
    TEXTS,
    TOKENS,
    VECTOR_CACHE_BYTES,
    Metric,
)

Family = CounterMetricFamily | GaugeMetricFamily


class PlaneCollector(Collector):
    """Shows what `view` returns; nothing is counted a second time."""

    def __init__(self, view: Callable[[], PlaneView], others: EndedRequests | None = None) -> None:
        """`others`: what ended elsewhere, to be shown with it."""
        self._view = view
        self._others = others if others is not None else EndedRequests()

    def collect(self) -> Iterator[Family]:
        view = self._view()
        requests, tokens = _requests(view), _tokens(view)
        self._others.add_to(requests, tokens)
        yield from (requests, tokens)
        yield _picked(view)
        num_taken_back = view.num_taken_back + self._others.num_taken_back
        yield CounterMetricFamily(TAKEN_BACK.name, TAKEN_BACK.help, value=num_taken_back)
        yield _waiting(view)
        yield from _engines(view)
        yield from _texts(view)


def _requests(view: PlaneView) -> CounterMetricFamily:
    family = _counter(REQUESTS)
    for ended in view.ended:
        labels = (ended.model, ended.kind.value, ended.service_class.value, ended.outcome)
        family.add_metric(labels, ended.num_ended)
    return family


def _picked(view: PlaneView) -> CounterMetricFamily:
    family = _counter(PICKED)
    for picked in view.picked:
        family.add_metric((picked.policy, picked.route), picked.num_picked)
    return family


def _tokens(view: PlaneView) -> CounterMetricFamily:
    family = _counter(TOKENS)
    for tokens in view.tokens:
        family.add_metric((tokens.model, "prompt"), tokens.prompt_tokens)
        family.add_metric((tokens.model, "cached"), tokens.cached_tokens)
        family.add_metric((tokens.model, "completion"), tokens.completion_tokens)
    return family


def _waiting(view: PlaneView) -> Family:
    num_waiting: dict[str, int] = {model: 0 for engine in view.engines for model in engine.models}
    for waiting in view.waiting:
        num_waiting[waiting.model] = num_waiting.get(waiting.model, 0) + waiting.num_waiting
    family = _gauge(QUEUE_WAITING)
    for model, num in num_waiting.items():
        family.add_metric((model,), num)
    return family


def _engines(view: PlaneView) -> Iterator[Family]:
    up, running, errors = _gauge(ENGINE_UP), _gauge(ENGINE_RUNNING), _gauge(FORECAST_ERROR)
    exact = _gauge(CACHE_EXACT)
    latest = {engine.engine_id: engine for engine in reversed(view.engines)}  # an id that came back is not lost
    for engine in latest.values():
        up.add_metric((engine.engine_id,), engine.state == "ready")
        if engine.state == "ready":
            running.add_metric((engine.engine_id, ",".join(engine.models)), engine.num_running)
        for quantile, error in zip(("0.5", "0.9"), engine.forecast_errors or (), strict=False):
            errors.add_metric((engine.engine_id, quantile), error)
        if engine.cache_belief is not None:
            exact.add_metric((engine.engine_id,), engine.cache_belief == "exact")
    yield up
    yield running
    yield errors
    yield exact


def _texts(view: PlaneView) -> Iterator[Family]:
    family, cache_bytes = _counter(TEXTS), _gauge(VECTOR_CACHE_BYTES)
    for texts in view.texts:
        for way, num in (("embedded", texts.num_embedded), ("cached", texts.num_cached), ("shared", texts.num_shared)):
            family.add_metric((texts.model, way), num)
    cache_bytes.add_metric((), view.vector_cache_bytes)
    yield family
    yield cache_bytes


def _counter(metric: Metric) -> CounterMetricFamily:
    return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)


def _gauge(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
