"""What clients and the head say to each other: two closed unions. Knows no socket and no actor."""

import msgspec

from cluster.runtime.control import ControlMessage, InferenceAsk, InferenceCancel, InferenceReplies
from cluster.runtime.control_engine_log import EngineLog, GetEngineLog
from cluster.runtime.control_plane import ChangePolicy, GetPlane, PlaneOrder, PlaneShown
from cluster.runtime.control_printed import LogLine
from cluster.runtime.control_state import GetState, StateAnswer
from cluster.runtime.job_outline import PlanOutline
from cluster.runtime.keep_flow import KeepFlow
from cluster.runtime.states import JobState, NodeState
from cluster.runtime.travelling_code import Code
from sage.base.ids import JobId, NodeId, TaskId
from sage.base.inference import Failure, ModelCard
from sage.flow.runner import DeadLetterRecord, EngineStatus

# Client to head. Every question has a number that is not used twice; its answer carries it.


class Greet(ControlMessage, frozen=True):
    """The first message of a client; answered by Greeting."""

    question: int
    name: str


class StillThere(ControlMessage, frozen=True):
    """At least every `heartbeat_s` of the Greeting, answered by StillHere; who is silent for `lease_s` is forgotten."""


class SubmitFlow(ControlMessage, frozen=True):
    """Answered by JobSubmitted. `job_id` is drawn by the client: the same order given twice is carried out once.

    `collects`: this client takes what `collect()` brings, as CollectedNews, and says so by CollectMore.
    """

    question: int
    job_id: JobId
    code: Code
    outline: PlanOutline
    collects: bool
    keep: KeepFlow | None = None


class SavepointFlow(ControlMessage, frozen=True):
    """Copy all that the job holds to a new folder; answered by Done once it is there."""

    question: int
    job_id: JobId
    path: str


class CancelFlow(ControlMessage, frozen=True):
    """Answered by Done as soon as the job was told to stop; JobNews says when it has."""

    question: int
    job_id: JobId


class WatchJob(ControlMessage, frozen=True):
    """Answered by Done; JobNews comes at once, with every change, and last when the job is over.

    `collects`: from now on this client takes what `collect()` brings. What nobody has taken of the newest run comes
    first.
    """

    question: int
    job_id: JobId
    collects: bool = False


class CollectMore(ControlMessage, frozen=True):
    """The CollectedNews of one task up to this number were taken; more may come."""

    job_id: JobId
    run_id: JobId
    task_id: TaskId
    number: int


class GetResults(ControlMessage, frozen=True):
    """Answered by Results: what `collect()` brought, nobody took and is still kept, after the piece `after`."""

    question: int
    job_id: JobId
    after: int = 0


class ListJobs(ControlMessage, frozen=True):
    question: int


class GetJob(ControlMessage, frozen=True):
    question: int
    job_id: JobId


class ExplainFlow(ControlMessage, frozen=True):
    """Answered by Explanation: where each part of a job is, and why."""

    question: int
    job_id: JobId


class GetDeadLetters(ControlMessage, frozen=True):
    question: int
    job_id: JobId


class ListNodes(ControlMessage, frozen=True):
    question: int


class ListEngines(ControlMessage, frozen=True):
    question: int


class ListModels(ControlMessage, frozen=True):
    question: int


class GetLogs(ControlMessage, frozen=True):
    """Answered by Logs: the newest lines after the first `after`; where `follow`, LogNews comes for each later one."""

    question: int
    job_id: JobId
    follow: bool = False
    after: int = 0


class DrainNode(ControlMessage, frozen=True):
    """Answered by Done: nothing new is placed there; the node ends once nothing runs on it."""

    question: int
    node_id: NodeId


class StopCluster(ControlMessage, frozen=True):
    """Answered by Done; then the head cancels what runs and ends, with its nodes and engines."""

    question: int


class Goodbye(ControlMessage, frozen=True):
    """The client goes; its requests to models are cancelled, its jobs go on."""


