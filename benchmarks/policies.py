"""`sage-benchmark policies`: policies and routes side by side, over traces, in simulation.

Every replay is checked: each request ended once, and the plane says that it served by what was asked for.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from random import Random

from benchmarks.document import Result
from benchmarks.policies_wanted import PoliciesWanted, TraceName
from benchmarks.policy_result import SetupResult, of_setup, policy_result
from benchmarks.simulator.arrival import Trace
from benchmarks.simulator.class_shares import last_arrival_s, tokens_served
from benchmarks.simulator.kv_cache import BlockCache
from benchmarks.simulator.outcome import figures_of
from benchmarks.simulator.run import KV_TOKENS, Replayed, Setup, replay
from benchmarks.simulator.traces import load_trace
from cluster.serving.engines.cost import CostModel, profile_of
from cluster.serving.sharing import SharingMode
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.inference import ServiceClass

NUM_QUIET = 100  # fewer requests have no p99
NUM_INTERFERING = 4  # tenants replayed in pairs: twelve pairs
JITTER_S = 1.0
"""Seeds after the first move each arrival by up to so much: as random as the trace's own clock allows."""
SATURATED_LOAD = 2.0
_HIGHEST_LOAD, _NEAR_LOAD = 8.0, 0.01

Say = Callable[[str], object]


class LoadResult(SetupResult, frozen=True, kw_only=True):
    """The highest load, to 1 %, at which the mean share of good requests over the seeds is `goodput_wanted`.

    It is looked for by halving, as if goodput only fell with load.
    """

    num_seeds: int
    goodput_wanted: float
    highest_load: float


class InterferenceResult(SetupResult, frozen=True, kw_only=True):
    """What tenant `beside` costs `tenant`: p99 of its times to the first token with only the two, by that alone.

    `n` is the number of its requests.
    """

    load: float
    tenant: str
    beside: str
    p99_ratio: float


def measure_policies(wanted: PoliciesWanted, clock: Clock, say: Say) -> list[Result]:
    """Replay every trace by every policy and route; `say` is told what is at work. Raises SourceUnreadable,
    UnknownPolicy."""
    return [
        result
        for name, num_engines in product(wanted.traces, wanted.num_engines)
        for result in _measure_trace(name, num_engines, wanted, clock, say)
    ]


def _measure_trace(
    name: TraceName, num_engines: int, wanted: PoliciesWanted, clock: Clock, say: Say
) -> Iterator[Result]:
    trace = load_trace(name, limit=wanted.limit, seed=wanted.seed)
    trace = trace if wanted.mix is None else trace.mixed(wanted.mix, seed=wanted.seed)
    full_s = full_load_s(trace, num_engines, profile_of(wanted.profile))
    setups = list(_setups(num_engines, wanted))
    for setup in setups if wanted.find_load is not None else ():
        say(f"{name}: {setup.policy}, {setup.route}, {num_engines} engines, highest load")
        yield _highest_load(trace, full_s, setup, wanted)
    for load, setup in product(wanted.loads if wanted.find_load is None else (), setups):
        within = f", window {setup.window}" if len(wanted.windows) > 1 else ""
        say(f"{name}: {setup.policy}, {setup.route}, {setup.prompts}{within}, {num_engines} engines, load {load:g}")
        traces = _seeds(trace.lasting(full_s / load), wanted)
        yield _measured(traces, setup, load, wanted, clock)
        if wanted.with_interference:
            if len(busiest_tenants(traces[0])) < 2:
                say(f"{name}: no interference, fewer than two tenants have {NUM_QUIET} requests")
            yield from _interference(traces[0], setup, load, wanted.profile)


def _setups(num_engines: int, wanted: PoliciesWanted) -> Iterator[Setup]:
    windows: tuple[int | None, ...] = wanted.windows or (None,)
    for prompts, window, policy, route in product(wanted.prompts, windows, wanted.policies, wanted.routes):
        yield Setup(
            policy,
            route,
            wanted.admission.value,
            num_engines,
            profile_of(wanted.profile),
            window=window,
            prompts=prompts.value,
            sharing=SharingMode.GATED if wanted.texts is None else SharingMode(wanted.texts.sharing.value),
        )


def _with_texts(trace: Trace, wanted: PoliciesWanted, seed: int) -> Trace:
    if wanted.texts is None:
        return trace
    beside = wanted.texts.beside
    return trace.with_texts(beside.per_s, service_class=beside.service_class, seed=seed)


def _seeds(trace: Trace, wanted: PoliciesWanted) -> list[Trace]:
    return [trace, *(_jittered(trace, wanted.seed + n) for n in range(1, wanted.num_seeds))]


def _measured(traces: list[Trace], setup: Setup, load: float, wanted: PoliciesWanted, clock: Clock) -> Result:
    before_s = clock.monotonic_s()
    runs = [_checked(replay(_with_texts(each, wanted, wanted.seed + n), setup), setup) for n, each in enumerate(traces)]
    took_s = clock.monotonic_s() - before_s
    quiet = [quiet_p99_ratio(each, run, setup) for each, run in zip(traces, runs, strict=True)]
    return policy_result(
        traces[0],
        setup,
        runs,
        quiet,
        profile=wanted.profile,
        load=load,
        pooled=pooled_hit(traces[0], setup.num_engines * KV_TOKENS),
        took_s=took_s,
        capacity_per_s=None if wanted.mix is None else capacity_per_s(traces[0], setup, load),
    )


