"""What becomes of jobs whose manager died while they ran."""

import msgspec
import pytest

from cluster.jobs.journal import JobRecord
from cluster.jobs.recovery import BeginAgain, LetFail, recover
from sage.base.errors import JobInterrupted
from sage.base.ids import JobId, NodeId
from sage.flow.runner import JobStatus

NOW_UNIX_S = 100.0
RUNNING = JobRecord(JobId("job-1"), "flow", b"code", JobStatus.RUNNING, {"t": NodeId("a")}, 1, 2, 5.0)


@pytest.mark.parametrize("status", [JobStatus.CREATED, JobStatus.RUNNING, JobStatus.DRAINING])
def test_a_job_that_was_not_over_begins_again_with_one_restart_less(status: JobStatus) -> None:
    (order,) = recover([msgspec.structs.replace(RUNNING, status=status)], NOW_UNIX_S)
    assert order == BeginAgain(JobRecord(JobId("job-1"), "flow", b"code", JobStatus.CREATED, {}, 2, 1, 5.0))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"num_restarts_left": 0}, "job job-1 (flow) was running when its manager ended: no restart is left"),
        ({"code": b""}, "job job-1 (flow) was running when its manager ended: its code was only in the process that"),
    ],
)
def test_a_job_that_cannot_begin_again_has_failed_and_says_why(changes: dict[str, object], why: str) -> None:
    (order,) = recover([msgspec.structs.replace(RUNNING, **changes)], NOW_UNIX_S)
    assert isinstance(order, LetFail)
    assert (order.record.status, order.record.ended_unix_s) == (JobStatus.FAILED, NOW_UNIX_S)
    assert order.record.error is not None
    assert isinstance(order.record.error.error(), JobInterrupted)
    assert order.record.error.failure.what.startswith(why)


@pytest.mark.parametrize("status", [JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_job_that_was_over_is_left_alone(status: JobStatus) -> None:
    assert recover([msgspec.structs.replace(RUNNING, status=status)], NOW_UNIX_S) == []


def test_what_recovery_gave_up_is_not_recovered_twice() -> None:
    records = [msgspec.structs.replace(RUNNING, id=JobId(f"job-{n}"), num_restarts_left=n) for n in range(3)]
    orders = recover(records, NOW_UNIX_S)
    assert [type(order) for order in orders] == [LetFail, BeginAgain, BeginAgain]
    assert len(recover([order.record for order in orders], NOW_UNIX_S)) == 2
