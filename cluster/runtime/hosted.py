"""What a node knows of one job's tasks. Pure bookkeeping; knows no actor."""

from dataclasses import dataclass, field, replace

from cluster.runtime.drive import Gauge
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
    has_ended: bool = False
    last_word: TaskFinished | TaskStopped | TaskFailed | None = None


@dataclass(slots=True)
class HostedJob:
    """The tasks of one job on this node."""

    job_id: JobId
    node_id: NodeId
    is_stopping: bool = False
    _tasks: dict[TaskId, _Hosted] = field(default_factory=dict)
    _reported: tuple[TaskProgress, ...] = ()

    def add(self, task_id: TaskId, gauge: Gauge) -> None:
        self._tasks[task_id] = _Hosted(gauge)

    def opened(self, fact: TaskOpened) -> bool:
        """Account for an open task; return whether now all are."""
        self._tasks[fact.task_id].is_open = True
        return all(task.is_open for task in self._tasks.values())

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

    def progress(self) -> JobProgress | None:
        """Return how far the tasks are, or None where nothing changed since the last call."""
        now = tuple(
            TaskProgress(task_id, replace(task.gauge.counts), task.gauge.busy_s)
            for task_id, task in self._tasks.items()
        )
        if now == self._reported:
            return None
        self._reported = now
        return JobProgress(self.job_id, self.node_id, now)


def _error_of(task_id: TaskId, last_word: TaskFact | None, error: BaseException | None) -> SageError | None:
    if isinstance(last_word, TaskFailed):
        return last_word.error
    if error is not None:
        internal = InternalError(f"the actor of task {task_id} broke: {type(error).__name__}: {error}")
        internal.__cause__ = error
        return internal
    return None if last_word is not None else InternalError(f"task {task_id} ended without a word")
