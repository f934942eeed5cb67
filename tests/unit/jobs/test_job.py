"""The life of a job: opens everywhere, runs, ends once, and only when nothing runs any more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.jobs.job import (
    BeginAnew,
    BeginOn,
    CancelAsked,
    DiskRefused,
    JobEvent,
    JobMachine,
    JobOrder,
    JobOver,
    NodeGone,
    RecordsLost,
    StopOn,
)
from cluster.runtime.messages import JobOpened, JobStopped, JobTaskDrained, JobTaskEnded
from sage.base.errors import DiskFull, InternalError, JobCancelled, NodeLost, RecordFailed, SourceUnreadable, TaskStuck
from sage.base.ids import JobId, NodeId, TaskId
from sage.flow.runner import JobStatus

JOB = JobId("job")
A, B = NodeId("a"), NodeId("b")
READ, WRITE = TaskId("job/read/0"), TaskId("job/write/0")
BROKEN = RecordFailed("broken")


@pytest.fixture
def job() -> JobMachine:
    return JobMachine(JOB, [A, B], [READ, WRITE], [READ])


def running(job: JobMachine) -> JobMachine:
    feed(job, JobOpened(JOB, A), JobOpened(JOB, B))
    return job


def feed(job: JobMachine, *events: JobEvent) -> list[JobOrder]:
    return [order for event in events for order in job.handle(event)]


def done(task: TaskId) -> JobTaskEnded:
    return JobTaskEnded(JOB, task, True, None)


def failed(task: TaskId) -> JobTaskEnded:
    return JobTaskEnded(JOB, task, False, BROKEN)


def test_a_task_that_was_stopped_is_not_one_that_has_finished(job: JobMachine) -> None:
    stopped = JobTaskEnded(JOB, WRITE, False, None)
    assert feed(running(job), done(READ), stopped) == [StopOn(A), StopOn(B)]
    assert feed(job, JobStopped(JOB, A, ()), JobStopped(JOB, B, ())) == [JobOver()]
    assert job.status is JobStatus.FAILED
    assert isinstance(job.error, NodeLost)


def test_nothing_begins_before_every_node_has_opened(job: JobMachine) -> None:
    seen = [job.status]
    assert feed(job, JobOpened(JOB, A)) == []
    seen.append(job.status)
    assert feed(job, JobOpened(JOB, B)) == [BeginOn(A), BeginOn(B)]
    assert [*seen, job.status] == [JobStatus.CREATED, JobStatus.CREATED, JobStatus.RUNNING]


def test_instances_that_do_not_find_the_same_to_read_read_nothing(job: JobMachine) -> None:
    other = TaskId("job/read/1")
    assert feed(job, JobOpened(JOB, A, ((READ, "as listed"),))) == []
    assert feed(job, JobOpened(JOB, B, ((other, "otherwise"),))) == [StopOn(A), StopOn(B)]
    feed(job, JobStopped(JOB, A, ()), JobStopped(JOB, B, ()))
    assert job.status is JobStatus.FAILED
    assert isinstance(job.error, SourceUnreadable)
    assert "instances of 'read' do not find the same to read" in str(job.error)


def test_a_job_drains_once_its_sources_are_read_and_finishes_once_all_nodes_are_rid_of_it(job: JobMachine) -> None:
    feed(running(job), JobTaskDrained(JOB, READ))
    assert job.status is JobStatus.DRAINING
    assert feed(job, done(READ), done(WRITE)) == [StopOn(A), StopOn(B)]
    assert feed(job, JobStopped(JOB, A, ())) == []
    assert not job.is_over
    assert feed(job, JobStopped(JOB, B, ())) == [JobOver()]
    assert (job.status, job.error) == (JobStatus.FINISHED, None)


def test_the_first_failure_stops_everything_and_is_the_one_that_counts(job: JobMachine) -> None:
    assert feed(running(job), failed(WRITE)) == [StopOn(A), StopOn(B)]
    later = JobTaskEnded(JOB, READ, False, InternalError("later"))
    assert feed(job, later, CancelAsked()) == []
    feed(job, JobStopped(JOB, A, ()), JobStopped(JOB, B, ()))
    assert (job.status, job.error) == (JobStatus.FAILED, BROKEN)


def test_a_job_can_be_cancelled_before_it_has_opened(job: JobMachine) -> None:
    assert feed(job, CancelAsked()) == [StopOn(A), StopOn(B)]
    assert feed(job, JobOpened(JOB, A), JobOpened(JOB, B)) == []
    feed(job, JobStopped(JOB, A, ()), JobStopped(JOB, B, ()))
    assert job.status is JobStatus.CANCELLED
    assert isinstance(job.error, JobCancelled)


def test_a_cancelled_job_says_what_would_not_stop(job: JobMachine) -> None:
    feed(running(job), CancelAsked(), JobStopped(JOB, A, ("task x in f (f.py:1)",)), JobStopped(JOB, B, ()))
    assert isinstance(job.error, TaskStuck)
    assert "f (f.py:1)" in job.error.what


def test_a_failed_job_keeps_its_error_and_notes_what_would_not_stop(job: JobMachine) -> None:
    error = RecordFailed("broken")
    feed(running(job), JobTaskEnded(JOB, WRITE, False, error), JobStopped(JOB, A, ("f (f.py:1)",)))
    feed(job, JobStopped(JOB, B, ()))
    assert job.error is error
    assert "f (f.py:1)" in error.__notes__[0]


def test_a_job_fails_with_its_node_and_does_not_wait_for_it(job: JobMachine) -> None:
    lost = InternalError("node a ended")
    feed(running(job), NodeGone(A, lost))
    assert not job.is_over
    feed(job, JobStopped(JOB, B, ()))
    assert (job.status, job.error) == (JobStatus.FAILED, lost)


def test_a_job_does_not_begin_anew_beside_a_task_that_would_not_stop() -> None:
    job, lost = JobMachine(JOB, [A, B], [READ, WRITE], [READ], num_restarts_left=1), NodeLost("node a is lost")
    feed(running(job), NodeGone(A, lost))
    assert feed(job, JobStopped(JOB, B, ("task w in wait",))) == [JobOver()]
    assert (job.status, job.error) == (JobStatus.FAILED, lost)
    assert "task w in wait" in lost.__notes__[0]


EVENTS = [
    JobOpened(JOB, A),
    JobOpened(JOB, B),
    JobTaskDrained(JOB, READ),
    done(READ),
    done(WRITE),
    failed(READ),
    CancelAsked(),
    NodeGone(A, InternalError("gone")),
    JobStopped(JOB, A, ()),
    JobStopped(JOB, B, ()),
]


@given(st.lists(st.sampled_from(EVENTS), max_size=25))
def test_whatever_happens_each_node_is_begun_and_stopped_at_most_once_and_the_job_is_over_once(
    events: list[JobEvent],
) -> None:
    job = JobMachine(JOB, [A, B], [READ, WRITE], [READ])
    orders: list[JobOrder] = []
    for event in events:
        was_over = job.is_over
        came = feed(job, event)
        assert not (was_over and came)
        orders += came
    for node in (A, B):
        assert orders.count(BeginOn(node)) <= 1
        assert orders.count(StopOn(node)) <= 1
    assert orders.count(JobOver()) == job.is_over
    if BeginOn(A) in orders and StopOn(A) in orders:
        assert orders.index(BeginOn(A)) < orders.index(StopOn(A))


def restartable() -> JobMachine:
    return running(JobMachine(JOB, [A, B], [READ, WRITE], [READ], num_restarts_left=1))


def test_a_run_that_loses_a_node_ends_without_an_end_once_the_others_are_rid_of_it() -> None:
    job = restartable()
    assert feed(job, NodeGone(A, InternalError("gone"))) == [StopOn(B)]
    assert feed(job, NodeGone(A, InternalError("gone again"))) == []
    assert feed(job, JobStopped(JOB, B, ())) == [BeginAnew()]
    assert not job.is_over


def test_a_run_whose_records_were_lost_on_their_way_is_stopped_everywhere_and_begun_anew() -> None:
    job = restartable()
    assert feed(job, RecordsLost(InternalError("cut"))) == [StopOn(A), StopOn(B)]
    assert feed(job, NodeGone(A, InternalError("gone"))) == []
    assert feed(job, JobStopped(JOB, B, ())) == [BeginAnew()]


def test_a_run_that_fails_before_its_node_is_lost_has_failed() -> None:
    job = restartable()
    feed(job, failed(WRITE), NodeGone(A, InternalError("gone")), JobStopped(JOB, B, ()))
    assert (job.status, job.error) == (JobStatus.FAILED, BROKEN)


def test_what_fails_while_a_run_stops_to_begin_anew_does_not_count() -> None:
    job = restartable()
    orders = feed(job, NodeGone(A, InternalError("gone")), failed(WRITE), JobStopped(JOB, B, ()))
    assert orders[-1] == BeginAnew()


def test_a_run_for_which_a_disk_has_no_room_is_begun_anew_though_no_restart_is_left(job: JobMachine) -> None:
    assert feed(running(job), DiskRefused(DiskFull("disk full at /kept"))) == [StopOn(A), StopOn(B)]
    assert feed(job, JobStopped(JOB, A, ()), JobStopped(JOB, B, ())) == [BeginAnew()]
