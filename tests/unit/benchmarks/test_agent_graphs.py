"""Records by graphs of calls: what comes when, what of it is late, and what the plane makes of it."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks.calibrate import measure_calibration
from benchmarks.calibrate_wanted import CalibrateWanted
from benchmarks.policies_wanted import TraceName
from benchmarks.replay import measure_replay
from benchmarks.replay_wanted import ReplayWanted
from benchmarks.simulator.agent_graphs import WORKFLOWS, WorkflowCall, agent_trace, alone_s, load_graphs
from benchmarks.simulator.arrival import Arrival, GraphCall, Trace, trace_of
from benchmarks.simulator.coming import Coming
from benchmarks.simulator.outcome import Outcome, record_misses
from benchmarks.simulator.run import Setup, replay
from cluster.serving.engines.cost import H100
from sage.base.errors import InvalidRequest, SourceUnreadable

DIAMOND = (
    WorkflowCall("plan", (), 100, 20),
    WorkflowCall("left", (0,), 100, 200),
    WorkflowCall("right", (0,), 100, 20),
    WorkflowCall("join", (1, 2), 300, 20),
)
GRAPHS: Mapping[str, tuple[WorkflowCall, ...]] = dict.fromkeys(WORKFLOWS, DIAMOND)


def arrival(
    at_s: float, number: int, after: tuple[int, ...] = (), *, record: int = 1, due_in_s: float = 9.0
) -> Arrival:
    return Arrival(at_s, 10, 10, call=GraphCall("flow", str(number), record, number, after, due_in_s))


def diamond() -> Coming:
    return Coming([arrival(5.0, 0), arrival(5.0, 1, (0,)), arrival(5.0, 2, (0,)), arrival(5.0, 3, (1, 2))])


def test_a_call_comes_once_all_before_it_have_ended() -> None:
    coming = diamond()
    assert (coming.next_s(), coming.take()) == (5.0, 0)
    assert coming.next_s() == float("inf")
    coming.ended(0, 7.0)
    assert [coming.take(), coming.take()] == [1, 2]
    coming.ended(2, 8.0)
    assert coming.next_s() == float("inf")
    coming.ended(1, 11.0)
    assert (coming.next_s(), coming.take()) == (11.0, 3)
    assert coming.due_in_s(3, 11.0) == 3.0


def test_what_follows_a_call_that_failed_never_comes_and_is_named_once() -> None:
    coming = diamond()
    coming.take()
    assert coming.failed(0) == [1, 2, 3]
    assert coming.next_s() == float("inf")


def test_a_record_is_missed_if_its_last_call_ends_late_or_one_failed() -> None:
    def outcome(number: int, end_s: float, *, record: int, why: str | None = None) -> Outcome:
        return Outcome(arrival(0.0, number, record=record), asked_s=1.0, end_s=end_s, why=why)

    timely = [outcome(0, 2.0, record=1), outcome(1, 10.0, record=1)]
    late = [outcome(0, 2.0, record=2), outcome(1, 10.1, record=2)]
    failed = [outcome(0, 2.0, record=3), outcome(1, 3.0, record=3, why="SAGE-2201")]
    assert record_misses(timely) == 0.0
    assert record_misses([*timely, *late, *failed]) == pytest.approx(2 / 3, abs=1e-3)
    assert record_misses([Outcome(Arrival(0.0, 1, 1), 0.0)]) is None


def test_what_a_record_takes_alone_is_its_longest_way() -> None:
    assert alone_s(DIAMOND, [0, 0, 0, 0]) == pytest.approx((20 + 200 + 20) / 25.0)


def test_every_record_of_the_trace_is_whole_and_runs_to_its_end() -> None:
    trace = agent_trace("agent-graphs", GRAPHS, 40, seed=1)
    run = replay(trace, Setup("hybrid", "auto", "none", 2, H100))
    ends = {o.arrival.call: o.end_s for o in run.outcomes if o.arrival.call is not None}
    assert len(ends) == len(trace.arrivals) == 40
    for outcome in run.outcomes:
        call = outcome.arrival.call
        assert call is not None
        befores = [end_s for other, end_s in ends.items() if other.record == call.record and other.number in call.after]
        assert outcome.asked_s == max([outcome.arrival.at_s if not befores else 0.0, *filter(None, befores)])


def test_slack_and_affinity_together_miss_fewer_records_than_turns_and_slack_alone_than_order_of_arrival() -> None:
    trace = agent_trace("agent-graphs", GRAPHS, 1_200, seed=3)
    crowded = trace.lasting(replay(trace.apart().lasting(0.0), _setup("fifo", "least_work")).duration_s)

    def misses(policy: str, route: str) -> float:
        found = record_misses(replay(crowded, _setup(policy, route)).outcomes)
        assert found is not None
        return found

    in_turn = misses("fifo", "round_robin")
    assert in_turn > 0.1
    assert misses("hybrid", "auto") <= in_turn / 3
    assert misses("edf", "round_robin") <= 0.8 * in_turn


def _setup(policy: str, route: str) -> Setup:
    return Setup(policy, route, "none", 2, H100, window=12, prompts="adaptive")


def test_graphs_are_read_from_spans_by_what_had_ended_when_another_began(tmp_path: Path) -> None:
    def span(name: str, start: int, end: int) -> dict[str, object]:
        said = {"gen_ai.input.messages": "x" * 40, "gen_ai.output.text": "y" * 80}
        times = {"start_time": f"2026-01-01T00:00:{start:02}", "end_time": f"2026-01-01T00:00:{end:02}"}
        return {"span_id": name, **times, "attributes": said}

    spans = [span("plan", 0, 2), span("left", 3, 5), span("right", 3, 6), span("join", 7, 9)]
    path = tmp_path / "graphs.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in WORKFLOWS:
            content = json.dumps({"spans": spans}).encode()
            member = tarfile.TarInfo(f"somewhere/{name}.json")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    graph = load_graphs(path)[WORKFLOWS[0]]
    assert [(node.step, node.after) for node in graph] == [
        ("plan", ()),
        ("left", (0,)),
        ("right", (0,)),
        ("join", (1, 2)),
    ]
    assert (graph[0].prompt_tokens, graph[0].answer_tokens) == (11, 21)


def test_a_folder_without_graphs_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="graphs"):
        load_graphs(tmp_path / "none.tar.gz")


def test_apart_no_request_follows_another() -> None:
    trace = Trace("t", (arrival(0.0, 0), arrival(0.0, 1, (0,))))
    assert all(each.call is None for each in trace.apart().arrivals)
    plain = trace_of("t", [Arrival(0.0, 1, 1)])
    assert plain.apart() is plain


def test_a_server_is_not_asked_what_follows_an_answer() -> None:
    wanted = ReplayWanted(TraceName.AGENT_GRAPHS, "http://127.0.0.1:1", "m")
    with pytest.raises(InvalidRequest, match="follow one another"):
        measure_replay(wanted, print)
    with pytest.raises(InvalidRequest, match="follow one another"):
        measure_calibration(CalibrateWanted(wanted), print)
