"""`sage-benchmark policies`: policies and routes side by side, over traces, in simulation.

Every replay is checked: each request ended once, and the plane says that it served by what was asked for.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import product
from math import sqrt
from random import Random
from statistics import mean, stdev

from benchmarks.document import Result
from benchmarks.policies_wanted import PoliciesWanted, TraceName
from benchmarks.simulator.arrival import Trace
from benchmarks.simulator.fairness import jain_index, shares_of
from benchmarks.simulator.kv_cache import BlockCache
from benchmarks.simulator.outcome import Figures, figures_of
from benchmarks.simulator.run import KV_TOKENS, Replayed, Setup, replay
from benchmarks.simulator.traces import load_trace
from cluster.serving.engines.cost import CostModel, profile_of
from sage.base.clock import Clock
from sage.base.errors import InternalError

NUM_QUIET = 100  # fewer requests have no p99
JITTER_S = 1.0
"""Seeds after the first move each arrival by up to so much: as random as the trace's own clock allows."""


class PolicyResult(Result, frozen=True, kw_only=True):
    """One policy with one route, the mean over `num_seeds` replays; `n` requests were offered in each.

    `goodput_*` are shares of what was offered, `goodput_requests_low` and `_high` the 95 % interval over the seeds.
    `prefix_hit`: share of the prompt tokens that the engine had cached; `prefix_hit_pooled`: of one cache as large as
    all together, the oracle. `max_load`: the most loaded engine by the mean, in prompt tokens given.
    `forecast_error_*`: by how much of its time the first token came off what was foretold when its request was sent.
    `jain` and `smallest_share` are of what each tenant got until the last arrival, as a share of what it would have got
    of a fluid shared fairly (`simulator.fairness`); `quiet_p99_ratio`: p99 of the time to the first token of the tenant
    that asks for least (of those with NUM_QUIET requests or more), by what it has alone; None for one tenant.
    `speed`: virtual seconds a second of processor time.
    """

    trace: str
    policy: str
    route: str
    admission: str
    prompts: str
    num_engines: int
    load: float
    num_seeds: int
    goodput_requests: float
    goodput_requests_low: float
    goodput_requests_high: float
    goodput_tokens: float
    goodput_per_s: float
    tokens_per_s: float
    num_refused: float
    ttft_p50_ms: float
    ttft_p99_ms: float
    tpot_p50_ms: float
    tpot_p99_ms: float
    e2e_p50_ms: float
    e2e_p99_ms: float
    jain: float
    prefix_hit: float
    prefix_hit_pooled: float
    max_load: float
    forecast_error_p50: float
    forecast_error_p90: float
    speed: float
    smallest_share: float
    quiet_p99_ratio: float | None


def measure_policies(wanted: PoliciesWanted, clock: Clock, say: Callable[[str], object]) -> list[Result]:
    """Replay every trace by every policy and route; `say` is told what is at work. Raises SourceUnreadable,
    UnknownPolicy."""
    return [result for name in wanted.traces for result in _measure_trace(name, wanted, clock, say)]


def _measure_trace(
    name: TraceName, wanted: PoliciesWanted, clock: Clock, say: Callable[[str], object]
) -> Iterator[Result]:
    costs = profile_of(wanted.profile)
    trace = load_trace(name, limit=wanted.limit, seed=wanted.seed)
    trace = trace.lasting(full_load_s(trace, wanted.num_engines, costs) / wanted.load)
    traces = [trace, *(_jittered(trace, wanted.seed + n) for n in range(1, wanted.num_seeds))]
    pooled = pooled_hit(trace, wanted.num_engines * KV_TOKENS)
    for prompts, policy, route in product(wanted.prompts, wanted.policies, wanted.routes):
        say(f"{name}: {policy}, {route}" + (f", {prompts}" if len(wanted.prompts) > 1 else ""))
        setup = Setup(
            policy,
            route,
            wanted.admission.value,
            wanted.num_engines,
            costs,
            window=wanted.window,
            prompts=prompts.value,
        )
        before_s = clock.monotonic_s()
        runs = [_checked(replay(each, setup), setup) for each in traces]
        took_s = clock.monotonic_s() - before_s
        quiet = [quiet_p99_ratio(each, run, setup) for each, run in zip(traces, runs, strict=True)]
        yield _result(trace, setup, wanted, runs, pooled, took_s, quiet)


def quiet_p99_ratio(trace: Trace, run: Replayed, setup: Setup) -> float | None:
    """Return how much later, at p99, the quiet tenant's first tokens come than with nobody beside it."""
    tenant = _quiet_tenant(trace)
    if tenant is None:
        return None
    alone = replay(trace.of(tenant), setup)
    beside = [outcome for outcome in run.outcomes if outcome.arrival.tenant == tenant]
    alone_p99_ms = figures_of(alone.outcomes, alone.duration_s).ttft_p99_ms
    return figures_of(beside, run.duration_s).ttft_p99_ms / alone_p99_ms if alone_p99_ms else None