ReadOnly = Greet | StillThere | Goodbye | ListJobs | ListNodes | ListEngines
"""What changes nothing and shows no flow's data: nodes may ask it too."""

ClientToHead = (
    Greet
    | StillThere
    | SubmitFlow
    | SavepointFlow
    | CancelFlow
    | WatchJob
    | CollectMore
    | GetResults
    | ListJobs
    | GetJob
    | ExplainFlow
    | GetDeadLetters
    | GetState
    | GetEngineLog
    | ListNodes
    | ListEngines
    | ListModels
    | PlaneOrder
    | GetPlane
    | ChangePolicy
    | GetLogs
    | DrainNode
    | StopCluster
    | InferenceAsk
    | InferenceCancel
    | Goodbye
)


# Head to client.


class Greeting(ControlMessage, frozen=True):
    """`epoch`: of the head; that of one which was started later is greater.

    `num_refused`: connections to the head that came to nothing since it began, for want of a key or for what they said.
    """

    question: int
    cluster: str
    pid: int
    heartbeat_s: float
    lease_s: float
    models: tuple[ModelCard, ...] = ()
    epoch: int = 0
    num_refused: int = 0


class StillHere(ControlMessage, frozen=True):
    """The answer to StillThere; a head that says nothing for `lease_s` is gone."""


class Declined(ControlMessage, frozen=True):
    """The answer to a question that cannot be answered, or None: the head does not speak with this client."""

    question: int | None
    failure: Failure


class Done(ControlMessage, frozen=True):
    question: int


class JobSubmitted(ControlMessage, frozen=True):
    question: int
    job_id: JobId


class JobNews(ControlMessage, frozen=True):
    state: JobState


class CollectedNews(ControlMessage, frozen=True):
    """What a run's collecting sink brought; what an older run brought counts no more once a newer one is known.

    `number` counts those of one task and run from 1. One that came before comes again unless it was said to be taken.
    """

    job_id: JobId
    run_id: JobId
    task_id: TaskId
    step: str
    number: int
    records: bytes
    num_records: int


class Results(ControlMessage, frozen=True):
    """`next_after`: what to ask for next, None where this is all there is now. `num_dropped`: records kept no more."""

    question: int
    state: JobState
    pieces: tuple[CollectedNews, ...]
    num_dropped: int
    next_after: int | None


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


class NodeList(ControlMessage, frozen=True):
    question: int
    nodes: tuple[NodeState, ...]


class Explanation(ControlMessage, frozen=True):
    """`lines`: one a part; none where the job has no place, before it begins and once its head is gone."""

    question: int
    lines: tuple[str, ...]


class EngineList(ControlMessage, frozen=True):
    question: int
    engines: tuple[EngineStatus, ...]


class ChatModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A flow that answers chat requests as the model `name`, and the models that it `asks` itself.

    `is_ready`: it runs, and takes requests now; `num_open`: on so many it works.
    """

    name: str
    job_id: JobId
    flow: str
    asks: tuple[str, ...]
    submitted_unix_s: float
    is_ready: bool
    num_open: int


class ModelList(ControlMessage, frozen=True):
    """`models`: those that engines serve now."""

    question: int
    models: tuple[ModelCard, ...]
    chats: tuple[ChatModel, ...]


class Logs(ControlMessage, frozen=True):
    """`num_lines`: how many the job has printed in all since this head runs it."""

    question: int
    lines: tuple[LogLine, ...]
    num_lines: int


class LogNews(ControlMessage, frozen=True):
    job_id: JobId
    lines: tuple[LogLine, ...]


HeadToClient = (
    Greeting
    | StillHere
    | Declined
    | Done
    | JobSubmitted
    | JobNews
    | CollectedNews
    | Results
    | JobList
    | JobAnswer
    | DeadLetterList
    | StateAnswer
    | EngineLog
    | NodeList
    | EngineList
    | ModelList
    | PlaneShown
    | Explanation
    | Logs
    | LogNews
    | InferenceReplies
)
