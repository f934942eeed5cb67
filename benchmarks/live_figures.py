"""What became of the requests of each set-up's turns, and the figures of all together. Pure; knows no engine."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import linear_regression, mean, median
from typing import Any

from benchmarks.document import Result
from benchmarks.intervals import interval_of_share, ratio
from benchmarks.live_wanted import LiveSetup, LiveWanted
from benchmarks.replay_figures import ReplayedCall
from benchmarks.simulator.outcome import quantile


@dataclass(frozen=True, slots=True)
class Objectives:
    """When a first token is due, by the tokens of its prompt as the trace has them, and every other on average."""

    first_s: float
    prompt_token_s: float
    token_s: float

    def first_due_s(self, prompt_tokens: int) -> float:
        return self.first_s + prompt_tokens * self.prompt_token_s

    def is_met(self, call: ReplayedCall) -> bool:
        due_s = self.first_due_s(call.arrival.prompt_tokens)
        return call.is_answered and call.ttft_s <= due_s and call.tpot_s <= self.token_s


def objectives_of(calls: Sequence[ReplayedCall], patience: float) -> Objectives:
    """Return `patience` times what calls took that had an engine for themselves: a line over their prompts, and the
    median time of a token.

    >>> def call(prompt, first_s):
    ...     arrival = Arrival(0.0, prompt, 3)
    ...     return ReplayedCall(arrival, piece_s=[first_s], end_s=first_s + 0.2, usage=Usage(prompt, 3))
    >>> from benchmarks.simulator.arrival import Arrival
    >>> from sage.base.inference import Usage
    >>> met = objectives_of([call(100, 0.2), call(300, 0.4)], 5.0)
    >>> [round(each, 6) for each in (met.first_s, met.prompt_token_s, met.token_s)]
    [0.5, 0.005, 0.5]
    """
    prompts = [float(call.arrival.prompt_tokens) for call in calls]
    firsts_s = [call.ttft_s for call in calls]
    slope_s, fixed_s = linear_regression(prompts, firsts_s) if len(set(prompts)) > 1 else (0.0, mean(firsts_s))
    if slope_s <= 0.0 or fixed_s <= 0.0:  # too even, or too noisy, for a line: by the longest and by nothing else
        slope_s, fixed_s = max(0.0, slope_s), max(firsts_s)
    return Objectives(patience * fixed_s, patience * slope_s, patience * median(call.tpot_s for call in calls))


@dataclass(slots=True)
class SetupTurns:
    """What the turns of a set-up at a load brought: the counted calls, a list a turn, and the prompt tokens that
    engines say they looked for in their caches and found there, where they say anything."""

    calls: list[list[ReplayedCall]] = field(default_factory=list)
    asked_tokens: float = 0.0
    hit_tokens: float = 0.0
    lags_s: list[float] = field(default_factory=list)

    def shares(self, met: Objectives) -> tuple[list[float], list[float]]:
        """Return the good requests and the good tokens of each turn, as shares of what was offered."""
        requests, tokens = [], []
        for calls in self.calls:
            good = [call for call in calls if met.is_met(call)]
            requests.append(len(good) / len(calls))
            tokens.append(_tokens(good) / _tokens(calls))
        return requests, tokens


class LiveResult(Result, frozen=True, kw_only=True):
    """One set-up at one load over `num_rounds` turns; `n` requests were counted in each.

    `goodput_*`: shares of what was offered, whose first token came within `patience` times what it takes without load
    (`due_first_ms` and `due_prompt_token_ms` for each token of the prompt) and the others each within `due_token_ms`;
    what was refused or failed is a miss. `_low` and `_high` are the ends of the 95 % interval of the mean over the
    rounds, `seeds` has the values of each. `ours_by_this_*`: by how much the first set-up is better, the geometric mean
    over the rounds, and its interval; None of itself, and where a turn had nothing good. `full_requests_per_s`: load 1.
    `prefix_hit`: share of the prompts' tokens that engines found in their caches by their own count, None where they
    do not say. `checked`: every request ended once, and no answer was longer than asked.
    """

    trace: str
    policy: str
    route: str
    prompts: str
    admission: str
    num_engines: int
    load: float
    num_rounds: int
    goodput_requests: float
    goodput_tokens: float
    goodput_requests_low: float
    goodput_requests_high: float
    goodput_tokens_low: float
    goodput_tokens_high: float
    ours_by_this_requests: float | None
    ours_by_this_requests_low: float | None
    ours_by_this_requests_high: float | None
    ours_by_this_tokens: float | None
    ours_by_this_tokens_low: float | None
    ours_by_this_tokens_high: float | None
    ttft_p50_ms: float
    ttft_p99_ms: float
    tpot_p50_ms: float
    tpot_p99_ms: float
    prefix_hit: float | None
    refused: float
    errors: dict[str, int]
    lag_p99_ms: float
    full_requests_per_s: float
    mean_prompt_tokens: float
    due_first_ms: float
    due_prompt_token_ms: float
    due_token_ms: float
    seeds: dict[str, list[float]]


def live_results(
    wanted: LiveWanted,
    turns: dict[tuple[float, LiveSetup], SetupTurns],
    met: Objectives,
    *,
    kind: str,
    simulated: bool,
    full_requests_per_s: float,
) -> list[LiveResult]:
    """Return a result a load and set-up."""
    results = []
    for (load, setup), seen in turns.items():
        ours = turns[load, wanted.setups[0]]
        given: dict[str, Any] = {
            **_shares(seen, met),
            **_against(ours, seen, met),
            **_times(seen),
            "engine": kind,
            "workload": "live",
            "simulated": simulated,
            "trace": wanted.trace.value,
            "policy": setup.policy,
            "route": setup.route,
            "prompts": setup.prompts.value,
            "admission": wanted.admission.value,
            "num_engines": wanted.num_engines,
            "load": load,
            "full_requests_per_s": round(full_requests_per_s, 3),
            "due_first_ms": round(1e3 * met.first_s, 1),
            "due_prompt_token_ms": round(1e3 * met.prompt_token_s, 4),
            "due_token_ms": round(1e3 * met.token_s, 1),
        }
        results.append(LiveResult(**given))
    return results


def _shares(seen: SetupTurns, met: Objectives) -> dict[str, Any]:
    requests, tokens = seen.shares(met)
    found: dict[str, Any] = {"seeds": {"goodput_requests": requests, "goodput_tokens": tokens}}
    for name, values in found["seeds"].items():
        low, high = interval_of_share(values) or (values[0], values[0])
        found |= {name: round(mean(values), 4), f"{name}_low": round(low, 4), f"{name}_high": round(high, 4)}
    return found


def _against(ours: SetupTurns, seen: SetupTurns, met: Objectives) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, mine, theirs in zip(("requests", "tokens"), ours.shares(met), seen.shares(met), strict=True):
        one: float | None = None
        ends: tuple[float, float] | None = None
        if ours is not seen and min(*mine, *theirs) > 0.0:
            one, ends = ratio(mine, theirs)
        found[f"ours_by_this_{name}"] = None if one is None else round(one, 3)
        found[f"ours_by_this_{name}_low"] = None if ends is None else round(ends[0], 3)
        found[f"ours_by_this_{name}_high"] = None if ends is None else round(ends[1], 3)
    return found


def _times(seen: SetupTurns) -> dict[str, Any]:
    calls = [call for turn in seen.calls for call in turn]
    answered = [call for call in calls if call.is_answered]
    firsts = sorted(1e3 * call.ttft_s for call in answered)
    eachs = sorted(1e3 * call.tpot_s for call in answered if call.num_tokens > 1)
    errors = Counter(call.why for call in calls if call.why is not None)
    return {
        "n": len(seen.calls[0]),
        "num_rounds": len(seen.calls),
        "checked": all(call.end_s is not None and call.num_tokens <= call.arrival.answer_tokens for call in calls),
        "ttft_p50_ms": quantile(firsts, 0.5),
        "ttft_p99_ms": quantile(firsts, 0.99),
        "tpot_p50_ms": quantile(eachs, 0.5),
        "tpot_p99_ms": quantile(eachs, 0.99),
        "prefix_hit": round(seen.hit_tokens / seen.asked_tokens, 4) if seen.asked_tokens else None,
        "refused": round(errors["Overloaded"] / len(calls), 4),
        "errors": dict(errors.most_common()),
        "lag_p99_ms": quantile(sorted(1e3 * lag_s for lag_s in seen.lags_s), 0.99),
        "mean_prompt_tokens": round(mean(call.usage.prompt_tokens for call in answered if call.usage), 1),
    }


def _tokens(calls: Sequence[ReplayedCall]) -> int:
    return sum(call.arrival.prompt_tokens + call.arrival.answer_tokens for call in calls)
