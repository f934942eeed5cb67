"""What the door of a head is told by its own process, and what it works with. Knows nothing of how it works."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pykka import ActorRef

from cluster.head.book import JobBook
from cluster.head.model_desk import RepliesFor
from cluster.head.remote_node import OrderToNode
from cluster.head.submitter import JobChanged, ServingBegun, SubmissionEnded
from cluster.head.trust import HeadTrust
from cluster.jobs.health import Beat
from cluster.local.plane import ClusterPlane
from cluster.runtime.actor import ActorEnded, ActorFailed
from cluster.runtime.channel import ControlServer
from cluster.runtime.control import NodeToHead
from cluster.runtime.control_clients import ClientToHead
from cluster.runtime.enrolment import Enrol
from cluster.runtime.scheduler import Scheduler, Threads
from sage.base.clock import Clock
from sage.base.ids import NodeId
from sage.base.settings import ChatSettings

FromPeer = NodeToHead | ClientToHead | Enrol


@dataclass(frozen=True, slots=True)
class NodeProcessEnded:
    """The process of a node that this head started is gone: nothing of it runs any more. `how` it ended, in words."""

    name: str
    how: str


@dataclass(frozen=True, slots=True)
class StopAll:
    """Cancel what runs, have every node end, then tell whoever waits."""


DoorMessage = (
    OrderToNode
    | RepliesFor
    | SubmissionEnded
    | ServingBegun
    | JobChanged
    | NodeProcessEnded
    | StopAll
    | ActorEnded
    | ActorFailed
)


@dataclass(frozen=True, slots=True)
class DoorPorts:
    """What the door works with. `server` and `trust` are used on its thread alone; the others are called there.

    `book`: the jobs that are known already. `first_epoch`: of all memberships, greater than any before.
    `returns_within_s`: how long a client that was lost is expected back.
    `on_members`: told the number of members when that changes, or what one offers. `on_stop_asked`: a client wants the
    cluster to end. `on_stopped`: no node is a member any more. `kill_own`: kills a node that this head has started, and
    says so by NodeProcessEnded; False for any other. `leave_own`: told of a node that is drained, so that it is not
    started again where this head has started it.
    """

    cluster: str
    pid: int
    server: ControlServer[FromPeer]
    trust: HeadTrust
    manager: ActorRef[Any]
    submitter: ActorRef[Any]
    plane: ClusterPlane
    on_members: Callable[[int], object]
    on_stop_asked: Callable[[], object]
    on_stopped: Callable[[], object]
    beat: Beat
    stop_timeout_s: float
    chat: ChatSettings
    clock: Clock
    first_epoch: int = 1
    returns_within_s: float = 30.0
    scheduler: Scheduler = field(default_factory=Threads)
    book: JobBook = field(default_factory=JobBook)
    kill_own: Callable[[NodeId], bool] = lambda node_id: False  # where it has started none
    leave_own: Callable[[NodeId], object] = lambda node_id: None