def _quiet_tenant(trace: Trace) -> str | None:
    tokens: dict[str, int] = {}
    requests: dict[str, int] = {}
    for arrival in trace.arrivals:
        tokens[arrival.tenant] = tokens.get(arrival.tenant, 0) + arrival.prompt_tokens + arrival.answer_tokens
        requests[arrival.tenant] = requests.get(arrival.tenant, 0) + 1
    able = [tenant for tenant in tokens if requests[tenant] >= NUM_QUIET]
    return min(able, key=tokens.__getitem__) if len(tokens) > 1 and able else None


def full_load_s(trace: Trace, num_engines: int, costs: CostModel) -> float:
    """Return how long engines take for all requests at once, in order of arrival, each to the least busy."""
    return replay(trace.lasting(0.0), Setup("fifo", "least_work", "none", num_engines, costs)).duration_s


def pooled_hit(trace: Trace, kv_tokens: int) -> float:
    """Return the share of prompt tokens that one cache for all engines would have had, were prompts in order."""
    block_tokens = trace.arrivals[0].block_tokens if trace.arrivals else 1
    cache = BlockCache(max(1, kv_tokens // block_tokens))
    cached = total = 0
    for arrival in trace.arrivals:
        cached += min(cache.num_cached(arrival.blocks) * block_tokens, arrival.prompt_tokens)
        total += arrival.prompt_tokens
        cache.use(arrival.blocks)
    return cached / max(1, total)


def _jittered(trace: Trace, seed: int) -> Trace:
    rng = Random(seed)
    moved = [(max(0.0, a.at_s + rng.uniform(-JITTER_S, JITTER_S)), a) for a in trace.arrivals]
    return trace.at(moved)


def _checked(run: Replayed, setup: Setup) -> Replayed:
    served = (run.policy, run.route, run.admission, run.prompts)
    if served != (setup.policy, setup.route, setup.admission, setup.prompts):
        raise InternalError(f"the plane served by {', '.join(served)}, not as asked")
    return run


def _result(
    trace: Trace,
    setup: Setup,
    wanted: PoliciesWanted,
    runs: list[Replayed],
    pooled: float,
    took_s: float,
    quiet: list[float | None],
) -> PolicyResult:
    figures = [figures_of(run.outcomes, run.duration_s) for run in runs]
    good = [each.goodput_requests for each in figures]
    half = 1.96 * stdev(good) / sqrt(len(good)) if len(good) > 1 else 0.0
    shown = {name: round(mean(getattr(f, name) for f in figures), 4) for name in asdict(figures[0])}
    first = runs[0]
    return PolicyResult(
        engine=f"simulated {wanted.profile}",
        workload="replay",
        n=len(trace.arrivals),
        checked=True,
        simulated=True,
        trace=trace.name,
        policy=setup.policy,
        route=setup.route,
        admission=setup.admission,
        prompts=setup.prompts,
        num_engines=setup.num_engines,
        load=wanted.load,
        num_seeds=len(runs),
        goodput_requests_low=round(mean(good) - half, 4),
        goodput_requests_high=round(mean(good) + half, 4),
        prefix_hit=round(first.cached_tokens / max(1, first.prompt_tokens), 4),
        prefix_hit_pooled=round(pooled, 4),
        max_load=round(max(first.loads) * len(first.loads) / max(1, sum(first.loads)), 3),
        forecast_error_p50=round(mean(run.forecast_errors[0] for run in runs), 3),
        forecast_error_p90=round(mean(run.forecast_errors[1] for run in runs), 3),
        speed=round(sum(run.duration_s for run in runs) / max(1e-9, took_s)),
        quiet_p99_ratio=_mean_of_known(quiet),
        **_fairness(runs),
        **{name: shown[name] for name in _SHOWN},
    )


def _fairness(runs: list[Replayed]) -> dict[str, float]:
    shares = [list(shares_of(run.outcomes).values()) for run in runs]
    return {
        "jain": round(mean(map(jain_index, shares)), 4),
        "smallest_share": round(mean(min(each, default=0.0) for each in shares), 4),
    }


def _mean_of_known(ratios: list[float | None]) -> float | None:
    known = [ratio for ratio in ratios if ratio is not None]
    return round(mean(known), 3) if known else None


_SHOWN = tuple(name for name in Figures.__dataclass_fields__ if name not in ("num_offered", "num_ended"))
