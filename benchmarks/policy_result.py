"""What replays of one policy came to, as one result. Knows nothing of how they were replayed."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

from benchmarks.document import Result
from benchmarks.intervals import interval_of_share
from benchmarks.simulator.arrival import Trace
from benchmarks.simulator.class_shares import batch_share_of_rest
from benchmarks.simulator.fairness import jain_index, shares_of
from benchmarks.simulator.outcome import (
    Figures,
    attainment,
    figures_of,
    record_misses,
    text_figures_of,
    token_attainment,
    ttft_p99_by_class,
    ttft_p99_of_due_by_class,
)
from benchmarks.simulator.run import Replayed, Setup


class SetupResult(Result, frozen=True, kw_only=True):
    """What all results of replays have: which trace was replayed against what.

    `window`: sequences given to one engine at once; None: as many as it takes.
    """

    trace: str
    policy: str
    route: str
    admission: str
    prompts: str
    num_engines: int
    window: int | None


class PolicyResult(SetupResult, frozen=True, kw_only=True):
    """One policy with one route, the mean over `num_seeds` replays; `n` requests were offered in each.

    `goodput_*` are shares of what was offered; `_low` and `_high` are the ends of the 95 % interval of the mean over
    the seeds, by Student's t, cut at 0 and 1, and `seeds` has the values of each seed. `attainment` is the share of
    good requests of each class, `class_goodput_tokens` the share of its tokens that these have, `class_ttft_p99_ms` the
    p99 of the time to its first token where it ended well, `class_ttft_p99_of_due` the same as a share of the time in
    which that was due. `batch_share`: tokens served to class batch / what the higher classes left of `capacity_per_s`
    (`simulator.class_shares` has it exactly); None without a mix. `engine_s_per_good`: seconds of an engine for each
    good request; `busy`: the share at work.
    `prefix_hit`: share of the prompt tokens that the engine had cached; `prefix_hit_pooled`: of one cache as large as
    all together, the oracle. `max_load`: the most loaded engine by the mean, in prompt tokens given.
    `forecast_error_*`: by how much of its time the first token came off what was foretold when its request was sent.
    `jain` and `smallest_share` are of what each tenant got until the last arrival, as a share of what it would have got
    of a fluid shared fairly (`simulator.fairness`); `quiet_p99_ratio`: p99 of the time to the first token of the tenant
    that asks for least (of those with NUM_QUIET requests or more), by what it has alone; None for one tenant.
    `speed`: virtual seconds a second of processor time. `record_misses`: share of the records that were late at the end
    of their graph of calls, or of which a call failed; None where the trace has none that are due.
    `sharing`: how texts to embed shared the devices with chat, of which all other figures are; `texts`: the means of
    `simulator.outcome.TextFigures`. Both None where none came.
    """

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
    goodput_tokens_low: float
    goodput_tokens_high: float
    attainment: dict[str, float]
    class_goodput_tokens: dict[str, float]
    class_ttft_p99_ms: dict[str, float]
    class_ttft_p99_of_due: dict[str, float]
    batch_share: float | None
    capacity_per_s: float | None
    engine_s_per_good: float
    busy: float
    seeds: dict[str, list[float]]
    record_misses: float | None
    sharing: str | None = None
    texts: dict[str, float] | None = None


def policy_result(
    trace: Trace,
    setup: Setup,
    runs_with_texts: Sequence[Replayed],
    quiet: Sequence[float | None],
    *,
    profile: str,
    load: float,
    pooled: float,
    took_s: float,
    capacity_per_s: float | None = None,
) -> PolicyResult:
    """Return the mean over `runs_with_texts`; `quiet` has what the quiet tenant lost in each, `pooled` is the oracle's
    hits, `capacity_per_s` the tokens a second that the engines do where all is of one class."""
    runs = [run.parted()[0] for run in runs_with_texts]
    texts = _texts(runs_with_texts)
    figures = [figures_of(run.outcomes, run.duration_s) for run in runs]
    shown = {name: round(mean(getattr(f, name) for f in figures), 4) for name in asdict(figures[0])}
    seeds = {name: [getattr(each, name) for each in figures] for name in ("goodput_requests", "goodput_tokens")}
    given: dict[str, Any] = {
        **of_setup(trace, setup, profile),
        **_engines(runs),
        **_intervals(seeds),
        **_cost(runs, figures, setup.num_engines),
        **_fairness(runs),
        **{name: shown[name] for name in _SHOWN},
    }
    return PolicyResult(
        **given,
        workload="replay",
        n=len(trace.arrivals),
        load=load,
        num_seeds=len(runs),
        prefix_hit_pooled=round(pooled, 4),
        speed=round(sum(run.duration_s for run in runs) / max(1e-9, took_s)),
        quiet_p99_ratio=_mean_of_known(quiet),
        **_classes(runs, capacity_per_s),
        seeds=seeds,
        record_misses=_mean_of_known([record_misses(run.outcomes) for run in runs]),
        sharing=None if texts is None else setup.sharing.value,
        texts=texts,
    )


def of_setup(trace: Trace, setup: Setup, profile: str) -> dict[str, Any]:
    """Return the fields of a SetupResult that `trace` and `setup` give, beside `workload` and `n`."""
    return {
        "engine": f"simulated {profile}",
        "checked": True,
        "simulated": True,
        "trace": trace.name,
        "policy": setup.policy,
        "route": setup.route,
        "admission": setup.admission,
        "prompts": setup.prompts,
        "num_engines": setup.num_engines,
        "window": setup.window,
    }


def _engines(runs: Sequence[Replayed]) -> dict[str, float]:
    """Return hits and balance of the first run, and how well all of them were foretold."""
    first = runs[0]
    return {
        "prefix_hit": round(first.cached_tokens / max(1, first.prompt_tokens), 4),
        "max_load": round(max(first.loads) * len(first.loads) / max(1, sum(first.loads)), 3),
        "forecast_error_p50": round(mean(run.forecast_errors[0] for run in runs), 3),
        "forecast_error_p90": round(mean(run.forecast_errors[1] for run in runs), 3),
    }


def _intervals(seeds: dict[str, list[float]]) -> dict[str, float]:
    """Return the ends of each interval; of one seed, its value."""
    ends: dict[str, float] = {}
    for name, values in seeds.items():
        low, high = interval_of_share(values) or (values[0], values[0])
        ends |= {f"{name}_low": round(low, 4), f"{name}_high": round(high, 4)}
    return ends


def _cost(runs: Sequence[Replayed], figures: Sequence[Figures], num_engines: int) -> dict[str, float]:
    engine_s = [num_engines * run.duration_s for run in runs]
    good = [each.goodput_requests * each.num_offered for each in figures]
    return {
        "engine_s_per_good": round(sum(engine_s) / max(1.0, sum(good)), 4),
        "busy": round(sum(run.busy_s for run in runs) / max(1e-9, sum(engine_s)), 4),
    }


def _texts(runs: Sequence[Replayed]) -> dict[str, float] | None:
    """Return the mean figures of what was embedded; None where nothing was."""
    found = [asdict(text_figures_of(texts, run.duration_s)) for run in runs if (texts := run.parted()[1])]
    return {name: round(mean(each[name] for each in found), 3) for name in found[0]} if found else None


def _by_class(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean over the runs that have a figure of a class, for each class that any of them has one of."""
    names = sorted({name for found in runs for name in found})
    return {name: round(mean(found[name] for found in runs if name in found), 4) for name in names}


