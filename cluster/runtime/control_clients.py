"""What clients and the head say to each other: two closed unions. Knows no socket and no actor."""

import msgspec

from cluster.runtime.control import (
    Code,
    ControlMessage,
    InferenceAsk,
    InferenceCancel,
    InferenceReplies,
    RemoteFailure,
)
from cluster.runtime.job_outline import PlanOutline
from sage.base.ids import JobId, NodeId, TaskId
from sage.base.inference import Failure, ModelCard
from sage.flow.runner import DeadLetterRecord, EngineStatus, JobMetrics, NodeView

# Client to head. Every question has a number that is not used twice; its answer carries it.


class Greet(ControlMessage, frozen=True):
    """The first message of a client; answered by Greeting."""

    question: int
    name: str


class StillThere(ControlMessage, frozen=True):
    """At least every `heartbeat_s` of the Greeting; a client that is silent for `lease_s` is forgotten."""


class SubmitFlow(ControlMessage, frozen=True):
    """Answered by JobSubmitted. `job_id` is drawn by the client: the same order given twice is carried out once.

    `collects`: this client takes what `collect()` brings, as CollectedNews, and gives credit for it by CollectMore.
    """

    question: int
    job_id: JobId
    code: Code
    outline: PlanOutline
    collects: bool


class CancelFlow(ControlMessage, frozen=True):
    """Answered by Done as soon as the job was told to stop; JobNews says when it has."""

    question: int
    job_id: JobId


class WatchJob(ControlMessage, frozen=True):
    """Answered by Done; JobNews comes at once, with every change, and last when the job is over."""

    question: int
    job_id: JobId


class CollectMore(ControlMessage, frozen=True):
    """Credit for CollectedNews messages of one task."""

    job_id: JobId
    run_id: JobId
    task_id: TaskId
    num_messages: int


class ListJobs(ControlMessage, frozen=True):
    question: int


class GetJob(ControlMessage, frozen=True):
    question: int
    job_id: JobId


class GetDeadLetters(ControlMessage, frozen=True):
    question: int
    job_id: JobId


class ListNodes(ControlMessage, frozen=True):
    question: int


class ListEngines(ControlMessage, frozen=True):
    question: int


class GetLogs(ControlMessage, frozen=True):
    """Answered by Logs: the newest lines; where `follow`, LogNews comes for each line from then on."""

    question: int
    job_id: JobId
    follow: bool = False


class DrainNode(ControlMessage, frozen=True):
    """Answered by Done: nothing new is placed there; the node ends once nothing runs on it."""

    question: int
    node_id: NodeId


class StopCluster(ControlMessage, frozen=True):
    """Answered by Done; then the head cancels what runs and ends, with its nodes and engines."""

    question: int


class Goodbye(ControlMessage, frozen=True):
    """The client goes; its requests to models are cancelled, its jobs go on."""


ClientToHead = (
    Greet
    | StillThere
    | SubmitFlow
    | CancelFlow
    | WatchJob
    | CollectMore
    | ListJobs
    | GetJob
    | GetDeadLetters
    | ListNodes
    | ListEngines
    | GetLogs
    | DrainNode
    | StopCluster
    | InferenceAsk
    | InferenceCancel
    | Goodbye
)


# Head to client.


class Greeting(ControlMessage, frozen=True):
    question: int
    cluster: str
    pid: int
    heartbeat_s: float
    lease_s: float
    models: tuple[ModelCard, ...] = ()


class Declined(ControlMessage, frozen=True):
    """The answer to a question that cannot be answered, or None: the head does not speak with this client."""

    question: int | None
    failure: Failure


class Done(ControlMessage, frozen=True):
    question: int


class JobSubmitted(ControlMessage, frozen=True):
    question: int
    job_id: JobId


class JobState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job as the head sees it. `run_id` is that of its newest run; `num_restarts` runs came before it.

    `error`: why it failed, was cancelled or was begun anew.
    """

    job_id: JobId
    name: str
    run_id: JobId
    metrics: JobMetrics
    num_restarts: int
    num_dead_letters: int
    submitted_unix_s: float
    is_over: bool
    error: RemoteFailure | None = None


class JobNews(ControlMessage, frozen=True):
    state: JobState


class CollectedNews(ControlMessage, frozen=True):
    """What a run's collecting sink brought; what an older run brought counts no more once a newer one is known."""

    job_id: JobId
    run_id: JobId
    task_id: TaskId
    step: str
    records: bytes


class JobList(ControlMessage, frozen=True):
    question: int
    jobs: tuple[JobState, ...]


class JobAnswer(ControlMessage, frozen=True):
    question: int
    state: JobState
    outline: PlanOutline


class DeadLetterList(ControlMessage, frozen=True):
    question: int
    letters: tuple[DeadLetterRecord, ...]


class NodeState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`state`: "alive", "suspect" or "draining"; `silent_s`: since it was last heard."""

    view: NodeView
    state: str
    host: str
    pid: int
    epoch: int
    silent_s: float
    labels: dict[str, str] = {}


class NodeList(ControlMessage, frozen=True):
    question: int
    nodes: tuple[NodeState, ...]


class EngineList(ControlMessage, frozen=True):
    question: int
    engines: tuple[EngineStatus, ...]


class Logs(ControlMessage, frozen=True):
    question: int
    lines: tuple[str, ...]


class LogNews(ControlMessage, frozen=True):
    job_id: JobId
    lines: tuple[str, ...]


HeadToClient = (
    Greeting
    | Declined
    | Done
    | JobSubmitted
    | JobNews
    | CollectedNews
    | JobList
    | JobAnswer
    | DeadLetterList
    | NodeList
    | EngineList
    | Logs
    | LogNews
    | InferenceReplies
)
