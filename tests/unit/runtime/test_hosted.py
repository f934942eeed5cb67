"""What a node knows of a job's tasks, and what of it is news."""

from cluster.runtime.gauge import Gauge
from cluster.runtime.hosted import HostedJob
from cluster.runtime.messages import TaskOpened
from sage.base.ids import JobId, NodeId, TaskId

TASKS = [TaskId(f"job/map/{number}") for number in range(3)]


def hosted() -> tuple[HostedJob, dict[TaskId, Gauge]]:
    job, gauges = HostedJob(JobId("job"), NodeId("node")), {task_id: Gauge() for task_id in TASKS}
    for task_id, gauge in gauges.items():
        job.add(task_id, gauge)
    return job, gauges


def reported(job: HostedJob, *task_ids: TaskId) -> dict[TaskId, int] | None:
    progress = job.progress(task_ids or None)
    return None if progress is None else {task.task_id: task.counts.records_in for task in progress.tasks}


def test_a_job_is_open_once_every_task_has_said_so() -> None:
    job, _ = hosted()
    assert [job.opened(TaskOpened(task_id)) for task_id in (TASKS[0], TASKS[1], TASKS[1], TASKS[2])] == [
        False,
        False,
        False,
        True,
    ]


def test_progress_is_told_of_tasks_that_moved_since() -> None:
    job, gauges = hosted()
    assert reported(job) == dict.fromkeys(TASKS, 0)
    assert reported(job) is None
    gauges[TASKS[1]].counts.records_in = 7
    assert reported(job, TASKS[0]) is None
    assert reported(job) == {TASKS[1]: 7}


def test_the_progress_of_one_task_leaves_that_of_others_to_be_told() -> None:
    job, gauges = hosted()
    reported(job)
    for gauge in gauges.values():
        gauge.counts.records_in += 1
    assert reported(job, TASKS[2]) == {TASKS[2]: 1}
    assert reported(job) == {TASKS[0]: 1, TASKS[1]: 1}
