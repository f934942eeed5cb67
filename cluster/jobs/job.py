"""The life of one job: what happens to it, and what it orders. Pure; knows neither nodes nor tasks as things."""

from collections.abc import Iterable
from dataclasses import dataclass

from cluster.runtime.messages import JobOpened, JobStopped, JobTaskDrained, JobTaskEnded
from sage.base.errors import JobCancelled, NodeLost, SageError, SourceUnreadable, TaskStuck
from sage.base.ids import JobId, NodeId, TaskId
from sage.flow.runner import JobStatus


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody wants the job to end now."""


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A node ended with whatever ran on it."""

    node_id: NodeId
    error: SageError


@dataclass(frozen=True, slots=True)
class RecordsLost:
    """The way between two nodes broke: both live, and what was on its way is gone."""

    error: SageError


@dataclass(frozen=True, slots=True)
class DeviceGone:
    """A device that a task was given is of no use any more; its node lives."""

    error: SageError


@dataclass(frozen=True, slots=True)
class RunFailed:
    """Something of the run failed that is no task."""

    error: SageError


@dataclass(frozen=True, slots=True)
class DiskRefused:
    """There was no room for what a task has to write; once there is, the job can go on from its newest checkpoint."""

    error: SageError


JobEvent = (
    RunFailed
    | DiskRefused
    | JobOpened
    | JobTaskDrained
    | JobTaskEnded
    | JobStopped
    | CancelAsked
    | NodeGone
    | RecordsLost
    | DeviceGone
)


@dataclass(frozen=True, slots=True)
class BeginOn:
    node_id: NodeId


@dataclass(frozen=True, slots=True)
class StopOn:
    node_id: NodeId


@dataclass(frozen=True, slots=True)
class JobOver:
    """The job's last order: its resources are free."""


@dataclass(frozen=True, slots=True)
class BeginAnew:
    """The last order of a run that lost a node: nothing of it runs any more, and the job begins again."""


JobOrder = BeginOn | StopOn | JobOver | BeginAnew


