"""The benchmark of the plane's decisions: it says what was timed, and checks it."""

import pytest

from benchmarks.plane import PlaneResult, measure_plane
from benchmarks.plane_wanted import PlaneWanted
from benchmarks.simulator.traces import generated_trace
from benchmarks.simulator_speed import measure_simulator
from cluster.serving.policy import POLICY_NAMES
from sage.base.errors import UnknownPolicy


def test_each_policy_is_timed_with_each_route_and_number_of_engines() -> None:
    wanted = PlaneWanted(
        POLICY_NAMES, ("least_work", "auto"), (1, 4), waiting=50, num_decisions=60, num_rounds=2, seed=1
    )
    results = measure_plane(wanted, lambda what: None)
    assert len(results) == 20
    for result in results:
        assert isinstance(result, PlaneResult)
        assert (result.waiting, result.n, result.checked) == (50, 60, True)
        assert 0.0 < result.us_per_decision_min <= result.us_per_decision <= result.us_per_request
        dearest = max(result.us_arrival, result.us_first_token, result.us_end_and_pick)
        assert dearest == result.us_per_decision


def test_a_policy_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownPolicy):
        measure_plane(PlaneWanted(("best",), ("auto",), (1,), 10, 10, 1, 1), lambda what: None)


def test_the_simulator_says_how_much_faster_than_the_trace_it_was() -> None:
    trace = generated_trace(20, seed=3)
    result = measure_simulator(trace, 2)
    assert (result.n, result.engines, result.policy, result.route) == (20, 2, "hybrid", "auto")
    assert result.virtual_s >= trace.duration_s
    assert result.times_real_time > 0.0
    assert result.num_events >= 3 * 20
