"""A process that is killed anywhere goes on from its newest checkpoint: nothing lost, nothing twice.

`SAGE_KILLS=100` kills so often, a few times otherwise.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

import sage
from cluster.client.nodes_here import nodes_here
from sage.base.errors import CheckpointUnusable, RecordFailed
from sage.flow.runner import Cluster
from tests.cluster.checkpointed import NUM_KEYS, NUM_RECORDS, flow_of_files, flow_to, ledger_in, paced
from tests.cluster.waiting import eventually
from tests.conftest import ROOT

pytestmark = pytest.mark.cluster
DEADLINE_S = 60.0
NUM_OF_FILES = 30_000
_NUM_KILLS = int(os.environ.get("SAGE_KILLS", "5"))
_COUNTS = [(key, NUM_RECORDS // NUM_KEYS) for key in range(NUM_KEYS)]


def start(folder: Path, dies: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.checkpointed", str(folder), str(dies)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_output(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert lines == list(range(0, 2 * NUM_RECORDS, 2))
    assert ledger_in(folder).numbers() == list(range(NUM_RECORDS))


def test_nothing_is_lost_or_doubled_wherever_the_process_is_killed(tmp_path: Path) -> None:
    rng, num_kills, num_flows = Random(7), 0, 0
    while num_kills < _NUM_KILLS:
        num_flows += 1
        folder = tmp_path / str(num_flows)
        folder.mkdir()
        for _ in range(3):
            running = start(folder, rng.randrange(NUM_RECORDS))
            said, errors = running.communicate(timeout=DEADLINE_S)
            if running.returncode == 0:
                break  # the record at which it was to die had been read before
            assert running.returncode == -9, errors
            num_kills += 1
            assert not (folder / "out.jsonl").exists()
        else:
            running = start(folder, -1)
            said, errors = running.communicate(timeout=DEADLINE_S)
        assert said == f"{NUM_RECORDS} {_COUNTS}\n", errors
        check_output(folder)
        assert not list((folder / "kept" / "checkpointed").glob("*.manifest"))


def test_a_flow_that_failed_goes_on_once_it_is_mended(tmp_path: Path) -> None:
    """Its reader says where it is; its state is there, and what was written is not written again."""
    source = tmp_path / "in.txt"
    source.write_text("".join(f"{number}\n" for number in range(60_000)))
    seen: list[int] = []
    slowly = threading.Event()

    def flow_that(fails_at: int) -> tuple[sage.Flow, Any]:
        def checked(line: str) -> int:
            if int(line) == fails_at:
                raise ValueError(line)
            if fails_at > 0 and int(line) % 10 == 0 and not any((tmp_path / "kept").glob("mended/*.manifest")):
                slowly.wait(0.01)  # so that there is a checkpoint before it fails
            return paced(int(line))

        flow = sage.Flow("mended")
        numbers = flow.read_text(source).map(checked).named("check")
        numbers.for_each(seen.append)
        return flow, numbers.key_by(lambda n: n % 3).sum().collect()

    kept = sage.Checkpoint(tmp_path / "kept", every_s=0.01)
    flow, _ = flow_that(50_000)
    with pytest.raises(RecordFailed):
        flow.run(timeout_s=DEADLINE_S, progress=False, checkpoint=kept)
    flow, sums = flow_that(-1)
    result = flow.run(timeout_s=DEADLINE_S, progress=False, checkpoint=kept, resume="must")
    assert result.records_in == 60_000
    last = dict(sums.items)
    assert last == {rest: sum(range(rest, 60_000, 3)) for rest in range(3)}
    assert len(sums.items) == 60_000
    assert set(seen) == set(range(60_000))
    with pytest.raises(CheckpointUnusable, match="no checkpoint of flow 'mended'"):
        flow.run(timeout_s=DEADLINE_S, progress=False, checkpoint=kept, resume="must")


def test_dead_letters_are_there_once_for_whoever_goes_on_with_a_flow(tmp_path: Path) -> None:
    """Also by way of a savepoint, and after many checkpoints, each of which adds some."""
    slowly = threading.Event()

    def flow_that(fails_at: int) -> sage.Flow:
        def checked(number: int) -> int:
            if number % 10 == 0:
                slowly.wait(0.002)  # so that there are checkpoints before it fails
            if number % 25 == 0:
                raise KeyError(number)
            return number

        def failing(number: int) -> int:
            if number == fails_at:
                raise ValueError(number)
            return number

        flow = sage.Flow("set-aside")
        flow.from_collection(range(4_000)).map(failing).map(checked).on_error("dead_letter").for_each(abs)
        return flow

    kept = sage.Checkpoint(tmp_path / "kept", every_s=0.005)
    with sage.connect() as cluster:
        job = cluster.submit(flow_that(-1), checkpoint=kept)
        job.savepoint(tmp_path / "saved")
        job.cancel()
        for fails_at in (2_001, 3_001):
            with pytest.raises(RecordFailed):
                cluster.submit(flow_that(fails_at), checkpoint=kept).wait(DEADLINE_S)
        begun = sage.Checkpoint(tmp_path / "other", every_s=0.005, savepoint=tmp_path / "saved")
        for checkpoint in (kept, begun):
            job = cluster.submit(flow_that(-1), checkpoint=checkpoint)
            result = job.wait(DEADLINE_S)
            letters = job.dead_letters()
            assert [letter.value for letter in letters] == [str(number) for number in range(0, 4_000, 25)]
            assert len({letter.id for letter in letters}) == result.dead_letters == len(letters)


def test_a_flow_begins_again_as_soon_as_its_end_is_told(tmp_path: Path) -> None:
    kept = sage.Checkpoint(tmp_path / "kept")
    with sage.connect() as cluster:
        for _ in range(20):
            flow = sage.Flow("again")
            out = flow.from_collection([1, 2]).collect()
            cluster.submit(flow, checkpoint=kept).wait(DEADLINE_S)
            assert out.items == [1, 2]


def test_a_savepoint_begins_with_another_number_of_instances(tmp_path: Path) -> None:
    flow, _ = flow_to(tmp_path)
    with sage.connect() as cluster:
        job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path / "kept", every_s=0.05))
        job.savepoint(tmp_path / "saved")
        job.cancel()
    other, counts = flow_to(tmp_path, parallelism=5)
    begun = sage.Checkpoint(tmp_path / "other", every_s=0.05, savepoint=tmp_path / "saved")
    result = other.run(timeout_s=DEADLINE_S, progress=False, checkpoint=begun)
    assert result.records_in == NUM_RECORDS
    assert sorted(counts.items) == _COUNTS
    check_output(tmp_path)


def test_files_that_nodes_share_are_gone_on_with_by_another_number_of_instances(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for file in range(5):
        numbers = range(file, NUM_OF_FILES, 5)
        (tmp_path / "in" / f"{file}.csv").write_text("number\n" + "".join(f"{number}\n" for number in numbers))
    flow, _ = flow_of_files(tmp_path, 3)
    with sage.connect("local:2") as cluster:
        job = cluster.submit(flow, checkpoint=sage.Checkpoint(tmp_path / "kept", every_s=0.05))
        job.savepoint(tmp_path / "saved")
        job.cancel()
        check_rest_of_files(tmp_path, 2, cluster)
    with sage.connect() as cluster:
        check_rest_of_files(tmp_path, 1, cluster)


def check_rest_of_files(folder: Path, num_instances: int, cluster: Cluster) -> None:
    """Go on from the savepoint with so many instances, and check what comes of all."""
    flow, counts = flow_of_files(folder, num_instances)
    begun = sage.Checkpoint(folder / f"by {num_instances}", every_s=0.05, savepoint=folder / "saved")
    result = cluster.submit(flow, checkpoint=begun).wait(DEADLINE_S)
    assert result.records_in == NUM_OF_FILES
    assert sorted(counts.items) == [(key, NUM_OF_FILES // NUM_KEYS) for key in range(NUM_KEYS)]


def test_calls_in_flight_and_buffers_are_part_of_a_checkpoint(tmp_path: Path) -> None:
    seen: Counter[int] = Counter()
    stop_at = 3_000

    def flow_that(fails_at: int) -> tuple[sage.Flow, Any]:
        async def slow(number: int) -> int:
            if number == fails_at:
                raise ValueError(number)
            seen[number] += 1
            return paced(number)

        flow = sage.Flow("in-flight")
        called = flow.from_collection(range(6_000)).map_async(slow, max_in_flight=64)
        return flow, called.map_batches(list, max_records=700, max_wait_s=10.0).collect()

    kept = sage.Checkpoint(tmp_path / "kept", every_s=0.01)
    flow, _ = flow_that(stop_at)
    with pytest.raises(RecordFailed):
        flow.run(timeout_s=DEADLINE_S, progress=False, checkpoint=kept)
    flow, out = flow_that(-1)
    flow.run(timeout_s=DEADLINE_S, progress=False, checkpoint=kept)
    assert out.items == list(range(6_000))
    assert min(seen.values()) == 1


def test_a_job_that_loses_a_node_goes_on_where_it_was(tmp_path: Path) -> None:
    """A node of two is killed: what was read before the checkpoint is not read again, and each record counts once."""
    flow, counts = flow_to(tmp_path)
    kept = sage.Checkpoint(tmp_path / "kept", every_s=0.1)
    with nodes_here(2) as cluster:
        victim = cluster.node_states()[0].pid
        job = cluster.submit(flow, checkpoint=kept)
        eventually(lambda: any((tmp_path / "kept" / "checkpointed").glob("*.manifest")), DEADLINE_S, job.metrics)
        os.kill(victim, signal.SIGKILL)
        result = job.wait(DEADLINE_S)
    assert result.records_in == NUM_RECORDS
    assert sorted(counts.items) == _COUNTS
    check_output(tmp_path)
