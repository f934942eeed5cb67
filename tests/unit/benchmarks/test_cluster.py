"""`sage-benchmark cluster`: node processes, every figure of a result that was compared."""

import copy
import json
from pathlib import Path

import pytest

from benchmarks.cli import app
from benchmarks.cluster import jain
from benchmarks.cluster_flows import Spin, Trips, Wait, spinning, there_and_back, total, waiting
from benchmarks.cluster_overload import SlowEnd, flooded, grown_most
from sage.base.errors import InternalError
from sage.cli import run_command


def test_a_flow_that_spins_comes_to_the_sum_of_what_it_computed() -> None:
    spin = Spin(3)
    flow, came = spinning(spin, 100, 2)
    flow.run()
    assert (sum(num for num, _ in came.items), sum(part for _, part in came.items)) == (100, sum(map(spin, range(100))))


def test_a_flow_that_waits_comes_to_the_sum_of_its_numbers() -> None:
    flow, came = waiting(Wait(0.0), 100, 8)
    flow.run()
    assert sum(part for _, part in came.items) == sum(range(100))


def test_every_trip_is_timed_where_it_began_and_ended() -> None:
    flow, came = there_and_back(5, 0.5)
    flow.run()
    (result,) = came.items
    assert result is not None
    (own, *others), seconds = result
    assert others == [own]
    assert len(seconds) == 5
    assert min(seconds) > 0


def test_each_node_has_trips_of_its_own_and_one_flow_the_same_at_both_ends() -> None:
    one, other = copy.deepcopy([trips := Trips(), trips])
    assert one is other
    assert one is not trips


def test_one_job_that_has_everything_is_as_unfair_as_can_be() -> None:
    assert jain([5.0, 0.0, 0.0, 0.0]) == 0.25
    assert jain([3.0, 3.0, 3.0]) == 1.0


def test_a_total_says_how_many_there_were() -> None:
    assert total([1, 2, 3]) == [(3, 6)]


@pytest.mark.alone
@pytest.mark.cluster
def test_two_nodes_are_measured_against_one(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    asked = ["cluster", "--workload", "records", "--seconds", "0.05", "--rounds", "1"]
    assert run_command(app, "sage-benchmark", [*asked, "--json", str(target)]) == 0
    rates = json.loads(target.read_bytes())["results"]
    assert all(result["checked"] for result in rates)
    assert [(result["engine"], result["num_instances"]) for result in rates] == [
        ("1 node", 1),
        ("1 node", 2),
        ("2 nodes", 2),
        ("2 nodes", 4),
    ]
    assert rates[0]["ratio_to_first"] == 1.0


def test_a_slow_end_takes_every_record_of_a_flood_once_and_in_order() -> None:
    flow, came = flooded(0.05, 0.5)
    result = flow.run()
    assert sum(num for num, _ in came.items) == result.records_in > 0
    end = SlowEnd()
    with pytest.raises(InternalError, match="record 1 came as number 0"):
        end((1, "x"))


def test_what_grew_is_compared_with_what_was_held_once_all_had_settled() -> None:
    starting = [[5.0, 50.0]]
    assert grown_most([*starting, *[[40.0, 60.0]] * 8, [44.0, 60.0]]) == (40.0, 44.0)
    assert grown_most([[40.0, 60.0]]) == (40.0, 40.0)


@pytest.mark.alone
@pytest.mark.cluster
def test_an_overloaded_cluster_is_watched(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    asked = ["cluster", "--workload", "overload", "--overload-s", "2"]
    assert run_command(app, "sage-benchmark", [*asked, "--json", str(target)]) == 0
    (result,) = json.loads(target.read_bytes())["results"]
    assert result["checked"]
    assert result["n"] > 0
    assert result["growth"] >= 1.0
