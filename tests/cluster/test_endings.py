"""How jobs end other than well: errors, cancel, time-outs, code that blocks. Nothing is left running."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

import sage
from cluster.local import LocalCluster
from cluster.local.job import SubmittedJob
from sage.base.errors import JobCancelled, JobTimeout, NoRoom, RecordFailed, SourceUnreadable, TaskStuck, UnknownModel
from sage.base.settings import RuntimeSettings, Settings
from sage.flow.runner import JobMetrics, JobStatus
from tests.cluster.topologies import NUM_RECORDS, double, is_even, last_digit

DEADLINE_S = 30.0


class Gate:
    """A user function that blocks until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def pass_through(self, record: int) -> int:
        self.entered.set()
        assert self.opened.wait(DEADLINE_S)
        return record


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


@pytest.fixture
def hasty_cluster() -> Iterator[LocalCluster]:
    """A cluster that waits only 0.2 s for what does not stop."""
    with LocalCluster(settings=Settings(runtime=RuntimeSettings(stop_timeout_s=0.2))) as cluster:
        yield cluster


class Endless:
    """A source without an end; counts how often its readers were closed."""

    def __init__(self) -> None:
        self.has_read = threading.Event()
        self.num_closed = 0

    def open(self) -> "Endless":
        return self

    def read(self, max_records: int) -> list[int]:
        self.has_read.set()
        return list(range(max_records))

    def close(self) -> None:
        self.num_closed += 1


def fail_at_10_000(number: int) -> int:
    if number == 9_999:
        raise ValueError("no good")
    return number


def test_a_function_that_raises_on_the_10_000th_record_fails_the_job_with_the_users_frame(
    local_cluster: LocalCluster,
) -> None:
    flow = sage.Flow("raises")
    flow.from_collection(range(NUM_RECORDS)).map(fail_at_10_000).collect()
    job = local_cluster.submit(flow)
    with pytest.raises(RecordFailed, match=r"record 10000\b.*no good") as caught:
        job.wait(DEADLINE_S)
    assert "in fail_at_10_000" in caught.value.user_traceback.splitlines()[1]
    assert job.status is JobStatus.FAILED


def test_a_failure_in_one_branch_stops_the_others(local_cluster: LocalCluster) -> None:
    source = Endless()
    flow = sage.Flow("branches")
    numbers = flow.from_source(source)
    numbers.map(double).collect()
    numbers.map(fail_at_10_000).key_by(last_digit).count().with_parallelism(2).for_each(lambda _: None)
    flow.from_collection([9_999]).map(fail_at_10_000).collect()
    with pytest.raises(RecordFailed):
        local_cluster.submit(flow).wait(DEADLINE_S)
    assert source.num_closed == 1


def test_a_source_that_raises_fails_the_job_and_names_the_line(local_cluster: LocalCluster) -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise KeyError("lost")

    flow = sage.Flow("source")
    flow.from_collection(numbers()).collect()
    with pytest.raises(SourceUnreadable, match=r"test_endings\.py:\d+.*KeyError: 'lost'"):
        local_cluster.submit(flow).wait(DEADLINE_S)


def test_a_source_that_cannot_be_opened_fails_the_job_before_anything_is_read(local_cluster: LocalCluster) -> None:
    seen: list[int] = []
    flow = sage.Flow("missing")
    flow.read_text("/nowhere/at/all.txt").collect()
    flow.from_collection([1, 2, 3]).for_each(seen.append)
    with pytest.raises(SourceUnreadable, match="/nowhere/at/all"):
        local_cluster.submit(flow).wait(DEADLINE_S)
    assert seen == []


def leave(number: int) -> int:
    raise SystemExit(3)


def test_a_function_that_leaves_the_interpreter_fails_its_job_only(local_cluster: LocalCluster) -> None:
    bad, good = sage.Flow("leaves"), sage.Flow("stays")
    bad.from_collection([1]).map(leave).collect()
    out = good.from_collection(range(10)).map(double).collect()
    bad_job, good_job = local_cluster.submit(bad), local_cluster.submit(good)
    with pytest.raises(sage.SageError, match="SystemExit"):
        bad_job.wait(DEADLINE_S)
    good_job.wait(DEADLINE_S)
    assert len(out.items) == 10


def fan_out(flow: sage.Flow, source: Endless) -> None:
    numbers = flow.from_source(source)
    numbers.map(double).for_each(lambda _: None)
    numbers.filter(is_even).for_each(lambda _: None)


def fan_in(flow: sage.Flow, source: Endless) -> None:
    flow.from_source(source).union(flow.from_collection(range(5))).for_each(lambda _: None)


