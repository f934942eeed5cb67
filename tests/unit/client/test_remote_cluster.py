"""A flow on a cluster elsewhere: its items, errors and prints come back as if it had run here."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import format_exception
from typing import Any

import msgspec
import pytest

import sage
from cluster.client.cluster import RemoteCluster, Shipping
from cluster.client.news import ShowLines, print_lines
from cluster.runtime.control import RemoteFailure
from cluster.runtime.control_clients import (
    CancelFlow,
    ClientToHead,
    CollectedNews,
    CollectMore,
    Declined,
    Done,
    GetLogs,
    Greeting,
    HeadToClient,
    JobNews,
    JobSubmitted,
    ListNodes,
    Logs,
    NodeList,
    SubmitFlow,
    WatchJob,
)
from cluster.runtime.control_printed import LogLine, PrintedTo
from cluster.runtime.states import JobState
from cluster.runtime.travelling_code import FileCode
from sage.base.errors import (
    ClusterUnreachable,
    FlowInvalid,
    InternalError,
    JobCancelled,
    JobInterrupted,
    RecordFailed,
    UnknownJob,
)
from sage.base.ids import JobId, NodeId, TaskId
from sage.base.inference import Failure
from sage.flow.ends import Collected
from sage.flow.graph import Graph
from sage.flow.runner import JobMetrics, JobStatus
from tests.unit.client.scripted_head import ScriptedHead, line_to

DEADLINE_S = 10.0
RUN, SECOND_RUN = JobId("run-1"), JobId("run-2")
GREETING = Greeting(1, "scripted", 7, 60.0, 180.0)
Script = Callable[[JobId], Iterable[HeadToClient]]
"""What the head says of a job once it is watched."""


def packed(*items: object) -> bytes:
    return msgspec.msgpack.encode(items)


def unpack(data: bytes) -> Sequence[Any]:
    items: Sequence[Any] = msgspec.msgpack.decode(data)
    return items


def state(job_id: JobId, status: JobStatus, run_id: JobId = RUN, error: RemoteFailure | None = None) -> JobNews:
    is_over = status in (JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELLED)
    return JobNews(JobState(job_id, "f", run_id, JobMetrics(status, 3, 3, 1.0, ()), 0, 0, 0.0, is_over, error))


def brought(job_id: JobId, run_id: JobId, number: int, *items: object) -> CollectedNews:
    return CollectedNews(job_id, run_id, TaskId("t"), "collect", number, packed(*items), len(items))


def line_of(text: str) -> LogLine:
    return LogLine(text, NodeId("node-1"), "print", PrintedTo.PRINT)


def playing(script: Script, *, printed: Sequence[str] = ()) -> Callable[[ClientToHead], Iterable[HeadToClient]]:
    def answer(message: ClientToHead) -> Iterable[HeadToClient]:
        match message:
            case SubmitFlow(question, job_id):
                yield JobSubmitted(question, job_id)
            case WatchJob(question, job_id):
                yield Done(question)
                yield from script(job_id)
            case GetLogs(question):
                yield Logs(question, tuple(map(line_of, printed)), len(printed))
            case ListNodes(question):
                yield NodeList(question, ())
            case CancelFlow(question, job_id):
                yield Done(question)
                failure = RemoteFailure.of(JobCancelled("cancelled"))
                yield state(job_id, JobStatus.CANCELLED, error=failure)
            case _:
                pass

    return answer


@contextmanager
def cluster_of(
    folder: Path, script: Script, show: ShowLines = lambda lines: None, **options: Any
) -> Iterator[tuple[ScriptedHead, RemoteCluster]]:
    shipping = Shipping(lambda graph, job_id: FileCode("m:flow", "0"), None, lambda graph: unpack)
    with line_to(folder, playing(script, **options)) as (head, line):
        yield head, RemoteCluster(line, GREETING, shipping, where="scripted", show=show)


def collecting_flow() -> tuple[Graph, Collected[int]]:
    flow = sage.Flow("f")
    out = flow.from_collection([1, 2, 3]).map(lambda n: n).collect()
    return flow.graph(), out


def test_collected_items_fill_the_flow_each_once_and_each_message_is_said_to_be_taken(tmp_path: Path) -> None:
    def script(job_id: JobId) -> Iterable[HeadToClient]:
        yield state(job_id, JobStatus.RUNNING)
        yield brought(job_id, RUN, 1, 1, 2)
        yield brought(job_id, RUN, 2, 3)
        yield brought(job_id, RUN, 1, 1, 2)
        yield state(job_id, JobStatus.FINISHED)

    graph, out = collecting_flow()
    with cluster_of(tmp_path, script) as (head, cluster):
        result = cluster.submit(graph).wait(DEADLINE_S)
        assert cluster.nodes() == []  # answered after all that was said before
        heard = list(head.heard)
    assert out.items == [1, 2, 3]
    assert (result.status, result.records_in) == (JobStatus.FINISHED, 3)
    assert len([message for message in heard if isinstance(message, CollectMore)]) == 3


def test_a_job_that_was_begun_anew_counts_its_newest_run_alone(tmp_path: Path) -> None:
    def script(job_id: JobId) -> Iterable[HeadToClient]:
        yield brought(job_id, RUN, 1, 1, 2)
        yield state(job_id, JobStatus.CREATED, SECOND_RUN)
        yield brought(job_id, RUN, 2, 3)
        yield brought(job_id, SECOND_RUN, 1, 1, 2, 3)
        yield state(job_id, JobStatus.FINISHED, SECOND_RUN)

    graph, out = collecting_flow()
    with cluster_of(tmp_path, script) as (_, cluster):
        cluster.submit(graph).wait(DEADLINE_S)
    assert out.items == [1, 2, 3]


def test_a_users_error_is_raised_here_with_the_users_frames_first(tmp_path: Path) -> None:
    failed = RecordFailed("step 'map' failed on record 3: ValueError: no", "Mend it.")
    failed.user_traceback = 'Traceback (most recent call last):\n  File "flow.py", line 7, in no\nValueError: no\n'
    failed.add_note("and it still runs")
    graph, _ = collecting_flow()
    with cluster_of(tmp_path, lambda job_id: [state(job_id, JobStatus.FAILED, error=RemoteFailure.of(failed))]) as (
        _,
        cluster,
    ):
        job = cluster.submit(graph)
        with pytest.raises(RecordFailed, match="record 3") as caught:
            job.wait(DEADLINE_S)
    shown = "".join(format_exception(caught.value))
    assert shown.index("line 7, in no") < shown.index("[SAGE-1301]")
    assert caught.value.user_traceback == failed.user_traceback
    assert "and it still runs" in shown


def test_what_a_job_prints_is_shown_in_order(tmp_path: Path) -> None:
    shown: list[LogLine] = []

    def script(job_id: JobId) -> Iterable[HeadToClient]:
        return [state(job_id, JobStatus.RUNNING)]

    graph, _ = collecting_flow()
    with cluster_of(tmp_path, script, shown.extend, printed=["early"]) as (_, cluster):
        job = cluster.submit(graph)
        job.cancel()
    assert shown == [line_of("early")]


def test_what_a_job_prints_is_printed_to_where_it_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines([LogLine(to.value, NodeId("node-1"), "map", to) for to in PrintedTo])
    assert capsys.readouterr() == ("print\nstdout\n", "stderr\n")


def test_all_that_a_job_printed_was_shown_once_it_is_known_to_be_over_however_soon_that_is(tmp_path: Path) -> None:
    shown: list[LogLine] = []
    graph, _ = collecting_flow()

    def script(job_id: JobId) -> Iterable[HeadToClient]:
        return [brought(job_id, RUN, 1, 1, 2, 3), state(job_id, JobStatus.FINISHED)]

    with cluster_of(tmp_path, script, shown.extend, printed=["early"]) as (head, cluster):
        cluster.submit(graph).wait(DEADLINE_S)
        assert shown == [line_of("early")]
        cluster.follow_logs(JobId("job-1"), shown.extend)
    asked = [type(message) for message in head.heard if isinstance(message, GetLogs | WatchJob)]
    assert (shown, asked) == ([line_of("early")] * 2, [GetLogs, WatchJob, GetLogs, WatchJob])


def test_cancel_waits_until_the_job_has_stopped(tmp_path: Path) -> None:
    graph, _ = collecting_flow()
    with cluster_of(tmp_path, lambda job_id: [state(job_id, JobStatus.RUNNING)]) as (_, cluster):
        job = cluster.submit(graph)
        job.cancel()
        assert job.status is JobStatus.CANCELLED
        with pytest.raises(JobCancelled):
            job.wait(DEADLINE_S)


def _end_when(running: threading.Event, head: ScriptedHead) -> None:
    assert running.wait(DEADLINE_S)
    head.end()


def test_a_head_that_is_lost_ends_the_wait(tmp_path: Path) -> None:
    graph, _ = collecting_flow()
    running = threading.Event()
    with cluster_of(tmp_path, lambda job_id: [state(job_id, JobStatus.RUNNING)]) as (head, cluster):
        job = cluster.submit(graph)
        threading.Thread(target=_end_when, args=(running, head)).start()
        with pytest.raises(ClusterUnreachable, match="lost"):
            job.wait(DEADLINE_S, on_progress=lambda metrics: running.set())


def test_records_that_cannot_be_read_cancel_the_job_and_are_why_it_failed(tmp_path: Path) -> None:
    def broken(data: bytes) -> Sequence[Any]:
        raise InternalError("no records")

    def script(job_id: JobId) -> Iterable[HeadToClient]:
        return [brought(job_id, RUN, 1, 1)]

    graph, _ = collecting_flow()
    shipping = Shipping(lambda graph, job_id: FileCode("m:flow", "0"), None, lambda graph: broken)
    with line_to(tmp_path, playing(script)) as (_, line):
        job = RemoteCluster(line, GREETING, shipping, where="scripted", show=lambda lines: None).submit(graph)
        with pytest.raises(InternalError, match="no records"):
            job.wait(DEADLINE_S)


def test_a_job_that_finished_under_a_head_that_was_lost_is_no_success_without_its_items(tmp_path: Path) -> None:
    def script(job_id: JobId) -> Iterable[HeadToClient]:
        finished = state(job_id, JobStatus.FINISHED)
        return [brought(job_id, RUN, 1, 1), JobNews(msgspec.structs.replace(finished.state, has_lost_results=True))]

    graph, _ = collecting_flow()
    with cluster_of(tmp_path, script) as (_, cluster), pytest.raises(JobInterrupted, match="before all that it"):
        cluster.submit(graph).wait(DEADLINE_S)


def test_items_that_are_missing_between_others_fail_the_wait(tmp_path: Path) -> None:
    def script(job_id: JobId) -> Iterable[HeadToClient]:
        return [brought(job_id, RUN, 1, 1), brought(job_id, RUN, 4, 7)]

    graph, _ = collecting_flow()
    with cluster_of(tmp_path, script) as (_, cluster), pytest.raises(JobInterrupted, match="2 messages of what"):
        cluster.submit(graph).wait(DEADLINE_S)


def test_a_wait_goes_on_over_the_loss_of_a_head_and_counts_the_run_of_the_new_one_alone(tmp_path: Path) -> None:
    graph, out = collecting_flow()

    def first(job_id: JobId) -> Iterable[HeadToClient]:
        return [state(job_id, JobStatus.RUNNING), brought(job_id, RUN, 1, 1, 2)]

    def second(job_id: JobId) -> Iterable[HeadToClient]:
        yield brought(job_id, SECOND_RUN, 1, 1, 2)
        yield brought(job_id, SECOND_RUN, 2, 3)
        yield state(job_id, JobStatus.FINISHED, SECOND_RUN)

    shipping = Shipping(lambda graph, job_id: FileCode("m:flow", "0"), None, lambda graph: unpack)
    shown: list[LogLine] = []
    with line_to(tmp_path, playing(first, printed=["of the first"]), reconnect_s=DEADLINE_S) as (head, line):
        cluster = RemoteCluster(line, GREETING, shipping, where="scripted", show=shown.extend)
        job = cluster.submit(graph)
        assert cluster.nodes() == []  # answered after all that was said before
        head.end()
        other = ScriptedHead(tmp_path, playing(second, printed=["of the second"]), epoch=2)
        try:
            assert job.wait(DEADLINE_S).status is JobStatus.FINISHED
        finally:
            other.end()
        watched = [message for message in other.heard if isinstance(message, WatchJob)]
        asked_logs = [message for message in other.heard if isinstance(message, GetLogs)]
    assert out.items == [1, 2, 3]
    assert ([message.collects for message in watched], [message.after for message in asked_logs]) == ([True], [0])
    assert shown == [line_of("of the first"), line_of("of the second")]


def test_a_head_that_does_not_know_the_job_any_more_ends_the_wait(tmp_path: Path) -> None:
    def forgetful(message: ClientToHead) -> Iterable[HeadToClient]:
        question = getattr(message, "question", None)
        return [Declined(question, Failure.of(UnknownJob("there is no job x")))] if question is not None else []

    graph, _ = collecting_flow()
    shipping = Shipping(lambda graph, job_id: FileCode("m:flow", "0"), None, lambda graph: unpack)
    script: Script = lambda job_id: [state(job_id, JobStatus.RUNNING)]  # noqa: E731
    with line_to(tmp_path, playing(script), reconnect_s=DEADLINE_S) as (head, line):
        job = RemoteCluster(line, GREETING, shipping, where="scripted", show=lambda lines: None).submit(graph)
        head.end()
        other = ScriptedHead(tmp_path, forgetful, epoch=2)
        try:
            with pytest.raises(UnknownJob, match="no job x"):
                job.wait(DEADLINE_S)
        finally:
            other.end()


def test_a_flow_that_is_not_collected_from_is_submitted_so(tmp_path: Path) -> None:
    graph, out = collecting_flow()
    with cluster_of(tmp_path, lambda job_id: [state(job_id, JobStatus.FINISHED)]) as (head, cluster):
        cluster.submit(graph, collects=False).wait(DEADLINE_S)
        assert [message.collects for message in head.heard if isinstance(message, SubmitFlow)] == [False]
    with pytest.raises(FlowInvalid, match="has brought anything here yet"):
        _ = out.items


@pytest.mark.parametrize("shows", [True, False])
def test_what_a_job_prints_is_asked_for_only_where_it_is_shown(shows: bool, tmp_path: Path) -> None:
    graph, _ = collecting_flow()
    with cluster_of(tmp_path, lambda job_id: [state(job_id, JobStatus.FINISHED)]) as (head, cluster):
        cluster.submit(graph, shows=shows).wait(DEADLINE_S)
        asked = [type(message) for message in head.heard if isinstance(message, GetLogs | WatchJob)]
    assert asked == ([GetLogs, WatchJob] if shows else [WatchJob])
