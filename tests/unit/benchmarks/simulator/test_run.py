"""Traces replayed against the plane, in virtual time."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.mix import IN_THREE
from benchmarks.policies import InterferenceResult, LoadResult, full_load_s, measure_policies, pooled_hit
from benchmarks.policies_wanted import PoliciesWanted, Profile, Shedding, TraceName
from benchmarks.policy_result import PolicyResult
from benchmarks.simulator.arrival import Arrival, Trace, trace_of
from benchmarks.simulator.outcome import Outcome, figures_of, ttft_p99_by_class
from benchmarks.simulator.run import Setup, replay
from benchmarks.simulator.traces import adapters_trace, generated_trace, load_trace
from cluster.serving.engines.cost import H100, CostModel
from cluster.serving.policy import POLICY_NAMES
from cluster.serving.routes import ROUTE_NAMES
from sage.base.clock import SystemClock
from sage.base.errors import SourceUnreadable, UnknownPolicy


def setup(policy: str = "fifo", route: str = "least_work", admission: str = "none", num_engines: int = 2) -> Setup:
    return Setup(policy, route, admission, num_engines, H100)


def busy(num: int, load: float) -> Trace:
    trace = generated_trace(num, seed=1)
    return trace.lasting(full_load_s(trace, 2, H100) / load)


@pytest.mark.parametrize("policy", POLICY_NAMES)
@pytest.mark.parametrize("route", ROUTE_NAMES)
def test_every_request_ends_once_by_each_policy_and_route(policy: str, route: str) -> None:
    run = replay(busy(150, 1.5), setup(policy, route))
    assert all(outcome.why is None and outcome.end_s is not None for outcome in run.outcomes)
    assert all((outcome.first_s or 0.0) >= outcome.arrival.at_s for outcome in run.outcomes)
    assert (run.policy, run.route) == (policy, route)
    assert sum(run.loads) == sum(outcome.arrival.prompt_tokens for outcome in run.outcomes)


def test_a_replay_is_the_same_each_time() -> None:
    trace = busy(200, 1.2)
    assert replay(trace, setup("hybrid", "auto", "deadline")) == replay(trace, setup("hybrid", "auto", "deadline"))


def test_shedding_at_the_door_makes_more_requests_good_when_there_are_too_many() -> None:
    trace = busy(800, 2.0)
    all_wait, shed = replay(trace, setup()), replay(trace, setup(admission="deadline"))
    good = [figures_of(run.outcomes, run.duration_s).goodput_requests for run in (all_wait, shed)]
    assert good[1] > good[0]
    assert any(outcome.why == "SAGE-2201" for outcome in shed.outcomes)


def test_a_route_by_prefix_finds_more_of_the_prompts_in_caches() -> None:
    trace = busy(400, 0.8)
    hits = {route: replay(trace, setup(route=route)).cached_tokens for route in ("least_work", "auto", "prefix")}
    assert hits["auto"] > 1.1 * hits["least_work"]
    assert hits["prefix"] > 1.1 * hits["least_work"]


def test_more_engines_take_no_longer() -> None:
    trace = generated_trace(300, seed=3)
    times = [full_load_s(trace, num, H100) for num in (1, 2, 4, 8)]
    assert all(more <= fewer for fewer, more in pairwise(times))


def test_the_pooled_cache_is_the_best_that_engines_could_have() -> None:
    trace = busy(300, 0.5)
    run = replay(trace, setup(route="prefix"))
    assert run.cached_tokens / run.prompt_tokens <= pooled_hit(trace, 2_600_000) + 0.01


def test_figures_count_what_was_refused_as_missed() -> None:
    good = Outcome(Arrival(0.0, 100, 11), first_s=1.0, end_s=2.0, asked_s=0.0)
    late = Outcome(Arrival(0.0, 100, 11), first_s=3.0, end_s=4.0, asked_s=0.0)
    slow = Outcome(Arrival(0.0, 100, 11), first_s=1.0, end_s=9.0, asked_s=0.0)
    refused = Outcome(Arrival(0.0, 100, 11), end_s=0.0, why="SAGE-2201", asked_s=0.0)
    figures = figures_of([good, late, slow, refused], 10.0)
    assert (figures.goodput_requests, figures.num_refused, figures.num_ended) == (0.25, 1, 3)
    assert figures.ttft_p50_ms == 1000.0
    assert figures.tpot_p50_ms == 100.0


def test_a_trace_begins_at_zero_and_lasts_as_long_as_wanted() -> None:
    trace = trace_of("t", [Arrival(7.0, 1, 1), Arrival(5.0, 2, 1), Arrival(9.0, 3, 1)])
    assert [arrival.at_s for arrival in trace.arrivals] == [0.0, 2.0, 4.0]
    assert [arrival.at_s for arrival in trace.lasting(8.0).arrivals] == [0.0, 4.0, 8.0]


def test_results_say_what_they_are_of() -> None:
    wanted = PoliciesWanted(
        (TraceName.GENERATED,), ("fifo",), ("auto",), Shedding.DEADLINE, (2,), (1.0,), Profile.H100, 7, 3, (48,), 100
    )
    said: list[str] = []
    (result,) = measure_policies(wanted, SystemClock(), said.append)
    assert said == ["generated: fifo, auto, adaptive, 2 engines, load 1"]
    assert result.simulated
    assert result.n == 100


def test_a_policy_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownPolicy):
        replay(busy(10, 1.0), setup("best"))


def test_a_trace_that_is_not_there_is_an_error_that_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="SAGE_DATA"):
        load_trace("azure-code", limit=None, seed=0, environ={"SAGE_DATA": str(tmp_path)})


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "num", "has_blocks"),
    [
        ("azure-code", 5_291, False),
        ("azure-conversation", 11_619, False),
        ("mooncake-conversation", 7_220, True),
        ("mooncake-synthetic", 2_395, True),
    ],
)
def test_the_traces_are_read_whole_and_in_order(name: str, num: int, has_blocks: bool) -> None:
    trace = load_trace(name, limit=None, seed=0)
    assert len(trace.arrivals) == num
    assert trace.arrivals[0].at_s == 0.0
    assert all(one.at_s <= other.at_s for one, other in pairwise(trace.arrivals))
    assert any(arrival.blocks for arrival in trace.arrivals) is has_blocks


def wanted_of(**changed: object) -> PoliciesWanted:
    wanted = PoliciesWanted(
        (TraceName.GENERATED,),
        ("fifo",),
        ("least_work",),
        Shedding.DEADLINE,
        (1,),
        (1.0,),
        Profile.H100,
        7,
        3,
        (),
        60,
    )
    return replace(wanted, **changed)  # type: ignore[arg-type]  # names of its fields


def test_a_result_has_intervals_over_the_seeds_and_attainment_a_class() -> None:
    (result,) = measure_policies(wanted_of(mix=IN_THREE), SystemClock(), lambda what: None)
    assert isinstance(result, PolicyResult)
    assert result.attainment.keys() == {"interactive", "standard", "batch"}
    assert len(result.seeds["goodput_tokens"]) == 3
    assert result.goodput_tokens_low <= result.goodput_tokens <= result.goodput_tokens_high
    assert 0.0 < result.busy <= 1.0
    assert result.engine_s_per_good > 0.0


def test_a_result_has_the_first_tokens_of_each_class_and_they_are_those_of_all() -> None:
    (result,) = measure_policies(wanted_of(mix=IN_THREE, num_seeds=1), SystemClock(), lambda what: None)
    assert isinstance(result, PolicyResult)
    assert result.class_ttft_p99_ms.keys() == {"interactive", "standard", "batch"}
    assert max(result.class_ttft_p99_ms.values()) == pytest.approx(result.ttft_p99_ms, abs=1e-3)


def test_what_fails_has_no_time_to_its_first_token() -> None:
    ended, refused = (Outcome(Arrival(0.0, 10, 1), asked_s=0.0) for _ in range(2))
    ended.first_s = ended.end_s = 0.5
    refused.why, refused.first_s = "SAGE-2201", 9.0
    assert ttft_p99_by_class([ended, refused]) == {ended.arrival.service_class.value: 500.0}


def test_each_window_has_a_result_and_a_small_one_holds_requests_back() -> None:
    wanted = wanted_of(windows=(1, 64), loads=(2.0,), admission=Shedding.NONE, num_seeds=1)
    small, large = measure_policies(wanted, SystemClock(), lambda what: None)
    assert isinstance(small, PolicyResult)
    assert isinstance(large, PolicyResult)
    assert (small.window, large.window) == (1, 64)
    assert small.ttft_p99_ms > large.ttft_p99_ms
    assert wanted.command().endswith("--window 1 --window 64 --limit 60")


def test_each_number_of_engines_and_each_load_has_a_result() -> None:
    results = measure_policies(
        wanted_of(num_engines=(1, 2), loads=(0.5, 1.0), num_seeds=1), SystemClock(), lambda what: None
    )
    assert all(isinstance(result, PolicyResult) for result in results)
    found = [(result.num_engines, result.load) for result in results if isinstance(result, PolicyResult)]
    assert found == [(1, 0.5), (1, 1.0), (2, 0.5), (2, 1.0)]


def test_the_highest_load_is_where_goodput_falls_below_what_is_wanted() -> None:
    wanted = wanted_of(find_load=0.9, num_seeds=1)
    (found,) = measure_policies(wanted, SystemClock(), lambda what: None)
    assert isinstance(found, LoadResult)
    below, above = measure_policies(
        wanted_of(loads=(found.highest_load, 1.05 * found.highest_load), num_seeds=1), SystemClock(), lambda what: None
    )
    assert isinstance(below, PolicyResult)
    assert isinstance(above, PolicyResult)
    assert below.goodput_requests >= 0.9 > above.goodput_requests


def test_what_tenants_cost_each_other_is_told_by_pairs() -> None:
    wanted = wanted_of(traces=(TraceName.TWO_TENANTS,), limit=1_300, with_interference=True, num_seeds=1)
    _, *pairs = measure_policies(wanted, SystemClock(), lambda what: None)
    assert all(isinstance(pair, InterferenceResult) for pair in pairs)
    ratios = {(pair.tenant, pair.beside): pair.p99_ratio for pair in pairs if isinstance(pair, InterferenceResult)}
    assert ratios.keys() == {("noisy", "quiet"), ("quiet", "noisy")}
    assert ratios["quiet", "noisy"] > 1.0


@pytest.mark.parametrize("route", ROUTE_NAMES)
def test_many_adapters_over_few_slots_are_loaded_less_often_than_they_are_asked_for(route: str) -> None:
    """32 adapters over 16 slots, of engines that load one in 0.2 s, at most of what they can do without."""
    trace = adapters_trace(300, seed=3).lasting(60.0)
    run = replay(trace, replace(setup("hybrid", route), num_engines=2, adapter_slots=8))
    assert all(outcome.why is None and outcome.end_s is not None for outcome in run.outcomes)
    assert len({arrival.adapter for arrival in trace.arrivals}) > 16
    assert run.num_loads < 0.6 * len(trace.arrivals)


def test_loading_costs_a_simulated_engine_its_time_and_is_counted() -> None:
    arrivals = [Arrival(float(number), 512, 2, adapter=f"a{number % 2}") for number in range(4)]
    runs = [replay(trace_of("t", arrivals), replace(setup(num_engines=1), adapter_slots=slots)) for slots in (1, 2)]
    assert [run.num_loads for run in runs] == [4, 2]
    assert runs[0].busy_s - runs[1].busy_s == pytest.approx(2 * H100.adapter_load_ms / 1e3)


def slower(costs: CostModel, times: float) -> CostModel:
    decode_ms = tuple((num, times * each_ms) for num, each_ms in costs.decode_ms)
    return replace(
        costs,
        device="simulated: 2 cores",
        prefill_fixed_ms=times * costs.prefill_fixed_ms,
        prefill_token_ms=times * costs.prefill_token_ms,
        decode_ms=decode_ms,
        max_running=32,
    )


def good(trace: Trace, route: str, *others: CostModel) -> float:
    setup = Setup("hybrid", route, "none", 1, H100, prompts="adaptive", others=others)
    run = replay(trace, setup)
    return figures_of(run.outcomes, run.duration_s).goodput_requests


@pytest.mark.parametrize("lasting_s", [150.0, 60.0], ids=["at ease", "overloaded"])
def test_a_slow_engine_beside_a_fast_one_loses_nothing_by_auto(lasting_s: float) -> None:
    trace = generated_trace(250, seed=7).mixed(IN_THREE, seed=7).lasting(lasting_s)
    alone = good(trace, "auto")
    both = {route: good(trace, route, slower(H100, 4.0)) for route in ("auto", "round_robin")}
    assert both["auto"] >= alone
    assert both["round_robin"] < both["auto"]
