"""What a node knows of one job's tasks. Pure bookkeeping; knows no actor."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cluster.runtime.gauge import Gauge
from cluster.runtime.messages import (
    JobProgress,
    JobTaskEnded,
    TaskFact,
    TaskFailed,
    TaskFinished,
    TaskOpened,
    TaskProgress,
    TaskStopped,
)
from sage.base.errors import InternalError, SageError
from sage.base.ids import JobId, NodeId, TaskId


@dataclass(slots=True)
class _Hosted:
    gauge: Gauge
    is_open: bool = False
    listing: str = ""
    has_ended: bool = False
    last_word: TaskFinished | TaskStopped | TaskFailed | None = None
    reported: TaskProgress | None = None


@dataclass(slots=True)
class HostedJob:
    """The tasks of one job on this node."""

    job_id: JobId
    node_id: NodeId
    is_stopping: bool = False
    _tasks: dict[TaskId, _Hosted] = field(default_factory=dict)
    _num_open: int = 0

    def add(self, task_id: TaskId, gauge: Gauge) -> None:
        self._tasks[task_id] = _Hosted(gauge)

    def opened(self, fact: TaskOpened) -> bool:
        """Account for an open task; return whether now all are."""
        task = self._tasks[fact.task_id]
        self._num_open += not task.is_open
        task.is_open, task.listing = True, fact.listing
        return self._num_open == len(self._tasks)

    def listings(self) -> tuple[tuple[TaskId, str], ...]:
        """Return what each task whose source is dealt has found there is to read."""
        return tuple((task_id, task.listing) for task_id, task in self._tasks.items() if task.listing)

    def said(self, last_word: TaskFinished | TaskStopped | TaskFailed) -> None:
        """Keep a task's last word, until its thread has ended."""
        self._tasks[last_word.task_id].last_word = last_word

    def ended(self, task_id: TaskId, error: BaseException | None) -> JobTaskEnded:
        """Account for a task whose thread has ended, by `error` or in good order; return what that means."""
        task = self._tasks[task_id]
        task.has_ended = True
        return JobTaskEnded(
            self.job_id, task_id, isinstance(task.last_word, TaskFinished), _error_of(task_id, task.last_word, error)
        )

    def live(self) -> list[TaskId]:
        return [task_id for task_id, task in self._tasks.items() if not task.has_ended]

    def progress(self, task_ids: Iterable[TaskId] | None = None) -> JobProgress | None:
        """Return how far tasks (by default all) are that moved since they were last reported; None where none did."""
        moved = []
        for task_id in self._tasks if task_ids is None else task_ids:
            task = self._tasks[task_id]
            now = progress_of(task_id, task.gauge)
            if now != task.reported:
                task.reported = now
                moved.append(now)
        return JobProgress(self.job_id, self.node_id, tuple(moved)) if moved else None


def progress_of(task_id: TaskId, gauge: Gauge) -> TaskProgress:
    """Return what a gauge shows now."""
    return TaskProgress(task_id, replace(gauge.counts), gauge.busy_s, gauge.watermark_s, gauge.num_waiting, gauge.url)


def _error_of(task_id: TaskId, last_word: TaskFact | None, error: BaseException | None) -> SageError | None:
    if isinstance(last_word, TaskFailed):
        return last_word.error
    if error is not None:
        internal = InternalError(f"the actor of task {task_id} broke: {type(error).__name__}: {error}")
        internal.__cause__ = error
        return internal
    return None if last_word is not None else InternalError(f"task {task_id} ended without a word")
