"""What a head keeps of its jobs: the newest run, who watches, and no more jobs than it may."""

import pytest

import sage
from cluster.head.book import MAX_JOBS, MAX_KEPT_BYTES, MAX_LINES, JobBook, JobEntry
from cluster.jobs.orders import JobView
from cluster.jobs.outline import outline_from_plan
from cluster.runtime.channel import PeerId
from cluster.runtime.control import RunCollected
from cluster.runtime.control_printed import LogLine, PrintedTo
from cluster.runtime.travelling_code import FileCode
from sage.base.errors import NodeLost, UnknownJob
from sage.base.ids import JobId, NodeId, TaskId
from sage.flow.plan import plan_from_graph
from sage.flow.runner import JobMetrics, JobStatus

CODE = FileCode("flow.py:flow", "0" * 64)
CLIENT = PeerId(0, b"client")
TASK = TaskId("job/map/0")


def add(book: JobBook, job_id: str = "job", collector: PeerId | None = None) -> JobEntry:
    flow = sage.Flow("flow")
    flow.from_collection([1]).collect()
    outline = outline_from_plan(plan_from_graph(flow.graph()))
    return book.add(JobId(job_id), CODE, outline, submitted_unix_s=1.0, collector=collector)


def end(entry: JobEntry) -> None:
    entry.view = JobView(JobMetrics(JobStatus.FINISHED, 1, 1, 0.1, ()), None, 0, True, entry.run_id, 0)


def test_only_the_newest_run_of_a_job_is_its_run() -> None:
    book = JobBook()
    entry = add(book)
    book.begin_run(entry, JobId("job"), [(TASK, NodeId("a"))])
    entry.collected.came(RunCollected(JobId("job"), TASK, "collect", b"x", 1))
    book.begin_run(entry, JobId("job~2"), [(TASK, NodeId("b"))])
    assert book.of_run(JobId("job")) is None
    assert book.of_run(JobId("job~2")) is entry
    assert (entry.nodes, entry.collected.num_bytes) == ({TASK: NodeId("b")}, 0)


def test_the_state_of_a_job_says_why_it_was_begun_anew() -> None:
    entry = add(JobBook())
    metrics = JobMetrics(JobStatus.RUNNING, 5, 3, 1.0, ())
    entry.view = JobView(metrics, NodeLost("node a is silent"), 0, False, JobId("job~2"), 1)
    state = entry.state()
    assert (state.run_id, state.num_restarts, state.is_over) == ("job~2", 1, False)
    assert state.error is not None
    assert state.error.failure.what == "node a is silent"


def test_a_client_that_is_gone_watches_and_collects_nothing() -> None:
    book = JobBook()
    entry = add(book, collector=CLIENT)
    entry.watchers[CLIENT] = None
    entry.followers[CLIENT] = None
    assert book.forget_client(CLIENT) == [entry]
    assert (entry.watchers, entry.followers) == ({}, {})
    entry.collected.left_by_collector(None)
    assert book.forget_client(CLIENT) == []


def test_lines_are_counted_and_given_after_those_that_are_known() -> None:
    entry = add(JobBook())
    lines = [LogLine(str(number), NodeId("a"), "print", PrintedTo.PRINT) for number in range(MAX_LINES + 5)]
    entry.print(lines)
    assert (len(entry.lines), entry.num_lines) == (MAX_LINES, MAX_LINES + 5)
    assert entry.lines_after(MAX_LINES + 3, 100) == tuple(lines[-2:])
    assert entry.lines_after(0, 2) == tuple(lines[-2:])
    assert entry.lines_after(MAX_LINES + 5, 2) == ()


def test_of_jobs_that_are_over_the_newest_keep_what_nobody_collected() -> None:
    book = JobBook()
    entries = [add(book, name) for name in "abcde"]
    for entry in entries:
        for number in range(4):
            piece = RunCollected(entry.job_id, TaskId(str(number)), "collect", b"x" * (MAX_KEPT_BYTES // 9), 5)
            entry.collected.came(piece)
        end(entry)
    held = [entry.collected.num_bytes > 0 for entry in entries]
    assert held == [True] * 5
    book.bound_kept()
    assert [entry.collected.num_bytes > 0 for entry in entries] == [False] + [True] * 4
    assert entries[0].collected.num_dropped >= 5


def test_an_unknown_job_is_named() -> None:
    book = JobBook()
    add(book)
    book.drop(JobId("job"))
    with pytest.raises(UnknownJob, match="no job job"):
        book.entry(JobId("job"))


def test_the_oldest_of_too_many_jobs_that_are_over_are_forgotten_and_live_ones_never() -> None:
    book = JobBook()
    live = add(book, "live")
    for number in range(MAX_JOBS + 5):
        end(add(book, f"over-{number}"))
    add(book, "newest")
    assert len(list(book)) == MAX_JOBS + 2
    assert book.find(JobId("over-0")) is None
    assert book.live() == [live, book.entry(JobId("newest"))]