def _classes(runs: Sequence[Replayed], capacity_per_s: float | None) -> dict[str, Any]:
    return {
        "attainment": _by_class([attainment(run.outcomes) for run in runs]),
        "class_goodput_tokens": _by_class([token_attainment(run.outcomes) for run in runs]),
        "class_ttft_p99_ms": _by_class([ttft_p99_by_class(run.outcomes) for run in runs]),
        "class_ttft_p99_of_due": _by_class([ttft_p99_of_due_by_class(run.outcomes) for run in runs]),
        "batch_share": _batch_share(runs, capacity_per_s),
        "capacity_per_s": None if capacity_per_s is None else round(capacity_per_s, 1),
    }


def _batch_share(runs: Sequence[Replayed], capacity_per_s: float | None) -> float | None:
    if capacity_per_s is None:
        return None
    return _mean_of_known([batch_share_of_rest(run.outcomes, capacity_per_s) for run in runs])


def _fairness(runs: Sequence[Replayed]) -> dict[str, float]:
    shares = [list(shares_of(run.outcomes).values()) for run in runs]
    return {
        "jain": round(mean(map(jain_index, shares)), 4),
        "smallest_share": round(mean(min(each, default=0.0) for each in shares), 4),
    }


def _mean_of_known(ratios: Sequence[float | None]) -> float | None:
    known = [ratio for ratio in ratios if ratio is not None]
    return round(mean(known), 3) if known else None


_SHOWN = tuple(name for name in Figures.__dataclass_fields__ if name not in ("num_offered", "num_ended"))
