"""What checkpoints cost is measured on sums that are checked."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

import benchmarks
from benchmarks.checkpoint_flow import expected_sums
from benchmarks.checkpoint_wanted import CheckpointRival, CheckpointWanted
from benchmarks.checkpoints import CheckpointResult, full_rate_s, is_right, measure_checkpoints, pauses
from benchmarks.node_kills import gone_s, measure_head_kills, measure_node_kills
from benchmarks.rivals.process import RivalProcess
from benchmarks.worker_kills import back_after, measure_worker_kills
from sage.base.clock import SystemClock
from sage.base.errors import SageError


def test_a_flow_with_checkpoints_is_timed_against_one_without() -> None:
    wanted = CheckpointWanted(20_000, 7, 0.01, 1, 0)
    without, kept = measure_checkpoints(wanted, SystemClock(), print)
    assert isinstance(without, CheckpointResult)
    assert isinstance(kept, CheckpointResult)
    assert (without.workload, without.num_checkpoints, without.ratio_to_none) == ("no checkpoints", 0, 1.0)
    assert kept.workload == "a checkpoint every 0.01 s"
    assert kept.checked
    assert kept.records_per_s > 0


RIVAL = """
def prepare(asked):
    if asked.workload not in ("sums", "sums-kept"):
        return None
    assert (asked.num_keys, asked.every_s) == (7, 0.01)
    def form():
        sums, times_s = {}, []
        def run():
            for number in range(asked.num_records):
                sums[number % 7] = sums.get(number % 7, 0) + number
            times_s.extend([0.0, 0.004, 0.02])
        return run, lambda: (sums, asked.num_records, times_s)
    return form
"""


def test_a_rival_sums_beside_it_with_and_without_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Path(benchmarks.__file__ or "").parent
    (tmp_path / "benchmarks" / "rivals").mkdir(parents=True)
    for name in ("__init__.py", "far_side.py", "rival_wanted.py"):
        (tmp_path / "benchmarks" / "rivals" / name).write_bytes((ours / "rivals" / name).read_bytes())
    (tmp_path / "benchmarks" / "rivals" / "bytewax_flows.py").write_text(RIVAL, encoding="utf-8")
    monkeypatch.setattr("benchmarks.rivals.beside.python_of", lambda *_: Path(sys.executable))
    package = tmp_path / "benchmarks"
    monkeypatch.setattr("benchmarks.rivals.beside.RivalProcess", partial(RivalProcess, package=package))
    wanted = CheckpointWanted(2000, 7, 0.01, 1, 0, rivals=(CheckpointRival.BYTEWAX,), num_rival_records=1000)
    said: list[str] = []
    results = measure_checkpoints(wanted, SystemClock(), said.append)
    assert said == ["bytewax: sums", "bytewax: sums-kept"]
    without, kept = results[2:]
    assert isinstance(without, CheckpointResult)
    assert isinstance(kept, CheckpointResult)
    assert [(one.engine, one.n) for one in results] == [
        ("sage", 2000),
        ("sage", 2000),
        ("bytewax", 1000),
        ("bytewax", 1000),
    ]
    assert (without.workload, without.ratio_to_none, without.num_checkpoints) == ("no checkpoints", 1.0, 0)
    assert (kept.workload, kept.num_checkpoints, kept.pause_p50_ms) == ("a checkpoint every 0.01 s", 1, 16.0)


def test_sums_with_an_update_too_few_are_wrong() -> None:
    sums = expected_sums(20, 7)
    assert is_right((sums, 20, [0.0]), 20, sums)
    assert not is_right((sums, 19, [0.0]), 20, sums)
    assert not is_right(({**sums, 0: 1}, 20, [0.0]), 20, sums)


@pytest.mark.parametrize(("num_records", "num_keys"), [(20, 7), (3, 7), (21, 7)])
def test_the_sums_are_those_of_the_numbers(num_records: int, num_keys: int) -> None:
    sums: dict[int, int] = {}
    for number in range(num_records):
        sums[number % num_keys] = sums.get(number % num_keys, 0) + number
    assert expected_sums(num_records, num_keys) == sums


def test_a_stretch_that_has_not_ended_has_no_pause() -> None:
    assert pauses([0.0, 0.5], 1.0) == []


def test_a_flow_that_never_gets_slower_is_at_full_rate_from_the_start() -> None:
    times_s = [number / 100 for number in range(200)]
    assert full_rate_s(times_s, [10] * 200) == 0.0


@pytest.mark.cluster
def test_a_worker_that_is_killed_loses_nothing_and_the_flow_is_back_at_its_rate() -> None:
    found = measure_worker_kills(1, 0.5)
    assert (found.n, found.num_lost, found.num_doubled) == (1, 0, 0)
    assert 0 < found.detected_p50_s < found.first_record_p50_s <= found.full_rate_p50_s


@pytest.mark.cluster
def test_a_node_that_is_killed_loses_nothing_and_the_flow_is_back_at_its_rate() -> None:
    found = measure_node_kills(1, 0.5)
    assert (found.n, found.num_lost, found.num_doubled) == (1, 0, 0)
    assert 0 < found.first_record_p50_s <= found.full_rate_p50_s


@pytest.mark.cluster
def test_a_head_that_is_killed_and_started_again_loses_nothing_and_the_flow_is_back_at_its_rate() -> None:
    found = measure_head_kills(1, 0.5)
    assert (found.n, found.num_lost, found.num_doubled) == (1, 0, 0)
    assert 0 < found.first_record_p50_s <= found.full_rate_p50_s


def test_a_process_that_nobody_has_reaped_yet_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as ended:
        assert gone_s([ended.pid]) <= monotonic()
        assert ended.wait(10.0) == 3, "it was left to its parent"


def test_a_flow_that_is_never_back_at_its_rate_is_no_measurement() -> None:
    before = [(number / 10, 5) for number in range(20)]
    with pytest.raises(SageError, match="not back at its rate"):
        back_after([*before, (2.5, 1)], 2.0, 2.2)