def keyed(flow: sage.Flow, source: Endless) -> None:
    flow.from_source(source).key_by(last_digit).count().with_parallelism(3).for_each(lambda _: None)


def diamond(flow: sage.Flow, source: Endless) -> None:
    numbers = flow.from_source(source)
    numbers.map(double).union(numbers.filter(is_even)).for_each(lambda _: None)


def indexed(flow: sage.Flow, source: Endless) -> None:
    """The stream that asks waits for ever, since the one that fills the index never ends."""
    index = sage.Index("endless")
    flow.from_source(source).map(lambda n: {"text": str(n), "vector": [1.0, 0.0]}).index_into(index, source=None)
    flow.from_collection([{"vector": [1.0, 0.0]}] * NUM_RECORDS).retrieve(index).for_each(lambda _: None)


async def never(number: int) -> int:
    await asyncio.Event().wait()
    return number


def awaited(flow: sage.Flow, source: Endless) -> None:
    """Coroutines that never end: the source stands still once 64 of them wait."""
    flow.from_source(source).map_async(never).for_each(lambda _: None)


def late_batches(flow: sage.Flow, source: Endless) -> None:
    flow.from_source(source).map_batches(list, max_records=1_000_000_000, max_wait_s=60.0).for_each(lambda _: None)


@pytest.mark.parametrize("shape", [fan_out, fan_in, keyed, diamond, indexed, awaited, late_batches])
def test_cancel_ends_every_shape(local_cluster: LocalCluster, shape: Callable[[sage.Flow, Endless], None]) -> None:
    source = Endless()
    flow = sage.Flow("endless")
    shape(flow, source)
    job = local_cluster.submit(flow)
    assert source.has_read.wait(DEADLINE_S)
    job.cancel()
    assert job.status is JobStatus.CANCELLED
    assert source.num_closed == 1
    with pytest.raises(JobCancelled):
        job.wait(DEADLINE_S)
    job.cancel()


def test_a_coroutine_that_blocks_its_loop_is_named_when_the_cluster_is_left(gate: Gate) -> None:
    async def block(number: int) -> int:
        return gate.pass_through(number)

    flow = sage.Flow("blocks")
    flow.from_collection([1]).map_async(block).collect()
    with capture_logs() as logged, LocalCluster(settings=Settings()) as cluster:
        job = cluster.submit(flow)
        assert gate.entered.wait(DEADLINE_S)
        job.cancel()
    assert job.status is JobStatus.CANCELLED
    (thread,) = [thread for thread in threading.enumerate() if "coroutines" in thread.name]
    gate.opened.set()
    thread.join(DEADLINE_S)
    assert ".block (" in logged[-1]["what"]


def test_leaving_the_cluster_cancels_what_runs() -> None:
    source = Endless()
    flow = sage.Flow("endless")
    fan_out(flow, source)
    with LocalCluster(settings=Settings()) as cluster:
        job = cluster.submit(flow)
        assert source.has_read.wait(DEADLINE_S)
    assert job.status is JobStatus.CANCELLED


def test_waiting_has_a_deadline_and_the_job_goes_on(local_cluster: LocalCluster, gate: Gate) -> None:
    flow = sage.Flow("slow")
    out = flow.from_collection([1]).map(gate.pass_through).collect()
    job = local_cluster.submit(flow)
    with pytest.raises(JobTimeout, match="did not end within"):
        job.wait(0.01)
    gate.opened.set()
    job.wait(DEADLINE_S)
    assert out.items == [1]


def test_a_function_that_blocks_is_named_and_left_behind(hasty_cluster: LocalCluster, gate: Gate) -> None:
    flow = sage.Flow("blocks")
    flow.from_collection([1]).map(gate.pass_through).collect()
    job = hasty_cluster.submit(flow)
    assert gate.entered.wait(DEADLINE_S)
    with pytest.raises(TaskStuck, match=r"Gate\.pass_through \(.*test_endings\.py:\d+\)"):
        job.cancel()
    let_go(gate)


def test_a_source_that_blocks_is_named_and_left_behind(hasty_cluster: LocalCluster, gate: Gate) -> None:
    def numbers() -> Iterator[int]:
        yield gate.pass_through(1)

    flow = sage.Flow("blocks")
    flow.from_collection(numbers()).collect()
    job = hasty_cluster.submit(flow)
    assert gate.entered.wait(DEADLINE_S)
    with pytest.raises(TaskStuck, match=r"test_endings\.py:\d+"):
        job.cancel()
    let_go(gate)


