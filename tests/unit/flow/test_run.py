"""Running a flow on whatever cluster: waiting, progress, Ctrl-C and time-outs."""

import io
import os
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import pytest

from sage.base.errors import FlowInvalid, JobTimeout, TaskStuck, UnknownState
from sage.base.ids import JobId, NodeId
from sage.flow.checkpoint import Checkpoint, Resume
from sage.flow.connect import connect
from sage.flow.flow import Flow
from sage.flow.graph import Graph
from sage.flow.progress import PlainProgress, line_of_metrics, show_progress
from sage.flow.run import run_on_cluster
from sage.flow.runner import (
    STATE_S,
    ChainMetrics,
    DeadLetterRecord,
    EngineStatus,
    Job,
    JobMetrics,
    JobResult,
    JobStatus,
    NodeView,
    Submittable,
    TakesFlows,
)

RESULT = JobResult(JobId("job-1"), JobStatus.FINISHED, 2, 1, 0, 0.5, ())


def metrics(status: JobStatus = JobStatus.RUNNING, duration_s: float = 1.0) -> JobMetrics:
    chain = ChainMetrics("read", ("read", "generate"), (NodeId("n"),), 1, 1000, 10, 1, 10, 50, 70, 0.25)
    return JobMetrics(status, 1000, 10, duration_s, (chain,))


@dataclass
class ScriptedJob:
    """A job that ends as told, and notes what was asked of it."""

    graph: Graph
    ends_with: BaseException | None = None
    stuck: bool = False
    asked: list[str] = field(default_factory=list)
    id: JobId = RESULT.job_id
    status: JobStatus = JobStatus.RUNNING

    def wait(
        self, timeout_s: float | None = None, *, on_progress: Callable[[JobMetrics], None] | None = None
    ) -> JobResult:
        self.asked.append(f"wait {timeout_s}")
        if on_progress is not None:
            on_progress(metrics())
        if self.ends_with is not None:
            raise self.ends_with
        return RESULT

    def cancel(self) -> None:
        self.asked.append("cancel")
        if self.stuck:
            raise TaskStuck("slow_function still runs")

    def metrics(self) -> JobMetrics:
        return metrics(JobStatus.FINISHED, 1.5)

    def states(self) -> tuple[str, ...]:
        return ()

    def state(self, step: str, key: Hashable, *, timeout_s: float = STATE_S) -> object:
        raise UnknownState(step)

    def savepoint(self, path: str | os.PathLike[str]) -> None:
        self.asked.append(f"savepoint {path}")

    def dead_letters(self) -> list[DeadLetterRecord]:
        return []


