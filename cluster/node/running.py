"""The runs that this node was given, as its member sees them: their tasks with sinks of this node, and their credits.

Knows neither the connection nor the tasks' threads.
"""

from collections.abc import Callable

from cluster.jobs.lease import Lease
from cluster.node.loading import RunLoaded
from cluster.node.sinks import SinkPorts, with_sinks_here
from cluster.node.untaken import Untaken
from cluster.runtime.control import RunCollected, RunLogged
from cluster.runtime.messages import TaskSpec
from cluster.runtime.scheduler import Scheduler
from sage.base.ids import JobId, TaskId


class Running:
    """Used by one thread."""

    def __init__(self, send: Callable[[RunCollected | RunLogged], object], scheduler: Scheduler) -> None:
        """`send` takes, on any thread and without waiting, what sinks have for the head."""
        self._send = send
        self._scheduler = scheduler
        self._untaken: dict[JobId, dict[TaskId, Untaken]] = {}

    def tasks(self, loaded: RunLoaded, lease: Lease) -> tuple[TaskSpec, ...]:
        """Return the tasks of a run as they are to be deployed; what others see of them happens under `lease`."""
        run_id = loaded.order.run_id
        credits_of = self._untaken[run_id] = {task.id: Untaken(self._scheduler.condition()) for task in loaded.tasks}
        keeps = loaded.order.keeping is not None
        return tuple(
            with_sinks_here(
                task, SinkPorts(run_id, task.id, loaded.types, lease, credits_of[task.id], self._send, keeps)
            )
            for task in loaded.tasks
        )

    def give(self, run_id: JobId, task_id: TaskId, num: int) -> None:
        """Give a task credits back; unknown ones are passed over."""
        untaken = self._untaken.get(run_id, {}).get(task_id)
        if untaken is not None:
            untaken.give(num)

    def end(self, run_id: JobId) -> None:
        """Let no task of a run wait for the head any more, and forget it."""
        for untaken in self._untaken.pop(run_id, {}).values():
            untaken.end()
