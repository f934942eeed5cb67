"""What nodes and tasks tell each other, besides records and credit: orders down, facts up. Knows no actor."""

from dataclasses import dataclass, field
from typing import NamedTuple

from cluster.runtime.inputs import InputSpec
from cluster.runtime.lane import OnDataLane
from cluster.runtime.lookup import LookUp
from cluster.runtime.outputs import OutputSpec
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import CheckpointStage, Keeping, SavedPieces
from operators.machine import Counts
from sage.base.devices import Device
from sage.base.errors import SageError
from sage.base.ids import JobId, NodeId, TaskId
from sage.flow.plan import Chain
from sage.flow.runner import DeadLetterRecord


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One instance of a chain: what it computes and what it is linked to.

    `devices`: the GPUs that are its to use. `chains`: all of the flow, where that is known.
    """

    id: TaskId
    job_id: JobId
    chain: Chain
    instance: int
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    devices: tuple[Device, ...] = ()
    chains: tuple[Chain, ...] = field(default=(), compare=False, repr=False)


# To a task.


@dataclass(frozen=True, slots=True)
class Begin:
    """Every task of the job is open: sources may read."""


@dataclass(frozen=True, slots=True)
class CheckpointTask:
    """Save what you hold, or hear what became of it."""

    checkpoint_id: int
    stage: CheckpointStage


@dataclass(frozen=True, slots=True)
class StopTask:
    """Let go of everything and end; what is in flight is withdrawn."""


@dataclass(frozen=True, slots=True)
class GoOn(OnDataLane):
    """To itself: take the next piece of work, after the control messages that wait."""


@dataclass(frozen=True, slots=True)
class SomethingCame:
    """To itself, from another thread: replies or results are there to take."""


# From a task.


@dataclass(frozen=True, slots=True)
class TaskOpened:
    """Sources and sinks are open. `listing`: what there is to deal, as the task found it; "" where nothing is dealt."""

    task_id: TaskId
    listing: str = ""


@dataclass(frozen=True, slots=True)
class TaskDrained:
    """A source has given its last record."""

    task_id: TaskId


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """All input is processed, all output handed over, the sink complete."""

    task_id: TaskId


@dataclass(frozen=True, slots=True)
class TaskStopped:
    """Ended as it was asked to, before its end."""

    task_id: TaskId


@dataclass(frozen=True, slots=True)
class TaskFailed:
    task_id: TaskId
    error: SageError


@dataclass(frozen=True, slots=True)
class TaskSetAside:
    """Records became dead letters."""

    task_id: TaskId
    letters: tuple[DeadLetterRecord, ...]


@dataclass(frozen=True, slots=True)
class TaskSaved:
    """What a task holds is on the disk, or could not be brought there: `error`. `checkpoint_id` None: its final state.

    `pieces` None without an error: the checkpoint was given up before. `num_letters`: dead letters reported by then.
    `commits`: something of it is seen only once it is told to commit the checkpoint.
    """

    task_id: TaskId
    checkpoint_id: int | None
    pieces: SavedPieces | None
    num_letters: int = 0
    error: SageError | None = None
    commits: bool = False


TaskFact = TaskOpened | TaskDrained | TaskFinished | TaskStopped | TaskFailed | TaskSetAside | TaskSaved
TaskEnd = TaskFinished | TaskStopped | TaskFailed


# To a node.


@dataclass(frozen=True, slots=True)
class DeployTasks:
    """Start these tasks of one job; they open and then wait for BeginJob.

    `keeping`: None where nothing is saved. `types`: those classes of the flow whose instances can be saved.
    """

    job_id: JobId
    tasks: tuple[TaskSpec, ...]
    keeping: Keeping | None = None
    types: RecordTypes = field(default_factory=RecordTypes)


@dataclass(frozen=True, slots=True)
class BeginJob:
    job_id: JobId


@dataclass(frozen=True, slots=True)
class StopJob:
    """Stop every task of the job; those that do not stop within the settings' deadline are named and left."""

    job_id: JobId


@dataclass(frozen=True, slots=True)
class CheckpointJob:
    """Tell every task of the job that lives."""

    job_id: JobId
    checkpoint_id: int
    stage: CheckpointStage


NodeOrder = DeployTasks | BeginJob | CheckpointJob | StopJob | LookUp | TaskFact


# From a node.


@dataclass(frozen=True, slots=True)
class JobOpened:
    """Every task that was deployed on this node is open. `listings`: of those whose source is dealt, by their ids."""

    job_id: JobId
    node_id: NodeId
    listings: tuple[tuple[TaskId, str], ...] = ()


@dataclass(frozen=True, slots=True)
class JobTaskDrained:
    job_id: JobId
    task_id: TaskId


@dataclass(frozen=True, slots=True)
class JobTaskEnded:
    """A task's thread has ended; `error` is None where all went well. `is_complete`: it reached its end."""

    job_id: JobId
    task_id: TaskId
    is_complete: bool
    error: SageError | None


@dataclass(frozen=True, slots=True)
class JobStopped:
    """No task of the job runs on this node any more, but for `stuck`: what each of those was doing."""

    job_id: JobId
    node_id: NodeId
    stuck: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobSetAside:
    job_id: JobId
    letters: tuple[DeadLetterRecord, ...]


class TaskProgress(NamedTuple):
    """What one task has done so far; `url`: where to post to its source, "" where that does not listen."""

    task_id: TaskId
    counts: Counts
    busy_s: float
    watermark_s: float | None = None
    num_waiting: int = 0
    url: str = ""


@dataclass(frozen=True, slots=True)
class JobProgress:
    job_id: JobId
    node_id: NodeId
    tasks: tuple[TaskProgress, ...]


@dataclass(frozen=True, slots=True)
class JobTaskSaved:
    """As TaskSaved."""

    job_id: JobId
    task_id: TaskId
    checkpoint_id: int | None
    pieces: SavedPieces | None
    num_letters: int = 0
    error: SageError | None = None
    commits: bool = False


NodeFact = JobOpened | JobTaskDrained | JobTaskEnded | JobStopped | JobSetAside | JobProgress | JobTaskSaved