@dataclass
class ScriptedCluster:
    """A cluster of one scripted job."""

    job: ScriptedJob

    def submit(
        self, flow: Graph | Submittable, *, checkpoint: Checkpoint | None = None, resume: Resume = "auto"
    ) -> Job:
        self.job.graph = flow if isinstance(flow, Graph) else flow.graph()
        return self.job

    def jobs(self) -> list[Job]:
        return [self.job]

    def nodes(self) -> list[NodeView]:
        return []

    def engines(self) -> list[EngineStatus]:
        return []

    def close(self) -> None:
        """Nothing was started."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def a_graph() -> Graph:
    flow = Flow("words")
    flow.from_collection([1]).collect()
    return flow.graph()


def cluster_whose_job(ends_with: BaseException | None = None, *, stuck: bool = False) -> tuple[TakesFlows, list[str]]:
    job = ScriptedJob(a_graph(), ends_with, stuck)
    return ScriptedCluster(job), job.asked


def test_a_run_waits_for_the_end_and_gives_the_result() -> None:
    cluster, asked = cluster_whose_job()
    assert run_on_cluster(cluster, a_graph(), timeout_s=5.0) is RESULT
    assert asked == ["wait 5.0"]


def test_an_interrupt_cancels_the_job_and_goes_on_up() -> None:
    cluster, asked = cluster_whose_job(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_on_cluster(cluster, a_graph())
    assert asked == ["wait None", "cancel"]


def test_a_time_out_cancels_the_job_and_says_so() -> None:
    cluster, asked = cluster_whose_job(JobTimeout("job-1 goes on"))
    with pytest.raises(JobTimeout, match=r'"words" did not end within 3\.0 s and was cancelled'):
        run_on_cluster(cluster, a_graph(), timeout_s=3.0)
    assert asked == ["wait 3.0", "cancel"]


def test_what_does_not_stop_is_named_beside_the_interrupt() -> None:
    cluster, _ = cluster_whose_job(KeyboardInterrupt(), stuck=True)
    with pytest.raises(KeyboardInterrupt) as caught:
        run_on_cluster(cluster, a_graph())
    assert "slow_function" in caught.value.__notes__[0]


def test_a_failed_job_is_not_cancelled() -> None:
    cluster, asked = cluster_whose_job(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run_on_cluster(cluster, a_graph())
    assert asked == ["wait None"]


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan"), float("inf"), 1e12, "5"])
def test_a_time_out_that_is_none_is_refused(timeout_s: float) -> None:
    flow = Flow("f")
    flow.from_collection([1]).collect()
    with pytest.raises(FlowInvalid, match=r"test_run.py:\d+: timeout_s is"):
        flow.run(timeout_s=timeout_s)


def test_progress_is_silent_off_a_terminal_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    run_on_cluster(cluster_whose_job()[0], a_graph())
    assert capsys.readouterr().err == ""
    run_on_cluster(cluster_whose_job()[0], a_graph(), progress=True)
    assert capsys.readouterr().err == (
        "words: running, 1.0 s, 1,000 records in (1,000/s), 10 out, 70 tokens generated\n"
        "words: finished, 1.5 s, 1,000 records in (667/s), 10 out, 70 tokens generated\n"
    )


def test_plain_progress_writes_again_when_the_status_changes_or_time_has_passed() -> None:
    written = io.StringIO()
    show = PlainProgress("words", written)
    for status, duration_s in [("running", 0.1), ("running", 1.9), ("running", 2.1), ("finished", 2.2)]:
        show(metrics(JobStatus(status), duration_s))
    assert [line.split(",")[:2] for line in written.getvalue().splitlines()] == [
        ["words: running", " 0.1 s"], ["words: running", " 2.1 s"], ["words: finished", " 2.2 s"],
    ]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_each_chain_has_a_live_line() -> None:
    terminal = Terminal()
    with show_progress("words", terminal) as on_progress:
        on_progress(metrics())
    assert "read → generate" in terminal.getvalue()
    assert "1,000" in terminal.getvalue()


def test_a_job_that_has_just_begun_has_no_rate() -> None:
    assert "(0/s)" in line_of_metrics("words", metrics(duration_s=0.0))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"checkpoint": "folder"}, "checkpoint is 'folder' (str)"),
        ({"resume": "must"}, "is about checkpoints, and there are none"),
        ({"resume": "wrong"}, "resume is 'wrong'"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_run_and_by_submit(options: Any, text: str) -> None:
    flow = Flow("f")
    flow.from_collection([1]).collect()
    with connect() as cluster:
        for start in (flow.run, partial(cluster.submit, flow)):
            with pytest.raises(FlowInvalid, match=re.escape(text)):
                start(**options)


@pytest.mark.parametrize("given", [{"every_s": "1"}, {"every_s": float("nan")}, {"num_kept": 1.5}, {"timeout_s": 0}])
def test_a_checkpoint_that_cannot_be_taken_is_refused(given: Any) -> None:
    with pytest.raises(FlowInvalid, match=next(iter(given))):
        Checkpoint("folder", **given)


@pytest.mark.parametrize("name", ["", 5, None])
def test_a_flow_is_named_by_a_text(name: Any) -> None:
    with pytest.raises(FlowInvalid, match="a flow's name is"):
        Flow(name)
