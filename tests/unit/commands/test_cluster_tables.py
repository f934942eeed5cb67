"""A cluster in tables: every figure that a person looks for, and a rate that does not lie."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from cluster.commands.cluster_tables import chain_rows, engine_rows, job_rows, mended_lines, node_rows, rate_of
from cluster.commands.cluster_top import ClusterSnapshot, show_live, show_once
from cluster.jobs.mended_journal import Mending
from cluster.runtime.control_clients import JobAnswer
from cluster.runtime.job_outline import PlanOutline
from cluster.runtime.states import JobState, NodeState
from sage.base.ids import JobId, NodeId
from sage.base.inference import Kind, ModelCard
from sage.base.resources import Resources
from sage.flow.runner import ChainMetrics, EngineStatus, JobMetrics, JobStatus, NodeView

NODE = NodeState(
    NodeView(NodeId("n1"), Resources(4, 1, 8_000_000_000), Resources(2.5, 0, 4_000_000_000), 3),
    "alive",
    "host-a",
    77,
    5,
    0.25,
)
ENGINE = EngineStatus(
    "sim", "simulated", "ready", "CPU", True, (ModelCard("m", (Kind.CHAT,), 100),), 2, 1_000, 5_000, 700
)


def job(num_in: int, duration_s: float, *, job_id: str = "job-1", is_over: bool = False) -> JobState:
    status = JobStatus.FINISHED if is_over else JobStatus.RUNNING
    metrics = JobMetrics(status, num_in, 7, duration_s, ())
    return JobState(JobId(job_id), "words", JobId("run"), metrics, 1, 2, 100.0, is_over)


def test_a_node_shows_what_is_free_of_what_it_has() -> None:
    heading, row = node_rows([NODE])
    shown = dict(zip(heading, row, strict=True))
    assert shown["NODE"] == "n1"
    assert shown["CPUS FREE"] == "2.5 of 4"
    assert shown["GPUS FREE"] == "0 of 1"
    assert shown["MEMORY FREE"] == "4000.0 MB of 8000.0 MB"
    assert (shown["TASKS"], shown["HEARD"], shown["HOST"]) == ("3", "0.2 s ago", "host-a")


def test_a_job_shows_how_far_it_is() -> None:
    heading, row = job_rows([job(12_345, 2.0)], 0.0)
    shown = dict(zip(heading, row, strict=True))
    assert (shown["JOB"], shown["FLOW"], shown["STATUS"]) == ("job-1", "words", "running")
    assert (shown["IN"], shown["OUT"], shown["DEAD LETTERS"], shown["RESTARTS"]) == ("12,345", "7", "2", "1")


def test_a_simulated_engine_is_called_simulated() -> None:
    other = msgspec.structs.replace(ENGINE, kind="vllm")
    assert [row[1] for row in engine_rows([ENGINE, other])[1:]] == ["simulated", "vllm (simulated)"]
    heading, row = engine_rows([ENGINE])
    assert dict(zip(heading, row, strict=True))["TOKENS"] == "5,700"


def test_what_an_engine_says_of_itself_or_waits_for_stands_in_its_row() -> None:
    busy = msgspec.structs.replace(ENGINE, num_waiting=2, kv_used=0.4, prefix_hit=0.75, cache_belief="exact")
    waits = msgspec.structs.replace(ENGINE, state="waiting", why="no node has 2 GPUs free")
    inside = [row[-1] for row in engine_rows([busy, waits])[1:]]
    assert inside == ["2 wait, 40 % of KV used, 75 % of prompts cached, cache exact", "no node has 2 GPUs free"]


@pytest.mark.parametrize(
    ("now", "before", "rate"),
    [
        ([job(3_000, 3.0)], [job(1_000, 2.0)], 2_000.0),
        ([job(3_000, 3.0)], [job(3_000, 3.0)], 0.0),
        ([job(3_000, 3.0)], [], 1_000.0),
        ([job(3_000, 3.0, is_over=True)], [job(1_000, 2.0)], 0.0),
        ([job(100, 1.0), job(300, 1.0, job_id="job-2")], [], 400.0),
    ],
    ids=["between two looks", "nothing new", "a new job", "a job that is over", "two jobs"],
)
def test_the_rate_is_of_jobs_that_run_between_two_looks(
    now: list[JobState], before: list[JobState], rate: float
) -> None:
    assert rate_of(now, before) == rate


def test_one_look_prints_everything_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_once(ClusterSnapshot("default", 0.0, (NODE,), (ENGINE,), (job(5, 1.0), job(9, 1.0, is_over=True))))
    shown = capsys.readouterr().out
    assert shown.startswith("cluster default: 1 node, 1 engine, 1 job running\n")
    assert [part.splitlines()[0].split()[0] for part in shown.split("\n\n")[1:]] == ["NODE", "ENGINE", "JOB"]


def test_an_empty_cluster_shows_no_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_once(ClusterSnapshot("default", 0.0, (), (), ()))
    assert capsys.readouterr().out == "cluster default: 0 nodes, 0 engines, 0 jobs running\n"


class Watched:
    """A live view on a terminal that is a text: `screens` are what it showed, newest last."""

    def __init__(self, *looks: ClusterSnapshot) -> None:
        self._looks = list(looks)
        self._text = StringIO()
        self.screens: list[str] = []
        self.console = Console(file=self._text, force_terminal=True, width=160, height=40, color_system=None)

    def look(self) -> ClusterSnapshot:
        return self._looks.pop(0)

    def wait(self, seconds: float) -> bool:
        self.keep()
        return not self._looks

    def keep(self) -> None:
        self.screens.append(self._text.getvalue())
        self._text.seek(0)
        self._text.truncate()


def snapshot(*jobs: JobState) -> ClusterSnapshot:
    return ClusterSnapshot("default", 0.0, (NODE,), (ENGINE,), jobs)


def test_the_live_view_shows_each_look_and_the_rate_between_two() -> None:
    watched = Watched(snapshot(job(1_000, 1.0)), snapshot(job(3_000, 3.0)), snapshot(job(3_000, 4.0, is_over=True)))
    show_live(watched.look, watched.wait, console=watched.console)
    first, second, third = watched.screens
    assert "cluster default: 1 node, 1 engine, 1 job running" in first
    assert all(word in first for word in ("NODE", "n1", "ENGINE", "simulated", "words", "Ctrl-C ends this view"))
    assert "1 job running, 1,000 records/s" in second
    assert "0 jobs running" in third
    assert "finished" in third


def test_ctrl_c_ends_the_live_view_and_gives_the_terminal_back() -> None:
    watched = Watched(snapshot())

    def interrupted(seconds: float) -> bool:
        raise KeyboardInterrupt

    show_live(watched.look, interrupted, console=watched.console)
    watched.keep()
    assert watched.screens[-1].endswith("\x1b[?25h\x1b[?1049l")


def test_a_job_and_its_steps_say_how_far_event_time_is_behind_the_clock() -> None:
    now_unix_s = 1_763_857_800.0
    chains = (
        ChainMetrics("read", ("read",), (NodeId("a"),), 1, 5, 5, watermark_s=now_unix_s - 1.5),
        ChainMetrics("window", ("window",), (NodeId("a"),), 1, 4, 1, watermark_s=now_unix_s - 75, num_waiting=3),
        ChainMetrics("other", ("other",), (NodeId("a"),), 1, 4, 1),
    )
    state = msgspec.structs.replace(job(5, 2.0), metrics=JobMetrics(JobStatus.RUNNING, 5, 1, 2.0, chains))
    assert job_rows([state], now_unix_s)[1][-1] == "75.0 s"
    answer = JobAnswer(1, state, PlanOutline("flow", (), (), ()))
    shown = [(row[4], row[6], *row[-2:]) for row in chain_rows(answer, now_unix_s)]
    assert shown == [
        ("IN/S", "WAITING", "WATERMARK", "LAG"),
        ("2", "0", "2025-11-23 00:29:58", "1.5 s"),
        ("2", "3", "2025-11-23 00:28:45", "75.0 s"),
        ("2", "0", "", ""),
    ]
    over = msgspec.structs.replace(state, is_over=True)
    assert job_rows([over], now_unix_s)[1][-1] == ""


def test_each_job_that_a_damaged_journal_did_not_keep_as_it_was_is_named() -> None:
    mending = Mending(Path("/x/jobs.db.damaged-1"), (JobId("a"), JobId("b")), (JobId("c"),), (JobId("d"),), 3)
    assert mended_lines(mending) == [
        "the journal of jobs was damaged; its files as they were: /x/jobs.db.damaged-1",
        "  whole    2 that were over",
        "  failed   c: it was not over, and may have gone on since",
        "  lost     d",
        "  lost     3 of unknown names",
    ]
    assert mended_lines(replace(mending, num_missing=0))[-1] == "  lost     d"
    assert mended_lines(replace(mending, num_missing=None))[-1].endswith("besides is not known")
