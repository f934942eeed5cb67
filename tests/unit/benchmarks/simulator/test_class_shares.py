"""What classes got of what engines do."""

from dataclasses import replace

import pytest

from benchmarks.mix import IN_THREE
from benchmarks.policies import capacity_per_s
from benchmarks.simulator.arrival import Arrival
from benchmarks.simulator.class_shares import batch_share_of_rest, tokens_served
from benchmarks.simulator.outcome import Outcome, token_attainment, ttft_p99_of_due_by_class
from benchmarks.simulator.run import Setup
from benchmarks.simulator.traces import generated_trace
from cluster.serving.engines.cost import H100
from sage.base.inference import ServiceClass

INTERACTIVE, BATCH = ServiceClass.INTERACTIVE, ServiceClass.BATCH


def ended(service_class: ServiceClass, at_s: float, first_s: float, end_s: float, prompt: int = 80) -> Outcome:
    arrival = Arrival(at_s, prompt, 20, service_class=service_class)
    return Outcome(arrival, asked_s=at_s, first_s=first_s, end_s=end_s)


def test_a_prompt_counts_with_its_first_token_and_an_answer_evenly_until_its_end() -> None:
    outcome = ended(BATCH, 0.0, 2.0, 6.0)
    assert [tokens_served([outcome], until_s) for until_s in (1.0, 2.0, 3.0, 9.0)] == [0.0, 80.0, 85.0, 100.0]


def test_what_was_refused_was_not_served() -> None:
    outcome = ended(BATCH, 0.0, 2.0, 6.0)
    outcome.why = "SAGE-2201"
    assert tokens_served([outcome], 9.0) == 0.0


def test_the_share_of_batch_is_of_what_the_higher_classes_left_until_the_last_arrival() -> None:
    higher = [ended(INTERACTIVE, 0.0, 1.0, 2.0), ended(ServiceClass.STANDARD, 0.0, 1.0, 2.0)]
    batch = [ended(BATCH, 0.0, 2.0, 4.0), ended(BATCH, 10.0, 50.0, 60.0, prompt=880)]
    assert batch_share_of_rest([*higher, *batch], capacity_per_s=60.0) == pytest.approx(100 / (600 - 200))


def test_where_less_was_asked_for_than_is_left_the_share_is_of_that() -> None:
    batch = [ended(BATCH, 0.0, 2.0, 4.0), ended(BATCH, 10.0, 50.0, 60.0)]
    assert batch_share_of_rest(batch, capacity_per_s=60.0) == 0.5


@pytest.mark.parametrize("capacity_per_s", [5.0, 10.0])
def test_where_nothing_is_left_there_is_no_share(capacity_per_s: float) -> None:
    higher = [ended(INTERACTIVE, 10.0, 10.0, 10.0)]
    assert batch_share_of_rest([*higher, ended(BATCH, 0.0, 9.0, 9.0)], capacity_per_s) is None


def test_engines_can_do_the_same_whatever_the_classes_and_the_admission() -> None:
    setup = Setup("priority", "least_work", "deadline", 1, H100)
    trace = generated_trace(60, seed=1).lasting(20.0)
    one, mixed = (capacity_per_s(each, setup, 2.0) for each in (trace, trace.mixed(IN_THREE, seed=3)))
    assert one == mixed == capacity_per_s(trace, replace(setup, admission="none"), 2.0)
    assert one == capacity_per_s(trace.lasting(40.0), setup, 1.0), "at load 1 the trace is made twice as fast"


def test_the_tokens_of_good_requests_are_those_of_their_class() -> None:
    late = ended(INTERACTIVE, 0.0, 9.0, 10.0, prompt=280)
    assert token_attainment([ended(INTERACTIVE, 0.0, 1.0, 2.0), late, ended(BATCH, 0.0, 9.0, 10.0)]) == {
        "batch": 1.0,
        "interactive": 0.25,
    }


def test_first_tokens_are_told_as_shares_of_the_time_in_which_they_are_due() -> None:
    found = ttft_p99_of_due_by_class([ended(INTERACTIVE, 0.0, 1.5, 2.0, prompt=8_000), ended(BATCH, 0.0, 60.0, 70.0)])
    assert found == {"batch": pytest.approx(0.1, abs=1e-3), "interactive": 0.5}


def test_a_mix_is_drawn_by_its_shares_and_is_the_same_each_time() -> None:
    trace = generated_trace(2_000, seed=1)
    mixed = trace.mixed({INTERACTIVE: 0.2, BATCH: 0.8}, seed=5)
    assert mixed == trace.mixed({INTERACTIVE: 0.2, BATCH: 0.8}, seed=5)
    urgent = sum(arrival.service_class is INTERACTIVE for arrival in mixed.arrivals)
    assert 340 < urgent < 460
