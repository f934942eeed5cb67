"""What a member of a cluster is told by its own process, and what it works with. Knows nothing of how it works."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pykka import ActorRef

from cluster.node.engine_hosts import StartHost, hosts_none
from cluster.node.loading import LoadFlow, LoadingFailed, RunLoaded
from cluster.node.printed import Printed
from cluster.node.records_way import RecordsWay
from cluster.runtime.channel import ControlClient
from cluster.runtime.control import HeadToNode, Join, RunCollected, RunLogged
from cluster.runtime.control_state import StateFound
from cluster.runtime.data_thread import PeerLost
from cluster.runtime.messages import NodeFact
from cluster.runtime.node import Node
from cluster.runtime.scheduler import Scheduler, Threads
from operators.turns import ChatTurns
from sage.base.clock import Clock
from sage.base.errors import SageError
from sage.base.ids import JobId, NodeId
from sage.base.inference import Inference
from sage.base.offer import NodeOffer


@dataclass(frozen=True, slots=True)
class FactOfNode:
    fact: NodeFact


@dataclass(frozen=True, slots=True)
class SayToHead:
    """From a task's thread."""

    message: RunCollected | RunLogged | StateFound


@dataclass(frozen=True, slots=True)
class ModelsAsked:
    """Tasks have asked something of models."""


@dataclass(frozen=True, slots=True)
class TasksPrinted:
    """Functions of users have printed a line."""


@dataclass(frozen=True, slots=True)
class TurnsSpoken:
    """Tasks have said something about chat requests."""


@dataclass(frozen=True, slots=True)
class OfferIs:
    """The machine has something else to offer from now on."""

    offer: NodeOffer


@dataclass(frozen=True, slots=True)
class EndMember:
    """Stop what runs, leave the cluster, end."""


MemberMessage = (
    FactOfNode
    | SayToHead
    | ModelsAsked
    | TasksPrinted
    | TurnsSpoken
    | OfferIs
    | RunLoaded
    | LoadingFailed
    | PeerLost
    | EndMember
)


@dataclass(frozen=True, slots=True)
class MemberPorts:
    """What a member works with. `connect` begins a new connection to the head. `start_node` starts the node's actor.
    `admit` lets the owners of public keys send records here.

    `printed`: what functions of users print here.

    `on_admitted` is called with every admission; `on_end` once, when it is over: with the error by which, if by one.
    """

    node_id: NodeId
    join: Join
    connect: Callable[[], ControlClient[HeadToNode]]
    start_node: Callable[[Callable[[NodeFact], object], Inference, Callable[[JobId], ChatTurns]], ActorRef[Node]]
    way: RecordsWay
    admit: Callable[[Iterable[str]], object]
    load: LoadFlow
    on_admitted: Callable[[], object]
    on_end: Callable[[SageError | None], object]
    clock: Clock
    scheduler: Scheduler = field(default_factory=Threads)
    start_host: StartHost = hosts_none
    printed: Printed = field(default_factory=Printed)
