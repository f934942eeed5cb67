"""What the job manager is told and asked. Knows nothing of how it does its work."""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.checkpoints.clerk import Done
from cluster.jobs.job_checkpoints import CheckpointPlan
from cluster.jobs.journal import JobRecord
from cluster.jobs.node_news import CloseNode, LetEngineGo, NodeJoined, NodeLeft
from cluster.jobs.node_port import NodePort, OnBreak, PlacedEngine
from cluster.jobs.parts import Part
from cluster.runtime.actor import ActorEnded, ActorFailed, Query
from cluster.runtime.messages import JobTaskSaved, NodeFact
from sage.base.errors import SageError
from sage.base.ids import JobId, TaskId
from sage.flow.plan import Plan
from sage.flow.runner import DeadLetterRecord, JobMetrics, NodeView


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as seen from outside. `error` is why it failed or was cancelled, or why it begins anew; None otherwise.

    `run_id` is that of its newest run, `num_restarts` those before it.
    """

    metrics: JobMetrics
    error: SageError | None
    num_dead_letters: int
    is_over: bool
    run_id: JobId
    num_restarts: int


OnChange = Callable[[JobView], None]
"""Called on the manager's thread with every change; must return at once."""


@dataclass(frozen=True, slots=True)
class RunBroke:
    """What a run sends between its nodes may be lost; it begins anew, or its job fails."""

    run_id: JobId
    error: SageError


@dataclass(frozen=True, slots=True)
class SubmitPlan(Query[JobId]):
    """Place the plan's tasks and start them. Answered by the id, once the journal has the job.

    Before anything runs it may be answered by NoRoom, NameTaken or JournalUnusable.

    `job_id`: by default one is drawn. `num_restarts`: how often the job begins anew, elsewhere, where it loses a node.
    `code`: where the flow comes from, for the journal; empty where it cannot be had again. `about`: see JobRecord.
    `checkpoints`: None where it takes none; else it begins anew from the newest.
    """

    plan: Plan
    on_change: OnChange
    job_id: JobId | None = None
    num_restarts: int = 0
    code: bytes = b""
    about: bytes = b""
    checkpoints: CheckpointPlan | None = None


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """Take up a job of the journal, which an earlier manager left: `record` stands there as `recover` wrote it.

    It is placed once `after_s` have passed, in which whatever ran of it has stopped, and there is room for it.
    `refusal`: why it cannot be run again after all; then it fails at once.
    """

    record: JobRecord
    plan: Plan
    on_change: OnChange
    after_s: float = 0.0
    refusal: SageError | None = None
    checkpoints: CheckpointPlan | None = None


@dataclass(frozen=True, slots=True)
class CheckRoom(Query[None]):
    """Answered by NoRoom where the plan's tasks would not fit now; before anything is started for it.

    `engines`: the hosts of engines that it needs; those that are placed already stay where they are.
    """

    plan: Plan
    engines: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class PlaceEngines(Query[list[PlacedEngine]]):
    """Place the hosts of engines, all or none, and keep their room. One that is placed already is placed anew.

    May be answered by NoRoom. `on_break` is called as long as they are held.
    """

    parts: tuple[Part, ...]
    on_break: OnBreak


@dataclass(frozen=True, slots=True)
class ExplainJob(Query[list[str]]):
    """Answered by a line for each task: where it is and why; by nothing for a job that is not known."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class SavepointOf:
    """Copy all that a job holds to a folder; `done` is called once, on another thread."""

    job_id: JobId
    target: str
    done: Done


@dataclass(frozen=True, slots=True)
class CheckpointWritten:
    """A manifest is on the disk, or could not be brought there."""

    job_id: JobId
    error: SageError | None


@dataclass(frozen=True, slots=True)
class CheckpointsLeft:
    """A job that is over holds its folder of checkpoints no more."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class JobPaused:
    """A job waits for room on a disk from now on, or no more."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class CancelJob:
    job_id: JobId


@dataclass(frozen=True, slots=True)
class DeadLettersOf(Query[list[DeadLetterRecord]]):
    job_id: JobId


@dataclass(frozen=True, slots=True)
class TaskAt:
    """One task of the newest run of a job, and its node."""

    node: NodePort
    run_id: JobId
    task_id: TaskId


@dataclass(frozen=True, slots=True)
class FindTask(Query[TaskAt]):
    """Ask where an instance of a step runs. May be answered by StateUnreachable."""

    job_id: JobId
    step: str
    instance: int


@dataclass(frozen=True, slots=True)
class NodesNow(Query[list[NodeView]]):
    """Ask for all nodes."""


AboutCheckpoints = JobTaskSaved | CheckpointWritten | CheckpointsLeft | JobPaused | SavepointOf

ManagerMessage = (
    NodeJoined
    | NodeLeft
    | RunBroke
    | CloseNode
    | CheckRoom
    | PlaceEngines
    | LetEngineGo
    | SubmitPlan
    | ResumePlan
    | ExplainJob
    | CancelJob
    | SavepointOf
    | CheckpointWritten
    | CheckpointsLeft
    | JobPaused
    | DeadLettersOf
    | FindTask
    | NodesNow
    | NodeFact
    | ActorEnded
    | ActorFailed
)
