"""What head and nodes say to each other: two closed unions. Knows no socket and no actor.

Code and records are not looked into here. A job that is begun anew after the loss of a node is another run of it:
nodes know runs only, so that nothing of an older run can be taken for the new one.
"""

import msgspec

from cluster.runtime.control_engine_log import HostLogRead, ReadHostLog
from cluster.runtime.control_message import MAX_NOTES as MAX_NOTES
from cluster.runtime.control_message import MAX_TEXT_CHARS as MAX_TEXT_CHARS
from cluster.runtime.control_message import ControlMessage as ControlMessage
from cluster.runtime.control_message import RemoteFailure as RemoteFailure
from cluster.runtime.control_printed import RunPrinted
from cluster.runtime.control_state import LookUpState, StateFound
from cluster.runtime.job_outline import PlanOutline
from cluster.runtime.messages import TaskProgress
from cluster.runtime.saving import CheckpointStage, Keeping, SavedPieces
from cluster.runtime.travelling_code import Code
from sage.base.devices import Device
from sage.base.ids import EngineId, JobId, NodeId, RequestId, TaskId
from sage.base.inference import ChatRequest, Failure, ModelCard, Reply, Request
from sage.base.offer import NodeOffer
from sage.base.turns import TurnNews
from sage.flow.runner import DeadLetterRecord

CONTROL_WIRE = 29
"""Version of everything here and in `control_clients`. Any change of a field is a new version."""

MAX_FRAME_BYTES = 16 * 1024 * 1024
NUM_UNTAKEN = 8
"""RunCollected and RunLogged of one task that may be on their way."""


class PeerAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a node takes data; `public_key` (Z85) where that is encrypted, else ""."""

    data_address: str
    public_key: str = ""


# Node to head.


class Join(ControlMessage, frozen=True):
    """Ask to become a member. `instance` is drawn anew by every process: two of one name are told apart by it.

    `attempt` counts the wishes of a process: one that comes after a later one was long on its way, and is nobody's.
    """

    name: str
    instance: str
    pid: int
    host: str
    offer: NodeOffer
    data: PeerAddress
    attempt: int


class OfferChanged(ControlMessage, frozen=True):
    """The node offers something else from now on; what runs there runs on."""

    offer: NodeOffer


class Heartbeat(ControlMessage, frozen=True):
    """`number` comes back in HeartbeatTaken: the lease counts from when this was sent.

    `num_refused`: connections for records that the node has refused since it began.
    """

    number: int
    num_refused: int = 0


class RunOpened(ControlMessage, frozen=True):
    """`listings`: as in JobOpened."""

    run_id: JobId
    listings: tuple[tuple[TaskId, str], ...] = ()


class RunTaskDrained(ControlMessage, frozen=True):
    run_id: JobId
    task_id: TaskId


class RunTaskEnded(ControlMessage, frozen=True):
    run_id: JobId
    task_id: TaskId
    is_complete: bool
    error: RemoteFailure | None


class RunStopped(ControlMessage, frozen=True):
    run_id: JobId
    stuck: tuple[str, ...]


class RunBroken(ControlMessage, frozen=True):
    """Records of the run may be lost between this node and another; both may go on to live."""

    run_id: JobId
    failure: Failure


class RunSetAside(ControlMessage, frozen=True):
    run_id: JobId
    letters: tuple[DeadLetterRecord, ...]


class RunProgressed(ControlMessage, frozen=True):
    run_id: JobId
    tasks: tuple[TaskProgress, ...]


class RunTaskSaved(ControlMessage, frozen=True):
    """As JobTaskSaved."""

    run_id: JobId
    task_id: TaskId
    checkpoint_id: int | None
    pieces: SavedPieces | None
    num_letters: int
    error: RemoteFailure | None
    commits: bool


class RunCollected(ControlMessage, frozen=True):
    """Records of a collecting sink, packed (`packed.py`), one piece or several joined.

    A task has NUM_UNTAKEN credits; TakeMore gives them back.
    """

    run_id: JobId
    task_id: TaskId
    step: str
    records: bytes
    num_records: int


class RunLogged(ControlMessage, frozen=True):
    """Lines of a step `print()`; takes credit and gets it back as RunCollected."""

    run_id: JobId
    task_id: TaskId
    step: str
    lines: tuple[str, ...]


class InferenceAsk(ControlMessage, frozen=True):
    """Also of clients, as InferenceCancel is."""

    requests: tuple[Request, ...]


class InferenceCancel(ControlMessage, frozen=True):
    request_ids: tuple[RequestId, ...]


class TurnsSaid(ControlMessage, frozen=True):
    """What tasks of the run say about chat requests, in order for each task."""

    run_id: JobId
    news: tuple[TurnNews, ...]


class EngineHostEnded(ControlMessage, frozen=True):
    """The process of a host is gone. `how`, in words; `last_words`: the end of its log."""

    start: int
    how: str
    last_words: str


class Leave(ControlMessage, frozen=True):
    """The node ends; nothing of any run is left on it."""


RunFact = (
    RunOpened
    | RunTaskDrained
    | RunTaskEnded
    | RunStopped
    | RunBroken
    | RunSetAside
    | RunProgressed
    | RunTaskSaved
    | RunCollected
    | RunLogged
    | RunPrinted
)
NodeToHead = (
    Join
    | OfferChanged
    | Heartbeat
    | RunFact
    | InferenceAsk
    | InferenceCancel
    | TurnsSaid
    | StateFound
    | HostLogRead
    | EngineHostEnded
    | Leave
)


# Head to node.


class Admitted(ControlMessage, frozen=True):
    """The node is a member, in the epoch of the header, for `lease_s` from when it sent its Join."""

    node_id: NodeId
    heartbeat_s: float
    lease_s: float
    models: tuple[ModelCard, ...] = ()


class Rejected(ControlMessage, frozen=True):
    """The peer is no member, or not any more: it stops everything, and may join anew where `may_rejoin`."""

    failure: Failure
    may_rejoin: bool


class HeartbeatTaken(ControlMessage, frozen=True):
    number: int


class DeployRun(ControlMessage, frozen=True):
    """Load the code, start the tasks that `placement` gives to this node, say RunOpened and wait for BeginRun.

    `submitters`: the keys (hex) that may sign shipped code; none: it is not run. `devices`: the GPUs of those tasks of
    this node that have some.
    """

    run_id: JobId
    job_id: JobId
    code: Code
    submitted_unix_s: float
    submitters: tuple[str, ...]
    outline: PlanOutline
    placement: dict[TaskId, NodeId]
    peers: dict[NodeId, PeerAddress]
    keeping: Keeping | None = None
    devices: dict[TaskId, tuple[Device, ...]] = msgspec.field(default_factory=dict)


class BeginRun(ControlMessage, frozen=True):
    run_id: JobId


class CheckpointRun(ControlMessage, frozen=True):
    """As CheckpointJob."""

    run_id: JobId
    checkpoint_id: int
    stage: CheckpointStage


class StopRun(ControlMessage, frozen=True):
    run_id: JobId


class TakeMore(ControlMessage, frozen=True):
    """Give a task credit for so many more RunCollected or RunLogged."""

    run_id: JobId
    task_id: TaskId
    num_messages: int


class StartEngineHost(ControlMessage, frozen=True):
    """Start the host of an engine; EngineHostEnded comes once its process is gone, or could not be started.

    `spec`: an EngineSpec, in JSON. `link`: where it connects to; in `tcp://*:PORT`, `*` is the host by which this node
    reaches its head. `gpus`: the devices that it sees, by UUID.
    """

    start: int
    engine_id: EngineId
    spec: str
    link: str
    gpus: tuple[str, ...] = ()


class EndEngineHost(ControlMessage, frozen=True):
    """End the process of a host, `at_once` or in good order."""

    start: int
    at_once: bool


class InferenceReplies(ControlMessage, frozen=True):
    """Also to clients."""

    replies: tuple[Reply, ...]


class TurnsAsked(ControlMessage, frozen=True):
    """Chat requests for the step of this name. The head counts what is open: no more come than chat.max_open."""

    run_id: JobId
    step: str
    requests: tuple[ChatRequest, ...]


class TurnsWithdrawn(ControlMessage, frozen=True):
    """Nobody waits for these any more: to every node of the run."""

    run_id: JobId
    turn_ids: tuple[RequestId, ...]


class EndNode(ControlMessage, frozen=True):
    """End: stop what runs, say Leave."""


HeadToNode = (
    Admitted
    | Rejected
    | HeartbeatTaken
    | DeployRun
    | BeginRun
    | CheckpointRun
    | StopRun
    | TakeMore
    | LookUpState
    | ReadHostLog
    | StartEngineHost
    | EndEngineHost
    | InferenceReplies
    | TurnsAsked
    | TurnsWithdrawn
    | EndNode
)