class JobMachine:
    """Opens on every node, runs, drains, and ends in exactly one of finished, failed, cancelled.

    The status changes to an end only once every node has said that nothing of the job runs there. Where a node is
    lost and restarts are left, it ends without an end: another machine takes over. Not where a task would not stop:
    what it still writes must not come beside what the next run writes.
    """

    def __init__(
        self,
        job_id: JobId,
        nodes: Iterable[NodeId],
        tasks: Iterable[TaskId],
        sources: Iterable[TaskId],
        *,
        num_restarts_left: int = 0,
    ) -> None:
        """`tasks`: all of them; `sources`: those that read."""
        self._num_restarts_left = num_restarts_left
        self._job_id = job_id
        self._nodes = tuple(nodes)
        self._opening = set(self._nodes)
        self._stopping: set[NodeId] | None = None
        self._live = set(tasks)
        self._reading = set(sources)
        self._stuck: list[str] = []
        self._listings: dict[str, str] = {}
        self._end: JobStatus | None = JobStatus.FINISHED  # what the job is once it has stopped; None: begun anew
        self.status = JobStatus.CREATED
        self.error: SageError | None = None

    @property
    def is_over(self) -> bool:
        return self.status in (JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELLED)

    @property
    def has_begun(self) -> bool:
        """Say whether the tasks work."""
        return self.status in (JobStatus.RUNNING, JobStatus.DRAINING)

    def handle(self, event: JobEvent) -> list[JobOrder]:
        """Take what happened and return what is to be done, in order."""
        if self.is_over:
            return []
        match event:
            case JobOpened(_, node_id, listings):
                return self._opened(node_id, listings)
            case JobTaskDrained(_, task_id):
                return self._drained(task_id)
            case JobTaskEnded():
                return self._ended(event)
            case CancelAsked():
                return self._cancel()
            case NodeGone(node_id, error):
                return self._gone(node_id, error)
            case RecordsLost(error) | DeviceGone(error):
                return self._break(error)
            case RunFailed(error):
                return self._stop(JobStatus.FAILED, error)
            case DiskRefused(error):
                return self._stop(None, error)
            case JobStopped(_, node_id, stuck):
                return self._stopped(node_id, stuck)

    def _opened(self, node_id: NodeId, listings: Iterable[tuple[TaskId, str]]) -> list[JobOrder]:
        self._opening.discard(node_id)
        for task_id, listing in listings:
            chain_id = task_id.rpartition("/")[0]
            if self._listings.setdefault(chain_id, listing) != listing:
                return self._break(_unlike(chain_id))
        if self._opening or self._stopping is not None or self.status is not JobStatus.CREATED:
            return []
        self.status = JobStatus.RUNNING
        return [BeginOn(node_id) for node_id in self._nodes]

    def _drained(self, task_id: TaskId) -> list[JobOrder]:
        self._reading.discard(task_id)
        if not self._reading and self.status is JobStatus.RUNNING:
            self.status = JobStatus.DRAINING
        return []

    def _ended(self, event: JobTaskEnded) -> list[JobOrder]:
        self._live.discard(event.task_id)
        if event.error is not None:
            return self._stop(JobStatus.FAILED, event.error)
        if not event.is_complete and self._stopping is None:
            return self._break(NodeLost(f"task {event.task_id} was stopped before its end, and not by its job"))
        return [] if self._live else self._stop(JobStatus.FINISHED, None)

    def _cancel(self) -> list[JobOrder]:
        cancelled = JobCancelled(f"job {self._job_id} was cancelled")
        if self._end is None:  # it stops already, to begin anew
            self._end, self.error = JobStatus.CANCELLED, cancelled
        return self._stop(JobStatus.CANCELLED, cancelled)

    def _gone(self, node_id: NodeId, error: SageError) -> list[JobOrder]:
        """Stop the rest; what the lost node said last may be an end that the others go on from, so all begins anew."""
        if node_id not in self._nodes:
            return []
        self._nodes = tuple(node for node in self._nodes if node != node_id)
        return [*self._break(error), *self._stopped(node_id, ())]

    def _break(self, error: SageError) -> list[JobOrder]:
        return self._stop(None if self._num_restarts_left else JobStatus.FAILED, error)

    def _stop(self, end: JobStatus | None, error: SageError | None) -> list[JobOrder]:
        """Begin to stop, unless that has begun: the first reason is the one that counts."""
        if self._stopping is not None:
            return []
        self._stopping = set(self._nodes)
        self._end, self.error = end, error
        return [StopOn(node_id) for node_id in self._nodes]

    def _stopped(self, node_id: NodeId, stuck: tuple[str, ...]) -> list[JobOrder]:
        if self._stopping is None:
            return []
        self._stuck.extend(stuck)
        self._stopping.discard(node_id)
        if self._stopping:
            return []
        if self._end is None and not self._stuck:
            return [BeginAnew()]
        self.status = self._end if self._end is not None else JobStatus.FAILED
        self._name_stuck()
        return [JobOver()]

    def give_up(self, error: SageError, status: JobStatus = JobStatus.FAILED) -> None:
        """End now: nothing of the job runs, and it does not begin again."""
        self.status, self.error = status, error

    def _name_stuck(self) -> None:
        """Say what still runs: a cancelled job's error becomes TaskStuck, a failed one keeps its own and a note."""
        if not self._stuck:
            return
        stuck = TaskStuck(
            f"job {self._job_id} was stopped, but the user's code still runs: {'; '.join(self._stuck)}",
            "Let the function return, or give what it waits for a time-out; its thread ends with the process.",
        )
        if self.status is JobStatus.FAILED and self.error is not None:
            self.error.add_note(str(stuck))
        else:
            self.error = stuck


def _unlike(chain_id: str) -> SourceUnreadable:
    """Return why a source cannot be dealt: some of it would be read twice, or by nobody."""
    return SourceUnreadable(
        f"instances of {chain_id.partition('/')[2]!r} do not find the same to read: files or partitions came or went "
        "as they began, or their nodes do not see the same files",
        "Let all nodes see the same files; where some just came, start the flow again.",
    )
