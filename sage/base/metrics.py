"""Names, units, labels and buckets of every metric, as values. Knows nothing of who counts or exports."""

from enum import StrEnum

import msgspec


class MetricKind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(msgspec.Struct, frozen=True):
    """One metric. `buckets`: upper bounds of a histogram, in the unit that the name ends with."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


# From one millisecond (a cached embedding) to a minute (a long answer on two cores), about three a decade.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

REQUESTS = Metric(
    "sage_requests_total",
    MetricKind.COUNTER,
    "Requests that ended, by outcome (finished, or the code of the error)",
    ("model", "kind", "service_class", "outcome"),
)
PICKED = Metric(
    "sage_requests_picked_total",
    MetricKind.COUNTER,
    "Requests given to engines, by the policy that picked them and the route that chose the engine",
    ("policy", "route"),
)
TAKEN_BACK = Metric(
    "sage_requests_taken_back_total",
    MetricKind.COUNTER,
    "Requests that an engine gave back before their first token, so that an urgent one began",
    (),
)
TTFT = Metric(
    "sage_request_ttft_seconds",
    MetricKind.HISTOGRAM,
    "From submission to the first token",
    ("model", "service_class"),
    _SECONDS,
)
DURATION = Metric(
    "sage_request_duration_seconds",
    MetricKind.HISTOGRAM,
    "From submission to the end of the request",
    ("model", "kind", "service_class"),
    _SECONDS,
)
TOKENS = Metric(
    "sage_tokens_total",
    MetricKind.COUNTER,
    "Tokens, by direction (prompt, cached, completion)",
    ("model", "direction"),
)
QUEUE_WAITING = Metric("sage_queue_waiting", MetricKind.GAUGE, "Requests that wait in the control plane", ("model",))
ENGINE_RUNNING = Metric(
    "sage_engine_running", MetricKind.GAUGE, "Requests that an engine works on", ("engine", "model")
)
FORECAST_ERROR = Metric(
    "sage_engine_forecast_error",
    MetricKind.GAUGE,
    "By how much of their time first tokens came off what was foretold: quantiles of the last 256",
    ("engine", "quantile"),
)
CACHE_EXACT = Metric(
    "sage_engine_cache_exact",
    MetricKind.GAUGE,
    "1 where an engine tells exactly what it has cached of prompts, 0 where that is learned from its answers",
    ("engine",),
)
TEXTS = Metric(
    "sage_texts_total",
    MetricKind.COUNTER,
    "Texts asked for, by how their vectors came: embedded, cached, or shared with a request that asked just before",
    ("model", "way"),
)
VECTOR_CACHE_BYTES = Metric(
    "sage_vector_cache_bytes", MetricKind.GAUGE, "Memory that vectors of texts embedded before take"
)
ENGINE_UP = Metric("sage_engine_up", MetricKind.GAUGE, "1 while an engine is ready, 0 once it is lost", ("engine",))

METRICS = (
    REQUESTS,
    PICKED,
    TAKEN_BACK,
    TTFT,
    DURATION,
    TOKENS,
    QUEUE_WAITING,
    ENGINE_RUNNING,
    FORECAST_ERROR,
    CACHE_EXACT,
    ENGINE_UP,
    TEXTS,
    VECTOR_CACHE_BYTES,
)
