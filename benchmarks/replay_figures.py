"""What became of each request of a replay, and the figures of all together. Pure; knows no server.

Goodput is the simulator's, with the same objectives (`simulator/outcome.py`); what was refused or failed is a miss.
Definitions: TTFT from the time the trace says to the first text; TPOT the time after it by the answer's other tokens;
ITL between two pieces of text that came one after the other; E2E from the time the trace says to the end.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.document import Result
from benchmarks.simulator.arrival import Arrival
from benchmarks.simulator.outcome import FIRST_TOKEN_S, PER_TOKEN_S, PROMPT_TOKENS_PER_S, quantile
from sage.base.inference import Usage
from sage.base.metrics import FORECAST_ERROR


@dataclass(slots=True)
class ReplayedCall:
    """One request; times are seconds since the replay began. `sent_s` is late of `arrival.at_s` by our own lag."""

    arrival: Arrival
    sent_s: float = 0.0
    piece_s: list[float] = field(default_factory=list)
    end_s: float | None = None
    usage: Usage | None = None
    why: str | None = None

    @property
    def is_answered(self) -> bool:
        return self.end_s is not None and self.why is None and bool(self.piece_s)

    @property
    def ttft_s(self) -> float:
        return self.piece_s[0] - self.arrival.at_s

    @property
    def tpot_s(self) -> float:
        assert self.end_s is not None, self
        return (self.end_s - self.piece_s[0]) / max(1, self.num_tokens - 1)

    @property
    def num_tokens(self) -> int:
        return self.usage.completion_tokens if self.usage else len(self.piece_s)

    def is_good(self) -> bool:
        first_s = FIRST_TOKEN_S + self.arrival.prompt_tokens / PROMPT_TOKENS_PER_S
        return self.is_answered and self.ttft_s <= first_s and self.tpot_s <= PER_TOKEN_S


class ReplayResult(Result, frozen=True, kw_only=True):
    """One trace against one server; `n` requests were offered.

    `goodput_*` are shares of what was offered. `lag_*`: by how much we sent later than the trace says. `errors`: how
    many requests ended with each kind of error. `*_tokens_ratio`: what the server counted by what the trace says.
    `checked`: every request ended once, and no answer was longer than asked. `forecast_error_*`: where the server is
    one of ours, by how much of their time first tokens came off what its plane foretold, the last 256 of each engine.
    """

    trace: str
    model: str
    url: str
    speed: float
    duration_s: float
    num_answered: int
    errors: dict[str, int]
    goodput_requests: float
    goodput_tokens: float
    goodput_per_s: float
    requests_per_s: float
    tokens_per_s: float
    prompt_tokens_ratio: float
    answer_tokens_ratio: float
    prefix_hit: float
    ttft_p50_ms: float
    ttft_p90_ms: float
    ttft_p99_ms: float
    tpot_p50_ms: float
    tpot_p90_ms: float
    tpot_p99_ms: float
    itl_p50_ms: float
    itl_p90_ms: float
    itl_p99_ms: float
    e2e_p50_ms: float
    e2e_p90_ms: float
    e2e_p99_ms: float
    lag_p50_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    forecast_error_p50: float | None = None
    forecast_error_p90: float | None = None


@dataclass(frozen=True, slots=True)
class ReplayPlace:
    """What was replayed, and where."""

    engine: str
    trace: str
    model: str
    url: str
    speed: float
    simulated: bool


def replay_result(
    facts: ReplayPlace,
    calls: Sequence[ReplayedCall],
    duration_s: float,
    forecast_errors: tuple[float, float] | None = None,
) -> ReplayResult:
    """Return the figures of a replay that lasted `duration_s`; percentiles are of answered requests."""
    answered = [call for call in calls if call.is_answered]
    good = [call for call in calls if call.is_good()]
    lasted_s = max(1e-9, duration_s)
    counted = [call.usage for call in answered if call.usage is not None]
    prompt_tokens = sum(usage.prompt_tokens for usage in counted)
    return ReplayResult(
        engine=facts.engine,
        workload="replay",
        n=len(calls),
        checked=all(call.end_s is not None and call.num_tokens <= call.arrival.answer_tokens for call in calls),
        simulated=facts.simulated,
        trace=facts.trace,
        model=facts.model,
        url=facts.url,
        speed=facts.speed,
        duration_s=round(duration_s, 3),
        num_answered=len(answered),
        errors=dict(Counter(call.why for call in calls if call.why is not None).most_common()),
        goodput_requests=_share(len(good), len(calls)),
        goodput_tokens=_share(_offered(good), _offered(calls)),
        goodput_per_s=round(len(good) / lasted_s, 4),
        requests_per_s=round(len(answered) / lasted_s, 4),
        tokens_per_s=round(sum(call.num_tokens for call in answered) / lasted_s, 1),
        prompt_tokens_ratio=_share(prompt_tokens, sum(call.arrival.prompt_tokens for call in answered if call.usage)),
        answer_tokens_ratio=_share(
            sum(call.num_tokens for call in answered), sum(call.arrival.answer_tokens for call in answered)
        ),
        prefix_hit=_share(sum(usage.cached_tokens for usage in counted), prompt_tokens),
        **_percentiles(answered),
        **_lags(calls),
        **_forecasts(forecast_errors),
    )


def forecast_errors_of(metrics: str) -> tuple[float, float] | None:
    """Return the errors of forecasts, p50 and p90, that a gateway shows; the mean over its engines, None without any.

    >>> line = 'sage_engine_forecast_error{engine="e",quantile="0.5"} 0.1'
    >>> forecast_errors_of(line), forecast_errors_of(f"{line}\\n{line.replace('0.5', '0.9')}")
    (None, (0.1, 0.1))
    """
    found: dict[str, list[float]] = {"0.5": [], "0.9": []}
    for line in metrics.splitlines():
        if line.startswith(f"{FORECAST_ERROR.name}{{"):
            labels, _, value = line.rpartition(" ")
            for quantile_name, values in found.items():
                if f'quantile="{quantile_name}"' in labels:
                    values.append(float(value))
    if not all(found.values()):
        return None
    p50, p90 = (round(sum(values) / len(values), 4) for values in found.values())
    return p50, p90


def _lags(calls: Sequence[ReplayedCall]) -> dict[str, float]:
    lags = sorted(1e3 * (call.sent_s - call.arrival.at_s) for call in calls)
    return {f"lag_{name}_ms": quantile(lags, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


def _forecasts(errors: tuple[float, float] | None) -> dict[str, float]:
    return {} if errors is None else {"forecast_error_p50": errors[0], "forecast_error_p90": errors[1]}


def _percentiles(answered: Sequence[ReplayedCall]) -> dict[str, float]:
    times_s = {
        "ttft": [call.ttft_s for call in answered],
        "tpot": [call.tpot_s for call in answered if call.num_tokens > 1],
        "itl": [after - before for call in answered for before, after in pairwise(call.piece_s)],
        "e2e": [call.end_s - call.arrival.at_s for call in answered if call.end_s is not None],
    }
    return {
        f"{name}_p{share}_ms": quantile(sorted(1e3 * each_s for each_s in each), share / 100)
        for name, each in times_s.items()
        for share in (50, 90, 99)
    }


def _offered(calls: Sequence[ReplayedCall]) -> int:
    return sum(call.arrival.prompt_tokens + call.arrival.answer_tokens for call in calls)


def _share(part: float, whole: float) -> float:
    return round(part / whole, 4) if whole else 0.0