def _highest_load(trace: Trace, full_s: float, setup: Setup, wanted: PoliciesWanted) -> LoadResult:
    assert wanted.find_load is not None

    def is_good(load: float) -> bool:
        runs = [_checked(replay(each, setup), setup) for each in _seeds(trace.lasting(full_s / load), wanted)]
        good = [figures_of(run.outcomes, run.duration_s).goodput_requests for run in runs]
        return sum(good) / len(good) >= (wanted.find_load or 0.0)

    low, high = 0.0, 1.0
    while high < _HIGHEST_LOAD and is_good(high):
        low, high = high, 2 * high
    while high - low > _NEAR_LOAD * high:
        middle = (low + high) / 2
        low, high = (middle, high) if is_good(middle) else (low, middle)
    return LoadResult(
        **of_setup(trace, setup, wanted.profile),
        workload="highest load",
        n=len(trace.arrivals),
        num_seeds=wanted.num_seeds,
        goodput_wanted=wanted.find_load,
        highest_load=round(low, 3),
    )


def _interference(trace: Trace, setup: Setup, load: float, profile: str) -> Iterator[InterferenceResult]:
    """Yield what each of the busiest tenants costs each other; of tenants that ask for little there is no p99."""
    for tenant, beside in product(busiest_tenants(trace), repeat=2):
        if tenant == beside:
            continue
        own = trace.of(tenant)
        alone, both = (replay(each, setup) for each in (own, trace.of(tenant, beside)))
        own_outcomes = [outcome for outcome in both.outcomes if outcome.arrival.tenant == tenant]
        alone_p99_ms = figures_of(alone.outcomes, alone.duration_s).ttft_p99_ms
        if alone_p99_ms:
            yield InterferenceResult(
                **of_setup(trace, setup, profile),
                workload="interference",
                n=len(own.arrivals),
                load=load,
                tenant=tenant,
                beside=beside,
                p99_ratio=round(figures_of(own_outcomes, both.duration_s).ttft_p99_ms / alone_p99_ms, 3),
            )


def busiest_tenants(trace: Trace) -> list[str]:
    """Return the tenants that ask for most tokens, of those with enough requests for a p99."""
    tokens = _tokens_of_able(trace)
    return sorted(tokens, key=lambda tenant: -tokens[tenant])[:NUM_INTERFERING]


def quiet_p99_ratio(trace: Trace, run: Replayed, setup: Setup) -> float | None:
    """Return how much later, at p99, the quiet tenant's first tokens come than with nobody beside it."""
    tenant = _quiet_tenant(trace)
    if tenant is None:
        return None
    alone = replay(trace.of(tenant), setup)
    beside = [outcome for outcome in run.parted()[0].outcomes if outcome.arrival.tenant == tenant]
    alone_p99_ms = figures_of(alone.outcomes, alone.duration_s).ttft_p99_ms
    return figures_of(beside, run.duration_s).ttft_p99_ms / alone_p99_ms if alone_p99_ms else None


def _quiet_tenant(trace: Trace) -> str | None:
    tokens = _tokens_of_able(trace)
    has_others = len({arrival.tenant for arrival in trace.arrivals}) > 1
    return min(tokens, key=tokens.__getitem__) if has_others and tokens else None


def _tokens_of_able(trace: Trace) -> dict[str, int]:
    """Return how many tokens each tenant asks for that has enough requests for a p99."""
    tokens: Counter[str] = Counter()
    requests: Counter[str] = Counter()
    for arrival in trace.arrivals:
        tokens[arrival.tenant] += arrival.prompt_tokens + arrival.answer_tokens
        requests[arrival.tenant] += 1
    return {tenant: num for tenant, num in tokens.items() if requests[tenant] >= NUM_QUIET}


def full_load_s(trace: Trace, num_engines: int, costs: CostModel) -> float:
    """Return how long engines take for all requests at once, in order of arrival, each to the least busy; none waits
    for another."""
    return replay(trace.apart().lasting(0.0), Setup("fifo", "least_work", "none", num_engines, costs)).duration_s


def capacity_per_s(trace: Trace, setup: Setup, load: float) -> float:
    """Return the tokens a second that the engines of `setup` do until the last arrival where too much comes, all of it
    in class batch and nothing refused: at `load`, or at SATURATED_LOAD where that is more."""
    one_class = trace.mixed({ServiceClass.BATCH: 1.0}, seed=0)
    run = replay(
        one_class.lasting(trace.duration_s * min(1.0, load / SATURATED_LOAD)), replace(setup, admission="none")
    )
    until_s = last_arrival_s(run.outcomes)
    return tokens_served(run.outcomes, until_s) / until_s if until_s > 0.0 else 0.0


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