def let_go(gate: Gate) -> None:
    """Let the thread that was left behind end, and wait until it has."""
    left_behind = [thread for thread in threading.enumerate() if "job-" in thread.name]
    gate.opened.set()
    for thread in left_behind:
        thread.join(DEADLINE_S)


def test_a_failed_job_with_blocked_code_keeps_its_error_and_names_the_code(
    hasty_cluster: LocalCluster, gate: Gate
) -> None:
    flow = sage.Flow("both")
    flow.from_collection([1]).map(gate.pass_through).collect()
    flow.from_collection([9_999]).map(lambda n: gate.entered.wait(DEADLINE_S) and fail_at_10_000(n)).collect()
    with pytest.raises(RecordFailed, match="no good") as caught:
        hasty_cluster.submit(flow).wait(DEADLINE_S)
    assert "pass_through" in caught.value.__notes__[0]
    let_go(gate)


def test_what_does_not_fit_is_refused_and_says_what_is_missing(local_cluster: LocalCluster) -> None:
    flow = sage.Flow("big")
    flow.from_collection([1]).map(double).with_resources(cpus=1e6).collect()
    with pytest.raises(NoRoom, match=r"asks for 1,000,000 CPUs: local has [\d.]+ of [\d.]+ CPUs free"):
        local_cluster.submit(flow)
    assert local_cluster.jobs() == []


def test_resources_are_free_again_after_the_job(local_cluster: LocalCluster, gate: Gate) -> None:
    flow = sage.Flow("half")
    flow.from_collection([1]).map(gate.pass_through).with_resources(cpus=0.5).collect()
    job = local_cluster.submit(flow)
    (node,) = local_cluster.nodes()
    assert (node.total.cpus - node.free.cpus, node.num_tasks) == (0.5, 2)
    gate.opened.set()
    job.wait(DEADLINE_S)
    (node,) = local_cluster.nodes()
    assert (node.total, node.num_tasks) == (node.free, 0)


def test_a_model_that_nobody_serves_is_refused_with_the_users_line(local_cluster: LocalCluster) -> None:
    flow = sage.Flow("models")
    flow.from_collection(["a"]).embed(model="no-such-model").collect()
    with pytest.raises(UnknownModel, match=r"test_endings\.py:\d+.*no-such-model"):
        local_cluster.submit(flow)


def test_dead_letters_are_kept_and_the_job_goes_on(local_cluster: LocalCluster) -> None:
    flow = sage.Flow("letters")
    out = flow.from_collection(range(9_990, 10_010)).map(fail_at_10_000).on_error("dead_letter").collect()
    job = local_cluster.submit(flow)
    result = job.wait(DEADLINE_S)
    (letter,) = job.dead_letters()
    assert (result.dead_letters, len(out.items)) == (1, 19)
    assert (letter.value, letter.error) == ("9999", "ValueError: no good")
    assert "fail_at_10_000" in letter.traceback


def test_progress_is_told_and_ends_with_the_last_state(local_cluster: LocalCluster) -> None:
    flow = sage.Flow("progress")
    flow.from_collection(range(NUM_RECORDS)).map(double).collect()
    told: list[JobMetrics] = []
    job = local_cluster.submit(flow)
    job.wait(DEADLINE_S, on_progress=told.append)
    assert told[-1].status is JobStatus.FINISHED
    assert (told[-1].records_in, told[-1].records_out) == (NUM_RECORDS, NUM_RECORDS)


def test_jobs_run_side_by_side(local_cluster: LocalCluster) -> None:
    flows = [sage.Flow(f"flow-{number}") for number in range(8)]
    outs = [flow.from_collection(range(NUM_RECORDS)).map(double).collect() for flow in flows]
    jobs = [local_cluster.submit(flow) for flow in flows]
    assert [job.wait(DEADLINE_S).records_out for job in jobs] == [NUM_RECORDS] * 8
    assert all(out.items == [2 * n for n in range(NUM_RECORDS)] for out in outs)


def test_an_empty_stream_ends_at_once(local_cluster: LocalCluster) -> None:
    flow = sage.Flow("empty")
    out = flow.from_collection([]).map(double).key_by(last_digit).count().with_parallelism(2).collect()
    result = local_cluster.submit(flow).wait(DEADLINE_S)
    assert (out.items, result.records_in, result.records_out) == ([], 0, 0)


def test_a_job_and_a_cluster_show_themselves_in_a_notebook(local_cluster: LocalCluster) -> None:
    flow = sage.Flow("<shown>")
    flow.from_collection([1, 2]).collect()
    job: SubmittedJob = local_cluster.submit(flow)
    job.wait(DEADLINE_S)
    assert "&lt;shown&gt;" in job._repr_html_()
    assert job.id in local_cluster._repr_html_()
